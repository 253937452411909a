"""The targets that are connections, in every state, and the listener."""

from __future__ import annotations

from tests.fuzz.established import Established
from tests.fuzz.handshaking import Handshaking
from tests.fuzz.strangers import Strangers
from tests.fuzz.structured import Structured

TARGETS = {
    "handshake": Handshaking(),
    "established": Established(),
    "structured": Structured(),
    "listener": Strangers(),
}
