"""What each extension offers, accepts and replies, where no rule is broken.

Broken rules are in test_deviations.py, and where an extension may stand in test_places.py.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from aiodtls import PSK, Credentials, DTLSConfig, Trust
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.handshake.extensions import (
    certificate_authorities,
    certificate_types,
    signature_algorithms,
    supported_groups,
)
from aiodtls.core.registry import CertificateType, ExtensionType, NamedGroup
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions import (
    ALPN,
    ClientCertificateTypes,
    ECPointFormats,
    Extension,
    ReturnRoutability,
    ServerCertificateTypes,
    ServerName,
    SignatureAlgorithms,
    SupportedGroups,
)
from aiodtls.core.wire.extensions13 import (
    PskKeyExchangeModes,
    RecordSizeLimit,
    SignatureAlgorithmsCert,
)
from aiodtls.core.wire.messages import ClientHello, ServerHello
from aiodtls.core.wire.messages13 import EncryptedExtensions
from tests.harness import CLIENT, SERVER, Pair
from tests.malicious import Deviation, altered_messages, with_extension, without_extension
from tests.simulated.variants import configs

CREDENTIALS = Credentials.self_signed("localhost")
RAW = Credentials.raw_public_key(ec.generate_private_key(ec.SECP256R1()))
PINNED = {"trust": Trust.fingerprints(CREDENTIALS.fingerprint())}
RAW_PINNED = {"trust": Trust.public_keys(RAW.public_key)}
ONE_PSK = {"psk": PSK("device", b"0123456789abcdef")}
TICKETS_ALONE, NO_TICKETS = {"session_tickets": 1}, {"session_tickets": 0}
# 2^14 bytes, and in DTLS 1.3 one more for the content type (RFC 8449 section 4).
LIMIT12, LIMIT13 = 16384, 16385


def hello_of(server_hostname: str | None = "localhost", **fields: Any) -> ClientHello:
    """The first hello of a client."""
    found: list[Any] = []
    with altered_messages(lambda hs, message, index: found.append(message)):
        DTLSConnection.client(DTLSConfig(**fields), SERVER, 0.0, server_hostname=server_hostname)
    return found[0]


def replies_in(deviation: Deviation, kind: type[Any]) -> Extensions:
    """The extensions of the honest server's answer, in a handshake that succeeds."""
    found: list[Any] = []

    def look(hs: Any, message: Any, index: int) -> None:
        if isinstance(message, kind):
            found.append(message.extensions)

    with altered_messages(look):
        deviation.is_accepted()
    return found[-1]


def hello_with(*extensions: Extension) -> ClientHello:
    return ClientHello(bytes(32), (), Extensions.of(extensions))


# -- which extensions a client offers --------------------------------------------------------------

ALWAYS = {"server_name", "record_size_limit", "connection_id", "rrc"}
OF_12 = {"extended_master_secret", "renegotiation_info", "session_ticket"}
OF_13 = {"supported_versions", "key_share", "psk_key_exchange_modes"}
GROUPS, POINTS, SCHEMES, PSK13 = (
    {"supported_groups"},
    {"ec_point_formats"},
    {"signature_algorithms"},
    {"pre_shared_key"},
)
CLIENT_TYPE, SERVER_TYPE = {"client_certificate_type"}, {"server_certificate_type"}
PLAIN_PSK, ECDHE_PSK = "TLS_PSK_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_PSK_WITH_AES_128_GCM_SHA256"
ONLY_12, ONLY_13 = {"versions": ["1.2"]}, {"versions": ["1.3"]}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (PINNED, OF_12 | OF_13 | GROUPS | POINTS | SCHEMES),
        (PINNED | ONLY_12, OF_12 | GROUPS | POINTS | SCHEMES),
        (PINNED | ONLY_13, OF_13 | GROUPS | SCHEMES),
        (ONE_PSK, OF_12 | OF_13 | GROUPS | POINTS | PSK13),
        (ONE_PSK | PINNED, OF_12 | OF_13 | GROUPS | POINTS | SCHEMES | PSK13),
        (ONE_PSK | ONLY_13, OF_13 | GROUPS | PSK13),
        # Suites of DTLS 1.2 without ECDHE need no group.
        (ONE_PSK | {"cipher_suites": [PLAIN_PSK]}, OF_12),
        (ONE_PSK | {"cipher_suites": [PLAIN_PSK, ECDHE_PSK]}, OF_12 | GROUPS | POINTS),
        (ONE_PSK | {"cipher_suites": ["TLS_AES_128_GCM_SHA256", PLAIN_PSK]}, None),
        # Nothing to resume, and no PSK.
        (PINNED | NO_TICKETS, OF_12 | OF_13 | GROUPS | POINTS | SCHEMES),
        # X.509 alone is not named (RFC 7250 section 4.1).
        (PINNED | ONLY_13 | {"credentials": CREDENTIALS}, OF_13 | GROUPS | SCHEMES),
        (PINNED | ONLY_13 | {"credentials": RAW}, OF_13 | GROUPS | SCHEMES | CLIENT_TYPE),
        (RAW_PINNED | ONLY_13, OF_13 | GROUPS | SCHEMES | SERVER_TYPE),
        (
            RAW_PINNED | ONLY_12 | {"credentials": [CREDENTIALS, RAW]},
            OF_12 | GROUPS | POINTS | SCHEMES | CLIENT_TYPE | SERVER_TYPE,
        ),
    ],
)
def test_what_a_client_offers(fields, expected):
    if fields.get("session_tickets") == 0:
        expected = expected - {"session_ticket", "psk_key_exchange_modes"}
    if expected is None:
        # The groups are for DTLS 1.3, and no suite of DTLS 1.2 has points.
        expected = OF_12 | OF_13 | GROUPS | PSK13
    names = {ExtensionType(code).name for code in hello_of(**fields).extensions}
    assert names == ALWAYS | expected


@pytest.mark.parametrize(
    ("fields", "modes"),
    [
        (PINNED, [1]),
        (ONE_PSK, [1, 0]),
        (ONE_PSK | PINNED, [1, 0]),
        (ONE_PSK | NO_TICKETS, [1, 0]),
        (ONE_PSK | NO_TICKETS | {"require_forward_secrecy": True}, [1]),
        (PINNED | NO_TICKETS, None),
    ],
)
def test_the_modes_of_psks_and_tickets(fields, modes):
    """A ticket is resumed with (EC)DHE alone, our own PSK also without."""
    offered = hello_of(**fields, versions=["1.3"]).extensions.find(PskKeyExchangeModes)
    assert (list(offered.modes) if offered else None) == modes


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Server.Example.", "server.example"),
        ("192.0.2.1", None),
        ("2001:db8::1", None),
        ("fe80::1%eth0", None),
        ("not a host name", None),
        (None, None),
    ],
)
def test_the_name_that_a_client_asks_for(name, shown):
    """RFC 6066 section 3: host names alone."""
    found = hello_of(name, trust=Trust.insecure()).extensions.find(ServerName)
    assert (found.host_name if found else None) == shown


# -- record_size_limit -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        (PINNED, LIMIT13),
        (PINNED | ONLY_13, LIMIT13),
        (PINNED | ONLY_12, LIMIT12),
        (PINNED | ONLY_12 | {"record_size_limit": 500}, 500),
        (PINNED | ONLY_12 | {"record_size_limit": LIMIT13}, LIMIT12),
    ],
)
def test_the_record_size_limit_that_a_client_names(fields, limit):
    """The newest version that is offered counts (RFC 8449 section 4)."""
    assert hello_of(**fields).extensions.find(RecordSizeLimit) == RecordSizeLimit(limit)


@pytest.mark.parametrize(
    ("variant", "kind"), [("certificate", ServerHello), ("certificate13", EncryptedExtensions)]
)
@pytest.mark.parametrize("named", [True, False])
def test_a_server_names_its_record_size_limit_if_the_client_does(variant, kind, named):
    change = without_extension(RecordSizeLimit.type)
    if named:
        change = with_extension(RecordSizeLimit(300))
    reply = replies_in(Deviation(variant, CLIENT, ClientHello, change), kind)
    assert (RecordSizeLimit.type in reply) is named


@pytest.mark.parametrize(
    ("variant", "kind"), [("certificate", ServerHello), ("certificate13", EncryptedExtensions)]
)
def test_a_server_that_names_no_record_size_limit_takes_whole_records(variant, kind):
    change = without_extension(RecordSizeLimit.type)
    outcome = Deviation(
        variant, SERVER, kind, change, client={"record_size_limit": 100, "pmtu": 9000}
    ).run()
    assert outcome.connected and outcome.honest.max_payload > 1000


# -- ALPN ------------------------------------------------------------------------------------------


def agreed(client: list[str] | None, server: Any, version: str = "1.3") -> Pair:
    names = {"alpn_protocols": client} if client else {}
    pair = Pair(
        DTLSConfig(versions=[version], **PINNED, **names),
        DTLSConfig(versions=[version], credentials=CREDENTIALS, alpn_protocols=server),
    )
    assert pair.run() and pair.connected
    return pair


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize(
    ("client", "server", "chosen"),
    [
        (["a", "b"], ["b", "a"], "b"),
        (["b", "c"], ["a", "c", "b"], "c"),
        (["a"], (), None),
        (None, ["a"], None),
        (["a", "b"], max, "b"),
        (["a", "b"], lambda names: None, None),
        (None, max, None),
    ],
)
def test_the_server_prefers_one_of_the_clients_protocols(version, client, server, chosen):
    pair = agreed(client, server, version)
    assert pair.client.alpn_protocol == pair.server.alpn_protocol == chosen


def test_a_server_chooses_no_protocol_for_a_client_that_names_none():
    """RFC 7301 section 3.1: nor is it answered."""
    deviation = Deviation(
        "certificate13",
        CLIENT,
        ClientHello,
        without_extension(ALPN.type),
        server={"alpn_protocols": ["a"]},
    )
    assert ALPN.type not in replies_in(deviation, EncryptedExtensions)


@pytest.mark.parametrize("variant", ["certificate", "certificate13"])
def test_an_alpn_function_chooses_one_of_the_offered_names_alone(variant):
    client, server = {"alpn_protocols": ["a"]}, {"alpn_protocols": lambda names: "z"}
    honest = Deviation(
        variant, CLIENT, ClientHello, lambda hello: hello, client=client, server=server
    )
    honest.is_refused("internal_error", match="a name that was not offered")


# -- groups and points -----------------------------------------------------------------------------

X25519, P256, P384 = NamedGroup.x25519, NamedGroup.secp256r1, NamedGroup.secp384r1


@pytest.mark.parametrize(
    ("offered", "group"),
    [(None, X25519), ([P256, X25519], X25519), ([P256], P256), ([P384], None), ([0x9999], None)],
)
def test_the_group_that_a_server_prefers(offered, group):
    """Without the extension a server of DTLS 1.2 may choose any (RFC 8422 section 4)."""
    config = DTLSConfig(credentials=CREDENTIALS, groups=["x25519", "secp256r1"])
    hello = hello_with(*([SupportedGroups(tuple(offered))] if offered else []))
    assert supported_groups.accept12(config, hello) == group
    assert supported_groups.accept13(config, hello) == (group if offered else None)


def test_the_curve_of_a_key_is_one_of_the_groups(pki):
    """RFC 8422 section 5.1, for a client that lists groups."""
    ecdsa, rsa = CREDENTIALS, pki.leaf("rsa-2048").credentials
    for groups, takes_p256 in (([P256], True), ([X25519, P384], False)):
        hello = hello_with(SupportedGroups(tuple(groups)))
        assert supported_groups.takes_curve(hello, ecdsa) is takes_p256
        assert supported_groups.takes_curve(hello, rsa)
    assert supported_groups.takes_curve(hello_with(), ecdsa)


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize(("variant", "uses_group"), [("certificate", True), ("psk", False)])
def test_point_formats_are_answered_where_a_group_is_used(variant, uses_group, listed):
    """RFC 8422 section 5.2."""
    change = without_extension(ECPointFormats.type)
    if listed:
        change = with_extension(ECPointFormats())
    reply = replies_in(Deviation(variant, CLIENT, ClientHello, change), ServerHello)
    assert (ECPointFormats.type in reply) is (uses_group and listed)


# -- certificates ----------------------------------------------------------------------------------


def test_the_schemes_for_certificates_are_those_for_handshakes_if_nothing_else_is_said():
    """RFC 8446 section 4.2.3."""
    accept = signature_algorithms.accept_for_certificates
    handshake, chain = SignatureAlgorithms((0x0403, 0x0804)), SignatureAlgorithmsCert((0x0401,))
    assert accept(Extensions.of([])) is None
    assert accept(Extensions.of([handshake])) == (0x0403, 0x0804)
    assert accept(Extensions.of([chain])) == accept(Extensions.of([handshake, chain])) == (0x0401,)


@pytest.mark.parametrize("names_types", [True, False])
def test_certificate_types_are_answered_where_the_client_names_them(names_types):
    """RFC 7250 section 4.2, for X.509 on both sides."""
    offered = [ClientCertificateTypes((2, 0)), ServerCertificateTypes((2, 0))]
    hello = hello_with(*(offered if names_types else []))
    answers = [
        (
            certificate_types.reply(hello, CREDENTIALS, CertificateType.X509),
            names_types,
            names_types,
        ),
        (certificate_types.reply(hello, None, CertificateType.X509), names_types, False),
        (certificate_types.reply(hello, CREDENTIALS, None), False, names_types),
        (certificate_types.reply(hello, None, None), False, False),
    ]
    for answer, client, server in answers:
        expected = [ClientCertificateTypes((0,))] if client else []
        expected += [ServerCertificateTypes((0,))] if server else []
        assert answer == expected


def test_no_issuers_are_named_to_clients_of_raw_public_keys(pki):
    """A list of names says nothing of keys without a certificate."""
    config = DTLSConfig(credentials=CREDENTIALS, trust=pki.trust, client_auth="optional")
    assert certificate_authorities.requested(config, CertificateType.X509)
    assert certificate_authorities.requested(config, CertificateType.RawPublicKey) == ()


def test_no_issuers_are_named_by_a_client_that_takes_no_certificates(pki):
    both = {"trust": pki.trust} | ONE_PSK
    assert certificate_authorities.offer(DTLSConfig(**both))
    without = DTLSConfig(**both, cipher_suites=[PLAIN_PSK])
    assert not without.offers_certificates
    assert certificate_authorities.offer(without) == []


# -- connection ids --------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["cid", "cid13"])
@pytest.mark.parametrize("wanted", ["basic", "off"])
@pytest.mark.parametrize("named", [True, False])
def test_return_routability_is_agreed_on_if_both_name_it(variant, named, wanted):
    """RFC 9853 section 3."""
    change = with_extension(ReturnRoutability())
    if not named:
        change = without_extension(ReturnRoutability.type)
    server = {"return_routability_check": wanted}
    reply = replies_in(Deviation(variant, CLIENT, ClientHello, change, server=server), ServerHello)
    assert (ReturnRoutability.type in reply) is (named and wanted != "off")


def test_a_client_gives_no_id_to_a_server_that_answers_none():
    outcome = Deviation(
        "cid", SERVER, ServerHello, without_extension(ExtensionType.connection_id)
    ).run()
    client = outcome.honest
    assert client.own_cid == b"" and not client.own_ids.expected and not list(client.own_ids)


# -- strict names ----------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["certificate", "certificate13"])
def test_with_strict_names_a_client_may_ask_for_none(variant):
    client, server = configs(variant)
    strict = dataclasses.replace(server, server_name_policy="strict")
    pair = Pair(client, strict, server_hostname=None)
    assert pair.run() and pair.connected
