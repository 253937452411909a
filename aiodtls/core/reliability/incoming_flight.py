"""Which messages of the peer's flight have come, and in which datagrams: for the owner's events."""

from __future__ import annotations

from aiodtls.core.events import FlightReceived
from aiodtls.core.reliability.flight import message_name

# How many datagrams of one flight are noted. Forged ones may be among them.
MOST_DATAGRAMS = 256


class IncomingFlight:
    """The flight that is arriving, and the last one that was complete."""

    __slots__ = ("_last", "_names", "_repeated_sizes", "_repeats", "_sizes")

    def __init__(self) -> None:
        self._names: list[str] = []
        self._sizes: list[int] = []
        self._last: tuple[str, ...] = ()
        self._repeated_sizes: list[int] = []
        self._repeats = 0

    def datagram_came(self, size: int, *, is_repeat: bool = False) -> None:
        """A datagram of ``size`` bytes had a part of the flight, or of the last one again."""
        sizes = self._repeated_sizes if is_repeat else self._sizes
        if len(sizes) < MOST_DATAGRAMS:
            sizes.append(size)

    def message_came(self, msg_type: int) -> None:
        """The next message is complete."""
        self._names.append(message_name(msg_type))

    def end(self, now: float) -> list[FlightReceived]:
        """Our answer follows, or the end: what has come is a flight. Empty if nothing has."""
        if not self._names:
            return []
        names, sizes = tuple(self._names), tuple(self._sizes)
        self._last, self._repeats = names, 0
        self._names, self._sizes, self._repeated_sizes = [], [], []
        return [FlightReceived(names, sizes, 0, now)]

    def repeated(self, now: float) -> FlightReceived:
        """The last flight has come again."""
        self._repeats += 1
        sizes, self._repeated_sizes = tuple(self._repeated_sizes), []
        return FlightReceived(self._last, sizes, self._repeats, now)
