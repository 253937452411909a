"""Protection of DTLS 1.2 records that bear a connection id (RFC 9146 sections 4 and 5.3).

The true content type stands behind the data, where padding may follow it; the additional data
covers the id and its length. The rest is as in ``protection12``.

HOT PATH: everything that is the same for all records is bound once.
"""

from __future__ import annotations

import functools
from struct import Struct

from cryptography.exceptions import InvalidTag

from aiodtls.core.crypto.suites import AEAD
from aiodtls.core.record.epochs import APPLICATION_DATA, BYTES, DATA, VERSION
from aiodtls.core.record.protection12 import DATA_EPOCH, RecordReader12, RecordWriter12
from aiodtls.core.wire.records import EPOCH_SHIFT, TLS12_CID

PLACEHOLDER = b"\xff" * 8
VERSION_BYTES = VERSION.to_bytes(2, "big")
# What a record begins with.
PREFIX = bytes((TLS12_CID,)) + VERSION_BYTES


@functools.cache
def _header(cid_length: int) -> Struct:
    """Type and version, epoch and sequence number, connection id, length."""
    return Struct(f"!3sQ{cid_length}sH")


@functools.cache
def _additional_data(cid_length: int) -> Struct:
    """What ``_constant`` says, epoch and sequence number, connection id, length of the inside."""
    return Struct(f"!13sQ{cid_length}sH")


def _constant(cid: bytes) -> bytes:
    outer_type = bytes((TLS12_CID,))
    return PLACEHOLDER + outer_type + bytes((len(cid),)) + outer_type + VERSION_BYTES


class CidWriter12(RecordWriter12):
    """Protects the records of one epoch; they bear the peer's ``cid``."""

    __slots__ = ("_additional_data", "_cid", "_constant", "_explicit", "_header", "_iv")

    _prefix = PREFIX
    _type = DATA

    def __init__(self, epoch: int, aead: AEAD, key: bytes, iv: bytes, cid: bytes) -> None:
        super().__init__(epoch, aead, key, iv)
        self._explicit = aead.explicit_nonce_length
        self._iv = int.from_bytes(iv, "big")
        self._cid = cid
        self._constant = _constant(cid)
        self._header = _header(len(cid))
        self._additional_data = _additional_data(len(cid))
        self.overhead += len(cid) + 1

    def protect(self, content_type: int, plaintext: bytes) -> bytes:
        encrypt = (self._cipher or self._wake()).encrypt
        number = self.next_number
        self.next_number = number + 1
        inner = plaintext + BYTES[content_type]
        length = len(inner)
        cid = self._cid
        additional = self._additional_data.pack(self._constant, number, cid, length)
        header = self._header.pack(PREFIX, number, cid, length + self._expansion)
        if self._explicit:
            explicit = number.to_bytes(8, "big")
            return header + explicit + encrypt(self._salt + explicit, inner, additional)
        nonce = (self._iv ^ number).to_bytes(12, "big")
        return header + encrypt(nonce, inner, additional)


class CidReader12(RecordReader12):
    """Opens the records of one epoch that bear our ``cid``."""

    __slots__ = ("_additional_data", "_cid", "_constant", "_explicit", "_header", "_iv")

    hides_type = True
    _prefix = PREFIX
    _type = DATA

    def __init__(self, aead: AEAD, key: bytes, iv: bytes, replay_window: int, cid: bytes) -> None:
        super().__init__(aead, key, iv, replay_window)
        self._explicit = aead.explicit_nonce_length
        self._iv = int.from_bytes(iv, "big")
        self._cid = cid
        self._constant = _constant(cid)
        self._header = _header(len(cid))
        self._additional_data = _additional_data(len(cid))

    def deprotect(self, content_type: int, number: int, body: bytes) -> bytes:
        """The inside, of which ``true_type`` tells the content type; ``body`` has the id first."""
        start = len(self._cid) + 2
        length = len(body) - start - self._expansion
        if length < 0 or content_type != TLS12_CID or not body.startswith(self._cid):
            raise InvalidTag
        return self._open(number, body[start:], length)

    def _open(self, number: int, content: bytes, length: int) -> bytes:
        decrypt = (self._cipher or self._wake()).decrypt
        additional = self._additional_data.pack(self._constant, number, self._cid, length)
        explicit = self._explicit
        if explicit:
            return decrypt(self._salt + content[:explicit], content[explicit:], additional)
        return decrypt((self._iv ^ number).to_bytes(12, "big"), content, additional)

    def open_one(self, datagram: bytes, longest: int) -> bytes | None:
        start = self._header.size
        length = len(datagram) - start
        if not self._expansion < length <= longest - start:
            return None
        prefix, number, cid, said = self._header.unpack_from(datagram)
        window = self.window
        if (
            (number <= window.highest and not window.is_fresh(number))
            or prefix != PREFIX
            or cid != self._cid
            or said != length
            or number >> EPOCH_SHIFT != DATA_EPOCH
        ):
            return None
        inner = self._open(number, datagram[start:], length - self._expansion)
        if inner[-1] != APPLICATION_DATA:
            return None
        window.accept(number)
        return inner[:-1]


def true_type(inner: bytes) -> tuple[int, bytes]:
    """Content type and data; type 0 where there is nothing but padding."""
    stripped = inner.rstrip(b"\0")
    return (stripped[-1], stripped[:-1]) if stripped else (0, b"")
