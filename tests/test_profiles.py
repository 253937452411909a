"""Profiles: configurations for common uses."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

import aiodtls
from aiodtls import PSK, ConfigError, DTLSConfig, Trust, profiles
from aiodtls.profiles import Fields, FieldsWithoutTrust
from aiodtls.testing import pair
from tests.selection import needs_ml_kem

KEY = PSK("device", bytes(range(16)))
PRINT = "sha-256 " + ":".join(["AB"] * 32)
versions = pytest.mark.parametrize("version", ["1.2", "1.3"])


def annotations_of(fields: Any) -> dict[str, str]:
    return {name: hint.__forward_arg__ for name, hint in fields.__annotations__.items()}


def test_the_overrides_are_the_fields_of_the_config():
    fields = {field.name: field.type for field in dataclasses.fields(DTLSConfig) if field.init}
    assert annotations_of(Fields) == fields
    del fields["trust"]
    assert annotations_of(FieldsWithoutTrust) == fields
    assert Fields.__required_keys__ == FieldsWithoutTrust.__required_keys__ == frozenset()


def test_iot_is_what_rfc_7925_asks_for():
    config = profiles.iot(psk=KEY)
    assert {suite.name for suite in config.suites} >= {
        "TLS_AES_128_CCM_8_SHA256",
        "TLS_PSK_WITH_AES_128_CCM_8",
    }
    with_certificates = profiles.iot(trust=Trust.insecure())
    names = {suite.name for suite in with_certificates.suites}
    assert "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8" in names
    assert config.named_groups[0].name == "secp256r1"
    assert (config.pmtu, config.retransmit_initial, config.handshake_timeout) == (1280, 9.0, 128.0)
    assert config.connection_id == 8
    assert config.recv_queue < DTLSConfig().recv_queue
    assert config.write_limit < DTLSConfig().write_limit


def test_webrtc_cuts_nothing_but_handshakes():
    config = profiles.webrtc(trust=Trust.fingerprints(PRINT, match="sdp"))
    assert config.pmtu == DTLSConfig().pmtu
    assert config.handshake_pmtu == 1200
    assert (config.retransmit_initial, config.session_tickets) == (0.4, 0)
    assert config.client_auth == "required" and config.srtp_profiles
    other = profiles.webrtc(trust=Trust.insecure())
    assert config.credentials.fingerprint() != other.credentials.fingerprint()


@pytest.mark.parametrize("make", [profiles.iot, profiles.webrtc])
def test_any_field_can_be_overridden(make):
    credentials = aiodtls.Credentials.self_signed("localhost")
    for name, value in {
        "retransmit_initial": 2.0,
        "handshake_pmtu": 600,
        "connection_id": None,
        "session_tickets": 2,
        "credentials": credentials,
    }.items():
        config = make(trust=Trust.insecure(), **{name: value})
        assert getattr(config, name) == value
    with pytest.raises(TypeError, match="no_such_field"):
        make(trust=Trust.insecure(), no_such_field=1)
    with pytest.raises(ConfigError, match="pmtu"):
        make(trust=Trust.insecure(), pmtu=1)


@versions
async def test_two_devices_connect(version):
    config = profiles.iot(psk=KEY, versions=[version])
    async with asyncio.timeout(20), pair(config, config) as (client, server):
        await client.send(b"21.5")
        assert await server.recv() == b"21.5"
        assert "CCM" in (client.cipher_suite or "")
        assert len(client.get_extra_info("connection_id")) == 8


@versions
async def test_two_browsers_connect(version):
    sides = [aiodtls.Credentials.self_signed("WebRTC") for _ in range(2)]
    configs = [
        profiles.webrtc(
            trust=Trust.fingerprints(other.fingerprint(), match="sdp"),
            credentials=own,
            versions=[version],
        )
        for own, other in (sides, reversed(sides))
    ]
    async with asyncio.timeout(20), pair(*configs) as (client, server):
        keys = client.srtp_keys()
        assert keys == server.srtp_keys() and keys.profile == "SRTP_AEAD_AES_256_GCM"
        # The packets of SCTP over WebRTC have 1,188 bytes.
        assert min(client.max_payload, server.max_payload) >= 1188
        await client.send(bytes(1188), split=False)
        assert await server.recv() == bytes(1188)
        assert client.session is None


@needs_ml_kem
def test_webrtc_offers_the_shares_of_browsers():
    trust = Trust.insecure()
    shares = profiles.webrtc(trust=trust).first_groups
    assert [group.name for group in shares or ()] == ["X25519MLKEM768", "x25519"]
    assert profiles.webrtc(trust=trust, groups=["secp256r1"]).first_groups is None
    assert profiles.webrtc(trust=trust, key_shares=None).first_groups is None
