"""The handshake header, and the fragments of messages that records carry (RFC 6347 s. 4.2.2)."""

from __future__ import annotations

from struct import Struct

from aiodtls.core.errors import DecodeError
from aiodtls.core.values import value

# RFC 6347 section 4.2.2: msg_type, length, message_seq, fragment_offset, fragment_length.
FRAGMENT_HEADER_LENGTH = 12
_FRAGMENT_HEADER = Struct("!IHHB3s")


@value
class Fragment:
    """A part of a handshake message, ``data`` standing at ``offset`` of ``length`` bytes."""

    msg_type: int
    length: int
    message_seq: int
    offset: int
    data: bytes

    def encode(self) -> bytes:
        return (
            _FRAGMENT_HEADER.pack(
                self.msg_type << 24 | self.length,
                self.message_seq,
                self.offset >> 8,
                self.offset & 0xFF,
                len(self.data).to_bytes(3, "big"),
            )
            + self.data
        )


def parse_fragments(payload: bytes) -> list[Fragment]:
    """All fragments of one handshake record. Raises :class:`DecodeError`."""
    fragments = []
    position = 0
    while position < len(payload):
        if len(payload) - position < FRAGMENT_HEADER_LENGTH:
            raise DecodeError("a handshake header is cut short")
        word, message_seq, high, low, size = _FRAGMENT_HEADER.unpack_from(payload, position)
        position += FRAGMENT_HEADER_LENGTH
        fragment_length = int.from_bytes(size, "big")
        fragment_offset = high << 8 | low
        length = word & 0xFFFFFF
        data = payload[position : position + fragment_length]
        if len(data) != fragment_length or fragment_offset + fragment_length > length:
            raise DecodeError("a fragment reaches past the end of its record or message")
        position += fragment_length
        fragments.append(Fragment(word >> 24, length, message_seq, fragment_offset, data))
    return fragments
