"""The events that ``on_event(endpoint, event)`` is called with."""

from aiodtls.core.events import (
    Closed,
    Confirmed,
    Event,
    FlightSent,
    HandshakeCompleted,
    KeyLimitReached,
    KeysUpdated,
    PathMTUChanged,
    PeerUnresponsive,
    SessionReceived,
)

__all__ = [
    "Closed",
    "Confirmed",
    "Event",
    "FlightSent",
    "HandshakeCompleted",
    "KeyLimitReached",
    "KeysUpdated",
    "PathMTUChanged",
    "PeerUnresponsive",
    "SessionReceived",
]
