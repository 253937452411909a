"""Record headers, and the bodies of the smallest content types.

DTLSPlaintext and DTLS 1.2 ciphertext share one header (RFC 6347 section 4.1): content type,
version, epoch, sequence number, length. Epoch and sequence number are handled as one 64-bit
record number, the epoch in its upper 16 bits.
"""

from __future__ import annotations

from struct import Struct

from aiodtls.core.errors import DecodeError
from aiodtls.core.registry import (
    AlertDescription,
    AlertLevel,
    ContentType,
    HandshakeType,
    ProtocolVersion,
)

HEADER = Struct("!BHQH")
HEADER_LENGTH = HEADER.size
EPOCH_SHIFT = 48
# To look a member up in an enum takes longer than to compare it.
DTLSv1_2 = int(ProtocolVersion.DTLSv1_2)
HANDSHAKE = int(ContentType.handshake)
CLIENT_HELLO = int(HandshakeType.client_hello)
SEQUENCE_NUMBER_MASK = (1 << EPOCH_SHIFT) - 1
# RFC 5246 section 6.2: plaintext of a record, and what protection may add to it.
MAX_PLAINTEXT_LENGTH = 1 << 14
MAX_CIPHERTEXT_LENGTH = MAX_PLAINTEXT_LENGTH + 2048
# RFC 8446 section 5.2, and the longest unified header without a connection id.
MAX_UNIFIED_LENGTH = MAX_PLAINTEXT_LENGTH + 256 + 5

# The unified header of DTLS 1.3 (RFC 9147 section 4): 0 0 1 C S L E E.
FIXED_BITS = 0b0010_0000
FIXED_MASK = 0b1110_0000
CID_BIT = 0b0001_0000
LONG_NUMBER_BIT = 0b0000_1000
LENGTH_BIT = 0b0000_0100
EPOCH_MASK = 0b0000_0011

# One record of a datagram: content type, record number, body. With a unified header the number
# is still hidden: it stands as 0, the first byte in the place of the type, and the body is whole.
# Of a tls12_cid record (RFC 9146 section 4) the body begins with the connection id and the length.
Record = tuple[int, int, bytes]
TLS12_CID = int(ContentType.tls12_cid)
CID_AT = HEADER_LENGTH - 2


def split_datagram(datagram: bytes, cid_length: int = 0) -> tuple[list[Record], bool]:
    """The records of a datagram, and whether all of it was records.

    Our connection ids have ``cid_length`` bytes; with 0 there are none.

    What does not begin like a record, or claims more bytes than there are, ends the
    splitting: without a length nothing behind it can be found.
    """
    records: list[Record] = []
    position = 0
    end = len(datagram)
    while position < end:
        if datagram[position] & FIXED_MASK == FIXED_BITS:
            start = position
            position = _end_of_unified(datagram, start, end, cid_length)
            if position > end or position - start > MAX_UNIFIED_LENGTH + cid_length:
                return records, False
            records.append((datagram[start], 0, datagram[start:position]))
            continue
        start = position + HEADER_LENGTH
        if start > end:
            return records, False
        content_type, version, record_number, length = HEADER.unpack_from(datagram, position)
        body_at = start
        if content_type == TLS12_CID:
            start += cid_length
            if not cid_length or start > end:
                return records, False
            body_at = position + CID_AT
            length = datagram[start - 2] << 8 | datagram[start - 1]
        position = start + length
        # In epoch 0 the version says nothing (RFC 9147 section 4); above, it is authenticated.
        if version != DTLSv1_2 and record_number > SEQUENCE_NUMBER_MASK:
            return records, False
        if position > end or length > MAX_CIPHERTEXT_LENGTH:
            return records, False
        records.append((content_type, record_number, datagram[body_at:position]))
    return records, True


def encode_record(record: Record) -> bytes:
    """The record as it was in its datagram; the version is the one thing not kept."""
    content_type, number, body = record
    if content_type & FIXED_MASK == FIXED_BITS:
        return body
    header = HEADER.pack(content_type, DTLSv1_2, number, len(body))
    return (header[:CID_AT] if content_type == TLS12_CID else header) + body


def connection_id(record: Record, cid_length: int) -> bytes:
    """The id that a record of ``split_datagram`` bears; empty where it bears none."""
    content_type, _, body = record
    if content_type & FIXED_MASK == FIXED_BITS:
        return body[1 : 1 + cid_length] if content_type & CID_BIT else b""
    return body[:cid_length] if content_type == TLS12_CID else b""


def first_connection_id(datagram: bytes, cid_length: int) -> bytes:
    """The id that the first record of a datagram bears; empty where it bears none."""
    first = datagram[0] if datagram else 0
    if first == TLS12_CID:
        return datagram[CID_AT : CID_AT + cid_length]
    if first & (FIXED_MASK | CID_BIT) == FIXED_BITS | CID_BIT:
        return datagram[1 : 1 + cid_length]
    return b""


def _end_of_unified(datagram: bytes, start: int, end: int, cid_length: int) -> int:
    """Where a record with a unified header ends; without a length, at the end of all."""
    first = datagram[start]
    length_at = start + (3 if first & LONG_NUMBER_BIT else 2)
    if first & CID_BIT:
        if not cid_length:
            # None was negotiated, so nobody can say where it ends (RFC 9147 section 4).
            return end + 1
        length_at += cid_length
    if not first & LENGTH_BIT:
        return max(end, length_at)
    if length_at + 2 > end:
        return end + 1
    return length_at + 2 + (datagram[length_at] << 8 | datagram[length_at + 1])


def encode_alert(level: AlertLevel, description: int) -> bytes:
    return bytes((level, description))


def parse_alert(body: bytes) -> tuple[int, int]:
    """Level and description (RFC 5246 section 7.2). Raises :class:`DecodeError`.

    An empty one is an unexpected_message (RFC 8446 section 5.4).
    """
    if not body:
        raise DecodeError("an alert without content", AlertDescription.unexpected_message)
    if len(body) != 2:
        raise DecodeError("an alert has two bytes")
    return body[0], body[1]


def begins_client_hello(data: bytes) -> bool:
    """Whether the datagram's first record carries a ClientHello in the clear."""
    return (
        len(data) > HEADER_LENGTH
        and data[0] == HANDSHAKE
        and data[HEADER_LENGTH] == CLIENT_HELLO
        and data[3:5] == b"\0\0"
    )
