"""Where the runner insists on BoringSSL's own policy, and aiodtls has another that is as legal.

The one place that switches them, for the shim's processes alone: everything else that the runner
sees is aiodtls as it is. RFC 9147 sections 4.3 and 7.1 leave each of these to the implementation.
"""

from __future__ import annotations

from aiodtls.core import association
from aiodtls.core.handshake import client, post
from aiodtls.core.handshake.driver import HandshakeDriver
from aiodtls.core.registry import KeyUpdateRequest
from aiodtls.core.reliability import flight
from aiodtls.core.reliability.retransmission import Acknowledged, Retransmission
from aiodtls.core.reliability.timers import Timer
from aiodtls.core.wire.fragments import Fragment

NEVER = 1 << 30
# The epoch that makes an ACK count in full.
BELIEVED = 2


class PatientDriver(HandshakeDriver):
    """Acknowledges at once the last flight alone; gaps and later messages wait for the timer."""

    _is_due = False
    _knew_version = False

    def receive(self, payload: bytes, record_number: int, now: float) -> None:
        self._knew_version = self._is_dtls13
        super().receive(payload, record_number, now)

    def use_dtls13(self) -> None:
        """The ServerHello itself answers nothing yet."""
        due = self.retransmission._timers.get(Timer.retransmit)
        super().use_dtls13()
        if due is not None:
            self.retransmission._timers.set(Timer.retransmit, due)

    def receive_ack(self, record_numbers: list[int], epoch: int, now: float) -> None:
        """Nothing while the version is not known."""
        if self._is_dtls13:
            super().receive_ack(record_numbers, epoch, now)

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

    def _consider_ack(self, now: float, *, gap: bool) -> None:
        if self._knew_version:
            super()._consider_ack(now, gap=False)


class ForgetfulPost(post.PostHandshake13):
    """Takes a KeyUpdate that is on its way for the answer to every wish."""

    def _want(self, request: KeyUpdateRequest, now: float) -> None:
        if Timer.key_update not in self._flights:
            super()._want(request, now)


class PatientRetransmission(Retransmission):
    """Resends on its timer alone, whatever an ACK says to be missing.

    An ACK in the clear is believed for good.
    """

    def acknowledge(self, record_numbers: list[int], epoch: int, now: float) -> Acknowledged:
        verdict = super().acknowledge(record_numbers, epoch or BELIEVED, now)
        return verdict if verdict is Acknowledged.all else Acknowledged.nothing


def install() -> None:
    """From here on connections of this process follow BoringSSL."""
    # The runner says how large a datagram may be; a path is not to be guessed at.
    flight.RESENDS_AT_FULL_SIZE = client.UNANSWERED_RESENDS = NEVER
    # It wants every last byte of a datagram used.
    flight.MIN_FRAGMENT_LENGTH = 1
    association.HandshakeDriver = PatientDriver  # type: ignore[misc]
    post.PostHandshake13 = ForgetfulPost  # type: ignore[misc]
    association.Retransmission = post.Retransmission = PatientRetransmission  # type: ignore[misc]
