"""What users are told about their mistakes: each message says what happened and what to do.

A message is held whole by its row in docs/reference/errors.md, where "..." stands for values; the
case holds the values.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import x25519

import aiodtls
from aiodtls import PSK, Credentials, DTLSConfig, Trust
from aiodtls.core.crypto.certificates import fingerprint_of, show_fingerprint
from tests.core.test_credentials import (
    CA,
    DAY,
    HOST,
    LEAF,
    NOW,
    Issued,
    ca_flag,
    san,
    trusting,
    usage,
)
from tests.harness import Link, Pair

KEY = b"0123456789abcdef"
PAGE = (Path(__file__).parent.parent / "docs/reference/errors.md").read_text()
PSK12 = "TLS_PSK_WITH_AES_128_CCM_8"
MIDDLE = Issued("Middle", ca_flag(True), by=CA, number=2)
# As X.509 version 1 has it: nothing says that it is a CA.
OLD_ROOT = Issued("Old root", number=3)
OTHER_CA = Issued("Other CA", ca_flag(True), number=4)
SAME_NAME = Issued("Test CA", ca_flag(True), number=5)
REQUIRES: dict[str, Any] = {"client_auth": "required", "trust": trusting(CA)}
EMAIL = x509.ExtendedKeyUsage([x509.ObjectIdentifier("1.3.6.1.5.5.7.3.4")])


def config(**fields: Any) -> Callable[[], object]:
    return lambda: DTLSConfig(**fields)


def shown_by(*chain: Issued, trust: Trust | None = None, host: str = HOST) -> Callable[[], None]:
    """A client checks a server's chain."""

    def provoke() -> None:
        credentials = Credentials.from_objects(chain[0].key, [c.certificate for c in chain])
        client = DTLSConfig(trust=trusting(CA) if trust is None else trust, versions=["1.3"])
        raise failures(client, DTLSConfig(credentials=credentials), server_hostname=host)[0]

    return provoke


def leaf(*extensions: x509.ExtensionType, **options: Any) -> Issued:
    return Issued(HOST, *extensions, **{"by": CA, **options})


def failures(client: DTLSConfig, server: DTLSConfig, **options: Any) -> tuple[Any, Any]:
    pair = Pair(client, server, **{"server_hostname": HOST, **options})
    pair.run(lambda: pair.failed or pair.connected)
    pair.run(limit=100)
    return pair.client.failure, pair.server.failure if pair.has_server else None


def serving(**fields: Any) -> DTLSConfig:
    own = leaf(san(HOST))
    return DTLSConfig(credentials=Credentials.from_objects(own.key, [own.certificate]), **fields)


def client(**fields: Any) -> DTLSConfig:
    return DTLSConfig(**{"trust": trusting(CA), **fields})


def refusing(
    client_fields: dict[str, Any], server: Callable[[], DTLSConfig], **options: Any
) -> Callable[[], None]:
    """The client's exception, where the server refuses."""

    def provoke() -> None:
        raise failures(client(**client_fields), server(), **options)[0]

    return provoke


def silent(fields: dict[str, Any], link: Callable[[], Link], side: int = 0) -> Callable[[], None]:
    def provoke() -> None:
        versions = {"versions": fields.get("versions", ["1.3"])}
        server = serving() if "psk" not in fields else DTLSConfig(psk=PSK("device", KEY[::-1]))
        own = {"handshake_timeout": 10.0, **fields, **versions}
        if "psk" in fields:
            own["trust"] = None
        raise failures(client(**own), server, link=link())[side]

    return provoke


def lost_from(sender: str, first: int = 0) -> Link:
    return Link(filter=lambda who, number, _: [] if who == sender and number >= first else None)


def own_certificate(**options: Any) -> Credentials:
    own = Issued("device 7", by=OTHER_CA, **options)
    return Credentials.from_objects(own.key, [own.certificate])


def at_server(client_fields: dict[str, Any], **fields: Any) -> Callable[[], None]:
    """The server's exception, where the client refuses."""

    def provoke() -> None:
        own = {"versions": ["1.2"], **client_fields}
        raise failures(client(**own), serving(**fields), cookie=False)[1]

    return provoke


def issue(*chain: Issued, **options: Any) -> tuple[Issued, ...]:
    """A leaf for the usual host, issued by the first of the chain, with the whole chain."""
    return leaf(san(HOST), by=chain[0], **options), *chain


OLD = Issued("Middle", ca_flag(True), by=CA, number=2, end=NOW - DAY / 2)
MAIL = Issued("Mail CA", ca_flag(True), EMAIL, by=CA, number=6)
FLAT = Issued("Flat", ca_flag(True, 0), by=CA, number=7)
BELOW = Issued("Below", ca_flag(True), by=FLAT, number=8)
DNS_ADDRESS = x509.SubjectAlternativeName([x509.DNSName("127.0.0.1")])
ONE13 = {"versions": ["1.3"], "cipher_suites": ["TLS_AES_128_GCM_SHA256"]}
PSK13 = {"psk": PSK("device", KEY), "trust": None, "versions": ["1.3"]}
A_PSK = {"psk": PSK("a", KEY)}

# What is done wrong: how it is provoked, and the values that the message names.
MISTAKES: dict[str, tuple[Callable[[], object], tuple[str, ...]]] = {
    "forward secrecy with a plain PSK suite": (
        config(**A_PSK, cipher_suites=[PSK12], require_forward_secrecy=True),
        (PSK12, "require_forward_secrecy=True"),
    ),
    "a PSK suite without a PSK": (config(trust=trusting(CA), cipher_suites=[PSK12]), (PSK12,)),
    "a certificate suite with a PSK alone": (
        config(**A_PSK, cipher_suites=["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]),
        ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",),
    ),
    "a suite of another hash than the PSK's": (
        config(**A_PSK, versions=["1.3"], cipher_suites=["TLS_AES_256_GCM_SHA384"]),
        ("TLS_AES_256_GCM_SHA384", "hash='SHA384'"),
    ),
    "an imported PSK in DTLS 1.2": (
        config(psk=PSK.imported("a", KEY), versions=["1.2"], cipher_suites=[PSK12]),
        (PSK12,),
    ),
    "a suite of another version": (config(**A_PSK, versions=["1.3"], cipher_suites=[PSK12]), ()),
    "a version without a suite": (
        config(**A_PSK, versions=["1.2", "1.3"], cipher_suites=[PSK12]),
        ("versions names 1.3",),
    ),
    "an unknown suite": (config(cipher_suites=["TLS_NULL"]), ("'TLS_NULL'",)),
    "OpenSSL's name of a suite": (
        config(cipher_suites=["ECDHE-RSA-AES128-GCM-SHA256"]),
        ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",),
    ),
    "an unknown group": (config(groups=["P-256"]), ("'P-256'", "secp256r1")),
    "an unknown signature scheme": (config(signature_schemes=["sha1"]), ("'sha1'", "ed25519")),
    "an unknown version": (config(versions=["DTLSv1.2"]), ("'DTLSv1.2'", "1.2, 1.3")),
    "a text for a list": (config(versions="1.2"), ("versions", "str")),
    "a share that is no group": (
        config(groups=["x25519"], key_shares=["secp256r1"]),
        ("secp256r1",),
    ),
    "certificates required without trust": (config(**A_PSK, client_auth="required"), ()),
    "a choice that is none": (config(client_auth="must"), ("client_auth", "'must'")),
    "a PMTU out of bounds": (config(pmtu=100), ("256 to 65535", "100")),
    "a text for a number": (config(pmtu="1500"), ("pmtu", "int")),
    "a handshake without an end": (config(handshake_timeout=None), ()),
    "strict names without names": (config(server_name_policy="strict"), ()),
    "only PSKs without one": (config(prefer_psk="only"), ()),
    "no PSK in the mapping": (config(psk={}), ()),
    "a key log nowhere": (config(keylog="/nonexistent/keys"), ("/nonexistent/keys",)),
    "traces nowhere": (config(trace="/nonexistent/traces"), ("/nonexistent/traces",)),
    "a server without a key": (lambda: DTLSConfig().check_server(), ()),
    "several PSKs for DTLS 1.2": (
        lambda: DTLSConfig(psk={"a": KEY, "b": KEY}).check_client(HOST),
        (),
    ),
    "a function for a client's PSK": (
        lambda: DTLSConfig(psk=lambda _identity, _context: None).check_client(HOST),
        (),
    ),
    "a function for a client's protocols": (
        lambda: DTLSConfig(alpn_protocols=lambda _: None).check_client(HOST),
        (),
    ),
    "no name to check": (lambda: client().check_client(None), ()),
    "an address of the web for a name": (
        lambda: client().check_client("https://sensor.example/"),
        ("https://sensor.example/",),
    ),
    "the key of another certificate": (
        lambda: Credentials.from_objects(CA.key, [LEAF.certificate]),
        (f"CN={HOST}",),
    ),
    "a key that cannot sign": (
        lambda: Credentials.raw_public_key(x25519.X25519PrivateKey.generate()),
        ("X25519PrivateKey",),
    ),
    "trust in nobody": (lambda: Trust.from_certificates(), ()),
    "a short fingerprint": (lambda: Trust.fingerprints("AB:CD"), ("not 2",)),
    "a text for a fingerprint": (lambda: Trust.fingerprints("not one"), ("'not one'",)),
    "a fingerprint of SHA-1": (lambda: Trust.fingerprints("sha-1 " + "AB" * 20), ("'sha-1'",)),
    "an empty PSK": (lambda: PSK("a", b""), ("not 0",)),
    "a text for the key of a PSK": (lambda: PSK("a", "secret"), ("not str",)),
    "an unknown hash of a PSK": (lambda: PSK("a", KEY, hash="sha256"), ("'sha256'",)),
    "an expired certificate": (
        shown_by(leaf(san(HOST), end=NOW - DAY / 2)),
        (f"CN={HOST}", f"{NOW - DAY / 2:%Y-%m-%d}"),
    ),
    "a certificate of tomorrow": (
        shown_by(leaf(san(HOST), start=NOW + DAY)),
        (f"CN={HOST}", f"{NOW + DAY:%Y-%m-%d}"),
    ),
    "an expired CA": (shown_by(*issue(OLD)), ("CN=Middle",)),
    "a certificate of another host": (
        shown_by(leaf(san("other.example", "192.0.2.1"))),
        ("other.example, 192.0.2.1", f"not for {HOST}"),
    ),
    "an address as a DNS name": (shown_by(leaf(DNS_ADDRESS), host="127.0.0.1"), ("127.0.0.1",)),
    "a common name alone": (shown_by(leaf()), (f"not for {HOST}",)),
    "a self-signed certificate": (shown_by(Issued(HOST, san(HOST))), ("sha-256 ",)),
    "another CA": (shown_by(*issue(OTHER_CA)), ("CN=Other CA",)),
    "a missing intermediate": (shown_by(leaf(san(HOST), by=MIDDLE)), ("CN=Middle",)),
    "another CA of the same name": (shown_by(leaf(san(HOST), by=SAME_NAME)), ("CN=Test CA",)),
    "a chain that is too long for its CA": (shown_by(*issue(BELOW, FLAT)), ("path length",)),
    "a root of X.509 version 1": (
        shown_by(leaf(san(HOST), by=OLD_ROOT), trust=trusting(OLD_ROOT)),
        ("CN=Old root",),
    ),
    "the same beside a CA": (
        shown_by(leaf(san(HOST), by=OLD_ROOT), trust=trusting(OLD_ROOT, CA)),
        ("CN=Old root",),
    ),
    "another pinned certificate": (
        shown_by(leaf(san(HOST)), trust=trusting(Issued("x", san(HOST)))),
        (f"CN={HOST}",),
    ),
    "another fingerprint": (
        shown_by(LEAF, trust=Trust.fingerprints("AB" * 32)),
        (show_fingerprint("sha-256", fingerprint_of("sha-256", LEAF.der)),),
    ),
    "a certificate for e-mail": (shown_by(leaf(san(HOST), EMAIL)), (f"CN={HOST}", "serverAuth")),
    "a key that may not sign": (
        shown_by(leaf(san(HOST), usage(key_agreement=True))),
        (f"CN={HOST}",),
    ),
    "a CA for e-mail": (shown_by(*issue(MAIL)), ("serverAuth",)),
    "no suite in common": (
        refusing(ONE13, lambda: serving(cipher_suites=("TLS_AES_256_GCM_SHA384",))),
        ("handshake_failure", "TLS_AES_128_GCM_SHA256", "x25519", "certificate of the client"),
    ),
    "no certificate for a server of DTLS 1.2": (
        refusing({"versions": ["1.2"]}, lambda: serving(**REQUIRES)),
        ("handshake_failure", "certificate of the client"),
    ),
    "no certificate for a server of DTLS 1.3": (
        refusing({"versions": ["1.3"]}, lambda: serving(**REQUIRES)),
        ("certificate_required", "no certificate"),
    ),
    "a certificate that the server does not trust": (
        refusing({"credentials": own_certificate()}, lambda: serving(**REQUIRES)),
        ("unknown_ca", "CN=device 7 issued by CN=Other CA"),
    ),
    "a certificate that the client does not trust": (
        at_server({"trust": trusting(OTHER_CA)}),
        ("unknown_ca", f"we have the certificate CN={HOST} issued by CN=Test CA"),
    ),
    "no version in common": (
        refusing({"versions": ["1.2"]}, lambda: serving(versions=("1.3",))),
        ("protocol_version", "DTLS 1.2"),
    ),
    "no protocol in common": (
        refusing({"alpn_protocols": ["coap"]}, lambda: serving(alpn_protocols=("mqtt",))),
        ("no_application_protocol", "coap"),
    ),
    "a name that the server does not have": (
        refusing({}, lambda: serving(server_name_policy="strict"), server_hostname="other.example"),
        ("unrecognized_name", "other.example"),
    ),
    "another key for a PSK": (
        refusing(PSK13, lambda: DTLSConfig(psk=PSK("device", KEY[::-1]))),
        ("decrypt_error", "the PSK identity device"),
    ),
    "another key for a PSK of DTLS 1.2": (
        silent({"psk": PSK("device", KEY), "versions": ["1.2"]}, Link),
        ("10.0 s",),
    ),
    "nobody at the address": (silent({}, lambda: lost_from("server")), ("to 3 resends",)),
    "a path without large datagrams": (
        silent({}, lambda: lost_from("server", 1)),
        ("datagrams: 1",),
    ),
}


def rows() -> dict[str, re.Pattern[str]]:
    """The messages on the page, each with the pattern that it stands for."""
    found = re.findall(r"^\| `(.+?)` \|", PAGE, re.MULTILINE)
    return {text: re.compile(".+?".join(map(re.escape, text.split("...")))) for text in found}


@functools.cache
def told(name: str) -> str:
    """What the user is told about a mistake."""
    with pytest.raises(aiodtls.DTLSError) as caught:
        MISTAKES[name][0]()
    return str(caught.value)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_explained(name):
    message = told(name)
    for value in MISTAKES[name][1]:
        assert value in message
    assert any(row.fullmatch(message) for row in rows().values()), message


def test_each_message_of_the_page_is_told():
    messages = [told(name) for name in MISTAKES]
    untold = [text for text, row in rows().items() if not any(map(row.fullmatch, messages))]
    assert not untold


def test_each_row_of_the_page_says_what_to_do():
    for line in PAGE.splitlines():
        if line.startswith("| `"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            assert len(cells) == 3 and all(cells), line
