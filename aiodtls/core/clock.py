"""The wall clock that the core takes where its owner gives it none.

The protocol's own time is an argument of every call. Certificates, tickets and cookies speak of the
calendar, and outlive processes: for these a connection has a ``wall_clock``.
"""

from datetime import UTC, datetime


def today() -> datetime:
    """Date and time in UTC."""
    return datetime.now(UTC)


def wall_clock() -> float:
    """Seconds since 1970."""
    return today().timestamp()
