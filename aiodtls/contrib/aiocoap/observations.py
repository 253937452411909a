"""The numbers of notifications, when an observation moves to another association."""

from __future__ import annotations

from collections.abc import Callable

# Observe options have 24 bits (RFC 7641 section 2).
MODULUS = 1 << 24


class ObserveNumbers:
    """Lets the numbers of one server's notifications go on rising over several associations.

    In a new association a server counts from its beginning. The receiver would take such
    notifications for late ones (RFC 7641 section 3.4).
    """

    def __init__(self) -> None:
        self._latest: dict[bytes, int] = {}
        self._offsets: dict[bytes, int] = {}

    def shown(self, token: bytes, number: int) -> int:
        """The number to show instead of the received one."""
        if token not in self._offsets:
            latest = self._latest.get(token)
            self._offsets[token] = 0 if latest is None else latest + 1 - number
        self._latest[token] = (number + self._offsets[token]) % MODULUS
        return self._latest[token]

    def restart(self) -> None:
        """The next notification of each token comes in a new association."""
        self._offsets.clear()

    def keep(self, is_pending: Callable[[bytes], bool]) -> None:
        """Forgets tokens of observations that have ended."""
        self._latest = {t: n for t, n in self._latest.items() if is_pending(t)}
        self._offsets = {t: n for t, n in self._offsets.items() if is_pending(t)}
