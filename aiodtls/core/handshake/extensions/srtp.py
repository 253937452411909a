"""use_srtp: the SRTP protection profile of the exported keys (RFC 5764 section 4.1)."""

from __future__ import annotations

from aiodtls.core.config import DTLSConfig
from aiodtls.core.errors import AlertError
from aiodtls.core.handshake.script import Handshake
from aiodtls.core.registry import AlertDescription, SRTPProtectionProfile
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions import Extension, UseSRTP
from aiodtls.core.wire.messages import ClientHello


def offer(config: DTLSConfig) -> list[Extension]:
    """All profiles in the client's configuration, without an MKI."""
    return [UseSRTP(tuple(config.srtp))] if config.srtp else []


def accept(hs: Handshake, hello: ClientHello) -> None:
    """Chooses a profile (RFC 5764 section 4.1.1). A server that uses no MKI answers with an empty
    one.
    """
    offered = hello.extensions.find(UseSRTP)
    if offered is not None:
        hs.negotiated.srtp_profile = next(
            (profile for profile in hs.config.srtp if profile in offered.profiles), None
        )


def reply(hs: Handshake) -> list[Extension]:
    """The chosen profile."""
    profile = hs.negotiated.srtp_profile
    return [UseSRTP((profile,))] if profile is not None else []


def check_reply(hs: Handshake, extensions: Extensions) -> None:
    """Accepts exactly one of our profiles, without an MKI, because we sent none (RFC 5764
    section 4.1.1).
    """
    srtp = extensions.find(UseSRTP)
    if srtp is None:
        return
    if len(srtp.profiles) != 1 or srtp.profiles[0] not in hs.config.srtp or srtp.mki:
        raise AlertError(
            AlertDescription.illegal_parameter, "use_srtp: the server's choice was not offered"
        )
    hs.negotiated.srtp_profile = SRTPProtectionProfile(srtp.profiles[0])
