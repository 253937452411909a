"""DTLSConfig: all choices, validated once, when the config is made.

A config is immutable, independent of event loops, and shared by any number of associations. Names
are resolved to code points here, so that handshakes meet only values that can work.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar, cast

from aiodtls.core import checks
from aiodtls.core.cookie_keys import CookieKeys
from aiodtls.core.crypto.credentials import Credentials
from aiodtls.core.crypto.key_exchange import DEFAULT_GROUPS, HYBRIDS, group_by_name
from aiodtls.core.crypto.names import host_name
from aiodtls.core.crypto.signatures import DEFAULT_SCHEMES, scheme_by_name
from aiodtls.core.crypto.suites import DEFAULT_SUITES, Suite, suite_by_name
from aiodtls.core.crypto.trust import Trust, TrustFunction
from aiodtls.core.errors import ConfigError
from aiodtls.core.limits import Limits
from aiodtls.core.pre_shared_keys import MAX_OFFERED, PSK, PSKContext, encode_identity
from aiodtls.core.registry import (
    NamedGroup,
    ProtocolVersion,
    SignatureScheme,
    SRTPProtectionProfile,
)
from aiodtls.core.sessions import MemorySessionStore, Session, SessionStore
from aiodtls.core.ticket_keys import TicketKeys

_T = TypeVar("_T")
VERSIONS = {"1.2": ProtocolVersion.DTLSv1_2, "1.3": ProtocolVersion.DTLSv1_3}
MINIMUM_PMTU = 256
# What fits into the extension, each name behind a byte for its length.
MAX_ALPN_LENGTH = 65533
# The length field of an IP packet has 16 bits.
MAXIMUM_PMTU = 65535
# The longest handshake message that can be reassembled (``reassembly.py``).
MAX_CERTIFICATE_LENGTH = 1 << 17


PSKFunction: TypeAlias = Callable[
    [bytes, PSKContext], "bytes | PSK | None | Awaitable[bytes | PSK | None]"
]
ALPNFunction: TypeAlias = Callable[[tuple[str, ...]], "str | None"]
PSKSource: TypeAlias = PSK | Mapping[str, bytes | PSK] | Mapping[bytes, bytes | PSK] | PSKFunction
KeyLog: TypeAlias = str | os.PathLike[str] | Callable[[str], object]
TraceTarget: TypeAlias = str | os.PathLike[str] | Callable[[dict[str, Any]], object]


@dataclass(frozen=True, kw_only=True, slots=True)
class DTLSConfig:
    """The choices of one side; see docs/configuration.md for each in turn.

    Durations are seconds, sizes are bytes. Raises :class:`ConfigError` when made, naming what to
    change. ``dataclasses.replace`` makes variants and parses no certificate again.
    """

    versions: Sequence[str] | None = None
    credentials: Credentials | Sequence[Credentials] | None = None
    trust: Trust | TrustFunction | Sequence[Trust | TrustFunction] | None = None
    client_auth: Literal["none", "optional", "required"] = "none"
    anonymous_fallback: bool = True
    max_certificate_length: int = 48 * 1024
    psk: PSKSource | None = field(default=None, repr=False)
    psk_identity_hint: str | bytes | None = None
    prefer_psk: bool | Literal["only"] = True
    psk_satisfies_client_auth: bool = True
    require_forward_secrecy: bool = False
    cipher_suites: Sequence[str] | None = None
    groups: Sequence[str] | None = None
    key_shares: Sequence[str] | None = None
    signature_schemes: Sequence[str] | None = None
    alpn_protocols: Sequence[str | bytes] | ALPNFunction = ()
    srtp_profiles: Sequence[str] = ()
    pmtu: int = 1500
    handshake_pmtu: int | None = None
    retransmit_initial: float = 1.0
    retransmit_max: float = 64.0
    max_retransmits: int | None = None
    handshake_timeout: float | None = 64.0
    resend_after_partial_flight: bool = False
    records_individually: bool = False
    max_burst: int = 10
    record_size_limit: int | None = None
    idle_timeout: float | None = None
    keepalive_interval: float | None = None
    request_ocsp_response: bool = False
    request_certificate_timestamps: bool = False
    require_extended_master_secret: bool = True
    require_renegotiation_info: bool = True
    server_name_policy: Literal["any", "strict"] = "any"
    connection_id: int | None = None
    return_routability_check: Literal["basic", "enhanced", "off"] = "basic"
    follow_unchecked_address: bool = False
    spare_connection_ids: int = 0
    replay_window: int = 64
    key_limit: Literal["event", "close"] = "event"
    recv_queue: int = 256
    write_limit: int = 65536
    session_tickets: int = 2
    ticket_keys: TicketKeys | None = field(default=None, repr=False, compare=False)
    session_store: SessionStore | None = field(default=None, repr=False, compare=False)
    cookie_keys: CookieKeys | None = field(default=None, repr=False, compare=False)
    confirm_resumption: bool = False
    max_associations: int = 100_000
    max_half_open: int = 1_000
    limits: Limits = field(default_factory=Limits)
    keylog: KeyLog | None = None
    trace: TraceTarget | None = None
    trace_limit: int = 64 * 1024 * 1024

    # Derived from the fields above, so neither shown nor compared.
    version_list: tuple[ProtocolVersion, ...] = field(init=False, repr=False, compare=False)
    suites: tuple[Suite, ...] = field(init=False, repr=False, compare=False)
    named_groups: tuple[NamedGroup, ...] = field(init=False, repr=False, compare=False)
    first_groups: tuple[NamedGroup, ...] | None = field(init=False, repr=False, compare=False)
    # The groups that DTLS 1.2 knows too, so no hybrids.
    named_groups12: tuple[NamedGroup, ...] = field(init=False, repr=False, compare=False)
    schemes: tuple[SignatureScheme, ...] = field(init=False, repr=False, compare=False)
    srtp: tuple[SRTPProtectionProfile, ...] = field(init=False, repr=False, compare=False)
    alpn: tuple[bytes, ...] = field(init=False, repr=False, compare=False)
    alpn_function: ALPNFunction | None = field(init=False, repr=False, compare=False)
    credential_list: tuple[Credentials, ...] = field(init=False, repr=False, compare=False)
    trusts: tuple[Trust, ...] = field(init=False, repr=False, compare=False)
    psks: Mapping[bytes, PSK] | None = field(init=False, repr=False, compare=False)
    psk_function: PSKFunction | None = field(init=False, repr=False, compare=False)
    identity_hint: bytes = field(init=False, repr=False, compare=False)
    speaks12: bool = field(init=False, repr=False, compare=False)
    speaks13: bool = field(init=False, repr=False, compare=False)
    # Whether a handshake of ours may contain certificates.
    offers_certificates: bool = field(init=False, repr=False, compare=False)
    checks_routability: bool = field(init=False, repr=False, compare=False)
    # The ticket keys named above; else those of this config, or of the one that it replaces.
    live_ticket_keys: TicketKeys = field(init=False, repr=False, compare=False)
    live_session_store: SessionStore = field(init=False, repr=False, compare=False)
    # Values that handshakes compute from the config once.
    kept: dict[str, Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        checks.check_fields(self)
        self._derive("credential_list", _as_tuple(self.credentials, Credentials))
        self._derive("trusts", _resolve_trust(self.trust))
        self._derive("psk_function", self.psk if callable(self.psk) else None)
        self._derive("psks", _resolve_psks(self.psk))
        self._derive("named_groups", self._resolve("groups", group_by_name, DEFAULT_GROUPS))
        self._derive("named_groups12", tuple(g for g in self.named_groups if g not in HYBRIDS))
        schemes = self._resolve("signature_schemes", scheme_by_name, DEFAULT_SCHEMES)
        self._derive("schemes", schemes)
        self._derive("srtp", self._resolve("srtp_profiles", _srtp_by_name, ()))
        chooses = callable(self.alpn_protocols)
        self._derive("alpn_function", self.alpn_protocols if chooses else None)
        names = () if chooses else self._resolve("alpn_protocols", _alpn_name, ())
        if sum(len(name) + 1 for name in names) > MAX_ALPN_LENGTH:
            raise ConfigError(f"alpn_protocols: all together have over {MAX_ALPN_LENGTH} bytes")
        self._derive("alpn", names)
        self._derive("identity_hint", _hint(self.psk_identity_hint))
        self._derive("first_groups", self._resolve_key_shares())
        self._derive("suites", self._resolve_suites())
        self._derive("version_list", self._resolve_versions())
        self._derive("speaks12", ProtocolVersion.DTLSv1_2 in self.version_list)
        self._derive("speaks13", ProtocolVersion.DTLSv1_3 in self.version_list)
        certificates = self._has_certificates and self._has_certificate_suites()
        self._derive("offers_certificates", certificates)
        self._derive("checks_routability", self.return_routability_check != "off")
        self._derive("kept", {})
        self._derive("live_ticket_keys", self.ticket_keys or TicketKeys())
        self._derive("live_session_store", self.session_store or MemorySessionStore())
        self._check_numbers()
        _check_keylog(self.keylog)
        _check_trace(self.trace)
        if self.client_auth == "required" and not self.trusts:
            raise ConfigError('client_auth="required" needs trust= to check the clients against')
        if self.server_name_policy == "strict" and not any(c.leaf for c in self.credential_list):
            raise ConfigError(
                'server_name_policy="strict" needs credentials with a certificate, whose names '
                "are those that are served"
            )
        if self.prefer_psk == "only" and self.psk is None:
            raise ConfigError('prefer_psk="only" needs psk=')

    def _derive(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _resolve(
        self, field: str, lookup: Callable[[Any], _T], default: tuple[_T, ...]
    ) -> tuple[_T, ...]:
        """The values that the names in a field stand for, each once; ``default`` for None or no
        names.
        """
        names = getattr(self, field)
        if default and names is not None and not names:
            raise ConfigError(f"{field} must name at least one, or be None for the defaults")
        try:
            found = tuple(dict.fromkeys(lookup(name) for name in names or ()))
        except ConfigError as error:
            raise ConfigError(f"{field}: {error}") from None
        return found or default

    def succeeding(self, before: DTLSConfig) -> DTLSConfig:
        """This config as the successor of another: fields that are None keep the earlier values."""
        successor = copy.copy(self)
        if self.ticket_keys is None:
            object.__setattr__(successor, "live_ticket_keys", before.live_ticket_keys)
        if self.session_store is None:
            object.__setattr__(successor, "live_session_store", before.live_session_store)
        return successor

    def _resolve_key_shares(self) -> tuple[NamedGroup, ...] | None:
        if self.key_shares is None:
            return None
        shares = self._resolve("key_shares", group_by_name, ())
        if not set(shares) <= set(self.named_groups):
            outside = ", ".join(group.name for group in shares if group not in self.named_groups)
            raise ConfigError(f"key_shares names {outside}, which is not among groups")
        return shares

    def _resolve_suites(self) -> tuple[Suite, ...]:
        """The suites that can be used with the credentials and keys of this config. With PSKs
        alone, only PSK suites.
        """
        self._check_versions()
        wanted = self._resolve("cipher_suites", suite_by_name, DEFAULT_SUITES)
        versions = self.versions or tuple(VERSIONS)
        suites = tuple(suite for suite in wanted if suite.version in versions)
        if not suites:
            raise ConfigError(
                f"versions is {', '.join(versions)}, and none of cipher_suites is of these versions"
            )
        usable = tuple(suite for suite in suites if self._obstacle(suite) is None)
        if not usable:
            raise ConfigError(f"none of cipher_suites can be used: {self._obstacles(suites)}")
        for version in self.versions or ():
            if version not in {suite.version for suite in usable}:
                unusable = [suite for suite in wanted if suite.version == version]
                reason = self._obstacles(unusable) if unusable else "it names none of that version"
                raise ConfigError(
                    f"versions names {version}, for which cipher_suites has no usable suite: "
                    f"{reason}. Add one, or leave the version out"
                )
        return usable

    def _obstacles(self, suites: Sequence[Suite]) -> str:
        """Why none of the suites can be used. Suites with the same obstacle are named together."""
        found: dict[str, list[str]] = {}
        for suite in suites:
            found.setdefault(str(self._obstacle(suite)), []).append(suite.name)
        return "; ".join(
            f"{', '.join(names[:2])}{f' and {len(names) - 2} more' if names[2:] else ''}: {why}"
            for why, names in found.items()
        )

    def _obstacle(self, suite: Suite) -> str | None:
        """Why a suite cannot be used with the credentials and keys of this config; or None."""
        exchange = suite.key_exchange
        if exchange is None:
            needs = "in DTLS 1.3 needs a psk= with an identity and "
            usable = self._has_certificates or self._has_psk_for(suite)
            return None if usable else f"{needs}hash={suite.hash_name.upper()!r}"
        if self.require_forward_secrecy and not exchange.uses_ecdhe:
            return "has no ECDHE, which require_forward_secrecy=True demands"
        if not exchange.uses_psk:
            needs = "needs certificates: credentials= at a server, trust= at a client"
            return None if self._has_certificates else needs
        if self._has_psk_for(suite):
            return None
        return "needs psk=" if self.psk is None else "needs a psk= that is not imported"

    def _has_psk_for(self, suite: Suite) -> bool:
        """Whether a PSK may serve a suite, as far as that can be told: a function's may be any."""
        if self.psk_function is not None:
            return True
        psks = (self.psks or {}).values()
        if suite.key_exchange is not None:
            return any(psk.serves_dtls12 for psk in psks)
        return any(psk.serves_dtls13(suite.hash_name) for psk in psks)

    def _resolve_versions(self) -> tuple[ProtocolVersion, ...]:
        """The versions that have a suite, newest first."""
        spoken = {suite.version for suite in self.suites}
        return tuple(sorted(VERSIONS[version] for version in spoken))

    def _check_versions(self) -> None:
        if self.versions is None:
            return
        if not self.versions:
            raise ConfigError('versions is a sequence such as ["1.2", "1.3"]')
        for version in self.versions:
            if version not in VERSIONS:
                known = ", ".join(VERSIONS)
                raise ConfigError(f"versions: {version!r} is not supported; there are {known}")

    def _check_numbers(self) -> None:
        check_pmtu(self.pmtu)
        if self.handshake_pmtu is not None:
            check_pmtu(self.handshake_pmtu, "handshake_pmtu")
        positive = ("retransmit_initial", "retransmit_max", "recv_queue", "write_limit")
        for name in (*positive, "max_associations", "max_half_open", "max_burst", "trace_limit"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be above 0, not {getattr(self, name)}")
        if self.retransmit_max < self.retransmit_initial:
            raise ConfigError("retransmit_max must not be below retransmit_initial")
        if self.idle_timeout is not None and not self.idle_timeout > 0:
            raise ConfigError("idle_timeout must be above 0, or None for no limit")
        if self.keepalive_interval is not None:
            if not self.keepalive_interval > 0:
                raise ConfigError("keepalive_interval must be above 0, or None for no probes")
            if not self.checks_routability:
                raise ConfigError("keepalive_interval needs return_routability_check: its probes")
        if not 0 <= self.session_tickets <= 16:
            raise ConfigError("session_tickets must be 0 to 16; with 0 nothing is resumed")
        if not 0 < self.max_certificate_length <= MAX_CERTIFICATE_LENGTH:
            raise ConfigError("max_certificate_length must be 1 to 131072 bytes")
        if self.max_retransmits is not None and self.max_retransmits < 0:
            raise ConfigError("max_retransmits must not be negative; None is no limit")
        if self.handshake_timeout is not None and not self.handshake_timeout > 0:
            raise ConfigError("handshake_timeout must be above 0, or None for no limit")
        if self.handshake_timeout is None and self.max_retransmits is None:
            raise ConfigError(
                "handshake_timeout and max_retransmits are both None, so a handshake could last "
                "for ever: set one of them"
            )
        if not 64 <= self.replay_window <= 65536:
            raise ConfigError("replay_window must be 64 to 65536 records")
        if self.connection_id is not None and not 0 <= self.connection_id <= 255:
            raise ConfigError("connection_id must be 0 to 255 bytes, or None")
        if not 0 <= self.spare_connection_ids <= 8:
            raise ConfigError("spare_connection_ids must be 0 to 8")
        if self.record_size_limit is not None and not 64 <= self.record_size_limit <= 16385:
            raise ConfigError("record_size_limit must be 64 to 16385 bytes, or None")

    def check_client(self, server_hostname: str | None) -> None:
        """Checks what a client needs in addition: a way to authenticate the server (F20).

        Raises :class:`ConfigError`.
        """
        self.client_psks()
        if self.alpn_function is not None:
            raise ConfigError("alpn_protocols: a client lists them; a function is for servers")
        if self.offers_certificates:
            trusts = self.client_trusts()
            if any(trust.checks_names for trust in trusts):
                if server_hostname is None:
                    raise ConfigError(
                        "server_hostname is needed to check the server's certificate; "
                        "or pin it with Trust.fingerprints, give Trust.from_function(..., "
                        "check_name=False), or take Trust.insecure()"
                    )
                host_name(server_hostname)

    def check_server(self) -> None:
        """Checks that a server has a key, and ends each handshake at some time.

        Raises :class:`ConfigError`.
        """
        if not self.can_serve:
            need = "credentials= or psk="
            if self.psk is not None:
                need = "credentials=, as psk_satisfies_client_auth=False refuses its psk="
            raise ConfigError(f"a server needs {need}")
        if self.handshake_timeout is None:
            # While a server waits for a client's next flight it need not have a timer.
            raise ConfigError("a server needs a handshake_timeout, not None: clients may just stop")

    @property
    def can_serve(self) -> bool:
        """Whether a server has a key to show."""
        return bool(self.credential_list) or self.serves_psk

    @property
    def serves_psk(self) -> bool:
        """Whether a server takes a PSK handshake, which shows no certificate of the client."""
        return self.psk is not None and (
            self.client_auth != "required" or self.psk_satisfies_client_auth
        )

    @property
    def hides_identities(self) -> bool:
        """Whether a server's answer to a PSK must not tell if it knows the identity.

        With certificates to fall back on it does tell (RFC 8446 appendix E.6).
        """
        return self.serves_psk and (not self.credential_list or self.prefer_psk == "only")

    @property
    def _has_certificates(self) -> bool:
        """Whether certificates are used. A config without any key is that of a client that checks
        certificates.
        """
        return bool(self.credential_list or self.trusts) or self.psk is None

    def _has_certificate_suites(self) -> bool:
        return any(
            suite.key_exchange is None or suite.key_exchange.uses_certificate
            for suite in self.suites
        )

    @property
    def watches_peers(self) -> bool:
        """Whether silence of a peer must be noticed."""
        return self.idle_timeout is not None or self.keepalive_interval is not None

    def client_trusts(self) -> tuple[Trust, ...]:
        """The trust of a client. By default the system's CA store."""
        return self.trusts or (Trust.system(),)

    def client_psks(self) -> tuple[PSK, ...]:
        """The keys of a client, in order of preference; DTLS 1.2 can name one alone.

        Raises :class:`ConfigError` where they cannot be offered.
        """
        if self.psk is None:
            return ()
        if self.psks is None:
            raise ConfigError(
                "psk is a function, which a server can ask; a client names its PSK: psk=PSK(...)"
            )
        psks = tuple(self.psks.values())
        if self.speaks12 and sum(psk.serves_dtls12 for psk in psks) > 1:
            raise ConfigError(
                'several PSKs can be offered in DTLS 1.3 alone: versions=["1.3"], or one PSK'
            )
        if self.speaks13 and sum(psk.offered_size for psk in psks) > MAX_OFFERED:
            raise ConfigError(
                f"the PSKs of a client have more than {MAX_OFFERED} bytes in its hello: give fewer"
            )
        return psks

    @property
    def client_psk12(self) -> PSK:
        """The one key that a client of DTLS 1.2 names; there is one where it offers PSK suites."""
        return next(psk for psk in self.client_psks() if psk.serves_dtls12)

    # -- resumption, server's side --------------------------------------------------------------

    def seal_ticket(
        self, session: Session, random: Callable[[int], bytes], wall_time: float
    ) -> bytes | None:
        """The ticket for a session, under the newest key; None for a session that is too long."""
        ticket = self.live_ticket_keys.seal(session, random, wall_time)
        return ticket if TicketKeys.is_short(ticket) else None

    def open_ticket(self, ticket: bytes, wall_time: float) -> Session | None:
        """The session in a ticket; None if it is not ours, has expired, or is no longer
        accepted.
        """
        return self.live_ticket_keys.open(ticket, wall_time) if self.session_tickets else None

    def is_outdated(self, ticket: bytes) -> bool:
        """Whether a ticket that ``open_ticket`` accepts should be replaced by a newer one."""
        return self.live_ticket_keys.is_outdated(ticket)

    def log_secret(self, label: str, client_random: bytes, secret: bytes) -> None:
        """Writes a line in the SSLKEYLOGFILE format, if the user asked for a key log."""
        if self.keylog is None:
            return
        line = f"{label} {client_random.hex()} {secret.hex()}"
        if callable(self.keylog):
            self.keylog(line)
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        with os.fdopen(os.open(self.keylog, flags, 0o600), "a") as file:
            file.write(line + "\n")


def check_pmtu(pmtu: int, name: str = "pmtu") -> int:
    """Checks a PMTU, the whole IP packet. Raises :class:`ConfigError` outside 256 to 65535."""
    if not checks.fits(pmtu, int) or not MINIMUM_PMTU <= pmtu <= MAXIMUM_PMTU:
        raise ConfigError(f"{name} must be {MINIMUM_PMTU} to {MAXIMUM_PMTU}, not {pmtu!r}")
    return pmtu


def _as_tuple(value: _T | Sequence[_T] | None, kind: type[_T]) -> tuple[_T, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, kind) else tuple(cast("Sequence[_T]", value))


def _resolve_trust(trust: Any) -> tuple[Trust, ...]:
    """Several in order; a bare function means ``Trust.from_function``."""
    several = trust if isinstance(trust, Sequence) else () if trust is None else (trust,)
    return tuple(item if isinstance(item, Trust) else Trust.from_function(item) for item in several)


def _resolve_psks(psk: PSKSource | None) -> dict[bytes, PSK] | None:
    if psk is None or callable(psk):
        return None
    if isinstance(psk, PSK):
        return {psk.identity: psk}
    if not psk:
        raise ConfigError("psk is an empty mapping: it needs at least one identity and key")
    return {encode_identity(k): v if isinstance(v, PSK) else PSK(k, v) for k, v in psk.items()}


def _check_keylog(keylog: KeyLog | None) -> None:
    """A path that cannot be written would end every handshake."""
    if keylog is None or callable(keylog):
        return
    path = Path(keylog)
    if path.is_dir() or not path.parent.is_dir():
        raise ConfigError(f"keylog must be a file in a directory that exists, not {str(path)!r}")


def _check_trace(trace: TraceTarget | None) -> None:
    """Nothing else would notice a directory that is missing."""
    if trace is not None and not callable(trace) and not Path(trace).is_dir():
        raise ConfigError(f"trace must be a directory that exists, not {str(Path(trace))!r}")


def _hint(hint: str | bytes | None) -> bytes:
    encoded = hint.encode() if isinstance(hint, str) else hint or b""
    if len(encoded) > 65535:
        raise ConfigError("psk_identity_hint has at most 65535 bytes")
    return encoded


def _srtp_by_name(name: str) -> SRTPProtectionProfile:
    try:
        return SRTPProtectionProfile[name]
    except KeyError:
        known = ", ".join(profile.name for profile in SRTPProtectionProfile)
        raise ConfigError(f"{name!r} is not supported; there are {known}") from None


def _alpn_name(name: str | bytes) -> bytes:
    encoded = name.encode() if isinstance(name, str) else bytes(name)
    if not 0 < len(encoded) <= 255:
        raise ConfigError(f"an ALPN name has 1 to 255 bytes, not {len(encoded)}")
    return encoded
