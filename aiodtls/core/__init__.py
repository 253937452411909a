"""DTLS without IO: the protocol core as a library of its own.

Bytes, time and answers go in, through methods. Datagrams, events and data wait until the owner
takes them. Nothing here knows a socket, a clock, a thread or an event loop, and nothing that the
network does raises out of it. ``examples/sans_io.py`` is a client and a server over plain blocking
sockets.

This is what the owner of a :class:`DTLSConnection` or a :class:`Listener` does:

1. Gives every datagram to ``receive_datagram(data, addr, now)``. ``now`` is seconds of a clock that
   never goes back, such as ``time.monotonic()``.
2. Calls ``handle_timeout(now)`` when ``next_timeout()`` is past; calling it early does no harm.
3. After each call takes what waits: ``datagrams_to_send()`` for the socket, ``next_event()`` until
   it is None, and ``read()`` until it is None. A listener names by ``ready()`` the connections
   that have something.
4. Answers each :class:`Question` by ``answer(question, value, now)``. The handshake waits for it. A
   :class:`VerificationRequested` brings its own answer: ``question.verify()``, which may take
   some milliseconds and may run in a thread. A :class:`StoreAwaited` is asked only of who gives an
   async session store: await ``question.result``.

Provisional until 1.0: a minor version may change what is here.
"""

from aiodtls.core.config import DTLSConfig
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.cookies import ValidatedHello
from aiodtls.core.errors import (
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
)
from aiodtls.core.events import (
    AddressChanged,
    CertificateReceived,
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
    PSKRequested,
    Question,
    SessionReceived,
    SessionRevoked,
    SessionStoreFailed,
    SignatureRequested,
    StoreAwaited,
    VerificationRequested,
)
from aiodtls.core.limits import Limits
from aiodtls.core.listener import Listener, PeerConnected
from aiodtls.core.pre_shared_keys import PSK

__all__ = [
    "PSK",
    "AddressChanged",
    "CertificateError",
    "CertificateReceived",
    "Closed",
    "ConfigError",
    "Confirmed",
    "DTLSConfig",
    "DTLSConnection",
    "DTLSError",
    "EndpointClosed",
    "Event",
    "ExportNeeded",
    "FlightReceived",
    "FlightSent",
    "HandshakeCompleted",
    "HandshakeError",
    "HandshakeFailed",
    "HandshakeRefused",
    "HandshakeTimeout",
    "KeyLimitReached",
    "KeysUpdated",
    "LeaseExhausted",
    "Limits",
    "Listener",
    "MessageTooLarge",
    "PSKRequested",
    "PathMTUChanged",
    "PeerAlert",
    "PeerConnected",
    "PeerUnresponsive",
    "Question",
    "SessionReceived",
    "SessionRevoked",
    "SessionStoreFailed",
    "SignatureRequested",
    "StoreAwaited",
    "ValidatedHello",
    "VerificationRequested",
]
