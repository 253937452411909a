"""DTLS for asyncio: secure datagrams as an awaitable endpoint."""

import warnings
from typing import Any

from aiodtls import events
from aiodtls._version import __version__
from aiodtls.client import adopt, connect
from aiodtls.core.config import DTLSConfig
from aiodtls.core.cookie_keys import CookieKeys
from aiodtls.core.crypto.credentials import Credentials
from aiodtls.core.crypto.srtp import SRTPKeys
from aiodtls.core.crypto.trust import Trust, TrustContext
from aiodtls.core.errors import (
    BufferFull,
    CertificateError,
    ConfigError,
    DTLSError,
    EndpointClosed,
    HandshakeError,
    HandshakeRefused,
    HandshakeTimeout,
    LeaseExhausted,
    MessageTooLarge,
    PeerAlert,
    SimultaneousOpen,
)
from aiodtls.core.limits import Limits
from aiodtls.core.pre_shared_keys import PSK, PSKContext
from aiodtls.core.sealed_state import association_of
from aiodtls.core.sessions import (
    MemorySessionStore,
    Session,
    SessionCache,
    SessionStore,
)
from aiodtls.core.statistics import Gauges, Histogram, Statistics
from aiodtls.core.ticket_keys import TicketKeys
from aiodtls.endpoint import DTLSEndpoint
from aiodtls.protocol import DTLSProtocol
from aiodtls.server import DTLSServer, activated_sockets, serve
from aiodtls.transport import create_datagram_endpoint

__all__ = [
    "PSK",
    "BufferFull",
    "CertificateError",
    "ConfigError",
    "CookieKeys",
    "Credentials",
    "DTLSConfig",
    "DTLSEndpoint",
    "DTLSError",
    "DTLSProtocol",
    "DTLSServer",
    "EndpointClosed",
    "Gauges",
    "HandshakeError",
    "HandshakeRefused",
    "HandshakeTimeout",
    "Histogram",
    "LeaseExhausted",
    "Limits",
    "MemorySessionStore",
    "MessageTooLarge",
    "PSKContext",
    "PeerAlert",
    "SRTPKeys",
    "Session",
    "SessionCache",
    "SessionStore",
    "SimultaneousOpen",
    "Statistics",
    "TicketKeys",
    "Trust",
    "TrustContext",
    "__version__",
    "activated_sockets",
    "adopt",
    "association_of",
    "connect",
    "create_datagram_endpoint",
    "events",
    "serve",
]


def __getattr__(name: str) -> Any:
    """The old name of ``association_of``, until 0.3."""
    if name == "lineage_of":
        message = "aiodtls.lineage_of is now aiodtls.association_of, and goes in 0.3"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return association_of
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
