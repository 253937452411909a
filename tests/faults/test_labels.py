"""Labels and prefixes, by formulas written here and records of foreign peers: F22.

Both our sides agree with each other whatever label they use, so what the wire carries is opened
here with nothing but the RFCs, hashlib's HMAC and a bare AEAD. The vectors of foreign
implementations are in tests/core/test_key_schedule.py and tests/core/test_prf.py.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.core.test_key_schedule import VECTORS, Recorded
from tests.harness import CLIENT, SERVER, Pair
from tests.simulated.variants import configs


def expand_label(secret: bytes, prefix: bytes, label: bytes, context: bytes, length: int) -> bytes:
    """HKDF-Expand-Label of RFC 8446 section 7.1, for one block of SHA-256."""
    full = prefix + label
    info = length.to_bytes(2, "big") + bytes((len(full),)) + full + bytes((len(context),)) + context
    return hmac.digest(secret, info + b"\1", "sha256")[:length]


def opened13(prefix: bytes, secret: bytes, data: bytes, *, sn: bytes = b"sn") -> bytes:
    """A record of epoch 3 with a 16-bit number and a length (RFC 9147 section 4)."""
    key, iv, sn_key = (
        expand_label(secret, prefix, label, b"", length)
        for label, length in ((b"key", 16), (b"iv", 12), (sn, 16))
    )
    assert data[0] & 0xFC == 0x2C
    mask = Cipher(algorithms.AES(sn_key), modes.ECB()).encryptor().update(data[5:21])
    number = bytes(a ^ b for a, b in zip(data[1:3], mask, strict=False))
    header = data[:1] + number + data[3:5]
    nonce = bytes(a ^ b for a, b in zip(iv, bytes(10) + number, strict=True))
    return AESGCM(key).decrypt(nonce, data[5:], header).rstrip(b"\0")


def keylogged(variant: str, **changes) -> tuple[Pair, dict[str, bytes]]:
    lines: list[str] = []
    client, server = configs(variant)
    client = dataclasses.replace(client, keylog=lines.append, **changes)
    pair = Pair(client, server)
    assert pair.run() and pair.connected
    pair.idle()
    return pair, {line.split()[0]: bytes.fromhex(line.split()[2]) for line in lines}


def test_f22_records_of_dtls13_open_with_the_labels_of_the_rfc_and_no_others():
    pair, secrets = keylogged("certificate13", cipher_suites=["TLS_AES_128_GCM_SHA256"])
    for side, name in ((CLIENT, "CLIENT"), (SERVER, "SERVER")):
        pair.send(side, b"data")
        secret, data = secrets[f"{name}_TRAFFIC_SECRET_0"], pair.sent[side][-1]
        assert opened13(b"dtls13", secret, data) == b"data\x17"
        for wrong in ({"prefix": b"tls13 "}, {"prefix": b"dtls13 "}, {"sn": b"key"}):
            with pytest.raises(InvalidTag):
                opened13(wrong.pop("prefix", b"dtls13"), secret, data, **wrong)


def test_f22_an_updated_secret_and_an_exporter_follow_the_rfc():
    pair, secrets = keylogged("certificate13", cipher_suites=["TLS_AES_128_GCM_SHA256"])
    exporter = secrets["EXPORTER_SECRET"]
    empty, context = hashlib.sha256(b"").digest(), hashlib.sha256(b"context").digest()
    derived = expand_label(exporter, b"dtls13", b"EXPERIMENTAL x", empty, 32)
    wanted = expand_label(derived, b"dtls13", b"exporter", context, 32)
    for connection in (pair.client, pair.server):
        assert connection.export_keying_material("EXPERIMENTAL x", 32, b"context") == wanted
    # RFC 8446 section 7.2: each update's secret comes from the one before.
    secret = secrets["CLIENT_TRAFFIC_SECRET_0"]
    updated = expand_label(secret, b"dtls13", b"traffic upd", b"", 32)
    pair.client.update_keys(pair.now)
    pair.flush()
    pair.idle()
    pair.send(CLIENT, b"after")
    assert opened13(b"dtls13", updated, pair.sent[CLIENT][-1]) == b"after\x17"
    with pytest.raises(InvalidTag):
        opened13(b"dtls13", secret, pair.sent[CLIENT][-1])


def p_hash(secret: bytes, seed: bytes, length: int) -> bytes:
    """P_SHA256 of RFC 5246 section 5."""
    out, a = b"", seed
    while len(out) < length:
        a = hmac.digest(secret, a, "sha256")
        out += hmac.digest(secret, a + seed, "sha256")
    return out[:length]


def test_f22_records_of_dtls12_open_with_the_labels_of_the_rfc_and_no_others():
    pair, secrets = keylogged("psk")
    master = secrets["CLIENT_RANDOM"]
    client_random, server_random = pair.client.client_random, pair.client.negotiated.server_random

    def opened(label: bytes, side: str, data: bytes) -> bytes:
        # RFC 5246 section 6.3 and RFC 5288 section 3: keys, then the nonces' fixed halves.
        block = p_hash(master, label + server_random + client_random, 40)
        key, salt = (block[:16], block[32:36]) if side == CLIENT else (block[16:32], block[36:40])
        number, length = data[3:11], len(data) - 13 - 8 - 16
        aad = number + data[:3] + length.to_bytes(2, "big")
        return AESGCM(key).decrypt(salt + data[13:21], data[21:], aad)

    for side in (CLIENT, SERVER):
        pair.send(side, b"data")
        assert opened(b"key expansion", side, pair.sent[side][-1]) == b"data"
        with pytest.raises(InvalidTag):
            opened(b"key_expansion", side, pair.sent[side][-1])
    # RFC 5705 section 4.
    seed = b"EXPERIMENTAL x" + client_random + server_random + b"\0\7context"
    wanted = p_hash(master, seed, 32)
    assert pair.client.export_keying_material("EXPERIMENTAL x", 32, b"context") == wanted


def test_f22_there_are_records_of_a_foreign_peer_for_every_mask_and_hash():
    suites = {Recorded.load(path).suite.name for path in VECTORS}
    assert {name.split("_")[1] for name in suites} == {"AES", "CHACHA20"}
    assert {name.rsplit("_", 1)[1] for name in suites} == {"SHA256", "SHA384"}
