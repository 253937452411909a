"""The events that ``on_event(endpoint, event)`` is called with."""

from aiodtls.core.events import (
    AddressChanged,
    Closed,
    Confirmed,
    Event,
    ExportNeeded,
    FlightReceived,
    FlightSent,
    HandshakeCompleted,
    HandshakeFailed,
    KeyLimitReached,
    KeysUpdated,
    PathMTUChanged,
    PeerUnresponsive,
    SessionReceived,
    SessionRevoked,
    SessionStoreFailed,
)

__all__ = [
    "AddressChanged",
    "Closed",
    "Confirmed",
    "Event",
    "ExportNeeded",
    "FlightReceived",
    "FlightSent",
    "HandshakeCompleted",
    "HandshakeFailed",
    "KeyLimitReached",
    "KeysUpdated",
    "PathMTUChanged",
    "PeerUnresponsive",
    "SessionReceived",
    "SessionRevoked",
    "SessionStoreFailed",
]
