"""The handshake header, and the message fragments that records carry (RFC 6347 section 4.2.2)."""

from __future__ import annotations

from struct import Struct

from aiodtls.core.errors import DecodeError
from aiodtls.core.frozen import frozen

# RFC 6347 section 4.2.2: msg_type (1 byte), length (3), message_seq (2), fragment_offset (3),
# fragment_length (3).
FRAGMENT_HEADER_LENGTH = 12
# The offset of message_seq, after the two fields that TLS has too.
TYPE_AND_LENGTH = 4
_FRAGMENT_HEADER = Struct("!IHHI")
_24_BITS = 0xFFFFFF


@frozen
class Fragment:
    """A part of a handshake message: ``data`` begins at ``offset`` of ``length`` bytes."""

    msg_type: int
    length: int
    message_seq: int
    offset: int
    data: bytes

    def encode(self) -> bytes:
        return encode_fragment(self.msg_type, self.length, self.message_seq, self.offset, self.data)


def encode_fragment(
    msg_type: int, length: int, message_seq: int, offset: int, data: bytes
) -> bytes:
    """Encodes one fragment: a header, and the bytes from ``offset`` on of a message of ``length``
    bytes.
    """
    header = _FRAGMENT_HEADER.pack(
        msg_type << 24 | length, message_seq, offset >> 8, (offset & 0xFF) << 24 | len(data)
    )
    return header + data


def encode_whole(msg_type: int, message_seq: int, body: bytes) -> bytes:
    """Encodes a message as one fragment."""
    length = len(body)
    return _FRAGMENT_HEADER.pack(msg_type << 24 | length, message_seq, 0, length) + body


def message_seq_of(fragment: bytes) -> int:
    """The message_seq of an encoded fragment."""
    return int.from_bytes(fragment[TYPE_AND_LENGTH : TYPE_AND_LENGTH + 2], "big")


def parse_fragments(payload: bytes) -> list[Fragment]:
    """All fragments in one handshake record. Raises :class:`DecodeError`."""
    fragments = []
    position, end = 0, len(payload)
    while position < end:
        fragment = parse_fragment(payload, position)
        position += FRAGMENT_HEADER_LENGTH + len(fragment.data)
        fragments.append(fragment)
    return fragments


def parse_fragment(payload: bytes, position: int = 0) -> Fragment:
    """The fragment at a position of a handshake record. Raises :class:`DecodeError`."""
    start = position + FRAGMENT_HEADER_LENGTH
    if start > len(payload):
        raise DecodeError("a handshake header is cut short")
    first, message_seq, high, low = _FRAGMENT_HEADER.unpack_from(payload, position)
    length, offset, fragment_length = first & _24_BITS, high << 8 | low >> 24, low & _24_BITS
    end = start + fragment_length
    if end > len(payload) or offset + fragment_length > length:
        raise DecodeError("a fragment reaches past the end of its record or message")
    return Fragment(first >> 24, length, message_seq, offset, payload[start:end])
