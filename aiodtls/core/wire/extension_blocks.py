"""Blocks of extensions: a dict from code point to extension, in the order of the wire.

Unknown extensions are kept as :class:`UnknownExtension`. A repeated extension is an error (RFC 8446
section 4.2).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from functools import lru_cache
from struct import Struct
from typing import TypeVar

from aiodtls.core.errors import DecodeError
from aiodtls.core.registry import AlertDescription
from aiodtls.core.wire.codec import Reader, Writer, parse_whole
from aiodtls.core.wire.extensions import (
    ALPN,
    ClientCertificateTypes,
    ConnectionId,
    ECPointFormats,
    ExtendedMasterSecret,
    Extension,
    KnownExtension,
    RenegotiationInfo,
    ReturnRoutability,
    ServerCertificateTypes,
    ServerName,
    SessionTicket,
    SignatureAlgorithms,
    SignedCertificateTimestamps,
    StatusRequest,
    SupportedGroups,
    SupportedVersions,
    UnknownExtension,
    UseSRTP,
)
from aiodtls.core.wire.extensions13 import (
    CertificateAuthorities,
    Cookie,
    KeyShares,
    PreSharedKey,
    PskKeyExchangeModes,
    RecordSizeLimit,
    SelectedPsk,
    SignatureAlgorithmsCert,
)
from aiodtls.core.wire.places import PLACES, Place

E = TypeVar("E", bound=Extension)
# Code point, and the length of the body.
_HEADER = Struct("!HH")

# Parsed blocks and encoded extensions are kept in caches of this size, if they are not longer than
# this. They are immutable, so messages may share them.
PARSED_KEPT = 512
LONGEST_KEPT = 64
BLOCKS_KEPT = 128
LONGEST_BLOCK_KEPT = 512
ENCODED_KEPT = 512
# No message needs more. A stranger's hello is parsed before its address is proved, so the work on
# it has a bound.
MAX_EXTENSIONS = 64
# The largest length that a 16-bit field can hold.
LONGEST = 0xFFFF

_CLASSES = (
    ServerName,
    SupportedGroups,
    ECPointFormats,
    SignatureAlgorithms,
    UseSRTP,
    ALPN,
    ExtendedMasterSecret,
    SessionTicket,
    SignedCertificateTimestamps,
    StatusRequest,
    SupportedVersions,
    RenegotiationInfo,
    ClientCertificateTypes,
    ServerCertificateTypes,
    SignatureAlgorithmsCert,
    CertificateAuthorities,
    KeyShares,
    Cookie,
    PskKeyExchangeModes,
    PreSharedKey,
    RecordSizeLimit,
    ConnectionId,
    ReturnRoutability,
)
KNOWN: Mapping[tuple[int, Place], type[KnownExtension]] = {
    **{(kind.type, place): kind for kind in _CLASSES for place in PLACES[kind.type]},
    # The server's choice has another form than the client's offer.
    (SelectedPsk.type, Place.SERVER_HELLO_13): SelectedPsk,
}


# Extensions that depend only on the configuration, so each hello repeats them.
CONFIGURED = frozenset(
    {
        SupportedGroups,
        ECPointFormats,
        SignatureAlgorithms,
        SignatureAlgorithmsCert,
        SupportedVersions,
        UseSRTP,
        ALPN,
        ServerName,
        ExtendedMasterSecret,
        RenegotiationInfo,
        CertificateAuthorities,
        PskKeyExchangeModes,
        RecordSizeLimit,
        ReturnRoutability,
    }
)


class Extensions(dict[int, Extension]):
    """The extensions of one message by code point, in the order of the wire."""

    @classmethod
    def of(cls, extensions: Iterable[Extension]) -> Extensions:
        return cls([(extension.type, extension) for extension in extensions])

    def find(self, kind: type[E]) -> E | None:
        """The extension of this class, or None if the message does not carry it."""
        found = self.get(kind.type)  # type: ignore[call-overload]
        return found if isinstance(found, kind) else None


def parse_extensions(reader: Reader, place: Place, *, required: bool = False) -> Extensions:
    """Parses a block of extensions. A hello may have no block (RFC 5246 section 7.4.1.2).

    Raises:
        DecodeError: the block is malformed. If ``place`` must not carry a known extension, the
            alert is illegal_parameter (RFC 8446 section 4.2).
    """
    if not reader.remaining and not required:
        return Extensions()
    return _parse_whole(reader.vector(2), place)


def parse_server_hello_extensions(reader: Reader) -> Extensions:
    """Parses the extensions of a ServerHello of either version."""
    if not reader.remaining:
        return Extensions()
    block = reader.vector(2)
    return _parse_whole(block, server_hello_place({code for code, _ in _split(block)}))


def server_hello_place(codes: Container[int]) -> Place:
    """The version of a ServerHello: supported_versions means DTLS 1.3 (RFC 8446 section 4.2.1)."""
    is_13 = SupportedVersions.type in codes
    return Place.SERVER_HELLO_13 if is_13 else Place.SERVER_HELLO_12


def _parse_whole(block: bytes, place: Place) -> Extensions:
    parse = _parse_block_again if len(block) <= LONGEST_BLOCK_KEPT else _parse_block
    # The cached block may be shared; this copy belongs to the message alone.
    return Extensions(parse(block, place))


def _parse_block(block: bytes, place: Place) -> Extensions:
    extensions = Extensions()
    for code, body in _split(block):
        if code in extensions:
            raise DecodeError(f"extension {code} occurs twice")
        if len(extensions) == MAX_EXTENSIONS:
            raise DecodeError(f"there are more than {MAX_EXTENSIONS} extensions")
        if code in PLACES and place not in PLACES[code]:
            raise DecodeError(
                f"extension {code} is not allowed in {place.name}",
                AlertDescription.illegal_parameter,
            )
        parse = _parse_again if len(body) <= LONGEST_KEPT else _parse
        extensions[code] = parse(code, body, place)
    return extensions


def _split(block: bytes) -> Iterator[tuple[int, bytes]]:
    """The code point and body of each extension."""
    position, end = 0, len(block)
    while position < end:
        start = position + _HEADER.size
        if start > end:
            raise DecodeError("the header of an extension is cut short")
        code, length = _HEADER.unpack_from(block, position)
        position = start + length
        if position > end:
            raise DecodeError("an extension reaches past the end of its block")
        yield code, block[start:position]


def _parse(code: int, body: bytes, place: Place) -> Extension:
    kind = KNOWN.get((code, place))
    if kind is None:
        return UnknownExtension(code, body)
    return parse_whole(kind.parse, body, place)


# Clients resemble each other: most extensions of a hello were seen before, and a second hello of
# DTLS 1.2 repeats all of them.
_parse_again = lru_cache(PARSED_KEPT)(_parse)
_parse_block_again = lru_cache(BLOCKS_KEPT)(_parse_block)


def encode_extensions(
    writer: Writer, extensions: Extensions, place: Place, *, required: bool = False
) -> None:
    """Writes the block. Writes nothing if there are no extensions and no block is required, because
    the oldest servers know no extensions.
    """
    if not extensions and not required:
        return
    encoded = [
        (_encode_again if type(extension) in CONFIGURED else _encode)(extension, place)
        for extension in extensions.values()
    ]
    writer.vector(b"".join(encoded), 2)


def _encode(extension: Extension, place: Place) -> bytes:
    writer = Writer()
    extension.encode(writer, place)
    if len(writer) > LONGEST:
        raise ValueError(f"extension {extension.type} is too long")
    return _HEADER.pack(extension.type, len(writer)) + writer


_encode_again = lru_cache(ENCODED_KEPT)(_encode)
