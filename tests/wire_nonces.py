"""Watches the wire of DTLS 1.3 for two records under one key and nonce (RFC 5116 section 3.1)."""

from __future__ import annotations

from typing import Any

from cryptography.exceptions import InvalidTag

from aiodtls.core.record.protection13 import RecordReader13, RecordWriter13, reconstruct
from aiodtls.core.wire.records import (
    CID_BIT,
    EPOCH_MASK,
    FIXED_BITS,
    FIXED_MASK,
    SEQUENCE_NUMBER_MASK,
    split_datagram,
)

LONGEST = 1 << 14
# Whole turns of the number's 16 bits from the newest one, in the order of trying.
TURNS = (0, 1, -1, 2, -2, 3, 4)


class WireNonces:
    """Learns the keys of every writer that is made, and opens what is sent, whoever sends it.

    ``seen`` holds each key with each record number that was sent under it; the nonce is the
    number XOR the key's IV.
    """

    def __init__(self, monkeypatch: Any) -> None:
        self.seen: set[tuple[bytes, int]] = set()
        self._readers: dict[bytes, RecordReader13] = {}
        make = RecordWriter13.__init__

        def made(writer: RecordWriter13, epoch: int, keys: Any, cid: bytes = b"") -> None:
            make(writer, epoch, keys, cid)
            self._readers.setdefault(keys.key, RecordReader13(epoch, keys, 64))

        monkeypatch.setattr(RecordWriter13, "__init__", made)

    def watch(self, datagram: bytes, cid_length: int = 0) -> int:
        """How many protected records are in a datagram, which was sent once.

        Fails for a number that was sent before under the same key, and for a record that none of
        the keys opens.
        """
        records, whole = split_datagram(datagram, cid_length)
        assert whole
        protected = [record for record in records if record[0] & FIXED_MASK == FIXED_BITS]
        for first, _, body in protected:
            number_at = 1 + cid_length if first & CID_BIT else 1
            used = self._opened(body, number_at, first & EPOCH_MASK)
            assert used not in self.seen, f"record number {used[1]:#x} twice under one key"
            self.seen.add(used)
        return len(protected)

    def _opened(self, record: bytes, number_at: int, epoch_bits: int) -> tuple[bytes, int]:
        for key, reader in self._readers.items():
            if reader.epoch & EPOCH_MASK != epoch_bits:
                continue
            low, bits, header, body = reader._unmask(record, number_at)
            nearest = reconstruct(low, bits, reader.window.highest + 1)
            for number in (nearest + (turn << bits) for turn in TURNS):
                if number < 0:
                    continue
                try:
                    found = reader._open(number, header, body, LONGEST)
                except InvalidTag:
                    continue
                newest = max(reader.window.highest, number)
                reader.window.restore((newest, 0))
                assert found[1] & SEQUENCE_NUMBER_MASK == number
                return key, found[1]
        raise AssertionError("no key opens a record")
