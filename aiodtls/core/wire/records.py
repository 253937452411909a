"""Record headers, and the bodies of the smallest content types.

DTLSPlaintext and DTLS 1.2 ciphertext share one header (RFC 6347 section 4.1): content type,
version, epoch, sequence number, length. Epoch and sequence number are handled as one 64-bit
record number, the epoch in its upper 16 bits.
"""

from __future__ import annotations

from struct import Struct

from aiodtls.core.errors import DecodeError
from aiodtls.core.registry import AlertLevel, ProtocolVersion

HEADER = Struct("!BHQH")
HEADER_LENGTH = HEADER.size
EPOCH_SHIFT = 48
DTLSv1_2 = int(ProtocolVersion.DTLSv1_2)
SEQUENCE_NUMBER_MASK = (1 << EPOCH_SHIFT) - 1
# RFC 5246 section 6.2: plaintext of a record, and what protection may add to it.
MAX_PLAINTEXT_LENGTH = 1 << 14
MAX_CIPHERTEXT_LENGTH = MAX_PLAINTEXT_LENGTH + 2048

# One record of a datagram: content type, record number, body.
Record = tuple[int, int, bytes]


def split_datagram(datagram: bytes) -> tuple[list[Record], bool]:
    """The records of a datagram, and whether all of it was records.

    What does not begin like a record of DTLS 1.2, or claims more bytes than there are, ends the
    splitting: without a length nothing behind it can be found.
    """
    records: list[Record] = []
    position = 0
    end = len(datagram)
    while position < end:
        start = position + HEADER_LENGTH
        if start > end:
            return records, False
        content_type, version, record_number, length = HEADER.unpack_from(datagram, position)
        position = start + length
        # In epoch 0 any minor version: an old ClientHello or a HelloVerifyRequest says DTLS 1.0.
        if version != DTLSv1_2 and (version >> 8 != 0xFE or record_number > SEQUENCE_NUMBER_MASK):
            return records, False
        if position > end or length > MAX_CIPHERTEXT_LENGTH:
            return records, False
        records.append((content_type, record_number, datagram[start:position]))
    return records, True


def encode_alert(level: AlertLevel, description: int) -> bytes:
    return bytes((level, description))


def parse_alert(body: bytes) -> tuple[int, int]:
    """Level and description (RFC 5246 section 7.2). Raises :class:`DecodeError`."""
    if len(body) != 2:
        raise DecodeError("an alert has two bytes")
    return body[0], body[1]
