"""The runner's command line: which flags the shim knows, and the settings of each connection.

A flag that is not in the tables here is not implemented, and the test is skipped.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass, field

# Nothing to do with them: what they steer is BoringSSL's way of calling, not the protocol.
IGNORED = {
    "async",
    "dtls",
    # There is no early data in DTLS here, and the runner sees that none is offered.
    "enable-early-data",
    "expect-accept-early-data",
    "expect-ticket-supports-early-data",
    "implicit-handshake",
    "no-tls11",
    "renegotiate-freely",
    "set-ocsp-in-callback",
    "use-early-callback",
    "use-ocsp-callback",
    "use-old-client-cert-callback",
    # Tickets are sealed in one place anyway.
    "use-ticket-aead-callback",
    "use-ticket-callback",
}
# The same with a value; there is no early data here, and tests that need some say so elsewhere.
IGNORED_TEXTS = {"expect-early-data-reason"}
SWITCHES = {
    "allow-unknown-alpn-protos",
    "decline-alpn",
    "decline-ocsp-callback",
    "enable-ocsp-stapling",
    "enable-signed-cert-timestamps",
    "expect-extended-master-secret",
    "expect-hrr",
    "expect-no-hrr",
    "expect-no-peer-cert",
    "expect-no-session",
    "expect-no-session-id",
    "expect-session-id",
    "expect-session-miss",
    "expect-ticket-renewal",
    "expect-verify-result",
    "fail-ocsp-callback",
    "ipv6",
    "key-update-before-read",
    "no-server-name-ack",
    "no-ticket",
    "no-tls1",
    "no-tls12",
    "no-tls13",
    "reject-alpn",
    "renew-ticket",
    "require-any-client-certificate",
    "reverify-on-resume",
    "select-empty-alpn",
    "send-alert",
    "server",
    "shim-writes-first",
    "skip-ticket",
    "use-custom-verify-callback",
    "use-export-context",
    "verify-fail",
    "verify-peer",
}
NUMBERS = {
    "expect-curve-id",
    "expect-selected-credential",
    "expect-version",
    "export-keying-material",
    "initial-timeout-duration-ms",
    "max-cert-list",
    "max-version",
    "min-version",
    "mtu",
    "port",
    "private-key-delay-ms",
    "resume-count",
    "shim-id",
}
LISTS = {"available-client-cert-types", "curves", "verify-prefs"}
TEXTS = {
    "advertise-alpn",
    "cipher",
    "expect-advertised-alpn",
    "expect-alpn",
    "expect-msg-callback",
    "expect-ocsp-response",
    "expect-server-name",
    "expect-signed-cert-timestamps",
    "export-context",
    "export-label",
    "host-name",
    "psk",
    "psk-identity",
    "select-alpn",
    "srtp-profiles",
    "trust-cert",
}
# These describe the credential begun by the last -new-x509-credential, or the default one.
CREDENTIAL_TEXTS = {"cert-file", "key-file"}
# In base64, like what is expected of them: an OCSP response, a SignedCertificateTimestampList.
STAPLES = {"ocsp-response", "signed-cert-timestamps"}
CREDENTIAL_LISTS = {"signing-prefs"}
# And these the pre-shared key begun by the last -new-psk-credential, in base64.
PSK_TEXTS = {"psk-importer-key", "psk-importer-identity", "psk-importer-context"}
PSK_HASHES = {"psk-importer-sha256": "SHA256", "psk-importer-sha384": "SHA384"}
PREFIXES = ("on-initial-", "on-resume-", "on-retry-")

# Version numbers of DTLS count downwards.
DTLS10 = 0xFEFF
DTLS12 = 0xFEFD
DTLS13 = 0xFEFC
VERSIONS = {DTLS12: "1.2", DTLS13: "1.3"}


class Unimplemented(Exception):
    """The test asks for something that aiodtls does not do."""


@dataclass(slots=True)
class CredentialFlags:
    """One credential of ours; ``signing_prefs`` empty means the key's own preference.

    ``index`` counts those begun by a flag; the default one is -1.
    """

    index: int = -1
    is_raw: bool = False
    cert_file: str = ""
    key_file: str = ""
    signing_prefs: list[int] = field(default_factory=list)
    psk: dict[str, bytes] = field(default_factory=dict)
    needs_named_issuer: bool = False
    staples: dict[str, bytes] = field(default_factory=dict)
    psk_hash: str = ""


@dataclass(slots=True)
class Flags:
    """The settings of one connection. ``credentials`` come in order, the default one last."""

    switches: set[str] = field(default_factory=set)
    numbers: dict[str, int] = field(default_factory=dict)
    lists: dict[str, list[int]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    credentials: list[CredentialFlags] = field(default_factory=list)
    is_resumption: bool = False

    def __contains__(self, name: str) -> bool:
        return name in self.switches

    @property
    def is_server(self) -> bool:
        return "server" in self.switches

    @property
    def versions(self) -> list[str]:
        """The names of those that may be spoken, oldest first."""
        lowest = self.numbers.get("min-version", DTLS10)
        highest = self.numbers.get("max-version", DTLS13)
        return [
            name
            for code, name in VERSIONS.items()
            if lowest >= code >= highest and f"no-tls{name.replace('.', '')}" not in self.switches
        ]


def parse(arguments: Sequence[str], prefix: str) -> Flags:
    """The flags without a prefix and those with ``prefix``. Raises :class:`Unimplemented`."""
    flags = Flags()
    default = CredentialFlags()
    current = default
    rest = iter(arguments)
    for argument in rest:
        name = argument.removeprefix("-")
        applies = True
        for candidate in PREFIXES:
            if name.startswith(candidate):
                name = name.removeprefix(candidate)
                applies = candidate == prefix
        target = flags if applies else Flags()
        if name in IGNORED:
            continue
        if name in IGNORED_TEXTS:
            next(rest)
            continue
        if name in SWITCHES:
            target.switches.add(name)
        elif name in ("new-x509-credential", "new-psk-credential", "new-rpk-credential"):
            current = CredentialFlags(len(target.credentials), is_raw=name == "new-rpk-credential")
            target.credentials.append(current)
        elif name in NUMBERS:
            target.numbers[name] = int(next(rest))
        elif name in LISTS:
            target.lists.setdefault(name, []).append(int(next(rest)))
        elif name in TEXTS:
            target.texts[name] = next(rest)
        elif name == "must-match-issuer":
            current.needs_named_issuer = True
        elif name in PSK_HASHES:
            current.psk_hash = PSK_HASHES[name]
        elif name in CREDENTIAL_TEXTS | CREDENTIAL_LISTS | PSK_TEXTS | STAPLES:
            if not applies:
                raise Unimplemented(argument)
            _describe(current, name, next(rest))
        else:
            raise Unimplemented(argument)
    if default.cert_file:
        flags.credentials.append(default)
    if "decline-ocsp-callback" in flags:
        for credential in flags.credentials:
            credential.staples.pop("ocsp-response", None)
    if not flags.versions and "no-tls1" not in flags:
        raise Unimplemented("a version other than DTLS 1.2 and 1.3")
    return flags


def _describe(credential: CredentialFlags, name: str, value: str) -> None:
    if name == "cert-file":
        credential.cert_file = value
    elif name == "key-file":
        credential.key_file = value
    elif name in STAPLES:
        credential.staples[name] = b64decode(value)
    elif name in PSK_TEXTS:
        credential.psk[name.removeprefix("psk-importer-")] = b64decode(value)
    else:
        credential.signing_prefs.append(int(value))
