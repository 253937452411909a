"""DTLSConfig: what cannot work is refused when it is made, and says what to change."""

from __future__ import annotations

import dataclasses

import pytest

import aiodtls
from aiodtls import PSK, ConfigError, Credentials, DTLSConfig, Trust
from aiodtls.core.listener import Listener


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"versions": ["1.1"]}, "1.1"),
        ({"versions": "1.2"}, "sequence"),
        ({"versions": []}, "sequence"),
        ({"client_auth": "required"}, "trust"),
        ({"client_auth": "perhaps"}, "client_auth"),
        ({"pmtu": 255}, "pmtu"),
        ({"pmtu": 70000}, "pmtu"),
        ({"retransmit_initial": 0}, "retransmit_initial"),
        ({"retransmit_initial": 5, "retransmit_max": 4}, "retransmit_max"),
        ({"max_retransmits": -1}, "max_retransmits"),
        ({"max_certificate_length": 0}, "max_certificate_length"),
        ({"max_certificate_length": 131073}, "max_certificate_length"),
        ({"handshake_timeout": 0}, "handshake_timeout"),
        ({"handshake_timeout": None}, "set one of them"),
        ({"replay_window": 63}, "replay_window"),
        ({"key_limit": "panic"}, "key_limit"),
        ({"cipher_suites": ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA25"]}, "did you mean"),
        ({"cipher_suites": ["TLS_PSK_WITH_AES_128_CCM_8"]}, "psk="),
        ({"groups": ["secp192r1"]}, "secp192r1"),
        ({"signature_schemes": ["rsa_pkcs1_sha1"]}, "rsa_pkcs1_sha1"),
        ({"alpn_protocols": [""]}, "ALPN"),
        ({"alpn_protocols": "coap"}, "sequence"),
        ({"srtp_profiles": ["SRTP_NULL"]}, "SRTP_NULL"),
        ({"psk": {}}, "empty"),
        ({"psk": 7}, "psk"),
        ({"credentials": "cert.pem"}, "Credentials"),
        ({"trust": ["ca.pem"]}, "Trust"),
    ],
)
def test_what_cannot_work_is_refused(fields, word):
    with pytest.raises(ConfigError, match=word):
        DTLSConfig(**fields)


def test_only_suites_that_can_be_carried_are_offered():
    psk = DTLSConfig(psk=PSK("a", b"k" * 16))
    exchanges = [s.key_exchange for s in psk.suites if s.version == "1.2"]
    assert exchanges and all(exchange.uses_psk for exchange in exchanges)
    certificates = DTLSConfig(trust=Trust.insecure())
    exchanges = [s.key_exchange for s in certificates.suites if s.version == "1.2"]
    assert exchanges and all(exchange.uses_certificate for exchange in exchanges)
    both = DTLSConfig(psk=PSK("a", b"k" * 16), trust=Trust.insecure())
    common = {s for s in both.suites if s.version == "1.3"}
    assert len(common) == 4
    assert set(both.suites) == {*psk.suites, *certificates.suites} >= common
    assert all(s.aead.tag_length == 16 for s in both.suites)


def test_psk_forms():
    key = b"0123456789abcdef"
    for psk in (PSK("id", key), {"id": key}, {b"id": key}, {"id": PSK("id", key)}):
        config = DTLSConfig(psk=psk)
        assert config.client_psks() == (PSK(b"id", key),)
    several = DTLSConfig(psk={"a": key, "b": key})
    with pytest.raises(ConfigError):
        several.check_client("host")
    DTLSConfig(versions=["1.3"], psk={"a": key, "b": key}).check_client("host")
    with pytest.raises(ConfigError):
        DTLSConfig(psk=lambda identity, context: key).check_client("host")
    for bad in (b"", "text", None):
        with pytest.raises(ConfigError):
            PSK("id", bad)
    with pytest.raises(ConfigError):
        PSK("id", key, hash="MD5")
    # A NUL is a byte like any other (F20).
    assert DTLSConfig(psk={b"a\0b": key}).psks.keys() == {b"a\0b"}


def test_a_config_is_frozen_and_replaced():
    credentials = Credentials.self_signed("localhost")
    config = DTLSConfig(credentials=credentials)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.pmtu = 600
    other = dataclasses.replace(config, pmtu=600)
    assert other.pmtu == 600 and other.credential_list == (credentials,)
    assert config == dataclasses.replace(other, pmtu=1500)


def test_clients_and_servers_that_cannot_start():
    with pytest.raises(ConfigError, match="server_hostname"):
        DTLSConfig(trust=Trust.system()).check_client(None)
    DTLSConfig(trust=Trust.insecure()).check_client(None)
    with pytest.raises(ConfigError, match="credentials"):
        DTLSConfig(trust=Trust.insecure()).check_server()
    endless = DTLSConfig(psk=PSK("a", bytes(16)), handshake_timeout=None, max_retransmits=12)
    endless.check_client(None)
    with pytest.raises(ConfigError, match="a server needs a handshake_timeout"):
        endless.check_server()
    with pytest.raises(ConfigError, match="handshake_timeout"):
        Listener(endless)
    with pytest.raises(ConfigError, match="handshake_timeout"):
        aiodtls.serve(None, config=endless)


def test_keys_are_in_no_repr():
    key = b"very-secret-key!"
    for thing in (PSK("id", key), DTLSConfig(psk=PSK("id", key)), DTLSConfig(psk={"id": key})):
        assert "very-secret" not in repr(thing)
