"""Named timers in one small table, and the back-off of the retransmission timer."""

from __future__ import annotations

from enum import IntEnum, auto

# Timers that are due this soon count as due: one wake-up of the owner instead of two.
SLACK = 0.015


class Timer(IntEnum):
    """Every timer a connection can have."""

    retransmit = auto()
    handshake = auto()
    # A plaintext alert came, and waits to be contradicted.
    alert_hint = auto()
    # DTLS 1.3: an ACK that is due, the rest of a burst, and what follows the handshake.
    acknowledge = auto()
    burst = auto()
    key_update = auto()
    new_session_ticket = auto()
    new_connection_id = auto()
    request_connection_id = auto()
    # Only where the configuration asks for it.
    idle = auto()
    # A challenge to where the peer may be.
    path = auto()


class Timers:
    """Absolute times in seconds, at most one for each name."""

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
        """An emptied dict keeps its room; this gives it back."""
        if not self._at:
            self._at.clear()

    def next(self) -> float | None:
        return min(self._at.values(), default=None)

    def take_due(self, now: float) -> list[Timer]:
        """The due timers, soonest first; they are no longer set."""
        due = [timer for timer, at in self._at.items() if at <= now + SLACK]
        due.sort(key=self._at.__getitem__)
        for timer in due:
            del self._at[timer]
        return due


class Backoff:
    """The retransmission timeout: doubled after each unanswered resend (RFC 6347 section 4.2.4)."""

    __slots__ = ("initial", "maximum", "resends", "timeout")

    def __init__(self, initial: float, maximum: float) -> None:
        self.initial = initial
        self.maximum = maximum
        self.restart()

    def restart(self) -> None:
        """A new flight begins with the initial timeout."""
        self.timeout = min(self.initial, self.maximum)
        self.resends = 0

    def resent(self) -> None:
        self.resends += 1
        self.timeout = min(self.timeout * 2, self.maximum)

    def rescale(self, initial: float) -> float:
        """Sets another initial timeout; the factor by which a running one changes."""
        factor = initial / self.initial
        self.initial = initial
        self.timeout = min(self.timeout * factor, self.maximum)
        return factor
