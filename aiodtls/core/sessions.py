"""Sessions: what two peers keep of a handshake, so that the next handshake is shorter.

A client keeps a :class:`Session` and gives it to its next handshake. A server keeps nothing: its
session is sealed in the client's ticket (RFC 5077, RFC 8446 section 4.6.1) or, for clients without
tickets, in a store under the session id (RFC 5246 section 7.4.1.2).
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from dataclasses import field
from struct import Struct
from typing import Protocol

from aiodtls.core.checks import at_least, checked
from aiodtls.core.clock import wall_clock
from aiodtls.core.errors import DecodeError
from aiodtls.core.frozen import frozen_kw_only
from aiodtls.core.registry import CertificateType
from aiodtls.core.wire.codec import Reader, Writer

# RFC 8446 section 4.6.1: the longest time between the handshake that authenticated the peer and a
# resumption.
MAX_LIFETIME = 7 * 24 * 3600
FORMAT = 1
# Times of authentication and issue in milliseconds; lifetime; ticket_age_add.
_TIMES = Struct("!QQII")


@frozen_kw_only
class Session:
    """What a later handshake with the same peer may resume. Opaque to the application.

    ``secret`` is the master secret of DTLS 1.2, or the PSK of a ticket in DTLS 1.3. Times are in
    seconds since 1970, ``lifetime`` is in seconds. The session contains what a resumption does not
    prove again: the peer's certificates, the PSK's identity, and a value that only that PSK gives.
    """

    version: str
    suite: int
    secret: bytes = field(repr=False)
    authenticated_at: float = 0.0
    issued_at: float = 0.0
    lifetime: int = MAX_LIFETIME
    server_hostname: str | None = None
    alpn_protocol: bytes | None = field(default=None, repr=False)
    psk_identity: bytes | None = field(default=None, repr=False)
    psk_check: bytes = field(default=b"", repr=False)
    certificate_type: int = CertificateType.X509
    peer_chain: tuple[bytes, ...] = field(default=(), repr=False)
    age_add: int = field(default=0, repr=False)
    ticket: bytes = field(default=b"", repr=False)
    session_id: bytes = field(default=b"", repr=False)

    @property
    def is_alive(self) -> bool:
        """Whether it is valid now."""
        return self.is_alive_at(wall_clock())

    def is_alive_at(self, wall_time: float) -> bool:
        """Whether it can be resumed at a time, in seconds since 1970."""
        ends = min(self.issued_at + self.lifetime, self.authenticated_at + MAX_LIFETIME)
        # A minute, because the clocks of two hosts that share their tickets may differ.
        return self.issued_at - 60 <= wall_time < ends

    def to_bytes(self) -> bytes:
        """Encodes the session. Keep it as safe as a private key: whoever has it can impersonate
        this side.
        """
        writer = Writer().u8(FORMAT).vector(self.version.encode(), 1).u16(self.suite)
        writer.vector(self.secret, 1)
        times = round(self.authenticated_at * 1000), round(self.issued_at * 1000)
        writer.raw(_TIMES.pack(*times, self.lifetime, self.age_add))
        name = self.server_hostname
        writer.raw(_optional(name.encode() if name is not None else None))
        writer.raw(_optional(self.alpn_protocol) + _optional(self.psk_identity))
        writer.vector(self.psk_check, 1).u8(self.certificate_type)
        writer.vectors(self.peer_chain, 3, 3)
        return writer.vector(self.ticket, 2).vector(self.session_id, 1).finish()

    @classmethod
    @checked
    def from_bytes(cls, data: bytes) -> Session:
        """Decodes a session. Raises ValueError for anything that ``to_bytes`` did not make."""
        reader = Reader(data)
        try:
            if reader.u8() != FORMAT:
                raise DecodeError("another format")
            session = cls._parse(reader)
            reader.finish()
        except (DecodeError, ValueError) as error:
            raise ValueError(f"this is no session of ours: {error}") from None
        return session

    @classmethod
    def _parse(cls, reader: Reader) -> Session:
        version, suite = reader.vector(1).decode(), reader.u16()
        secret = reader.vector(1)
        authenticated_at, issued_at = reader.uint(8) / 1000, reader.uint(8) / 1000
        lifetime, age_add = reader.uint(4), reader.uint(4)
        name, alpn, identity = (_read_optional(reader) for _ in range(3))
        psk_check, certificate_type = reader.vector(1), CertificateType(reader.u8())
        certificates, chain = reader.sub(3), []
        while certificates.remaining:
            chain.append(certificates.vector(3, 1))
        return cls(
            version=version,
            suite=suite,
            secret=secret,
            authenticated_at=authenticated_at,
            issued_at=issued_at,
            lifetime=lifetime,
            server_hostname=name.decode() if name is not None else None,
            alpn_protocol=alpn,
            psk_identity=identity,
            psk_check=psk_check,
            certificate_type=certificate_type,
            peer_chain=tuple(chain),
            age_add=age_add,
            ticket=reader.vector(2),
            session_id=reader.vector(1),
        )

    def ticket_age_at(self, wall_time: float) -> int:
        """In milliseconds, as on the wire (RFC 8446 section 4.2.11.1)."""
        age = max(0, int((wall_time - self.issued_at) * 1000))
        return (age + self.age_add) % (1 << 32)


def _optional(value: bytes | None) -> bytes:
    """A byte that tells whether there is a value, and a vector."""
    return b"\0\0\0" if value is None else b"\1" + len(value).to_bytes(2, "big") + value


def _read_optional(reader: Reader) -> bytes | None:
    present, value = reader.u8(), reader.vector(2)
    return value if present else None


def psk_check(key: bytes) -> bytes:
    """A value that shows whether an identity still has the same key. It does not reveal the key."""
    return hmac.digest(key, b"aiodtls session", "sha256")[:16]


class SessionStore(Protocol):
    """Where a DTLS 1.2 server stores sessions of clients that do not support tickets.

    Sessions are secret. They are requested by session id until they expire.
    """

    def put(self, session_id: bytes, session: bytes) -> None: ...

    def get(self, session_id: bytes) -> bytes | None: ...

    def delete(self, session_id: bytes) -> None: ...


class MemorySessionStore:
    """Keeps the newest ``limit`` sessions in this process."""

    __slots__ = ("_limit", "_sessions")

    def __init__(self, limit: int = 10_000) -> None:
        at_least(1, "limit", limit)
        self._limit = limit
        self._sessions: OrderedDict[bytes, bytes] = OrderedDict()

    def put(self, session_id: bytes, session: bytes) -> None:
        self._sessions[session_id] = session
        while len(self._sessions) > self._limit:
            self._sessions.popitem(last=False)

    def get(self, session_id: bytes) -> bytes | None:
        return self._sessions.get(session_id)

    def delete(self, session_id: bytes) -> None:
        self._sessions.pop(session_id, None)


class SessionCache:
    """A client's sessions by server, for ``connect(session=...)``. Keeps the newest ``limit``
    servers.

    A DTLS 1.3 ticket is used only once, so that nobody can link two connections by it (RFC 8446
    appendix C.4).
    """

    __slots__ = ("_limit", "_per_server", "_sessions")

    def __init__(self, limit: int = 1000, *, per_server: int = 4) -> None:
        at_least(1, "limit", limit)
        at_least(1, "per_server", per_server)
        self._limit = limit
        self._sessions: OrderedDict[object, list[Session]] = OrderedDict()
        self._per_server = per_server

    @checked
    def put(self, server: object, session: Session) -> None:
        kept = self._sessions.pop(server, [])
        if session.version == "1.2":
            # One DTLS 1.2 session is enough; the newest is valid longest.
            kept = [other for other in kept if other.version != "1.2"]
        self._sessions[server] = [*kept, session][-self._per_server :]
        while len(self._sessions) > self._limit:
            self._sessions.popitem(last=False)

    def get(self, server: object) -> Session | None:
        """The newest valid session. One of DTLS 1.3 is removed from the cache."""
        kept = [session for session in self._sessions.get(server, ()) if session.is_alive]
        found = kept[-1] if kept else None
        if found is not None and found.version != "1.2":
            kept.pop()
        if kept:
            self._sessions[server] = kept
        else:
            self._sessions.pop(server, None)
        return found

    def discard(self, server: object) -> None:
        """Removes all sessions of a server."""
        self._sessions.pop(server, None)
