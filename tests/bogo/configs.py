"""From the runner's flags to the configuration of one connection."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from aiodtls.core.config import DTLSConfig
from aiodtls.core.crypto.certificates import Role, load_pem, refusal
from aiodtls.core.crypto.credentials import Credentials
from aiodtls.core.crypto.suites import SUITES
from aiodtls.core.crypto.trust import Trust
from aiodtls.core.errors import ConfigError
from aiodtls.core.limits import Limits
from aiodtls.core.pre_shared_keys import PSK
from aiodtls.core.registry import (
    AlertDescription,
    NamedGroup,
    ProtocolVersion,
    SignatureScheme,
)
from aiodtls.core.sessions import MemorySessionStore
from aiodtls.core.ticket_keys import TicketKeys
from tests.bogo import policies
from tests.bogo.expectations import Failed, parse_timestamps
from tests.bogo.flags import CredentialFlags, Flags, Unimplemented

# What DTLSConfig takes off the PMTU for an IPv6 and a UDP header.
HEADERS = 48
SRTP_NAMES = {
    "SRTP_AES128_CM_SHA1_80": "SRTP_AES128_CM_HMAC_SHA1_80",
    "SRTP_AES128_CM_SHA1_32": "SRTP_AES128_CM_HMAC_SHA1_32",
    "SRTP_AEAD_AES_128_GCM": "SRTP_AEAD_AES_128_GCM",
    "SRTP_AEAD_AES_256_GCM": "SRTP_AEAD_AES_256_GCM",
}


class CountingStore(MemorySessionStore):
    """Knows how many sessions it was given."""

    __slots__ = ("stored",)

    def __init__(self) -> None:
        super().__init__()
        self.stored = 0

    def put(self, session_id: bytes, session: bytes) -> None:
        self.stored += 1
        super().put(session_id, session)


class ServerState:
    """What the connections of one server share."""

    def __init__(self) -> None:
        self.session_store = CountingStore()
        self._secrets: list[bytes] = []
        self.change_secret()

    def change_secret(self) -> None:
        """From now on tickets are made with a new one; those of the older are taken."""
        self._secrets.insert(0, os.urandom(32))
        self.ticket_keys = TicketKeys(*self._secrets)


class ObservedCredentials(Credentials):
    """Credentials with a preference among their schemes, and that know when they were used."""

    __slots__ = ("index", "preferences", "used")

    def schemes(self, version: ProtocolVersion) -> tuple[SignatureScheme, ...]:
        own = Credentials.schemes(self, version)
        if not self.preferences:
            return own
        return tuple(scheme for scheme in self.preferences if scheme in own)

    def sign(self, scheme: SignatureScheme, data: bytes) -> bytes:
        self.used.append(self.index)
        return Credentials.sign(self, scheme, data)


class ApplicationTrust(Trust):
    """Refuses with the alert that the runner expects of BoringSSL's callbacks, or accepts."""

    __slots__ = ("_refusal",)

    def __init__(self, refusal: AlertDescription | None) -> None:
        self._refusal = refusal

    def check(
        self,
        chain: object,
        *,
        peer_role: Role,
        server_hostname: str | None,
        wall_time: float | None = None,
    ) -> None:
        if self._refusal is not None:
            message = f"the application refuses: {self._refusal.name}"
            raise refusal(self._refusal, message)


@functools.cache
def load_credentials(cert_file: str, key_file: str) -> tuple[object, list[x509.Certificate]]:
    # Checking the runner's RSA key costs as much as a hundred tests.
    key = load_pem_private_key(
        Path(key_file).read_bytes(), None, unsafe_skip_rsa_key_validation=True
    )
    return key, load_pem(cert_file) if cert_file else []


def no_response() -> bytes:
    raise OSError("no response can be had")


def make_credentials(
    flags: CredentialFlags, used: list[int], *, slow: bool, fails: bool
) -> Credentials:
    """With ``slow`` the key is elsewhere, and the exchange is asked for signatures.

    With ``fails`` no OCSP response can be had.
    """
    key, chain = load_credentials(flags.cert_file, flags.key_file or flags.cert_file)
    try:
        if flags.is_raw:
            credentials = ObservedCredentials.raw_public_key(key)  # type: ignore[arg-type]
        else:
            credentials = ObservedCredentials.from_objects(key, chain)  # type: ignore[arg-type]
    except ConfigError as error:
        raise Unimplemented(str(error)) from None
    timestamps = parse_timestamps(flags.staples.get("signed-cert-timestamps", b""))
    if slow:
        fast = credentials
        known_names = {scheme.name: scheme for scheme in SignatureScheme}
        credentials = ObservedCredentials.from_signer(
            chain, lambda name, data: Credentials.sign(fast, known_names[name], data)
        )
    response = flags.staples.get("ocsp-response", b"")
    credentials = credentials.stapled(
        ocsp_response=no_response if fails else response, certificate_timestamps=timestamps
    )
    if flags.needs_named_issuer:
        credentials = credentials.for_named_issuers()
    known = {int(scheme) for scheme in SignatureScheme}
    wanted = [SignatureScheme(s) for s in flags.signing_prefs if s in known]
    if flags.signing_prefs and not wanted:
        raise Unimplemented("-signing-prefs")
    for name, value in (("index", flags.index), ("preferences", wanted), ("used", used)):
        object.__setattr__(credentials, name, value)
    return credentials


def imported_psks(flags: Flags) -> dict[bytes, PSK]:
    """By identity, in the order of the flags."""
    psks = {}
    for item in flags.credentials:
        if item.psk:
            identity, key, context = (item.psk[name] for name in ("identity", "key", "context"))
            psks[identity] = PSK.imported(identity, key, context=context, hash=item.psk_hash)
    return psks


def make_trust(flags: Flags) -> Trust:
    """A failed verification counts only where the shim was told to verify."""
    enforced = bool({"verify-peer", "require-any-client-certificate"} & flags.switches)
    if flags.is_resumption and "reverify-on-resume" not in flags:
        enforced = False
    fails = "verify-fail" in flags and enforced
    if "use-custom-verify-callback" in flags:
        return Trust.from_function(lambda chain, context: not fails, check_name=False)
    if "fail-ocsp-callback" in flags:
        return ApplicationTrust(AlertDescription.bad_certificate_status_response)
    return ApplicationTrust(AlertDescription.handshake_failure if fails else None)


def make_config(flags: Flags, server: ServerState, used: list[int]) -> DTLSConfig:
    """``used`` collects the index of the credential that signs."""
    policies.current = policies.Choices(
        client_types=flags.lists.get("available-client-cert-types"),
        takes_unknown_alpn="allow-unknown-alpn-protos" in flags,
        acknowledges_server_name="no-server-name-ack" not in flags,
    )
    config = DTLSConfig(
        versions=flags.versions,
        credentials=[
            make_credentials(
                item,
                used,
                slow="private-key-delay-ms" in flags.numbers,
                fails="fail-ocsp-callback" in flags and flags.is_server,
            )
            for item in flags.credentials
            if not item.psk
        ],
        request_ocsp_response="enable-ocsp-stapling" in flags,
        request_certificate_timestamps="enable-signed-cert-timestamps" in flags,
        trust=make_trust(flags),
        client_auth=client_auth(flags),
        anonymous_fallback=False,
        max_certificate_length=flags.numbers.get("max-cert-list", 1 << 17),
        # Room for messages that are to be refused for their length once they are whole.
        limits=Limits(half_open_fragment_bytes=1 << 18),
        prefer_psk=bool(flags.credentials) and bool(flags.credentials[0].psk),
        require_forward_secrecy=True,
        # BoringSSL takes a server without it.
        require_renegotiation_info=False,
        cipher_suites=cipher_suites(flags),
        retransmit_initial=flags.numbers.get("initial-timeout-duration-ms", 400) / 1000,
        retransmit_max=60,
        max_retransmits=12,
        # Nothing but the count of resends ends a handshake of the runner's.
        handshake_timeout=policies.NEVER,
        resend_after_partial_flight=True,
        require_extended_master_secret=False,
        pmtu=flags.numbers.get("mtu", 1472) + HEADERS,
        groups=names(NamedGroup, flags.lists.get("curves")),
        signature_schemes=names(SignatureScheme, flags.lists.get("verify-prefs")),
        alpn_protocols=alpn_protocols(flags),
        srtp_profiles=srtp_profiles(flags),
        replay_window=256,
        session_tickets=0 if {"no-ticket", "skip-ticket"} & flags.switches else 2,
        max_burst=policies.NEVER,
        ticket_keys=server.ticket_keys,
        session_store=server.session_store,
    )
    psks = imported_psks(flags)
    if psks:
        # A client that need not look at certificates speaks DTLS 1.2 to nobody, but offers it.
        is_alone = not (flags.is_server or "verify-peer" in flags)
        policies.current.offers_dtls12 = is_alone and "1.2" in flags.versions
        versions = ["1.3"] if is_alone or len(psks) > 1 else flags.versions
        trust = None if is_alone else config.trust
        return dataclasses.replace(config, psk=psks, trust=trust, versions=versions)
    if "psk" not in flags.texts:
        return config
    identity = flags.texts.get("psk-identity", "")
    return dataclasses.replace(
        config,
        psk=PSK(identity, flags.texts["psk"].encode()),
        psk_identity_hint=identity,
    )


def client_auth(flags: Flags) -> str:
    if "require-any-client-certificate" in flags:
        return "required"
    return "optional" if "verify-peer" in flags else "none"


def names(kind: type, codes: list[int] | None) -> list[str] | None:
    if codes is None:
        return None
    try:
        return [kind(code).name for code in codes]
    except ValueError as error:
        raise Unimplemented(str(error)) from None


def cipher_suites(flags: Flags) -> list[str] | None:
    """Those listed that aiodtls has; without any of them, all that it has."""
    known = {suite.name for suite in SUITES.values()}
    return [name for name in flags.texts.get("cipher", "").split(":") if name in known] or None


def alpn_protocols(flags: Flags) -> list[str] | Callable[[tuple[str, ...]], str | None]:
    if not flags.is_server:
        return unpacked(flags.texts.get("advertise-alpn", ""))

    def choose(offered: tuple[str, ...]) -> str | None:
        expected = flags.texts.get("expect-advertised-alpn")
        if expected is not None and list(offered) != unpacked(expected):
            raise Failed(f"the client offers {offered}")
        if "reject-alpn" in flags:
            raise LookupError(offered)
        if "select-empty-alpn" in flags:
            return ""
        return flags.texts.get("select-alpn")

    return choose


def unpacked(packed: str) -> list[str]:
    protocols = []
    while packed:
        length = ord(packed[0])
        protocols.append(packed[1 : 1 + length])
        packed = packed[1 + length :]
    return protocols


def srtp_profiles(flags: Flags) -> list[str]:
    listed = flags.texts.get("srtp-profiles", "")
    return [SRTP_NAMES[name] for name in listed.split(":")] if listed else []
