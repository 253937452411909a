"""Where the runner insists on BoringSSL's own policy, and aiodtls has another that is as legal.

The one place that switches them, for the shim's processes alone: everything else that the runner
sees is aiodtls as it is. Deviations.md says of each why aiodtls has another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from aiodtls.core import connection, inbox
from aiodtls.core.config import DTLSConfig
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.crypto import certificates
from aiodtls.core.crypto.suites import DEFAULT_SUITES
from aiodtls.core.errors import AlertError
from aiodtls.core.handshake import client, driver, offer13, post, server13
from aiodtls.core.handshake.driver import HandshakeDriver
from aiodtls.core.handshake.extensions import alpn, certificate_types, server_name
from aiodtls.core.handshake.script import Handshake
from aiodtls.core.registry import (
    AlertDescription,
    CertificateType,
    KeyUpdateRequest,
    ProtocolVersion,
)
from aiodtls.core.reliability import flight
from aiodtls.core.reliability.acks import Acknowledgement
from aiodtls.core.reliability.outgoing_flight import Acknowledged, OutgoingFlight
from aiodtls.core.reliability.timers import Timer
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions import ALPN, Extension, SupportedVersions
from aiodtls.core.wire.fragments import Fragment
from aiodtls.core.wire.messages import ClientHello
from aiodtls.core.wire.messages13 import KeyUpdate

NEVER = 1 << 30
# The epoch that makes an ACK count in full.
BELIEVED = 2
# After so many resends a ticket without an ACK ends the association.
TICKET_RESENDS = 12
# BoringSSL counts epochs in 16 bits.
LAST_EPOCH = 0xFFFF


@dataclass(slots=True)
class Choices:
    """What single tests ask of BoringSSL's application."""

    client_types: Sequence[int] | None = None
    takes_unknown_alpn: bool = False
    acknowledges_server_name: bool = True
    offers_dtls12: bool = False


# Of the newest connection: there is one at a time.
current = Choices()


class PatientDriver(HandshakeDriver):
    """Acknowledges at once the last flight alone; gaps and later messages wait for the timer."""

    _is_due = False
    _knew_version = False

    def receive(self, payload: bytes, record_number: int, now: float) -> bool:
        self._knew_version = self._is_dtls13
        return super().receive(payload, record_number, now)

    def use_dtls13(self) -> None:
        """The ServerHello itself answers nothing yet."""
        due = self.outgoing._timers.get(Timer.retransmit)
        super().use_dtls13()
        if due is not None:
            self.outgoing._timers.set(Timer.retransmit, due)

    def records_wait_for_keys(self, now: float) -> None:
        """No empty ACKs."""

    def timer_due(self, timer: Timer, now: float) -> bool:
        self._is_due = True
        try:
            return super().timer_due(timer, now)
        finally:
            self._is_due = False

    def _end_script(self, now: float, *, sent_last: bool) -> None:
        self._is_due = True
        super()._end_script(now, sent_last=sent_last)
        self._is_due = False

    def acknowledge(self, now: float) -> None:
        if self._is_due:
            super().acknowledge(now)

    def _take(self, fragment: Fragment, epoch: int, now: float) -> bool:
        taken = super()._take(fragment, epoch, now)
        if self._is_dtls13 and not self.complete and self._reassembly.has_begun:
            # The peer's answer stops the timer of our flight, in the clear too.
            self._answered()
        return taken

    def _comes_too_soon(self, update: Fragment, epoch: int) -> bool:
        return False

    def _consider_ack(self, now: float, *, gap: bool) -> None:
        if self._knew_version:
            super()._consider_ack(now, gap=False)


class RememberingAcks(Acknowledgement):
    """Names the newest 32 records after the handshake too."""

    def encode(self, epoch: int, room: int) -> bytes:
        numbers = self._numbers.copy()
        body = super().encode(epoch, room)
        self._numbers.update(numbers)
        return body


class ForgetfulPost(post.PostHandshake13):
    """Takes a KeyUpdate that is on its way for the answer to every wish, and epochs are few."""

    def _receive_key_update(self, update: KeyUpdate, now: float) -> None:
        if self._layer.read_epoch == LAST_EPOCH:
            raise AlertError(
                AlertDescription.unexpected_message, "the peer's keys were updated too often"
            )
        super()._receive_key_update(update, now)

    def use_new_keys(self) -> None:
        if self.new_keys_wait and self._layer.write_epoch == LAST_EPOCH:
            raise AlertError(AlertDescription.internal_error, "our keys were updated too often")
        super().use_new_keys()

    def _want(self, request: KeyUpdateRequest, now: float) -> None:
        if Timer.key_update not in self._flights:
            super()._want(request, now)


class PatientOutgoingFlight(OutgoingFlight):
    """Resends on its timer alone while that runs, whatever comes again or an ACK says is missing.

    An ACK in the clear is believed for good.
    """

    def acknowledge(self, record_numbers: list[int], epoch: int, now: float) -> Acknowledged:
        verdict = super().acknowledge(record_numbers, epoch or BELIEVED, now)
        return verdict if verdict is Acknowledged.all else Acknowledged.nothing

    def repeat_completed(self, fragment: Fragment, now: float, *, authenticated: bool) -> bool:
        if authenticated and self.is_running:
            return False
        return super().repeat_completed(fragment, now, authenticated=authenticated)


# -- functions that stand in for those of the core ---------------------------------------------

_timer_due = DTLSConnection._timer_due
_client_hello = offer13.client_hello
_check_alpn_reply = alpn.check_reply
_server_name_reply = server_name.reply
_shown_by_client = certificate_types.shown_by_client


def timer_due(self: DTLSConnection, timer: Timer, now: float) -> None:
    """Tickets that are never acknowledged end the association, as a last flight would."""
    _timer_due(self, timer, now)
    if timer is Timer.new_session_ticket and timer in self._post.stopped:
        self._give_up(now)


def client_hello(
    config: DTLSConfig, random: bytes, server_hostname: str | None, *others: object, **more: object
) -> ClientHello:
    """Of a client that would refuse DTLS 1.2, and may offer it all the same."""
    hello = _client_hello(config, random, server_hostname, *others, **more)  # type: ignore[arg-type]
    if not current.offers_dtls12:
        return hello
    codes = [suite.code for suite in DEFAULT_SUITES if suite.version == "1.2"]
    extensions = Extensions(hello.extensions)
    both = (ProtocolVersion.DTLSv1_3, ProtocolVersion.DTLSv1_2)
    extensions[SupportedVersions.type] = SupportedVersions(both)
    return replace(hello, cipher_suites=(*hello.cipher_suites, *codes), extensions=extensions)


def check_alpn_reply(hs: Handshake, extensions: Extensions) -> None:
    """Any one name is taken, where the test wants it."""
    answer = extensions.find(ALPN)
    if current.takes_unknown_alpn and answer is not None and len(answer.protocols) == 1:
        hs.negotiated.alpn_protocol = answer.protocols[0]
    else:
        _check_alpn_reply(hs, extensions)


def server_name_reply(hs: Handshake, hello: ClientHello) -> list[Extension]:
    """What is acknowledged; that it is known is no matter of this."""
    return _server_name_reply(hs, hello) if current.acknowledges_server_name else []


def shown_by_client(config: DTLSConfig) -> tuple[CertificateType, ...]:
    """What the test says, whether there is anything to show of it or not."""
    if current.client_types is None:
        return _shown_by_client(config)
    return tuple(CertificateType(kind) for kind in current.client_types)


def install() -> None:
    """From here on connections of this process follow BoringSSL."""
    # The runner says how large a datagram may be; a path is not to be guessed at.
    # It expects the same hello however often that is resent; we give its session up.
    flight.RESENDS_AT_FULL_SIZE = client.RESENDS_WITH_SESSION = NEVER
    # It wants every last byte of a datagram used.
    flight.MIN_FRAGMENT_LENGTH = 1
    connection.HandshakeDriver = PatientDriver  # type: ignore[misc]
    driver.Acknowledgement = RememberingAcks  # type: ignore[misc]
    post.PostHandshake13 = ForgetfulPost  # type: ignore[misc]
    post.MAX_TIMED_RESENDS = TICKET_RESENDS
    connection.OutgoingFlight = post.OutgoingFlight = PatientOutgoingFlight  # type: ignore[misc]
    # What overtakes a Finished is lost, and too many epochs or lost tickets end it all.
    inbox.MAX_EARLY_DATA = 0
    DTLSConnection._timer_due = timer_due  # type: ignore[method-assign]
    # Refusals that keep no secret and speak of no types.
    server13.UNKNOWN_PSK = AlertDescription.handshake_failure
    certificates.MAX_CHAIN_LENGTH = NEVER
    certificate_types.NO_TYPE_IN_COMMON = AlertDescription.handshake_failure
    # What single tests ask for.
    offer13.client_hello = client_hello
    alpn.check_reply = check_alpn_reply
    server_name.reply = server_name_reply
    certificate_types.shown_by_client = shown_by_client
