"""PSKs as they are configured: short keys, and what a version cannot carry."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import pytest

from aiodtls import PSK, ConfigError, Credentials, DTLSConfig, TicketKeys, Trust
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.pre_shared_keys import MAX_IDENTITY_LENGTH, MAX_IMPORTED_LENGTH, MAX_OFFERED
from aiodtls.core.registry import ProtocolVersion
from tests.harness import Pair

KEY = bytes(range(32))
V12, V13 = ProtocolVersion.DTLSv1_2, ProtocolVersion.DTLSv1_3
SHA256, SHA384 = "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"


@pytest.mark.parametrize("length", [1, 8, 15])
@pytest.mark.parametrize(
    "make",
    [
        lambda key: PSK("device", key),
        lambda key: PSK.imported("device", key),
        lambda key: DTLSConfig(psk={"device": key}),
        lambda key: DTLSConfig(psk={b"long": KEY, b"device": key}),
    ],
    ids=["plain", "imported", "mapping", "one of several"],
)
def test_a_short_key_warns_of_its_length_and_says_no_more(make, length):
    key = b"SeCrEtSeCrEtSeC"[:length]
    with pytest.warns(UserWarning, match=f"key of {8 * length} bits") as caught:
        make(key)
    text = str(caught[0].message)
    assert "128 bits" in text and "device" not in text and key.hex() not in text
    assert length == 1 or key.decode() not in text
    # It is about the line that gave the key.
    assert caught[0].filename == __file__


def test_a_key_of_128_bits_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PSK("device", bytes(16))
        DTLSConfig(psk={"device": bytes(16)})


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_short_key_of_a_function_warns_and_serves(version):
    short = bytes(8)
    with pytest.warns(UserWarning, match="64 bits"):
        client = DTLSConfig(psk=PSK("device", short), versions=[version])
    server = DTLSConfig(psk=lambda identity, context: short)
    with pytest.warns(UserWarning, match="64 bits"):
        pair = Pair(client, server, answers=lambda side, question: short)
        assert pair.run() and pair.connected


def version_of(psk: PSK, client: dict, server: dict) -> str | None:
    """The version in which the two connect."""
    pair = Pair(DTLSConfig(psk=psk, **client), DTLSConfig(psk={psk.identity: psk}, **server))
    assert pair.run()
    if pair.connected:
        pair.exchange()
    return pair.client.version if pair.connected else None


def test_an_empty_identity_serves_dtls12():
    """RFC 8446 section 4.2.11: an identity of DTLS 1.3 has a byte at least."""
    psk = PSK(b"", KEY)
    assert DTLSConfig(psk=psk).version_list == (V12,)
    for client in ({}, {"versions": ["1.2"]}):
        for server in ({}, {"versions": ["1.2"]}):
            assert version_of(psk, client, server) == "1.2"
    for versions in (["1.3"], ["1.2", "1.3"]):
        with pytest.raises(ConfigError, match=r"1\.3"):
            DTLSConfig(psk=psk, versions=versions)


def test_with_certificates_beside_an_empty_identity_dtls13_goes_on_without_it():
    psk = PSK(b"", KEY)
    credentials = Credentials.self_signed("localhost")
    trust = Trust.fingerprints(credentials.fingerprint())
    client = DTLSConfig(psk=psk, trust=trust)
    pair = Pair(client, DTLSConfig(psk=psk, credentials=credentials))
    assert pair.run() and pair.connected
    assert pair.client.version == "1.3" and pair.client.psk_identity is None


LONGEST = {
    "plain": PSK(b"x" * MAX_IDENTITY_LENGTH, KEY),
    "imported": PSK.imported(b"x" * 1000, KEY, context=b"c" * (MAX_IMPORTED_LENGTH - 1000)),
}


@pytest.mark.parametrize("cookie", [True, False])
@pytest.mark.parametrize("versions", [["1.2"], ["1.3"], None])
@pytest.mark.parametrize("psk", LONGEST.values(), ids=LONGEST)
def test_the_longest_identity_serves_each_version(psk, versions, cookie):
    if versions == ["1.2"] and psk is LONGEST["imported"]:
        versions = None
    config = DTLSConfig(psk=psk, versions=versions)
    pair = Pair(config, config, cookie=cookie)
    assert pair.run() and pair.connected
    pair.exchange()


def test_a_longer_identity_is_refused_when_it_is_made():
    for length in (MAX_IDENTITY_LENGTH + 1, 65529, 65535, 65536, 100_000):
        with pytest.raises(ConfigError, match=f"not {length}"):
            PSK(b"x" * length, KEY)
        with pytest.raises(ConfigError, match="bytes"):
            PSK.imported(b"x", KEY, context=b"x" * length)


def test_a_key_bound_to_a_hash_without_a_suite_serves_dtls12():
    psk = PSK("device", KEY, hash="SHA384")
    with pytest.raises(ConfigError, match="hash"):
        DTLSConfig(psk=psk, cipher_suites=[SHA256])
    both = [SHA256, "TLS_PSK_WITH_AES_128_GCM_SHA256"]
    assert DTLSConfig(psk=psk, cipher_suites=both).version_list == (V12,)
    assert DTLSConfig(psk=psk, cipher_suites=[SHA384]).version_list == (V13,)
    imported = PSK.imported("device", KEY, hash="SHA384")
    assert DTLSConfig(psk=imported, cipher_suites=[SHA256]).version_list == (V13,)


def test_keys_that_are_too_long_together_are_refused_to_a_client():
    several = DTLSConfig(psk={bytes((n,)) * 1200: KEY for n in range(10)}, versions=["1.3"])
    several.check_server()
    with pytest.raises(ConfigError, match=str(MAX_OFFERED)):
        several.check_client(None)
    fewer = {bytes((n,)) * 1200: KEY for n in range(9)}
    dataclasses.replace(several, psk=fewer).check_client(None)


def test_of_several_keys_a_client_offers_those_that_fit():
    psk = PSK("device", KEY)
    client = {"psk": {b"": KEY, b"device": KEY}, "versions": ["1.3"]}
    pair = Pair(DTLSConfig(**client), DTLSConfig(psk=psk))
    assert pair.run() and pair.connected
    # DTLS 1.2 names one: here the only one that is not imported.
    mixed = {"a": PSK.imported("a", KEY), "device": psk}
    for versions in (["1.2"], None):
        pair = Pair(DTLSConfig(psk=mixed, versions=versions), DTLSConfig(psk=psk, versions=["1.2"]))
        assert pair.run() and pair.connected and pair.server.psk_identity == b"device"


def test_keys_of_other_lengths_and_types_are_refused():
    for key in (b"", bytes(65536), "text", None):
        with pytest.raises(ConfigError):
            PSK("device", key)


# -- what the application has with a PSK --------------------------------------------------------


def test_user_data_is_neither_compared_nor_shown():
    one, other = PSK("a", KEY, user_data="room 1"), PSK.imported("a", KEY, user_data=["room 2"])
    assert one == PSK("a", KEY) and hash(one) == hash(PSK("a", KEY))
    assert (one.user_data, other.user_data, PSK("a", KEY).user_data) == ("room 1", ["room 2"], None)
    assert "room" not in repr(one) + repr(other) + repr(DTLSConfig(psk=one))


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("form", ["mapping", "function"])
def test_user_data_is_that_of_the_source_now_after_a_resumption_too(version, form):
    def configs(of_client: str, of_server: str) -> tuple[DTLSConfig, DTLSConfig]:
        known = {b"a": PSK("a", KEY, user_data=of_server)}
        source = known if form == "mapping" else lambda identity, context: known.get(identity)
        client = DTLSConfig(psk=PSK("a", KEY, user_data=of_client), versions=[version])
        return client, DTLSConfig(psk=source, versions=[version], ticket_keys=keys)

    def answers(side: str, question: Any) -> Any:
        return config.psk_function(question.identity, question.context)

    keys = TicketKeys()
    client, config = configs("hers", "his")
    first = Pair(client, config, answers=answers)
    first.run(lambda: first.client.session is not None)
    assert (first.client.psk_user_data, first.server.psk_user_data) == ("hers", "his")
    client, config = configs("hers now", "his now")
    again = Pair(client, config, answers=answers, session=first.client.session)
    assert again.run() and again.connected
    assert again.client.resumed and again.server.resumed
    assert (again.client.psk_user_data, again.server.psk_user_data) == ("hers now", "his now")


def test_there_is_no_user_data_without_the_psk():
    credentials = Credentials.self_signed("localhost")
    config = DTLSConfig(psk=PSK("a", KEY, user_data="his"), credentials=credentials)
    pair = Pair(DTLSConfig(trust=Trust.insecure()), config)
    assert pair.run() and pair.connected
    assert pair.server.psk_user_data is None and pair.server.psk_identity is None


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_an_adopter_has_no_user_data(version):
    config = DTLSConfig(psk=PSK("a", KEY, user_data="hers"), versions=[version])
    pair = Pair(config, config)
    assert pair.run() and pair.connected
    pair.exchange()
    state = pair.client.export_state(KEY, pair.now)
    adopted = DTLSConnection.adopt(config, state, KEY, pair.now)
    assert (adopted.psk_identity, adopted.psk_user_data) == (b"a", None)
