"""Lets aiortc make our DTLS transports instead of its own, in the whole process.

aiortc has no way to choose the class, so the name that its modules use is replaced.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, Unpack

import aiortc
from aiortc import rtcdtlstransport, rtcpeerconnection

from aiodtls import Trust, profiles
from aiodtls.contrib.aiortc.transport import DTLSTransport
from aiodtls.profiles import FieldsWithoutTrust

NAME = "RTCDtlsTransport"
MODULES = (aiortc, rtcdtlstransport, rtcpeerconnection)


def install(**fields: Unpack[FieldsWithoutTrust]) -> Callable[[], None]:
    """Lets aiortc use aiodtls for all transports that are made from now on.

    A peer connection makes its transport when a track or a data channel is added to it, or when it
    gets the description of a peer.

    Args:
        fields: fields of the config that differ from :func:`aiodtls.profiles.webrtc`, such as
            ``versions``. The credentials are those of the connection, and trust is the fingerprint
            in the peer's SDP.

    Returns:
        A function that undoes it, for transports that are made after the call.

    Raises:
        ConfigError: a value is invalid.
    """
    profiles.webrtc(trust=Trust.insecure(), **fields)

    class Installed(DTLSTransport):
        config_fields = fields

    undo = [_replace(module, Installed) for module in MODULES]

    def uninstall() -> None:
        while undo:
            undo.pop()()

    return uninstall


@contextlib.contextmanager
def installed(**fields: Unpack[FieldsWithoutTrust]) -> Iterator[None]:
    """``install`` for transports that are made within ``with installed():``."""
    uninstall = install(**fields)
    try:
        yield
    finally:
        uninstall()


def _replace(module: Any, transport: type[DTLSTransport]) -> Callable[[], None]:
    """Replaces the class in a module. Returns what puts the former one back."""
    restore = functools.partial(setattr, module, NAME, getattr(module, NAME))
    setattr(module, NAME, transport)
    return restore
