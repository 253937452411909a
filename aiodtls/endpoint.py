"""DTLSEndpoint: one association, awaitable."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Sequence
from functools import cached_property
from types import TracebackType
from typing import Any, Self, TypeAlias, cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_der_public_key

from aiodtls.channel import Channel
from aiodtls.core import checks
from aiodtls.core.checks import Buffer
from aiodtls.core.config import check_pmtu
from aiodtls.core.crypto.certificates import Role
from aiodtls.core.crypto.srtp import SRTPKeys
from aiodtls.core.errors import (
    END_REASONS,
    DTLSError,
    EndpointClosed,
    EndReason,
    MessageTooLarge,
)
from aiodtls.core.events import Event
from aiodtls.core.registry import Version
from aiodtls.core.sessions import Session
from aiodtls.core.statistics import Statistics
from aiodtls.net.sockets import SocketAddress

DataHandler: TypeAlias = Callable[["DTLSEndpoint", bytes], object]
EventHandler: TypeAlias = Callable[["DTLSEndpoint", Event], object]
# The endpoint is None only with ``HandshakeFailed``, if no association came to be.
ServerEventHandler: TypeAlias = Callable[["DTLSEndpoint | None", Event], object]

GRACEFUL_ENDS = frozenset({"close_notify", "local"})


class DTLSEndpoint:
    """One association with one peer.

    ``connect`` returns an endpoint that must be awaited or entered with ``async with``; that
    completes the handshake. An endpoint from a server can be used at once.
    """

    _opener: Callable[[DTLSEndpoint], Awaitable[Channel]] | None

    def __init__(
        self,
        opener: Callable[[DTLSEndpoint], Awaitable[Channel]] | None,
        on_data: DataHandler | None = None,
    ) -> None:
        """``connect`` and servers make endpoints. Users do not call this."""
        self._opener = opener
        self._on_data = on_data
        self._attached: Channel | None = None

    @classmethod
    def of(cls, channel: Channel) -> DTLSEndpoint:
        """The endpoint of a channel."""
        endpoint: DTLSEndpoint | None = channel.endpoint
        if endpoint is None:
            endpoint = cls(None)
            endpoint.attach(channel)
        return endpoint

    def attach(self, channel: Channel) -> None:
        """Called by the modules of aiodtls that make channels."""
        self._attached = channel
        channel.belongs_to(self)

    @property
    def _channel(self) -> Channel:
        if self._attached is None:
            raise DTLSError("await the endpoint first")
        return self._attached

    # -- the handshake ------------------------------------------------------------------------

    def __await__(self) -> Generator[Any, None, Self]:
        return self._complete().__await__()

    async def _complete(self) -> Self:
        opener, self._opener = self._opener, None
        if opener is None:
            raise RuntimeError("an endpoint is awaited once")
        channel = await opener(self)
        self.attach(channel)
        channel.claim()
        if self._on_data is not None:
            channel.deliver_to(self._on_data)
        return self

    async def __aenter__(self) -> Self:
        if self._opener is not None:
            await self
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # -- sending ------------------------------------------------------------------------------

    async def send(self, data: Buffer, *, split: bool = True) -> int:
        """Sends ``data`` in pieces of at most ``max_payload`` bytes, each in its own record and
        datagram.

        Waits for room in the write buffer, not for delivery. If it is cancelled while it waits,
        nothing is sent.

        Args:
            data: bytes, bytearray or memoryview.
            split: False sends one record, or raises before anything is sent.

        Returns:
            The number of records.

        Raises:
            EndpointClosed: the association has ended.
            MessageTooLarge: ``data`` does not fit one record, and ``split`` is False.
            ValueError: ``data`` is empty. The peer would not get an empty message.
            TypeError: ``data`` is of another type.
        """
        channel = self._attached
        if channel is not None and type(data) is bytes and channel.try_send(data):
            return 1
        data = checks.message(data)
        channel = self._channel
        channel.check_open()
        pieces = channel.pieces(data, split=split)
        if await channel.wait_for_room(len(pieces)):
            # The PMTU may have changed meanwhile.
            pieces = channel.pieces(data, split=split)
        return channel.send_now(pieces)

    def send_nowait(self, data: Buffer, *, split: bool = True) -> int:
        """As ``send``, but raises :class:`BufferFull` instead of waiting."""
        channel = self._channel
        if type(data) is bytes and channel.try_send(data):
            return 1
        data = checks.message(data)
        channel.check_open()
        pieces = channel.pieces(data, split=split)
        channel.check_room(len(pieces))
        return channel.send_now(pieces)

    async def send_many(self, messages: Iterable[Buffer]) -> int:
        """Sends each message as one record, all of them or none. Returns the number of records.

        Raises, before anything is sent:
            MessageTooLarge: a message does not fit one record.
            ValueError: a message is empty.
            TypeError: a message is not bytes.
        """
        pieces = self._checked(messages)
        channel = self._channel
        await channel.wait_for_room(len(pieces))
        return channel.send_now(pieces)

    def send_many_nowait(self, messages: Iterable[bytes]) -> int:
        """As ``send_many``, but raises :class:`BufferFull` instead of waiting."""
        pieces = self._checked(messages)
        channel = self._channel
        channel.check_room(len(pieces))
        return channel.send_now(pieces)

    def _checked(self, messages: Iterable[Buffer]) -> Sequence[bytes]:
        """The messages, if each may be sent as one record."""
        pieces = checks.messages(messages)
        self._channel.check_open()
        largest = max(map(len, pieces), default=0)
        if largest > self.max_payload:
            raise MessageTooLarge(largest, self.max_payload)
        return pieces

    # -- receiving ----------------------------------------------------------------------------

    async def recv(self) -> bytes:
        """The data of one record, never empty.

        Waiting receivers are served in order. Cancelling one loses no message. Queued messages can
        still be read after the end; then :class:`EndpointClosed` is raised.
        """
        channel = self._attached or self._channel
        return channel.inbox.popleft() if channel.inbox else await channel.recv()

    def recv_nowait(self) -> bytes:
        """As ``recv``, but raises BlockingIOError if no message is queued."""
        data = self._channel.recv_nowait()
        if data is None:
            raise BlockingIOError("no message is queued")
        return data

    async def recv_many(self, limit: int = 64) -> list[bytes]:
        """Waits for a message. Returns it with those that are queued, up to ``limit``."""
        checks.at_least(1, "limit", limit)
        channel = self._channel
        if channel.inbox:
            return channel.take(limit)
        return [await channel.recv(), *channel.take(limit - 1)]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yields messages until the association ends. Raises unless one side closed it normally."""
        channel = self._channel
        inbox = channel.inbox
        while True:
            while inbox:
                yield inbox.popleft()
            try:
                data = await channel.recv()
            except EndpointClosed as error:
                if error.reason in GRACEFUL_ENDS:
                    return
                raise
            yield data

    # -- the end ------------------------------------------------------------------------------

    def close(self) -> None:
        """Ends the association with a close_notify. Calling it again does nothing.

        It returns at once. If the last flight of the handshake may have been lost, the peer can
        still ask for it, for 240 s at most and while the event loop runs.
        """
        self._opener = None
        if self._attached is not None:
            self._attached.close()

    async def wait_closed(self) -> None:
        """Returns when the association has ended, for whatever reason."""
        await asyncio.shield(self._channel.closed)

    def abort(self, *, reason: EndReason = "local") -> None:
        """Ends the association at once and sends nothing.

        Args:
            reason: What ``EndpointClosed.reason`` is from now on, one of those that it documents:
                "disowned" where another process owns the association now.

        Raises:
            ValueError: for another reason.
        """
        if reason not in END_REASONS:
            raise ValueError(f"reason is one of {', '.join(END_REASONS)}, not {reason!r}")
        self._opener = None
        if self._attached is not None:
            self._attached.abort(reason)

    def __del__(self, _warn: Callable[..., None] = warnings.warn) -> None:
        channel = self._attached
        if channel is None or channel.connection.closed or not channel.is_claimed:
            return
        _warn(f"unclosed endpoint {self!r}", ResourceWarning, source=self)
        if not channel.loop.is_closed():
            channel.loop.call_soon_threadsafe(channel.close)

    # -- what is known ------------------------------------------------------------------------

    @property
    def role(self) -> Role:
        """ "client" or "server"."""
        return self._channel.connection.role

    @property
    def version(self) -> Version | None:
        """ "1.2" or "1.3"."""
        return self._channel.connection.version

    @property
    def cipher_suite(self) -> str | None:
        """The IANA name of the cipher suite."""
        return self._channel.connection.cipher_suite

    @property
    def group(self) -> str | None:
        """The IANA name of the key exchange group; None without (EC)DHE."""
        return self._channel.connection.group

    @cached_property
    def peer_certificates(self) -> tuple[x509.Certificate, ...]:
        """The peer's own certificate first. Empty without certificates or for a raw public key."""
        chain = self._channel.connection.peer_certificate_chain
        return tuple(x509.load_der_x509_certificate(der) for der in chain)

    @property
    def peer_public_key(self) -> PublicKeyTypes | None:
        """The peer's public key, whose possession it has proved; None without one."""
        raw = self._channel.connection.peer_raw_public_key
        if raw is not None:
            return load_der_public_key(raw)
        return self.peer_certificates[0].public_key() if self.peer_certificates else None

    @property
    def psk_identity(self) -> bytes | None:
        """The identity of the pre-shared key."""
        return self._channel.connection.psk_identity

    @property
    def psk_user_data(self) -> Any:
        """``user_data`` of the :class:`PSK`, or None.

        After a resumption it is that of the PSK that the config, or its ``psk`` function, has for
        the identity then. After an adoption it is None.
        """
        return self._channel.connection.psk_user_data

    @property
    def server_hostname(self) -> str | None:
        """The name that the client asked for."""
        return self._channel.connection.server_hostname

    @property
    def alpn_protocol(self) -> str | None:
        return self._channel.connection.alpn_protocol

    @property
    def srtp_profile(self) -> str | None:
        """The IANA name of the SRTP profile."""
        return self._channel.connection.srtp_profile

    @property
    def resumed(self) -> bool:
        """Whether the handshake resumed a session. The peer was authenticated in that session's
        first handshake.
        """
        return self._channel.connection.resumed

    @property
    def session(self) -> Session | None:
        """A client's newest session, for ``connect(session=...)``.

        In DTLS 1.3 it comes with the first :class:`aiodtls.events.SessionReceived`.
        """
        return self._channel.connection.session

    @property
    def confirmed(self) -> bool:
        """Whether the peer is known to have completed the handshake too."""
        return self._channel.connection.confirmed

    async def wait_confirmed(self) -> None:
        """Returns when ``confirmed`` is true. Raises what ended the association before that."""
        await asyncio.shield(self._channel.confirmed)

    @property
    def peername(self) -> SocketAddress:
        """The peer's socket address. With a transport of your own: as that gives it."""
        return cast(SocketAddress, self._channel.connection.peer)

    @property
    def sockname(self) -> SocketAddress:
        """Our socket address, as ``peername``."""
        return cast(SocketAddress, self.get_extra_info("sockname"))

    @property
    def statistics(self) -> Statistics:
        self._channel.flush()
        return self._channel.connection.statistics

    @property
    def max_payload(self) -> int:
        """The most bytes that one record may carry now."""
        return self._channel.connection.max_payload

    @property
    def pmtu(self) -> int:
        """The largest IP packet in bytes. It can be set to 256 or more; raises ConfigError.

        It falls when the path refuses a datagram. ``events.PathMTUChanged`` reports that.
        """
        channel = self._channel
        return channel.connection.max_datagram_size + channel.carrier.headers

    @pmtu.setter
    def pmtu(self, pmtu: int) -> None:
        channel = self._channel
        channel.flush()
        channel.connection.max_datagram_size = check_pmtu(pmtu) - channel.carrier.headers
        channel.carrier.drain()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Like that of asyncio's transports.

        Names: "peername", "sockname", "socket", "cipher" (name, version, secret bits), "peercert"
        (DER), "alpn_protocol", "connection_id" (in the peer's records), "connection_ids" (all that
        the peer may use, a tuple), "peer_connection_id" (in our records), and what the transport
        knows.
        """
        connection = self._channel.connection
        suite = connection.negotiated.suite
        known: dict[str, Any] = {
            "peername": connection.peer,
            "cipher": (
                (suite.name, connection.version, 8 * suite.aead.key_length) if suite else None
            ),
            "peercert": next(iter(connection.peer_certificate_chain), None),
            "alpn_protocol": connection.alpn_protocol,
            "psk_identity_hint": connection.psk_identity_hint,
            "ocsp_response": connection.negotiated.ocsp_response or None,
            "certificate_timestamps": connection.negotiated.certificate_timestamps or None,
            "connection_id": connection.own_cid or None,
            "connection_ids": tuple(connection.own_ids) or None,
            "peer_connection_id": connection.peer_cid or None,
        }
        if name in known:
            return known[name] if known[name] is not None else default
        return self._channel.transport_info(name, default)

    @checks.checked
    def export_keying_material(
        self, label: str, length: int, context: bytes | None = None
    ) -> bytes:
        """``length`` bytes of keying material for another protocol (RFC 5705). Raises
        :class:`DTLSError`.
        """
        return self._channel.connection.export_keying_material(label, length, context)

    def srtp_keys(self) -> SRTPKeys:
        """Master keys and salts of DTLS-SRTP (RFC 5764). Raises :class:`DTLSError`."""
        return self._channel.connection.srtp_keys()

    def update_keys(self) -> None:
        """Updates the keys of both directions in DTLS 1.3 (KeyUpdate, RFC 8446 section 4.6.3).

        ``events.KeysUpdated`` reports when they are used. Raises :class:`DTLSError` in DTLS 1.2,
        otherwise the same as ``send``.
        """
        self._channel.update_keys()

    @checks.checked
    def export_state(self, key: bytes, *, lease: int | None = None) -> bytes:
        """Exports the association, sealed with ``key`` (32 bytes), for ``adopt`` in another
        process.

        Unread data is exported too. Without ``lease`` the association ends here with the reason
        "handed_over"; the peer does not notice. With a ``lease`` it continues for so many records
        in each direction, and the state is for a process that takes over when this one is gone:
        store it, then call ``export_stored``. :class:`aiodtls.events.ExportNeeded` requests the
        next export.

        Args:
            key: 32 bytes.
            lease: how many records each way: 64 to 2^20 in DTLS 1.2, 64 to 2^13 in DTLS 1.3.

        Raises:
            DTLSError: during a handshake, or while the peer owes the ACK of a handshake message.
            LeaseExhausted: in DTLS 1.3, if adopters have skipped so many record numbers that the
                peer could not reconstruct further ones.
            ValueError: the key or the lease is invalid.
        """
        return self._channel.export_state(key, lease=lease)

    @checks.checked
    def export_stored(self, state: bytes) -> None:
        """Tells that this export is stored and replaces all older ones.

        What waited for it continues: ``send`` after the end of a lease, a KeyUpdate, the ACK of
        one. Raises ValueError if it is not an export of this association, or is an older one.
        """
        self._channel.export_stored(state)

    def change_connection_ids(self) -> None:
        """Changes the connection ids of both directions in DTLS 1.3, so that an observer of two
        paths cannot link them.

        Call it on the new path before anything is sent there, with ``spare_connection_ids`` in the
        configuration. A peer that does not know these messages may end the association. Raises
        :class:`DTLSError` in DTLS 1.2, otherwise the same as ``send``.
        """
        channel = self._channel
        channel.connection.change_connection_ids(channel.loop.time())
        channel.carrier.drain()

    def accept_peer(self) -> None:
        """With ``Trust.deferred()``: accepts the peer, so that its data may be read."""
        channel = self._channel
        channel.connection.accept_peer(channel.loop.time())
        channel.carrier.drain()

    @checks.checked
    def reject_peer(self, description: str = "bad_certificate") -> None:
        """Ends the association with a fatal alert, because the peer is not the right one.

        Data that was held back for ``accept_peer`` is dropped, and here the association ends with
        the reason "local". Does nothing after the end.

        Args:
            description: the IANA name of the alert, such as "certificate_unknown" or
                "access_denied" (RFC 8446 section 6.2).

        Raises:
            ValueError: it is not the name of an error alert.
        """
        self._channel.reject_peer(description)

    def __repr__(self) -> str:
        channel = self._attached
        if channel is None:
            return "<DTLSEndpoint, not connected>"
        connection = channel.connection
        state = "closed" if connection.closed else "open"
        return f"<DTLSEndpoint {connection.role} peer={connection.peer} {state}>"
