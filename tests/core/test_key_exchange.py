"""Key agreement: both sides agree, known answers, and what a peer must not send."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, x448, x25519

from aiodtls.core.crypto import capabilities
from aiodtls.core.crypto.key_exchange import (
    DEFAULT_GROUPS,
    KeyShare,
    group_by_name,
    psk_premaster_secret,
    respond,
)
from aiodtls.core.errors import AlertError, ConfigError
from aiodtls.core.registry import AlertDescription, NamedGroup
from tests.selection import needs_ml_kem

groups = pytest.mark.parametrize("group", DEFAULT_GROUPS, ids=lambda group: group.name)
CURVES = {"secp256r1": 65, "secp384r1": 97, "secp521r1": 133, "x25519": 32, "x448": 56}
HYBRIDS = {"X25519MLKEM768": 32, "SecP256r1MLKEM768": 65}
# ML-KEM-768 (FIPS 203 table 3): the first to speak sends a key, the other a ciphertext.
PUBLIC_LENGTH = {**CURVES, **{name: size + 1184 for name, size in HYBRIDS.items()}}
ANSWER_LENGTH = {**CURVES, **{name: size + 1088 for name, size in HYBRIDS.items()}}
SECRET_LENGTH = {"secp256r1": 32, "secp384r1": 48, "secp521r1": 66, "x25519": 32, "x448": 56}
SECRET_LENGTH |= dict.fromkeys(HYBRIDS, 64)


@groups
def test_both_sides_agree(group: NamedGroup) -> None:
    share = KeyShare.generate(group)
    public, secret = respond(group, share.public)
    assert share.exchange(public) == secret
    assert len(share.public) == PUBLIC_LENGTH[group.name]
    assert len(public) == ANSWER_LENGTH[group.name]
    assert len(secret) == SECRET_LENGTH[group.name]
    assert share.public != KeyShare.generate(group).public


def test_leading_zeros_of_the_shared_secret_are_kept() -> None:
    share = KeyShare.generate(NamedGroup.secp256r1)
    # One secret in 256 begins with a zero byte; among so many there will be some.
    secrets = [respond(share.group, share.public)[1] for _ in range(600)]
    assert {len(secret) for secret in secrets} == {32}


# (our private key, the peer's public value, the shared secret) of RFC 7748 sections 6.1 and 6.2
# and of RFC 5903 section 8.1.
KNOWN_ANSWERS = {
    NamedGroup.x25519: (
        "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
        "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
        "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
    ),
    NamedGroup.x448: (
        "9a8f4925d1519f5775cf46b04b5800d4ee9ee8bae8bc5565d498c28d"
        "d9c9baf574a9419744897391006382a6f127ab1d9ac2d8c0a598726b",
        "3eb7a829b0cd20f5bcfc0b599b6feccf6da4627107bdb0d4f345b430"
        "27d8b972fc3e34fb4232a13ca706dcb57aec3dae07bdc1c67bf33609",
        "07fff4181ac6cc95ec1c16a94a0f74d12da232ce40a77552281d282b"
        "b60c0b56fd2464c335543936521c24403085d59a449a5037514a879d",
    ),
    NamedGroup.secp256r1: (
        "c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433",
        "04d12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf63"
        "56fbf3ca366cc23e8157854c13c58d6aac23f046ada30f8353e74f33039872ab",
        "d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de",
    ),
}


@pytest.mark.parametrize("group", KNOWN_ANSWERS, ids=lambda group: group.name)
def test_known_answers(group: NamedGroup) -> None:
    private, peer_public, secret = map(bytes.fromhex, KNOWN_ANSWERS[group])
    ours = {
        NamedGroup.x25519: x25519.X25519PrivateKey.from_private_bytes,
        NamedGroup.x448: x448.X448PrivateKey.from_private_bytes,
        NamedGroup.secp256r1: lambda data: ec.derive_private_key(
            int.from_bytes(data, "big"), ec.SECP256R1()
        ),
    }[group](private)
    assert KeyShare(group, b"", ours).exchange(peer_public) == secret


def off_curve(public: bytes) -> bytes:
    return public[:-1] + bytes([public[-1] ^ 1])


def compressed(public: bytes) -> bytes:
    half = len(public) // 2
    return bytes([2 + (public[-1] & 1)]) + public[1 : 1 + half]


@pytest.mark.parametrize("name", ["secp256r1", "secp384r1", "secp521r1"])
@pytest.mark.parametrize(
    "spoil",
    [
        off_curve,
        compressed,
        lambda public: b"",
        lambda public: b"\x04",
        lambda public: b"\x00",
        lambda public: public[:-1],
        lambda public: public + b"\x00",
        lambda public: bytes([6 + (public[-1] & 1)]) + public[1:],
        lambda public: b"\x04" + bytes(len(public) - 1),
        lambda public: b"\x04" + b"\xff" * (len(public) - 1),
    ],
    ids=[
        "off_curve",
        "compressed",
        "empty",
        "form_only",
        "infinity",
        "short",
        "long",
        "hybrid",
        "zeros",
        "above_the_field",
    ],
)
def test_a_bad_point_is_an_illegal_parameter(name: str, spoil) -> None:
    group = NamedGroup[name]
    share = KeyShare.generate(group)
    bad = spoil(KeyShare.generate(group).public)
    with pytest.raises(AlertError, match=name) as caught:
        share.exchange(bad)
    assert caught.value.description is AlertDescription.illegal_parameter
    with pytest.raises(AlertError):
        respond(group, bad)


# Points of small order, little-endian (RFC 7748 section 6): every secret with them is zero.
@pytest.mark.parametrize(
    ("group", "bad"),
    [
        (NamedGroup.x25519, bytes(32)),
        (NamedGroup.x25519, (1).to_bytes(32, "little")),
        (NamedGroup.x25519, (2**255 - 20).to_bytes(32, "little")),
        (NamedGroup.x25519, (2**255 - 19).to_bytes(32, "little")),
        (NamedGroup.x25519, bytes(31)),
        (NamedGroup.x25519, b"\x09" + bytes(32)),
        (NamedGroup.x448, bytes(56)),
        (NamedGroup.x448, (1).to_bytes(56, "little")),
        (NamedGroup.x448, b"\x05" + bytes(54)),
        (NamedGroup.x448, b""),
    ],
)
def test_a_bad_coordinate_is_an_illegal_parameter(group: NamedGroup, bad: bytes) -> None:
    with pytest.raises(AlertError) as caught:
        respond(group, bad)
    assert caught.value.description is AlertDescription.illegal_parameter


@groups
def test_the_private_key_does_not_show(group: NamedGroup) -> None:
    assert "rivate" not in repr(KeyShare.generate(group))


def test_groups_by_name_in_any_case() -> None:
    assert group_by_name("X25519") is NamedGroup.x25519
    assert group_by_name("secp256R1") is NamedGroup.secp256r1
    with pytest.raises(ConfigError, match="x448"):
        group_by_name("sect163k1")


def test_psk_premaster_secret() -> None:
    # RFC 4279 section 2: zeros as long as the key; RFC 5489 section 2: the ECDH secret.
    assert psk_premaster_secret(b"key") == b"\x00\x03\x00\x00\x00\x00\x03key"
    assert psk_premaster_secret(b"key", b"\x01\x02") == b"\x00\x02\x01\x02\x00\x03key"
    long = psk_premaster_secret(b"k" * 300)
    assert long == b"\x01\x2c" + bytes(300) + b"\x01\x2c" + b"k" * 300


@pytest.mark.parametrize("name", HYBRIDS)
@pytest.mark.parametrize("change", [-1, 1])
def test_a_hybrid_share_of_another_length_is_refused(name: str, change: int) -> None:
    group = NamedGroup[name]
    share = KeyShare.generate(group)
    answer, _ = respond(group, share.public)
    for refused in (
        lambda: respond(group, (share.public + b"\0")[: len(share.public) + change]),
        lambda: share.exchange((answer + b"\0")[: len(answer) + change]),
    ):
        with pytest.raises(AlertError) as caught:
            refused()
        assert caught.value.description is AlertDescription.illegal_parameter


@needs_ml_kem
def test_the_order_of_the_parts_of_a_hybrid() -> None:
    """The KEM first in X25519MLKEM768, last in SecP256r1MLKEM768 (draft-ietf-tls-ecdhe-mlkem)."""
    curve_first = KeyShare.generate(NamedGroup.SecP256r1MLKEM768).public
    assert curve_first[0] == 4
    ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), curve_first[:65])
    kem_first = KeyShare.generate(NamedGroup.X25519MLKEM768).public
    capabilities.mlkem.MLKEM768PublicKey.from_public_bytes(kem_first[:1184])
