"""The default wall clock of the core.

Every call of the core takes the protocol's time as an argument. Certificates, tickets and cookies
need calendar time, and are valid across processes. For them a connection has a ``wall_clock``.
"""

from datetime import UTC, datetime


def today() -> datetime:
    """Date and time in UTC."""
    return datetime.now(UTC)


def wall_clock() -> float:
    """Seconds since 1970."""
    return today().timestamp()
