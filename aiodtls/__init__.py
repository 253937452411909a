"""DTLS for asyncio: secure datagrams as an awaitable endpoint."""

# The modules behind the names are loaded when the first name is used, or imported from here. So
# ``import aiodtls`` costs nothing in a program that may not need it.

import warnings
from typing import TYPE_CHECKING, Any

from aiodtls._version import __version__

if TYPE_CHECKING:
    from aiodtls._public import *  # noqa: F403

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
    "profiles",
    "serve",
]


def __getattr__(name: str) -> Any:
    if name not in (*__all__, "core", "lineage_of"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from aiodtls import _public

    if name == "lineage_of":
        message = "aiodtls.lineage_of is now aiodtls.association_of, and goes in 0.3"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        name = "association_of"
    return getattr(_public, name)


def __dir__() -> list[str]:
    return sorted(__all__)
