"""The ClientHellos of the scanner, with any suites, groups and extensions."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from aiodtls.core.registry import ContentType, ExtensionType, HandshakeType, ProtocolVersion
from aiodtls.core.wire.codec import Writer
from aiodtls.core.wire.fragments import encode_fragment
from aiodtls.core.wire.records import HEADER

VERSIONS = {
    "1.0": ProtocolVersion.DTLSv1_0,
    "1.2": ProtocolVersion.DTLSv1_2,
    "1.3": ProtocolVersion.DTLSv1_3,
}
# TLS_EMPTY_RENEGOTIATION_INFO_SCSV (RFC 5746 section 3.3).
SCSV = 0x00FF


@dataclass(frozen=True, kw_only=True)
class Hello:
    """What one ClientHello offers. ``shares`` are a group and a public value each."""

    version: str
    suites: tuple[int, ...]
    groups: tuple[int, ...]
    schemes: tuple[int, ...]
    server_name: str | None = None
    shares: tuple[tuple[int, bytes], ...] = ()
    extensions: tuple[tuple[int, bytes], ...] = ()
    random: bytes = field(default_factory=lambda: os.urandom(32))

    def with_extensions(self, *extensions: tuple[int, bytes]) -> Hello:
        return replace(self, extensions=self.extensions + extensions)

    def body(self, cookie: bytes = b"") -> bytes:
        """The message's body; a cookie goes where its version has it."""
        is_13 = self.version == "1.3"
        suites = self.suites
        if not is_13:
            suites += (SCSV,)
        is_10 = self.version == "1.0"
        legacy = ProtocolVersion.DTLSv1_0 if is_10 else ProtocolVersion.DTLSv1_2
        writer = Writer()
        writer.u16(legacy).raw(self.random).vector(b"", 1)
        writer.vector(b"" if is_13 else cookie, 1)
        writer.u16_list(suites).vector(b"\0", 1)
        with writer.sub(2):
            for code, data in self._all_extensions(cookie if is_13 else b""):
                writer.u16(code).vector(data, 2)
        return writer.finish()

    def _all_extensions(self, cookie: bytes) -> Iterable[tuple[int, bytes]]:
        if self.server_name:
            name = Writer().u8(0).vector(self.server_name.encode("ascii"), 2).finish()
            yield ExtensionType.server_name, Writer().vector(name, 2).finish()
        yield ExtensionType.supported_groups, Writer().u16_list(self.groups).finish()
        if self.version != "1.0":
            yield ExtensionType.signature_algorithms, Writer().u16_list(self.schemes).finish()
        if self.version == "1.3":
            versions = Writer().u16_list((ProtocolVersion.DTLSv1_3,), 1).finish()
            yield ExtensionType.supported_versions, versions
            shares = Writer()
            for group, public in self.shares:
                shares.u16(group).vector(public, 2)
            yield ExtensionType.key_share, Writer().vector(shares, 2).finish()
        else:
            yield ExtensionType.ec_point_formats, b"\1\0"
        yield from self.extensions
        if cookie:
            yield ExtensionType.cookie, Writer().vector(cookie, 2).finish()


def datagrams_of(body: bytes, message_seq: int, first_record: int, size: int) -> list[bytes]:
    """The message as DTLS fragments of at most ``size`` bytes, one record and datagram each."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    found = []
    at = 0
    for number, piece in enumerate(pieces):
        kind = HandshakeType.client_hello
        fragment = encode_fragment(kind, len(body), message_seq, at, piece)
        at += len(piece)
        header = HEADER.pack(
            ContentType.handshake,
            ProtocolVersion.DTLSv1_0,
            first_record + number,
            len(fragment),
        )
        found.append(header + fragment)
    return found
