"""What DTLS 1.3 negotiates: versions and the protection against lesser ones, and PSKs."""

from __future__ import annotations

import dataclasses

import pytest

from aiodtls.core.config import DTLSConfig
from aiodtls.core.crypto.credentials import Credentials
from aiodtls.core.crypto.suites import SUITES
from aiodtls.core.crypto.transcript import Transcript
from aiodtls.core.crypto.trust import Trust
from aiodtls.core.errors import AlertError, ConfigError, HandshakeRefused
from aiodtls.core.handshake.extensions import key_share
from aiodtls.core.handshake.negotiate13 import check_second_hello, retry_request
from aiodtls.core.handshake.offer13 import Offer, make_offer, second_offer
from aiodtls.core.handshake.psks import OfferedPsk
from aiodtls.core.pre_shared_keys import PSK
from aiodtls.core.registry import AlertDescription
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions13 import SelectedPsk
from aiodtls.core.wire.messages import ServerHello
from tests.harness import CLIENT, Link, Pair

CREDENTIALS = Credentials.self_signed("localhost")
CLIENT_CONFIG = DTLSConfig(trust=Trust.fingerprints(CREDENTIALS.fingerprint()))
SERVER_CONFIG = DTLSConfig(credentials=CREDENTIALS)
OFFERS = {"1.2": ["1.2"], "1.3": ["1.3"], "both": None}


def meet(client: DTLSConfig, server: DTLSConfig, link: Link | None = None, **options) -> Pair:
    pair = Pair(client, server, link, **options)
    assert pair.run(limit=130)
    return pair


@pytest.mark.parametrize("cookie", [True, False])
@pytest.mark.parametrize("client", OFFERS)
@pytest.mark.parametrize("server", OFFERS)
def test_the_newest_version_of_both_is_taken(client, server, cookie):
    pair = meet(
        dataclasses.replace(CLIENT_CONFIG, versions=OFFERS[client]),
        dataclasses.replace(SERVER_CONFIG, versions=OFFERS[server]),
        cookie=cookie,
    )
    if {client, server} == {"1.2", "1.3"}:
        assert not pair.connected and pair.client.closed
        return
    assert pair.connected
    assert pair.client.version == pair.server.version
    expected = {client, server} - {"both"}
    assert pair.client.version == (expected.pop() if expected else "1.3")
    pair.exchange()


@pytest.mark.parametrize("cookie", [True, False])
def test_a_client_notices_that_its_versions_were_taken_out(cookie):
    """RFC 8446 section 4.1.3: the server's random says that it could do better."""

    def without_versions(who, number, data):
        return [(0.0, data.replace(b"\x00\x2b\x00\x05", b"\x7f\x2b\x00\x05"))]

    pair = meet(CLIENT_CONFIG, SERVER_CONFIG, Link(filter=without_versions), cookie=cookie)
    assert not pair.connected
    assert "saw a lower version" in str(pair.client.failure)


def test_a_client_notices_a_changed_choice_of_the_version():
    def of_dtls12(who, number, data):
        return [(0.0, data.replace(b"\x00\x2b\x00\x02\xfe\xfc", b"\x00\x2b\x00\x02\xfe\xfd"))]

    pair = meet(CLIENT_CONFIG, SERVER_CONFIG, Link(filter=of_dtls12))
    assert pair.client.closed and not pair.connected


# -- PSKs --------------------------------------------------------------------------------------

KEY = b"sixteen bytes or more"


def psk_config(psk, **changes) -> DTLSConfig:
    return DTLSConfig(versions=["1.3"], psk=psk, **changes)


@pytest.mark.parametrize("cookie", [True, False])
def test_psk_with_and_without_a_group(cookie):
    psk = PSK("one", KEY)
    pair = meet(psk_config(psk), psk_config(psk), cookie=cookie)
    assert pair.connected and pair.client.group is not None
    apart = meet(
        psk_config(psk, groups=["x25519"]), psk_config(psk, groups=["secp256r1"]), cookie=cookie
    )
    assert apart.connected and apart.client.group is None and apart.server.group is None
    apart.exchange()


SEVERAL = {"a": PSK("a", b"first key of several"), "b": PSK("b", KEY), "c": PSK("c", KEY)}


@pytest.mark.parametrize("cookie", [True, False])
@pytest.mark.parametrize("hash_name", ["SHA256", "SHA384"])
@pytest.mark.parametrize("certificates", [True, False])
def test_of_several_psks_that_both_know_the_servers_first_is_taken(certificates, hash_name, cookie):
    """Of the suite's hash; a server with PSKs alone has that of the client's first."""
    server = psk_config({"c": PSK("c", KEY, hash=hash_name), "b": PSK("b", KEY), "d": KEY})
    if certificates:
        server = dataclasses.replace(server, credentials=CREDENTIALS)
    several = SEVERAL | {"c": PSK("c", KEY, hash=hash_name)}
    taken = b"c" if certificates or hash_name == "SHA256" else b"b"
    pair = meet(psk_config(several), server, cookie=cookie)
    assert pair.connected and pair.client.psk_identity == pair.server.psk_identity == taken
    assert pair.client.cipher_suite.endswith(hash_name if taken == b"c" else "SHA256")


def test_a_function_takes_the_first_of_several_psks_that_it_knows():
    pair = meet(
        psk_config(SEVERAL),
        psk_config(lambda identity, context: None),
        answers=lambda side, question: KEY if question.identity in (b"b", b"c") else None,
    )
    assert pair.connected and pair.client.psk_identity == pair.server.psk_identity == b"b"


def offer_of(config: DTLSConfig) -> Offer:
    return make_offer(config, bytes(32), None, Transcript(), 1400)


def test_a_server_may_do_without_a_key_share_only_where_we_offered_that():
    """RFC 8446 section 4.2.11."""
    reply = ServerHello(bytes(32), 0x1301, Extensions.of([SelectedPsk(0)]))
    offer = offer_of(psk_config(PSK("one", KEY)))
    assert key_share.check_reply(offer.hello, offer.shares, reply, has_psk=True) is None
    strict = offer_of(psk_config(PSK("one", KEY), require_forward_secrecy=True))
    with pytest.raises(AlertError) as caught:
        key_share.check_reply(strict.hello, strict.shares, reply, has_psk=True)
    assert caught.value.description == AlertDescription.illegal_parameter
    with pytest.raises(AlertError) as caught:
        key_share.check_reply(offer.hello, offer.shares, reply, has_psk=False)
    assert caught.value.description == AlertDescription.missing_extension


def test_forward_secrecy_can_be_required_by_either_side():
    psk, apart = PSK("one", KEY), {"groups": ["x25519"]}
    strict = psk_config(psk, require_forward_secrecy=True, **apart)
    assert meet(strict, psk_config(psk)).client.group == "x25519"
    other = psk_config(psk, groups=["secp256r1"])
    assert meet(other, psk_config(psk, **apart)).connected
    assert not meet(other, strict).connected
    assert not meet(strict, other).connected
    both_versions = DTLSConfig(psk=psk, require_forward_secrecy=True)
    assert all(s.key_exchange is None or s.key_exchange.uses_ecdhe for s in both_versions.suites)
    with pytest.raises(ConfigError):
        DTLSConfig(
            psk=psk,
            versions=["1.2"],
            cipher_suites=["TLS_PSK_WITH_AES_128_GCM_SHA256"],
            require_forward_secrecy=True,
        )


def test_a_second_hello_still_has_the_psk_that_the_first_was_answered_for():
    """RFC 8446 section 4.1.2: only those of another hash than the suite's may go."""
    psks = {
        name: PSK(name, KEY, hash=hash_name)
        for name, hash_name in [("a", "SHA256"), ("b", "SHA384"), ("c", "SHA256")]
    }
    suite = SUITES[0x1301]

    def check(*kept: str) -> None:
        second = offer_of(psk_config({name: psks[name] for name in kept}))
        check_second_hello(offer_of(psk_config(psks)).hello, second.hello, suite)

    check("a", "b", "c")
    check("a", "c")
    # Whether the server knows one must not show, so the others of the hash stay too.
    for lacking in (("b", "c"), ("a", "b"), ("a",)):
        with pytest.raises(AlertError, match="lacks a PSK") as caught:
            check(*lacking)
        assert caught.value.description == AlertDescription.illegal_parameter


@pytest.mark.parametrize("cookie", [True, False])
@pytest.mark.parametrize("hash_name", ["SHA256", "SHA384"])
def test_the_hash_of_a_psk_decides_about_the_suite(hash_name, cookie):
    psk = PSK("one", KEY, hash=hash_name)
    pair = meet(psk_config(psk), psk_config(psk), cookie=cookie)
    assert pair.connected and pair.client.cipher_suite.endswith(hash_name)


@pytest.mark.parametrize("server", [PSK("one", b"another key altogether"), PSK("two", KEY)])
def test_an_unknown_identity_looks_like_a_wrong_key(server):
    pair = meet(psk_config(PSK("one", KEY)), psk_config(server))
    assert isinstance(pair.client.failure, HandshakeRefused)
    assert pair.client.failure.description == "decrypt_error"


def test_a_certificate_replaces_a_psk_that_the_server_does_not_know():
    client = dataclasses.replace(CLIENT_CONFIG, versions=["1.3"], psk=PSK("one", KEY))
    pair = meet(client, dataclasses.replace(SERVER_CONFIG, versions=["1.3"]))
    assert pair.connected and pair.client.psk_identity is None
    assert pair.client.peer_certificate_chain == CREDENTIALS.chain
    both = dataclasses.replace(SERVER_CONFIG, versions=["1.3"], psk=PSK("one", KEY))
    pair = meet(client, both)
    assert pair.connected and pair.server.psk_identity == b"one"
    assert pair.client.peer_certificate_chain == ()


def test_a_changed_binder_is_noticed():
    psk = PSK("one", KEY)

    def spoil(who, number, data):
        if who != CLIENT or number > 1:
            return None
        return [(0.0, data[:-1] + bytes((data[-1] ^ 1,)))]

    pair = meet(psk_config(psk), psk_config(psk), Link(filter=spoil))
    assert not pair.connected and pair.client.closed


def test_a_hello_of_many_identities_costs_no_more_than_one_of_a_few(monkeypatch):
    """Each may cost a decryption, and strangers' hellos are looked at too."""
    opened = []
    monkeypatch.setattr(
        DTLSConfig, "open_ticket", lambda self, ticket, at: opened.append(ticket), raising=True
    )
    many = {b"identity %03d" % n: PSK(b"identity %03d" % n, KEY) for n in range(60)}
    server = psk_config({b"identity 059": PSK(b"identity 059", KEY)})
    pair = meet(psk_config(many), server)
    assert not pair.connected
    hellos = pair.listener.statistics.hellos_answered
    assert hellos >= 1 and len(opened) <= 8 * (hellos + 2)


def test_a_second_hello_offers_no_psk_of_another_hash_than_the_suites():
    """RFC 8446 section 4.1.4."""
    psks = [PSK(name, bytes(16), hash=name) for name in ("SHA256", "SHA384")]
    config = DTLSConfig(versions=["1.3"], psk=psks[0])
    offer = make_offer(config, bytes(32), None, Transcript(), 1200)
    both = dataclasses.replace(offer, psks=tuple(map(OfferedPsk.external, psks)))
    for suite, kept in ((SUITES[0x1301], b"SHA256"), (SUITES[0x1302], b"SHA384")):
        again = second_offer(both, retry_request(suite, None, b"cookie"), suite)
        assert [psk.identity for psk in again.psks] == [kept]


@pytest.mark.parametrize(
    ("groups", "connects"), [(["x25519", "secp384r1"], True), (["x25519"], False)]
)
def test_in_dtls12_the_groups_bind_the_curve_of_a_servers_key(groups, connects, pki):
    """RFC 8422 section 5.1; DTLS 1.3 has its signature schemes for that."""
    credentials = pki.leaf("ecdsa-p384").credentials
    trust = Trust.fingerprints(credentials.fingerprint())
    client = DTLSConfig(versions=["1.2"], trust=trust, groups=groups)
    server = DTLSConfig(versions=["1.2"], credentials=credentials)
    pair = meet(client, server)
    assert pair.connected is connects
    if not connects:
        assert "handshake_failure" in str(pair.client.failure)
