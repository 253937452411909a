"""HMAC against the vectors of RFC 4231, and against the standard library."""

from __future__ import annotations

import hmac
import random

import pytest

from aiodtls.core.crypto import hmacs

# RFC 4231 sections 4.2, 4.3 and 4.7: key, data, and what each hash makes of them.
VECTORS = [
    (
        b"\x0b" * 20,
        b"Hi There",
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59c"
        "faea9ea9076ede7f4af152e8b2fa9cb6",
    ),
    (
        b"Jefe",
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e"
        "8e2240ca5e69e2c78b3239ecfab21649",
    ),
    (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c6"
        "0c2ef6ab4030fe8296248df163f44952",
    ),
]


@pytest.mark.parametrize(("key", "data", "sha256", "sha384"), VECTORS)
def test_the_vectors_of_the_rfc(key, data, sha256, sha384):
    assert hmacs.digest("sha256", key, data).hex() == sha256
    assert hmacs.digest("sha384", key, data).hex() == sha384


@pytest.mark.parametrize("hash_name", ["sha256", "sha384"])
@pytest.mark.parametrize("key_length", [0, 1, 32, 48, 64, 65, 128, 129, 300])
def test_one_key_for_several_messages(hash_name, key_length):
    rng = random.Random(key_length)
    key = rng.randbytes(key_length)
    mac = hmacs.keyed(hash_name, key)
    for length in (0, 1, 63, 64, 200, 0):
        message = rng.randbytes(length)
        expected = hmac.digest(key, message, hash_name)
        assert mac(message) == hmacs.digest(hash_name, key, message) == expected


def test_other_hashes_are_none_of_ours():
    with pytest.raises(KeyError):
        hmacs.digest("md5", b"key", b"message")
