"""One question to a server: a ClientHello goes out, and what comes back is taken apart.

Every exchange has a socket of its own. It ends with a fatal alert where the server may have begun a
handshake, so that nothing half-open stays there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Any, Self, cast

from aiodtls.cli.scan.hello import VERSIONS, Hello, datagrams_of
from aiodtls.core.errors import AlertError, DecodeError
from aiodtls.core.registry import (
    AlertDescription,
    AlertLevel,
    ContentType,
    ExtensionType,
    HandshakeType,
    ProtocolVersion,
)
from aiodtls.core.wire.codec import Reader
from aiodtls.core.wire.fragments import parse_fragments
from aiodtls.core.wire.records import HEADER, encode_alert, parse_alert, split_datagram
from aiodtls.net import sockets

# RFC 8446 section 4.1.3: the random of a HelloRetryRequest.
RETRY_RANDOM = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
# Seconds until a hello is sent again, and the last time is given up.
WAITS = (1.0, 2.0)
# Seconds that the rest of a flight may take after its first datagram.
REST = 0.3
FRAGMENT_SIZE = 1100
# Messages and bytes of one that a first flight is read up to.
MOST_MESSAGES = 16
LONGEST_MESSAGE = 1 << 17


class TooManySilences(Exception):
    """The server has not answered three questions in a row."""


@dataclass(frozen=True)
class Target:
    """Who is asked: an address, and the name for server_name."""

    family: int
    address: Any
    host: str
    port: int
    name: str | None

    @classmethod
    async def resolved(cls, host: str, port: int, server_hostname: str | None) -> Self:
        """The first address of the host.

        Raises:
            OSError: The host is not known.
        """
        [(family, address), *_] = await sockets.resolve(host, port)
        name = server_hostname or host
        return cls(family, address, host, port, None if _is_ip_address(name) else name)

    @property
    def checked_name(self) -> str:
        """The name that the certificate should have."""
        return self.name or self.host


class Pace:
    """Two questions a second and 200 in all at most; three silences in a row end the scan."""

    def __init__(self, *, interval: float = 0.5, limit: int = 200, silences: int = 3) -> None:
        self._interval = interval
        self._limit = limit
        self._silences = silences
        self._silent = 0
        self._last = 0.0
        self.asked: int = 0

    @property
    def is_spent(self) -> bool:
        return self.asked >= self._limit

    @property
    def is_silent(self) -> bool:
        return self._silent >= self._silences

    async def wait(self) -> None:
        """Waits until the next question may be asked.

        Raises:
            TooManySilences: The server does not answer.
        """
        if self.is_silent:
            raise TooManySilences
        now = time.monotonic()
        await asyncio.sleep(max(0.0, self._last + self._interval - now))
        self._last = time.monotonic()
        self.asked += 1

    def note(self, answered: bool) -> None:
        self._silent = 0 if answered else self._silent + 1


@dataclass(frozen=True)
class Answer:
    """What came back. ``kind`` is "hello", "alert" or "silence"; a cookie may come before each."""

    kind: str = "silence"
    version: str | None = None
    suite: int | None = None
    group: int | None = None
    extensions: Mapping[int, bytes] = field(default_factory=dict)
    alert: str | None = None
    is_retry: bool = False
    certificates: tuple[bytes, ...] = ()
    scheme: int | None = None
    # Whether a cookie was asked for, and bytes out and in before one was returned.
    has_cookie: bool = False
    sent_bytes: int = 0
    received_bytes: int = 0

    @property
    def is_taken(self) -> bool:
        return self.kind == "hello"


class Exchange(asyncio.DatagramProtocol):
    """One hello, up to its ServerHello, HelloRetryRequest or alert."""

    def __init__(self, hello: Hello, fragment_size: int = FRAGMENT_SIZE) -> None:
        self._hello = hello
        self._fragment_size = fragment_size
        self._records = 0
        self._message_seq = 0
        self._messages: dict[int, _Message] = {}
        self._arrived = asyncio.Event()
        self.answer: Answer = Answer()
        self._taken = 0
        self._cookie: bytes | None = None
        self._is_verify_request = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    async def run(self) -> Answer:
        """Asks, with one resend, and ends what the server has begun."""
        cookie = await self._ask(b"")
        self._note(has_cookie=cookie is not None)
        # A HelloVerifyRequest says that there is no DTLS 1.3, and the server keeps nothing yet.
        if cookie is not None and not (self._is_verify_request and self._hello.version == "1.3"):
            await self._ask(cookie)
        if self.answer.is_taken and not self.answer.is_retry:
            self._send_alert()
        return self.answer

    def _note(self, **found: Any) -> None:
        self.answer = replace(self.answer, **found)

    async def _ask(self, cookie: bytes) -> bytes | None:
        """Sends the hello until something comes; returns a cookie if that is what came."""
        self._messages.clear()
        body = self._hello.body(cookie)
        for wait in WAITS:
            datagrams = datagrams_of(body, self._message_seq, self._records, self._fragment_size)
            self._records += len(datagrams)
            for datagram in datagrams:
                self._transport.sendto(datagram)
            found = await self._read(wait)
            if not cookie:
                self._note(
                    sent_bytes=self.answer.sent_bytes + sum(map(len, datagrams)),
                    received_bytes=self.answer.received_bytes + self._taken,
                )
            if found or self.answer.kind != "silence":
                break
        self._message_seq += 1
        return self._cookie

    async def _read(self, wait: float) -> bool:
        """Waits for the decisive message, and a moment longer for the rest of its flight."""
        self._taken = 0
        self._cookie = None
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        while not self._is_complete():
            self._arrived.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._arrived.wait()
            except TimeoutError:
                break
            if self.answer.is_taken:
                deadline = min(deadline, loop.time() + REST)
        return self._cookie is not None or self.answer.kind != "silence"

    def _is_complete(self) -> bool:
        answer = self.answer
        return (
            self._cookie is not None
            or answer.kind == "alert"
            or answer.is_retry
            or any(m.kind == HandshakeType.server_hello_done for m in self._messages.values())
        )

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._taken += len(data)
        for kind, number, body in split_datagram(data)[0]:
            if number >> 48:
                continue
            try:
                if kind == ContentType.alert:
                    self._take_alert(body)
                elif kind == ContentType.handshake:
                    self._take_fragments(body)
            except (DecodeError, AlertError):
                continue
        self._arrived.set()

    def error_received(self, exc: Exception) -> None:
        self._arrived.set()

    def _take_alert(self, body: bytes) -> None:
        level, description = parse_alert(body)
        if self.answer.kind == "silence" and level == AlertLevel.fatal:
            self._note(kind="alert", alert=_name_of_alert(description))

    def _take_fragments(self, body: bytes) -> None:
        for fragment in parse_fragments(body):
            if fragment.message_seq >= MOST_MESSAGES:
                continue
            message = self._messages.setdefault(
                fragment.message_seq, _Message(fragment.msg_type, fragment.length)
            )
            if message.add(fragment.offset, fragment.data):
                self._take_message(message)

    def _take_message(self, message: _Message) -> None:
        if message.kind == HandshakeType.hello_verify_request:
            reader = Reader(bytes(message.body))
            reader.u16()
            self._cookie = reader.vector(1)
            self._is_verify_request = True
        elif message.kind == HandshakeType.server_hello:
            self._take_server_hello(bytes(message.body))
        elif message.kind == HandshakeType.certificate:
            self._take_certificate(bytes(message.body))
        elif message.kind == HandshakeType.server_key_exchange:
            self._take_key_exchange(bytes(message.body))

    def _take_server_hello(self, body: bytes) -> None:
        reader = Reader(body)
        legacy, random = reader.u16(), reader.take(32)
        reader.vector(1)
        suite = reader.u16()
        reader.u8()
        extensions = {}
        if reader.remaining:
            block = reader.sub(2)
            while block.remaining:
                code = block.u16()
                extensions[code] = block.vector(2)
        selected = extensions.get(ExtensionType.supported_versions)
        version = int.from_bytes(selected, "big") if selected else legacy
        is_retry = random == RETRY_RANDOM
        if is_retry and self._hello.shares:
            self._follow(extensions)
            return
        share = extensions.get(ExtensionType.key_share, b"")
        self._note(
            kind="hello",
            version=next((name for name, code in VERSIONS.items() if code == version), None),
            suite=suite,
            extensions=extensions,
            is_retry=is_retry,
            group=int.from_bytes(share[:2], "big") if len(share) >= 2 else None,
        )

    def _follow(self, extensions: Mapping[int, bytes]) -> None:
        """A hello with shares is sent again with the cookie of a HelloRetryRequest."""
        cookie = extensions.get(ExtensionType.cookie)
        if cookie is not None and not self._message_seq:
            self._cookie = Reader(cookie).vector(2)

    def _take_certificate(self, body: bytes) -> None:
        block = Reader(body).sub(3)
        while block.remaining:
            self._note(certificates=(*self.answer.certificates, block.vector(3)))

    def _take_key_exchange(self, body: bytes) -> None:
        """The group, and the scheme of the signature, of an (EC)DHE key exchange (RFC 8422)."""
        reader = Reader(body)
        if reader.u8() != 3:
            return
        self._note(group=reader.u16())
        reader.vector(1)
        if reader.remaining >= 2:
            self._note(scheme=reader.u16())

    def _send_alert(self) -> None:
        body = encode_alert(AlertLevel.fatal, AlertDescription.handshake_failure)
        header = HEADER.pack(ContentType.alert, ProtocolVersion.DTLSv1_2, self._records, len(body))
        self._transport.sendto(header + body)


class _Message:
    """A handshake message that comes in fragments."""

    def __init__(self, kind: int, length: int) -> None:
        self.kind = kind
        self.body = bytearray(min(length, LONGEST_MESSAGE))
        self._missing = set(range(len(self.body)))
        self._is_whole = False

    def add(self, offset: int, data: bytes) -> bool:
        """Whether it is whole now, and was not before."""
        if self._is_whole or offset + len(data) > len(self.body):
            return False
        self.body[offset : offset + len(data)] = data
        self._missing.difference_update(range(offset, offset + len(data)))
        self._is_whole = not self._missing
        return self._is_whole


async def ask(target: Target, hello: Hello, fragment_size: int = FRAGMENT_SIZE) -> Answer:
    """Asks a server one question.

    Args:
        target: the server.
        hello: what is offered.
        fragment_size: the bytes of the hello that one datagram carries.

    Raises:
        OSError: Nothing can be sent to the address.
    """
    loop = asyncio.get_running_loop()
    exchange = Exchange(replace(hello, server_name=target.name), fragment_size)
    transport, _ = await loop.create_datagram_endpoint(
        lambda: exchange, remote_addr=target.address[:2], family=target.family
    )
    try:
        return await exchange.run()
    finally:
        transport.close()


def _is_ip_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _name_of_alert(description: int) -> str:
    try:
        return AlertDescription(description).name
    except ValueError:
        return f"alert {description}"
