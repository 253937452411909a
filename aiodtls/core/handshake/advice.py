"""What a failed handshake may be due to, for the texts of exceptions.

The functions know our own side: what we offered, or have chosen. What the peer wanted it does not
say, so they list likely causes. They never raise, and never name secrets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiodtls.core.config import VERSIONS, DTLSConfig
from aiodtls.core.crypto.certificates import PARSE_ERRORS
from aiodtls.core.crypto.credentials import Credentials
from aiodtls.core.handshake.in_common import psk_name
from aiodtls.core.negotiated import Negotiated
from aiodtls.core.peer_text import shown
from aiodtls.core.registry import AlertDescription as Alert
from aiodtls.core.statistics import Counters

# How many names of a list are shown.
_SHOWN = 4
_ABOUT_OUR_CERTIFICATE = (
    *(Alert.bad_certificate, Alert.unsupported_certificate, Alert.certificate_revoked),
    *(Alert.certificate_expired, Alert.certificate_unknown, Alert.unknown_ca, Alert.access_denied),
)
# What the peer most likely objects to, by the alert that it sends.
_CAUSES = {
    Alert.insufficient_security: "the peer demands stronger algorithms",
    Alert.protocol_version: "the peer supports none of these versions",
    Alert.inappropriate_fallback: "the peer supports a newer version than we offered",
    Alert.certificate_required: (
        "the server requires a certificate of the client: give credentials= that it accepts"
    ),
    Alert.unrecognized_name: (
        "the server has no certificate for this name: is server_hostname the right one?"
    ),
    Alert.no_application_protocol: "the server supports none of these protocols",
    Alert.unknown_psk_identity: "the server does not know this identity, or has another key for it",
    Alert.missing_extension: "the peer requires a feature that our configuration leaves out",
    Alert.decrypt_error: "a signature or Finished did not verify: one of the keys is wrong",
    Alert.internal_error: "the peer failed by itself: its log should say why",
    Alert.close_notify: "the peer closed before the end of the handshake: is it shutting down?",
    **dict.fromkeys(
        (Alert.decode_error, Alert.illegal_parameter, Alert.unexpected_message),
        "the peer takes a message of ours for malformed: one of the two implementations is wrong",
    ),
    **dict.fromkeys(
        _ABOUT_OUR_CERTIFICATE,
        "the peer does not accept it: does it trust the issuer, have all intermediate "
        "certificates in credentials=, and are names, dates and usage what it expects?",
    ),
}
_NOTHING_IN_COMMON = "the two sides have no cipher suite, group or signature scheme in common"


def refused(
    description: str, config: DTLSConfig, negotiated: Negotiated, *, is_client: bool
) -> str:
    """What we offered that the alert of this name may be about, and its likely causes."""
    alert = Alert.__members__.get(description)
    if alert is Alert.handshake_failure:
        said = [*_negotiable(config), *_certificate(config)] if is_client else _certificate(config)
        cause = _NOTHING_IN_COMMON
        if is_client and not config.credential_list:
            cause += ", or the server requires a certificate of the client (credentials=)"
    elif alert is Alert.decrypt_error and (said := _psk(config, negotiated)):
        cause = "the peer has another key for this identity, or does not know it"
    elif alert is Alert.unrecognized_name:
        said, cause = _server_name(negotiated), _CAUSES[alert]
    elif alert is Alert.unknown_psk_identity:
        said, cause = _psk(config, negotiated), _CAUSES[alert]
    elif alert in _CAUSES:
        said = [text for say in _ABOUT.get(alert, ()) for text in say(config)]
        cause = _CAUSES[alert]
    else:
        return "the peer's log should say why"
    verb = "offered" if is_client else "have"
    ours = f"we {verb} {'; '.join(said)}. " if said else ""
    return f"{ours}Likely cause: {cause}"


def _versions(config: DTLSConfig) -> list[str]:
    names = {code: name for name, code in VERSIONS.items()}
    return [f"DTLS {' and '.join(names[version] for version in config.version_list)}"]


def _negotiable(config: DTLSConfig) -> list[str]:
    groups = config.named_groups if config.speaks13 else config.named_groups12
    parts = [
        *_versions(config),
        f"cipher suites {_listed([suite.name for suite in config.suites])}",
        f"groups {_listed([group.name for group in groups])}",
    ]
    if config.offers_certificates:
        schemes = [scheme.name for scheme in config.schemes]
        parts.append(f"signature schemes {_listed(schemes)}")
    return parts


def _protocols(config: DTLSConfig) -> list[str]:
    return [f"ALPN {_listed([shown(name) for name in config.alpn])}"] if config.alpn else []


def _certificate(config: DTLSConfig) -> list[str]:
    """Our certificates, by subject and issuer."""
    names = [_named(item) for item in config.credential_list]
    return [_listed(names) if names else "no certificate"]


def _named(credentials: Credentials) -> str:
    leaf = credentials.leaf
    if leaf is None:
        return "a raw public key"
    try:
        names = leaf.subject.rfc4514_string(), leaf.issuer.rfc4514_string()
    except PARSE_ERRORS:
        return "a certificate whose names cannot be parsed"
    return shown("the certificate {} issued by {}".format(*names))


def _psk(config: DTLSConfig, negotiated: Negotiated) -> list[str]:
    """The PSK that the handshake is about, or the first of those that a client offers."""
    identity = negotiated.psk_identity
    if identity is None and config.psks:
        identity = next(iter(config.psks))
    return [] if identity is None else [f"the PSK identity {shown(identity)}"]


def _server_name(negotiated: Negotiated) -> list[str]:
    name = negotiated.server_hostname
    return [] if name is None else [f"the server name {shown(name)}"]


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


_ABOUT: dict[Alert, tuple[Callable[[DTLSConfig], list[str]], ...]] = {
    Alert.protocol_version: (_versions,),
    Alert.inappropriate_fallback: (_versions,),
    Alert.insufficient_security: (_negotiable,),
    Alert.no_application_protocol: (_protocols,),
    Alert.certificate_required: (_certificate,),
    Alert.decrypt_error: (_certificate,),
    **dict.fromkeys(_ABOUT_OUR_CERTIFICATE, (_certificate,)),
}


def timed_out(negotiated: Negotiated, counters: Counters, *, is_client: bool) -> tuple[str, str]:
    """Why a handshake timed out: a name of ``FAILURE_REASONS``, and a text.

    A wrong PSK of DTLS 1.2 is silence: nothing of the peer opens.
    """
    forged, heard = counters.records_forged, counters.datagrams_received
    identity = negotiated.psk_identity
    if not is_client and identity is not None and not negotiated.psk_check:
        return "unknown_psk", f"we know no PSK with {psk_name(identity)}"
    if forged:
        text = f"{forged} records did not open: is the key the same?"
        if not is_client and identity is not None:
            text += f" The client named {psk_name(identity)}"
        return "undecryptable" if identity is None else "wrong_psk", text
    if heard and is_client and identity is not None:
        return "timeout", "the server may have another key, or not know this identity"
    return "timeout", silence(heard, counters.flights_resent, is_client=is_client)


def silence(heard: int, resends: int, *, is_client: bool) -> str:
    """What it means that a handshake timed out, by how many datagrams came from the peer.

    A datagram counts, whoever sent it from the peer's address.
    """
    if heard:
        return (
            f"the peer answered (datagrams: {heard}), but not all that we waited for came: the "
            "path may drop large datagrams (try a smaller pmtu), or the peer may refuse in silence"
        )
    if is_client:
        return (
            f"nothing at all came from the peer, to {resends} resends: does a DTLS server listen "
            "on this address and UDP port, and do firewalls let UDP pass both ways?"
        )
    return (
        f"nothing came from the client after its hello, to {resends} resends: our datagrams may "
        "not reach it, or it has given up"
    )
