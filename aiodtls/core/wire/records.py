"""Record headers, and the bodies of alerts.

DTLSPlaintext and DTLS 1.2 ciphertext share one header (RFC 6347 section 4.1): content type,
version, epoch, sequence number, length. Epoch and sequence number are handled as one 64-bit record
number, with the epoch in its upper 16 bits.
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
# Plain integers: an enum lookup takes longer than the comparison.
DTLSv1_2: int = int(ProtocolVersion.DTLSv1_2)
HANDSHAKE = int(ContentType.handshake)
CLIENT_HELLO = int(HandshakeType.client_hello)
SEQUENCE_NUMBER_MASK = (1 << EPOCH_SHIFT) - 1
# RFC 5246 section 6.2: the most plaintext of a record, and the most that protection may add.
MAX_PLAINTEXT_LENGTH = 1 << 14
MAX_CIPHERTEXT_LENGTH = MAX_PLAINTEXT_LENGTH + 2048
# RFC 8446 section 5.2, plus the longest unified header without a connection id.
MAX_UNIFIED_LENGTH = MAX_PLAINTEXT_LENGTH + 256 + 5

# The unified header of DTLS 1.3 (RFC 9147 section 4): 0 0 1 C S L E E.
FIXED_BITS = 0b0010_0000
FIXED_MASK = 0b1110_0000
CID_BIT = 0b0001_0000
LONG_NUMBER_BIT = 0b0000_1000
LENGTH_BIT = 0b0000_0100
EPOCH_MASK = 0b0000_0011

# One record of a datagram: content type, record number, body. In a record with a unified header the
# number is still encrypted: here the number is 0, the type is the first byte, and the body is the
# whole record. The body of a tls12_cid record (RFC 9146 section 4) begins with the connection id
# and the length.
Record = tuple[int, int, bytes]
TLS12_CID = int(ContentType.tls12_cid)
CID_AT = HEADER_LENGTH - 2


def split_datagram(datagram: bytes, cid_length: int = 0) -> tuple[list[Record], bool]:
    """Splits a datagram into records.

    Stops at bytes that do not begin like a record, or at a length that exceeds the datagram:
    without a valid length the next record cannot be found.

    Args:
        datagram: the datagram.
        cid_length: the length of our connection ids in bytes, 0 for none.

    Returns:
        The records, and whether the whole datagram consisted of records.
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
        # In epoch 0 the version has no meaning (RFC 9147 section 4). In later epochs it is
        # authenticated.
        if version != DTLSv1_2 and record_number > SEQUENCE_NUMBER_MASK:
            return records, False
        if position > end or length > MAX_CIPHERTEXT_LENGTH:
            return records, False
        records.append((content_type, record_number, datagram[body_at:position]))
    return records, True


def encode_record(record: Record) -> bytes:
    """The record as it was in its datagram, except for the version, which is not kept."""
    content_type, number, body = record
    if content_type & FIXED_MASK == FIXED_BITS:
        return body
    header = HEADER.pack(content_type, DTLSv1_2, number, len(body))
    return (header[:CID_AT] if content_type == TLS12_CID else header) + body


def connection_id(record: Record, cid_length: int) -> bytes:
    """The connection id of a record from ``split_datagram``; empty if it has none."""
    content_type, _, body = record
    if content_type & FIXED_MASK == FIXED_BITS:
        return body[1 : 1 + cid_length] if content_type & CID_BIT else b""
    return body[:cid_length] if content_type == TLS12_CID else b""


def first_connection_id(datagram: bytes, cid_length: int) -> bytes:
    """The connection id of the first record of a datagram; empty if it has none."""
    first = datagram[0] if datagram else 0
    if first == TLS12_CID:
        return datagram[CID_AT : CID_AT + cid_length]
    if first & (FIXED_MASK | CID_BIT) == FIXED_BITS | CID_BIT:
        return datagram[1 : 1 + cid_length]
    return b""


def _end_of_unified(datagram: bytes, start: int, end: int, cid_length: int) -> int:
    """Where a record with a unified header ends. Without a length it ends with the datagram."""
    first = datagram[start]
    length_at = start + (3 if first & LONG_NUMBER_BIT else 2)
    if first & CID_BIT:
        if not cid_length:
            # No connection id was negotiated, so its end is unknown (RFC 9147 section 4).
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
    """The level and the description (RFC 5246 section 7.2).

    Raises:
        DecodeError: malformed. For an empty alert it is an unexpected_message (RFC 8446 section
            5.4).
    """
    if not body:
        raise DecodeError("an empty alert", AlertDescription.unexpected_message)
    if len(body) != 2:
        raise DecodeError("an alert has two bytes")
    return body[0], body[1]


def begins_client_hello(data: bytes) -> bool:
    """Whether the first record of the datagram carries a plaintext ClientHello."""
    return (
        len(data) > HEADER_LENGTH
        and data[0] == HANDSHAKE
        and data[HEADER_LENGTH] == CLIENT_HELLO
        and data[3:5] == b"\0\0"
    )
