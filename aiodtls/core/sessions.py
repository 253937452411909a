"""Sessions: what two peers keep of a handshake, so that the next handshake is shorter.

A client keeps a :class:`Session` and gives it to its next handshake. A server keeps nothing: its
session is sealed in the client's ticket (RFC 5077, RFC 8446 section 4.6.1) or, for clients without
tickets, in a store under the session id (RFC 5246 section 7.4.1.2).
"""

from __future__ import annotations

import hmac
import os
from collections import OrderedDict
from collections.abc import Awaitable
from dataclasses import field, replace
from struct import Struct
from typing import Any, Protocol

from aiodtls.core import private_files
from aiodtls.core.checks import at_least, checked
from aiodtls.core.clock import wall_clock
from aiodtls.core.errors import DecodeError
from aiodtls.core.frozen import frozen_kw_only
from aiodtls.core.registry import CertificateType
from aiodtls.core.wire.codec import Reader, Writer

# RFC 8446 section 4.6.1: the longest time between the handshake that authenticated the peer and a
# resumption.
MAX_LIFETIME = 7 * 24 * 3600
FORMAT, HASH_FORMAT = 1, 2
FILE_MAGIC = b"aiodtls sessions 1\n"
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
    # In a ticket with no room for the chain, which is in the server's session store then.
    chain_hash: bytes = field(default=b"", repr=False)
    # What the application has with the PSK, while the session is being resumed. Never stored.
    psk_user_data: Any = field(default=None, repr=False, compare=False)

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
        # The hash of a chain is in tickets alone, so that other sessions keep their first format.
        kind = HASH_FORMAT if self.chain_hash else FORMAT
        writer = Writer().u8(kind).vector(self.version.encode(), 1).u16(self.suite)
        writer.vector(self.secret, 1)
        times = round(self.authenticated_at * 1000), round(self.issued_at * 1000)
        writer.raw(_TIMES.pack(*times, self.lifetime, self.age_add))
        name = self.server_hostname
        writer.raw(_optional(name.encode() if name is not None else None))
        writer.raw(_optional(self.alpn_protocol) + _optional(self.psk_identity))
        writer.vector(self.psk_check, 1).u8(self.certificate_type)
        writer.vectors(self.peer_chain, 3, 3)
        writer.vector(self.ticket, 2).vector(self.session_id, 1)
        if self.chain_hash:
            writer.vector(self.chain_hash, 1)
        return writer.finish()

    @classmethod
    @checked
    def from_bytes(cls, data: bytes) -> Session:
        """Decodes a session. Raises ValueError for anything that ``to_bytes`` did not make."""
        reader = Reader(data)
        try:
            kind = reader.u8()
            if kind not in (FORMAT, HASH_FORMAT):
                raise DecodeError("another format")
            session = cls._parse(reader)
            if kind == HASH_FORMAT:
                session = replace(session, chain_hash=reader.vector(1, 1))
            reader.finish()
        except (DecodeError, ValueError) as error:
            raise ValueError(f"these bytes are not a session: {error}") from None
        return session

    @classmethod
    def _parse(cls, reader: Reader) -> Session:
        version, suite = reader.vector(1).decode(), reader.u16()
        secret = reader.vector(1)
        authenticated_at, issued_at = reader.uint(8) / 1000, reader.uint(8) / 1000
        lifetime, age_add = reader.uint(4), reader.uint(4)
        name, alpn, identity = (_read_optional(reader) for _ in range(3))
        psk_check, certificate_type = reader.vector(1), CertificateType(reader.u8())
        chain = reader.vectors(3, 3, 1)
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
    """Where a server stores what it cannot give to its clients.

    These are the sessions of DTLS 1.2 clients that do not support tickets, and the certificates of
    clients whose chain is too long for a ticket. Values are secret. They are requested by their
    key for seven days. Methods may be plain or async; a plain one must not block. A method that
    raises costs a resumption, and no handshake.
    """

    def put(self, key: bytes, value: bytes, /) -> Awaitable[None] | None:
        """Keeps ``value``."""

    def get(self, key: bytes, /) -> Awaitable[bytes | None] | bytes | None:
        """What ``put`` was given under this key; None where there is nothing."""

    def delete(self, key: bytes, /) -> Awaitable[None] | None:
        """Forgets what is under this key, if there is anything."""


class MemorySessionStore:
    """Keeps the newest ``limit`` values in this process, of ``max_bytes`` together at the most."""

    __slots__ = ("_bytes", "_limit", "_max_bytes", "_values")

    def __init__(self, limit: int = 10_000, *, max_bytes: int = 16 << 20) -> None:
        at_least(1, "limit", limit)
        at_least(1, "max_bytes", max_bytes)
        self._limit, self._max_bytes = limit, max_bytes
        self._values: OrderedDict[bytes, bytes] = OrderedDict()
        self._bytes = 0

    def put(self, key: bytes, value: bytes) -> None:
        """Keeps ``value``; the oldest entries go where there is no room."""
        self.delete(key)
        self._values[key] = value
        self._bytes += len(key) + len(value)
        while len(self._values) > self._limit or self._bytes > self._max_bytes:
            self.delete(next(iter(self._values)))

    def get(self, key: bytes) -> bytes | None:
        """The value, or None."""
        return self._values.get(key)

    def delete(self, key: bytes) -> None:
        """Forgets the value, if there is one."""
        value = self._values.pop(key, None)
        if value is not None:
            self._bytes -= len(key) + len(value)


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

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes all valid sessions to a file that only its owner may read.

        Keep it as safe as a private key: whoever reads it can impersonate this client.

        Args:
            path: A file there is replaced.

        Raises:
            OSError: The file cannot be written.
            ValueError: A session was put under another key than (host, port).
        """
        writer = Writer().raw(FILE_MAGIC)
        for server, kept in self._sessions.items():
            match server:
                case (None | str() as host, int() as port) if 0 <= port <= 65535:
                    name = _optional(host.encode() if host is not None else None)
                case _:
                    raise ValueError("only sessions under a key (host, port) can be saved")
            for session in kept:
                if session.is_alive:
                    writer.raw(name).u16(port).vector(session.to_bytes(), 3)
        private_files.write(path, writer.finish())

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, limit: int = 1000, per_server: int = 4
    ) -> SessionCache:
        """A cache with the sessions of a file that ``save`` wrote.

        The file is removed: a DTLS 1.3 ticket is used only once (RFC 8446 appendix C.4). Of several
        processes that load it, one succeeds.

        Args:
            path: The file.
            limit: As for the class, like ``per_server``.

        Raises:
            OSError: The file cannot be read or removed; FileNotFoundError where there is none.
            ValueError: It is no such file. It is left where it is then.
        """
        cache = cls(limit, per_server=per_server)
        with private_files.taken(path) as data:
            if not data.startswith(FILE_MAGIC):
                raise ValueError(f"{os.fspath(path)!r} holds no sessions that were saved")
            reader = Reader(data[len(FILE_MAGIC) :])
            try:
                while reader.remaining:
                    name, port = _read_optional(reader), reader.u16()
                    host = name.decode() if name is not None else None
                    cache.put((host, port), Session.from_bytes(reader.vector(3)))
            except (DecodeError, ValueError) as error:
                message = f"{os.fspath(path)!r} holds sessions that are damaged: {error}"
                raise ValueError(message) from None
        return cache

    def discard(self, server: object, session: Session | None = None) -> None:
        """Removes one session of a server, or all of them."""
        kept = self._sessions.pop(server, [])
        if session is not None and (others := [other for other in kept if other != session]):
            self._sessions[server] = others
