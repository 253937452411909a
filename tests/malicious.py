"""A peer that breaks one rule of a handshake, and keeps all others.

It runs the package's own script. One message of the script is altered before it is hashed and
sent, so that both transcripts still agree and only the check under test can notice. A test says
who is malicious, which message is altered, and how::

    from tests.malicious import Deviation, with_extension

    Deviation("certificate13", SERVER, EncryptedExtensions, with_extension(KeyShares(...))) \\
        .is_refused("illegal_parameter", match="key_share")

``Deviation(variant, side, kind, change)``:

* ``variant`` is a handshake of ``tests/simulated/variants.py``, or a pair of configurations.
* ``side`` is the malicious one, ``CLIENT`` or ``SERVER``; the other is honest.
* ``kind`` is the class of the message to alter. Every message of this class is altered, or only
  the one with the index ``only`` (0 is the first, 1 the second ClientHello and so on).
* ``change`` takes the message and returns what is sent in its place: a message, a
  :class:`Raw` one, or a list of messages (an empty one leaves the message out). It may take the
  ``Handshake`` of the malicious side as a second argument, to let its script follow the change
  (such as ``hs.negotiated.suite = ...``), or to see its keys.

``with_extension``, ``without_extension``, ``with_fields`` and ``with_body`` make the usual
changes. The binders of a ClientHello are made anew where they are there (``rebind=False`` leaves
them). ``Deviation.run()`` gives an :class:`Outcome` where a test wants to look for itself;
``is_refused`` and ``is_accepted`` are the two usual verdicts. Both fail where nothing was altered.

Records beside a handshake: :func:`seal` makes one under the keys of a connection, and
:func:`plaintext` one of epoch 0, for ``connection.receive_datagram``.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiodtls.core.config import DTLSConfig
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.errors import PeerAlert
from aiodtls.core.handshake.offer13 import Offer, bind
from aiodtls.core.handshake.psks import OfferedPsk, offered_by
from aiodtls.core.handshake.script import Handshake
from aiodtls.core.registry import ExtensionType, HandshakeType
from aiodtls.core.sessions import Session
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions import Extension, UnknownExtension
from aiodtls.core.wire.messages import ClientHello, Message, encode_body
from aiodtls.core.wire.records import HEADER, DTLSv1_2
from tests.harness import CLIENT, SERVER, Link, Pair
from tests.simulated.variants import configs

Change = Callable[..., Any]


@dataclass(frozen=True)
class Raw:
    """A message of any bytes."""

    msg_type: HandshakeType
    body: bytes

    def encode(self, writer: Any) -> None:
        writer.raw(self.body)


@dataclass
class Outcome:
    """What became of a handshake with a malicious peer."""

    pair: Pair
    malicious: str
    # Its listener has forgotten one that failed.
    server: DTLSConnection

    @property
    def connected(self) -> bool:
        return self.pair.connected

    @property
    def honest(self) -> DTLSConnection:
        return self.server if self.malicious == CLIENT else self.pair.client

    @property
    def peer(self) -> DTLSConnection:
        """The malicious side."""
        return self.pair.client if self.malicious == CLIENT else self.server

    @property
    def failure(self) -> Exception | None:
        """Why the honest side gave up."""
        return self.honest.failure

    @property
    def alert(self) -> str | None:
        """The description of the alert that the malicious side got, if any."""
        failure = self.peer.failure
        for error in (failure, getattr(failure, "__cause__", None)):
            if isinstance(error, PeerAlert):
                return error.description
        return None

    def __str__(self) -> str:
        if self.connected:
            return "connected"
        return f"alert {self.alert}, honest {self.failure!r}, malicious {self.peer.failure!r}"


@dataclass(frozen=True)
class Deviation:
    """One rule, broken. The fields are explained in the docstring of the module."""

    variant: str | tuple[DTLSConfig, DTLSConfig]
    side: str
    kind: type[Message]
    change: Change
    only: int | None = None
    rebind: bool = True
    session: Session | None = None
    server_hostname: str | None = "localhost"
    # The server is behind a listener, which asks for a cookie.
    cookie: bool = False
    link: Link | None = None
    # Further fields of either configuration.
    client: dict[str, Any] = field(default_factory=dict)
    server: dict[str, Any] = field(default_factory=dict)

    def run(self) -> Outcome:
        """The handshake, until both sides have ended or a while has passed."""
        made = configs(self.variant) if isinstance(self.variant, str) else self.variant
        client, server = made
        with altered_messages(self._alter) as altered:
            pair = Pair(
                dataclasses.replace(client, **self.client) if self.client else client,
                dataclasses.replace(server, **self.server) if self.server else server,
                self.link,
                cookie=self.cookie,
                session=self.session,
                server_hostname=self.server_hostname,
            )
            servers = []

            def over() -> bool:
                if pair.has_server and pair.server not in servers:
                    servers.append(pair.server)
                return pair.connected or pair.client.closed

            pair.run(over, limit=30.0)
            # A plaintext alert takes two waits of two seconds at most to be believed.
            pair.idle(5.0)
        assert servers, "the listener let no hello through"
        assert altered, f"the {self.side} sent no {self.kind.__name__} to alter"
        return Outcome(pair, self.side, servers[-1])

    def is_refused(
        self, alert: str, *, match: str = "", error: type[Exception] | None = None
    ) -> Outcome:
        """Asserts that the honest side ends the handshake with this alert, and says why."""
        outcome = self.run()
        assert outcome.honest.closed and not outcome.honest.handshake_complete, str(outcome)
        assert outcome.alert == alert, str(outcome)
        assert match in str(outcome.failure), str(outcome)
        assert error is None or isinstance(outcome.failure, error), str(outcome)
        return outcome

    def is_accepted(self) -> Outcome:
        """Asserts that the handshake goes on and data flows both ways."""
        outcome = self.run()
        assert outcome.connected, str(outcome)
        outcome.pair.exchange()
        return outcome

    def _alter(self, hs: Handshake, message: Message, index: int) -> list[Message] | None:
        """What is sent instead; None where the message stays as it is."""
        # In a Pair each side knows the other by its name.
        side = CLIENT if hs.peer == SERVER else SERVER
        if side != self.side or (self.only is not None and index != self.only):
            return None
        if not isinstance(message, self.kind):
            return None
        wants_handshake = len(inspect.signature(self.change).parameters) > 1
        made = self.change(message, hs) if wants_handshake else self.change(message)
        messages: list[Message] = made if isinstance(made, list) else [made]
        return [rebound(m, hs) if self.rebind else m for m in messages]


@contextmanager
def altered_messages(
    alter: Callable[[Handshake, Message, int], list[Message] | None],
) -> Iterator[list[Message]]:
    """Every handshake message goes through ``alter`` before it is hashed; those that it changed.

    ``alter`` gets the handshake, the message, and how many of its class this handshake has sent.
    """
    send = Handshake.send
    altered: list[Message] = []
    counts: dict[tuple[Any, type], int] = {}

    def sending(hs: Handshake, message: Message) -> None:
        key = hs.peer, type(message)
        index = counts[key] = counts.get(key, -1) + 1
        made = alter(hs, message, index)
        if made is not None:
            altered.append(message)
        for item in [message] if made is None else made:
            send(hs, item)

    Handshake.send = sending  # type: ignore[method-assign]
    try:
        yield altered
    finally:
        Handshake.send = send  # type: ignore[method-assign]


# -- changes ------------------------------------------------------------------------------------


def with_extension(*extensions: Extension) -> Change:
    """These extensions too, or instead of those of the same code; a Certificate has them in its
    first entry. A pre_shared_key stays the last."""

    def change(message: Any) -> Any:
        if hasattr(message, "chain"):
            first, *rest = message.extensions or [Extensions()] * len(message.chain)
            return dataclasses.replace(message, extensions=(_added(first, extensions), *rest))
        return dataclasses.replace(message, extensions=_added(message.extensions, extensions))

    return change


def without_extension(*codes: int) -> Change:
    """Without the extensions of these codes."""

    def change(message: Any) -> Any:
        kept = {code: item for code, item in message.extensions.items() if code not in codes}
        return dataclasses.replace(message, extensions=Extensions(kept))

    return change


def with_fields(**fields: Any) -> Change:
    """Other values of fields of the message."""
    return lambda message: dataclasses.replace(message, **fields)


def with_body(change: Callable[[bytes], bytes]) -> Change:
    """Other bytes than those of the message."""
    return lambda message: Raw(message.msg_type, change(encode_body(message)))


def both(*changes: Change) -> Change:
    """Several changes of one message, one after the other."""

    def change(message: Any) -> Any:
        for each in changes:
            message = each(message)
        return message

    return change


def unknown(code: int, data: bytes = b"") -> UnknownExtension:
    """An extension of any code and bytes."""
    return UnknownExtension(code, data)


def _added(extensions: Extensions, more: tuple[Extension, ...]) -> Extensions:
    result = Extensions(extensions)
    result.update((item.type, item) for item in more)
    if ExtensionType.pre_shared_key in extensions and not any(
        item.type == ExtensionType.pre_shared_key for item in more
    ):
        result[ExtensionType.pre_shared_key] = result.pop(ExtensionType.pre_shared_key)
    return result


def rebound(message: Message, hs: Handshake) -> Message:
    """A ClientHello whose binders fit what it says now; any other message as it is."""
    if not isinstance(message, ClientHello):
        return message
    found = message.extensions.get(ExtensionType.pre_shared_key)
    if found is None or next(reversed(message.extensions)) != ExtensionType.pre_shared_key:
        return message
    psks = {psk.identity: psk for psk in offered_by(hs.config)}
    if hs.session is not None and hs.session.ticket:
        ticket = hs.session.ticket
        psks[ticket] = OfferedPsk.resumption(hs.session, ticket)
    identities = [identity for identity, _ in getattr(found, "identities", ())]
    if not identities or any(identity not in psks for identity in identities):
        return message
    unbound = without_extension(ExtensionType.pre_shared_key)(message)
    offer = Offer(unbound, (), tuple(psks[identity] for identity in identities))
    return bind(offer, hs.transcript, hs.next_seq, hs.wall_clock()).hello


# -- records ------------------------------------------------------------------------------------


def seal(
    connection: DTLSConnection, content_type: int, body: bytes, epoch: int | None = None
) -> bytes:
    """A record as ``connection`` would protect it; its number is used up.

    Content type 0 leaves the inner plaintext of DTLS 1.3 to the caller: data, type, zeros.
    """
    layer = connection._layer
    return bytes(layer.protect(layer.write_epoch if epoch is None else epoch, content_type, body))


def plaintext(content_type: int, body: bytes, number: int = 1000, version: int = DTLSv1_2) -> bytes:
    """A record of epoch 0, as anybody can make it."""
    return HEADER.pack(content_type, version, number, len(body)) + body
