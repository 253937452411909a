"""The fuzzer's bytes as choices, of which any sequence means something."""

from __future__ import annotations

from tests.fuzz.asking import ASKING

VARIANTS = (
    *("psk", "psk13", "ecdhe_psk", "certificate", "certificate13"),
    *("mutual", "mutual13", "retry13", "cid", "cid13"),
)
# Handshakes without certificates are several times as fast, and are most of what is tried.
FAST = ("psk", "psk13", "psk", "psk13")


class Plan:
    """Taken one choice at a time; zeros once they are used up."""

    __slots__ = ("_at", "_data", "_end")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._end = len(data)

    @property
    def is_over(self) -> bool:
        return self._at >= self._end

    def byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1] if self._at <= self._end else 0

    def signed(self) -> int:
        """-128 to 127, and 0 in the middle of small ones."""
        value = self.byte()
        return value - 256 if value > 127 else value

    def bytes(self) -> bytes:
        """A length in two bytes, and as much."""
        length = self.byte() << 8 | self.byte()
        return self.take(length)

    def few_bytes(self) -> bytes:
        """A length in one byte, and as much."""
        return self.take(self.byte())

    def take(self, length: int) -> bytes:
        taken = self._data[self._at : self._at + length]
        self._at += length
        return taken

    def variant(self) -> str:
        choice = self.byte()
        if 160 <= choice < 192:
            return ASKING[choice % len(ASKING)]
        return FAST[choice % len(FAST)] if choice < 192 else VARIANTS[choice % len(VARIANTS)]
