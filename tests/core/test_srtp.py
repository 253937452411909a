"""DTLS-SRTP (RFC 5764, RFC 7714) and exporters (RFC 5705, RFC 8446 section 7.5), both versions."""

from __future__ import annotations

import pytest

from aiodtls import Credentials, DTLSConfig, DTLSError, Trust
from aiodtls.core.crypto.key_schedule import exporter
from aiodtls.core.crypto.srtp import keying_material_length, split_keying_material
from aiodtls.core.registry import SRTPProtectionProfile
from tests.harness import Pair

# Bytes of master key and master salt: RFC 5764 section 4.1.2, RFC 7714 section 14.2.
LENGTHS = {
    "SRTP_AES128_CM_HMAC_SHA1_80": (16, 14),
    "SRTP_AES128_CM_HMAC_SHA1_32": (16, 14),
    "SRTP_AEAD_AES_128_GCM": (16, 12),
    "SRTP_AEAD_AES_256_GCM": (32, 12),
}
CREDENTIALS = Credentials.self_signed("localhost")
TRUST = Trust.fingerprints(CREDENTIALS.fingerprint())
versions = pytest.mark.parametrize("version", ["1.2", "1.3"])


def connected(version: str, client: list[str], server: list[str]) -> Pair:
    pair = Pair(
        DTLSConfig(versions=[version], trust=TRUST, srtp_profiles=client),
        DTLSConfig(versions=[version], credentials=CREDENTIALS, srtp_profiles=server),
    )
    assert pair.run() and pair.connected
    return pair


def test_every_profile_that_is_spoken_is_here():
    assert {profile.name for profile in SRTPProtectionProfile} == set(LENGTHS)


@versions
@pytest.mark.parametrize("profile", LENGTHS)
def test_both_sides_have_the_same_keys_in_the_order_of_the_rfc(version, profile):
    pair = connected(version, [profile], list(LENGTHS))
    keys = pair.client.srtp_keys()
    assert keys == pair.server.srtp_keys()
    assert keys.profile == pair.client.srtp_profile == pair.server.srtp_profile == profile
    key, salt = LENGTHS[profile]
    parts = (keys.client_key, keys.server_key, keys.client_salt, keys.server_salt)
    assert [len(part) for part in parts] == [key, key, salt, salt]
    material = pair.client.export_keying_material("EXTRACTOR-dtls_srtp", 2 * (key + salt))
    assert b"".join(parts) == material
    assert len(set(parts)) == 4
    assert not any(part.hex() in repr(keys) or repr(part) in repr(keys) for part in parts)


@pytest.mark.parametrize("profile", LENGTHS)
def test_the_layout(profile):
    code = SRTPProtectionProfile[profile]
    material = bytes(range(keying_material_length(code)))
    keys = split_keying_material(code, material)
    key, salt = LENGTHS[profile]
    assert keys.client_key == material[:key]
    assert keys.server_key == material[key : 2 * key]
    assert keys.client_salt == material[2 * key : 2 * key + salt]
    assert keys.server_salt == material[2 * key + salt :]


@versions
def test_the_server_prefers_and_nothing_in_common_is_no_srtp(version):
    first, second, third, _ = LENGTHS
    pair = connected(version, [first, second, third], [third, second])
    assert pair.client.srtp_profile == third
    for client, server in [([first], [second]), ([first], []), ([], [first])]:
        pair = connected(version, client, server)
        for side in (pair.client, pair.server):
            assert side.srtp_profile is None
            with pytest.raises(DTLSError, match="use_srtp"):
                side.srtp_keys()


@versions
def test_exporters_agree_and_depend_on_all_that_is_given(version):
    pair = connected(version, [], [])
    contexts = [None, b"", b"context", bytes(65535)]
    exported = [
        pair.client.export_keying_material(label, length, context)
        for label in ("EXPERIMENTAL one", "EXPERIMENTAL two")
        for length in (32, 33)
        for context in contexts
    ]
    assert exported == [
        pair.server.export_keying_material(label, length, context)
        for label in ("EXPERIMENTAL one", "EXPERIMENTAL two")
        for length in (32, 33)
        for context in contexts
    ]
    # In DTLS 1.3 no context is an empty one (RFC 8446 section 7.5), in DTLS 1.2 it is not.
    assert len(set(exported)) == len(exported) - (4 if version == "1.3" else 0)
    assert pair.client.export_keying_material("EXPERIMENTAL one", 0) == b""


@versions
def test_what_cannot_be_exported_is_a_value_error(version):
    pair = connected(version, [], [])
    with pytest.raises(ValueError):
        pair.client.export_keying_material("EXPERIMENTAL", -1)
    if version == "1.3":
        with pytest.raises(ValueError):
            pair.client.export_keying_material("EXPERIMENTAL" * 100, 32)
        with pytest.raises(ValueError, match="bytes"):
            pair.client.export_keying_material("EXPERIMENTAL", 70_000)


def test_hkdf_has_an_end():
    assert len(exporter("sha256", bytes(32), b"label", 255 * 32, b"")) == 255 * 32
    with pytest.raises(ValueError, match="8160"):
        exporter("sha256", bytes(32), b"label", 255 * 32 + 1, b"")
