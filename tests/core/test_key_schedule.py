"""The key schedule against what wolfSSL protected with it: a wrong label opens nothing (F22).

The vectors are handshakes of wolfSSL's server, recorded; of the client there are its hellos and
its private value. Every secret is derived anew here, and the server's own records, its Finished
and its application data are the answers that are known.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from aiodtls.core.crypto import key_schedule
from aiodtls.core.crypto.key_schedule import KeySchedule, TrafficKeys, verify_data
from aiodtls.core.crypto.suites import Suite, suite_by_name
from aiodtls.core.crypto.transcript import Transcript
from aiodtls.core.record.protection13 import RecordReader13
from aiodtls.core.registry import ContentType, HandshakeType
from aiodtls.core.wire.extensions13 import KeyShares
from aiodtls.core.wire.fragments import parse_fragments
from aiodtls.core.wire.messages import ServerHello, parse_body
from aiodtls.core.wire.records import split_datagram

VECTORS = sorted((Path(__file__).parent.parent / "vectors").glob("dtls13_wolfssl_*.json"))


@dataclass
class Recorded:
    """One recorded handshake; ``messages`` of the clear part and the protected records."""

    suite: Suite
    private: X25519PrivateKey
    transcript: Transcript
    server_share: bytes
    protected: list[bytes]
    known: dict[str, object]

    @classmethod
    def load(cls, path: Path) -> Recorded:
        known = json.loads(path.read_text())
        suite = suite_by_name(known["suite"])
        hellos = [bytes.fromhex(text)[13:] for text in known["hellos"]]
        records = [
            record
            for text in known["datagrams"]
            for record in split_datagram(bytes.fromhex(text))[0]
        ]
        clear = [body for kind, _, body in records if kind == ContentType.handshake]
        transcript = Transcript()
        transcript.is_dtls13 = True
        messages = [hellos[0], clear[0], hellos[1], clear[1]]
        for number, message in enumerate(messages):
            (fragment,) = parse_fragments(message)
            assert len(fragment.data) == fragment.length
            transcript.add(fragment.msg_type, fragment.message_seq, fragment.data)
            if number == 1:
                transcript.hash_first_hello(suite.hash_name)
        reply = parse_body(ServerHello, fragment.data)
        assert isinstance(reply, ServerHello) and reply.cipher_suite == suite.code
        share = reply.extensions.find(KeyShares)
        assert share is not None
        private = X25519PrivateKey.from_private_bytes(bytes.fromhex(known["x25519_private"]))
        protected = [body for kind, _, body in records if kind & 0xE0 == 0x20]
        return cls(suite, private, transcript, share.shares[0][1], protected, known)

    @property
    def shared_secret(self) -> bytes:
        return self.private.exchange(X25519PublicKey.from_public_bytes(self.server_share))


def open_records(keys: TrafficKeys, epoch: int, records: list[bytes]) -> list[tuple[int, bytes]]:
    """Content type and plaintext of all that open in this epoch."""
    reader = RecordReader13(epoch, keys, 64)
    opened = []
    for record in records:
        if record[0] & 3 != epoch & 3:
            continue
        found = reader.open(record)
        assert found is not None
        reader.window.accept(found[1] & (1 << 48) - 1)
        opened.append((found[0], found[2]))
    return opened


def derive(recorded: Recorded) -> tuple[list[tuple[int, bytes]], dict[str, bytes]]:
    """The records of application data, and all secrets on the way to them."""
    suite, transcript = recorded.suite, recorded.transcript
    name = suite.hash_name
    schedule = KeySchedule(name)
    schedule.advance(recorded.shared_secret)
    secrets = {}
    digest = transcript.hash(name)
    secrets["CLIENT_HANDSHAKE_TRAFFIC_SECRET"] = schedule.derive(b"c hs traffic", digest)
    server = secrets["SERVER_HANDSHAKE_TRAFFIC_SECRET"] = schedule.derive(b"s hs traffic", digest)

    opened = open_records(TrafficKeys.derive(suite, server), 2, recorded.protected)
    flight = b"".join(text for kind, text in opened if kind == ContentType.handshake)
    for fragment in parse_fragments(flight):
        assert len(fragment.data) == fragment.length
        if fragment.msg_type == HandshakeType.finished:
            expected = verify_data(name, server, transcript.hash(name))
            assert fragment.data == expected, "wolfSSL's own Finished"
        transcript.add(fragment.msg_type, fragment.message_seq, fragment.data)

    schedule.advance(None)
    digest = transcript.hash(name)
    secrets["CLIENT_TRAFFIC_SECRET_0"] = schedule.derive(b"c ap traffic", digest)
    server = secrets["SERVER_TRAFFIC_SECRET_0"] = schedule.derive(b"s ap traffic", digest)
    secrets["EXPORTER_SECRET"] = schedule.derive(b"exp master", digest)
    return open_records(TrafficKeys.derive(suite, server), 3, recorded.protected), secrets


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_every_secret_is_the_one_that_wolfssl_used(path):
    recorded = Recorded.load(path)
    opened, secrets = derive(recorded)
    assert [text for kind, text in opened if kind == ContentType.application_data] == [
        str(recorded.known["application_data"]).encode()
    ]
    assert {name: secret.hex() for name, secret in secrets.items()} == recorded.known["secrets"]


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_the_prefix_of_tls_opens_nothing(path, monkeypatch):
    monkeypatch.setattr(key_schedule, "LABEL_PREFIX", b"tls13 ")
    with pytest.raises(InvalidTag):
        derive(Recorded.load(path))


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_a_wrong_sequence_number_key_opens_nothing(path, monkeypatch):
    expand = key_schedule.hkdf_expand_label

    def mislabelled(hash_name, secret, label, context, length):
        return expand(hash_name, secret, b"key" if label == b"sn" else label, context, length)

    monkeypatch.setattr(key_schedule, "hkdf_expand_label", mislabelled)
    with pytest.raises(InvalidTag):
        derive(Recorded.load(path))


def test_there_are_vectors_of_either_hash_and_mask():
    names = {Recorded.load(path).suite.name for path in VECTORS}
    assert names == {
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
    }
