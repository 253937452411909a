"""The cipher suite table against what the registry's names say."""

import copy
import pickle

import pytest
from cryptography.exceptions import InvalidTag

from aiodtls import PSK, DTLSConfig
from aiodtls.core.crypto.suites import DEFAULT_SUITES, SUITES, KeyExchange, Suite, suite_by_name
from aiodtls.core.errors import ConfigError
from aiodtls.core.registry import CipherSuite
from tests.harness import Pair

SIGNALLING = {CipherSuite.TLS_EMPTY_RENEGOTIATION_INFO_SCSV, CipherSuite.TLS_FALLBACK_SCSV}
suites = pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: suite.name)


def test_every_code_point_of_dtls_12_has_a_suite() -> None:
    with_exchange = {code for code in CipherSuite if "_WITH_" in code.name}
    assert {suite.code for suite in SUITES.values() if suite.key_exchange} == with_exchange
    assert not SIGNALLING & {suite.code for suite in SUITES.values()}
    assert all(SUITES[suite.code] is suite for suite in SUITES.values())


@pytest.mark.parametrize(
    ("name", "exchange", "aead", "hash_name"),
    [
        ("TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8", "ECDHE_ECDSA", "AES-128-CCM-8", "sha256"),
        ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE_RSA", "AES-256-GCM", "sha384"),
        ("TLS_PSK_WITH_AES_256_CCM", "PSK", "AES-256-CCM", "sha256"),
        (
            "TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256",
            "ECDHE_PSK",
            "ChaCha20-Poly1305",
            "sha256",
        ),
    ],
)
def test_a_suite_is_what_its_name_says(name: str, exchange: str, aead: str, hash_name: str) -> None:
    suite = suite_by_name(name)
    assert suite.name == name
    assert suite.key_exchange is KeyExchange[exchange]
    assert (suite.aead.name, suite.hash_name) == (aead, hash_name)


@suites
def test_the_aead_seals_and_opens_with_the_lengths_it_states(suite: Suite) -> None:
    aead = suite.aead
    keyed = aead.create(bytes(aead.key_length))
    nonce = bytes(aead.fixed_iv_length + aead.explicit_nonce_length)
    assert len(nonce) == 12
    sealed = keyed.encrypt(nonce, b"data", b"header")
    assert len(sealed) == 4 + aead.tag_length
    assert keyed.decrypt(nonce, sealed, b"header") == b"data"
    with pytest.raises(InvalidTag):
        keyed.decrypt(nonce, sealed, b"other")


@suites
def test_a_key_of_another_length_is_refused(suite: Suite) -> None:
    with pytest.raises(ValueError, match=f"{suite.aead.key_length} bytes"):
        suite.aead.create(bytes(suite.aead.key_length - 8))


def test_usage_limits() -> None:
    def limits(name: str) -> tuple[int, int]:
        aead = suite_by_name(name).aead
        return aead.sealing_limit, aead.forgery_limit

    # RFC 9147 section 4.5.3 and appendix B; 23726566 is 2 to the power of 24.5.
    assert limits("TLS_PSK_WITH_AES_128_GCM_SHA256") == (23726566, 2**36)
    assert limits("TLS_PSK_WITH_AES_128_CCM") == (2**23, 11863283)
    assert limits("TLS_PSK_WITH_AES_128_CCM_8") == (2**23, 2**7)
    assert limits("TLS_PSK_WITH_CHACHA20_POLY1305_SHA256") == (2**48, 2**36)


def test_preference_puts_forward_secrecy_first_and_short_tags_last() -> None:
    order = list(SUITES.values())
    short = [suite.aead.tag_length == 8 for suite in order]
    assert short == sorted(short)
    full = [suite for suite in order if suite.aead.tag_length == 16]
    plain = [suite.key_exchange is KeyExchange.PSK for suite in full]
    assert plain == sorted(plain)
    assert tuple(full) == DEFAULT_SUITES
    older = [suite.key_exchange is not None for suite in full]
    assert older == sorted(older)
    assert order[0].code == CipherSuite.TLS_AES_128_GCM_SHA256


@pytest.mark.parametrize(
    ("exchange", "psk", "ecdhe", "certificate"),
    [
        (KeyExchange.ECDHE_ECDSA, False, True, True),
        (KeyExchange.ECDHE_RSA, False, True, True),
        (KeyExchange.PSK, True, False, False),
        (KeyExchange.ECDHE_PSK, True, True, False),
    ],
)
def test_what_a_key_exchange_uses(
    exchange: KeyExchange, psk: bool, ecdhe: bool, certificate: bool
) -> None:
    assert (exchange.uses_psk, exchange.uses_ecdhe, exchange.uses_certificate) == (
        psk,
        ecdhe,
        certificate,
    )


@suites
def test_a_copy_is_the_suite_itself(suite: Suite) -> None:
    for copied in (copy.copy(suite), copy.deepcopy(suite), pickle.loads(pickle.dumps(suite))):
        assert copied is suite


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_copied_config_makes_handshakes(version: str) -> None:
    config = DTLSConfig(psk=PSK("a", bytes(16)), versions=[version])
    pair = Pair(copy.deepcopy(config), config)
    assert pair.run(lambda: pair.connected)


def test_an_unknown_name_lists_near_ones() -> None:
    with pytest.raises(ConfigError, match="TLS_PSK_WITH_AES_128_CCM_8"):
        suite_by_name("PSK_WITH_AES_128_CCM_8")
    with pytest.raises(ConfigError, match="IANA name"):
        suite_by_name("")
