"""What the -expect flags of the runner say of a finished handshake."""

from __future__ import annotations

from base64 import b64decode

from aiodtls.core.connection import DTLSConnection
from aiodtls.core.registry import HandshakeType
from aiodtls.core.wire.codec import Reader
from aiodtls.core.wire.extensions import SignedCertificateTimestamps
from tests.bogo.flags import VERSIONS, Flags


class Failed(Exception):
    """The test ends with exit status 1; the text is for standard error."""


def parse_timestamps(listed: bytes) -> tuple[bytes, ...]:
    if not listed:
        return ()
    place = HandshakeType.certificate
    return SignedCertificateTimestamps.parse(Reader(listed), place).timestamps


def check_handshake(connection: DTLSConnection, flags: Flags, used: list[int]) -> None:
    """What the -expect flags say of the handshake. Raises :class:`Failed`."""
    negotiated = connection.negotiated
    numbers, texts = flags.numbers, flags.texts
    if negotiated.resumed != (flags.is_resumption and "expect-session-miss" not in flags):
        raise Failed(f"a session was {'' if negotiated.resumed else 'not '}resumed")
    if "expect-version" in numbers and VERSIONS[numbers["expect-version"]] != negotiated.version:
        raise Failed(f"the version is DTLS {negotiated.version}")
    if "expect-extended-master-secret" in flags and not negotiated.extended_master_secret:
        raise Failed("there is no extended_master_secret")
    if "expect-curve-id" in numbers and negotiated.group != numbers["expect-curve-id"]:
        raise Failed(f"the group is {connection.group}")
    if "expect-server-name" in texts and connection.server_hostname != texts["expect-server-name"]:
        raise Failed(f"the server name is {connection.server_hostname!r}")
    wanted = texts.get("select-alpn" if flags.is_server else "expect-alpn") or None
    if connection.alpn_protocol != wanted:
        raise Failed(f"the ALPN protocol is {connection.alpn_protocol!r}")
    if "expect-selected-credential" in numbers:
        selected = used[-1] if used else -1
        for item in flags.credentials:
            if item.psk and item.psk["identity"] == negotiated.psk_identity:
                selected = item.index
        if selected != numbers["expect-selected-credential"]:
            raise Failed(f"credential {selected} was selected")
    for flag, shown in (
        ("expect-ocsp-response", negotiated.ocsp_response),
        ("expect-signed-cert-timestamps", negotiated.certificate_timestamps),
    ):
        # A resumption shows none, and our sessions keep none.
        if flag in texts and not negotiated.resumed:
            expected = b64decode(texts[flag])
            if shown != (parse_timestamps(expected) if "timestamps" in flag else expected):
                raise Failed(f"{flag}: {shown!r}")
    check_peer_certificate(connection, flags)


def check_peer_certificate(connection: DTLSConnection, flags: Flags) -> None:
    shown = bool(connection.peer_certificate_chain)
    if "expect-no-peer-cert" in flags or connection.negotiated.psk_identity is not None:
        if shown:
            raise Failed("the peer showed a certificate")
    elif not shown and (not flags.is_server or "require-any-client-certificate" in flags):
        raise Failed("the peer showed no certificate")
