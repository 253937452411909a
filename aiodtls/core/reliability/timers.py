"""A connection's timers, and the back-off of the retransmission timer."""

from __future__ import annotations

from enum import IntEnum, auto

# Timers that are due within this time count as due, which saves the owner a wake-up.
SLACK = 0.015


class Timer(IntEnum):
    """All timers that a connection can have."""

    retransmit = auto()
    handshake = auto()
    # A plaintext alert came, and waits to be contradicted.
    alert_hint = auto()
    # DTLS 1.3: a delayed ACK, the next burst of a flight, and post-handshake messages.
    acknowledge = auto()
    burst = auto()
    key_update = auto()
    new_session_ticket = auto()
    new_connection_id = auto()
    request_connection_id = auto()
    # Only if the configuration asks for it.
    idle = auto()
    # A path challenge has no answer yet.
    path = auto()


class Timers:
    """Points in time in seconds, at most one for each timer."""

    __slots__ = ("_at",)

    def __init__(self) -> None:
        self._at: dict[Timer, float] = {}

    def set(self, timer: Timer, at: float) -> None:
        self._at[timer] = at

    def cancel(self, timer: Timer) -> None:
        self._at.pop(timer, None)

    def get(self, timer: Timer) -> float | None:
        return self._at.get(timer)

    def clear(self) -> None:
        self._at.clear()

    def trim(self) -> None:
        """Frees the memory that an emptied dict keeps."""
        if not self._at:
            self._at.clear()

    def next(self) -> float | None:
        return min(self._at.values(), default=None)

    def take_due(self, now: float) -> list[Timer]:
        """Removes and returns the due timers, earliest first."""
        due = [timer for timer, at in self._at.items() if at <= now + SLACK]
        due.sort(key=self._at.__getitem__)
        for timer in due:
            del self._at[timer]
        return due


class Backoff:
    """The retransmission timeout: doubled after each unanswered resend (RFC 6347 section 4.2.4)."""

    __slots__ = ("initial", "maximum", "resends", "timeout")

    resends: int
    timeout: float

    def __init__(self, initial: float, maximum: float) -> None:
        self.initial: float = initial
        self.maximum: float = maximum
        self.restart()

    def restart(self) -> None:
        """Starts over with the initial timeout, for a new flight."""
        self.timeout = min(self.initial, self.maximum)
        self.resends = 0

    def resent(self) -> None:
        self.resends += 1
        self.timeout = min(self.timeout * 2, self.maximum)

    def rescale(self, initial: float) -> float:
        """Sets another initial timeout. Returns the factor by which the current one changes."""
        factor = initial / self.initial
        self.initial = initial
        self.timeout = min(self.timeout * factor, self.maximum)
        return factor
