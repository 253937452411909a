"""What older ``cryptography`` lacks: left out of defaults, an error by name, or done otherwise."""

from __future__ import annotations

import os

import cryptography
import pytest
from cryptography.exceptions import InvalidTag

from aiodtls import DTLSConfig
from aiodtls.core.crypto import capabilities
from aiodtls.core.crypto.key_exchange import GROUPS, HYBRIDS, available_groups
from aiodtls.core.crypto.suites import AES_128_CCM_8, AES_128_GCM, CHACHA20_POLY1305, CopyingAEAD
from aiodtls.core.errors import ConfigError


@pytest.fixture
def without_ml_kem(monkeypatch):
    monkeypatch.setattr(capabilities, "FEATURES", frozenset())


@pytest.mark.parametrize("option", ["groups", "key_shares"])
def test_a_config_that_names_a_missing_feature_says_what_it_takes(without_ml_kem, option):
    with pytest.raises(ConfigError) as refusal:
        DTLSConfig(**{option: ["X25519MLKEM768"]})
    for word in ("X25519MLKEM768", "ML-KEM", "version 47", cryptography.__version__):
        assert word in str(refusal.value)


def test_defaults_leave_out_what_is_missing(without_ml_kem):
    groups = available_groups()
    assert set(GROUPS) - set(groups) == set(HYBRIDS)
    assert groups[0].name == "x25519"


@pytest.mark.parametrize(
    "aead", [AES_128_GCM, AES_128_CCM_8, CHACHA20_POLY1305], ids=lambda aead: aead.name
)
def test_a_copying_aead_writes_what_the_other_gives(aead):
    plain = aead.create(bytes(aead.key_length))
    copying = CopyingAEAD(plain)
    nonce, data = os.urandom(12), os.urandom(100)
    sealed = bytearray(len(data) + aead.tag_length)
    assert copying.encrypt_into(nonce, data, b"ad", memoryview(sealed)) == len(sealed)
    assert bytes(sealed) == plain.encrypt(nonce, data, b"ad")
    opened = bytearray(len(data))
    assert copying.decrypt_into(nonce, bytes(sealed), b"ad", memoryview(opened)) == len(data)
    assert bytes(opened) == data
    with pytest.raises(ValueError, match="buffer must be 100 bytes"):
        copying.decrypt_into(nonce, bytes(sealed), b"ad", memoryview(bytearray(99)))
    sealed[0] ^= 1
    with pytest.raises(InvalidTag):
        copying.decrypt_into(nonce, bytes(sealed), b"ad", memoryview(opened))
