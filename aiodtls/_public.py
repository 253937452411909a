"""The public names of ``aiodtls``, which loads them when the first one is used."""

from aiodtls import core, events, profiles
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
    "activated_sockets",
    "adopt",
    "association_of",
    "connect",
    "core",
    "create_datagram_endpoint",
    "events",
    "profiles",
    "serve",
]
