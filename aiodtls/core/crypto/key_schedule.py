"""The DTLS 1.3 key schedule (RFC 8446 section 7.1, RFC 9147 section 5.9).

                     0
                     |
    PSK  ->  HKDF-Extract = Early Secret
                     |
                     +--> binder_key                      ext, res or imp binder
                     +--> early_exporter_master_secret    e exp master
                     v
                  derived
                     |
    (EC)DHE -> HKDF-Extract = Handshake Secret
                     |
                     +--> client_handshake_traffic_secret c hs traffic
                     +--> server_handshake_traffic_secret s hs traffic
                     v
                  derived
                     |
    0  ->   HKDF-Extract = Master Secret
                     |
                     +--> client_application_traffic_secret_0  c ap traffic
                     +--> server_application_traffic_secret_0  s ap traffic
                     +--> exporter_master_secret               exp master
                     +--> resumption_master_secret             res master

Labels begin with "dtls13", without a space, where TLS has "tls13 " (F22).
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import field

from aiodtls.core.crypto import hmacs
from aiodtls.core.crypto.hmacs import Secret
from aiodtls.core.crypto.suites import AEAD, Suite
from aiodtls.core.frozen import frozen

LABEL_PREFIX = b"dtls13"
# RFC 8446 section 5.3: the larger of 8 bytes and the AEAD's minimum nonce length.
IV_LENGTH = 12
# More than the protocol uses. Labels of exporters are chosen by applications.
LABELS_KEPT = 64


def hkdf_extract(hash_name: str, salt: bytes, key_material: bytes) -> bytes:
    """RFC 5869 section 2.2."""
    return hmacs.digest(hash_name, salt, key_material)


def hkdf_expand_label(
    hash_name: str, secret: Secret, label: bytes, context: bytes, length: int
) -> bytes:
    """``length`` bytes (RFC 8446 section 7.1)."""
    mac = hmacs.keyed(hash_name, secret) if isinstance(secret, bytes) else secret
    info = _label(LABEL_PREFIX + label, length) + bytes((len(context),)) + context
    output = block = mac(info + b"\x01")
    counter = 2
    while len(output) < length:
        block = mac(block + info + bytes((counter,)))
        output += block
        counter += 1
    return output[:length]


@functools.lru_cache(LABELS_KEPT)
def _label(label: bytes, length: int) -> bytes:
    """The first fields of HkdfLabel. Raises ValueError for a label that is too long."""
    return length.to_bytes(2, "big") + bytes((len(label),)) + label


def derive_secret(hash_name: str, secret: Secret, label: bytes, transcript_hash: bytes) -> bytes:
    """RFC 8446 section 7.1."""
    return hkdf_expand_label(hash_name, secret, label, transcript_hash, len(transcript_hash))


@functools.cache
def _empty_hash(hash_name: str) -> bytes:
    return hashlib.new(hash_name).digest()


class KeySchedule:
    """Walks down the figure above. Each step replaces the secret on the left by the next one."""

    __slots__ = ("_empty", "_secret", "hash_name")

    def __init__(self, hash_name: str, psk: bytes | None = None) -> None:
        self.hash_name: str = hash_name
        self._empty = _empty_hash(hash_name)
        zeros = bytes(len(self._empty))
        self._start(hkdf_extract(hash_name, zeros, psk if psk is not None else zeros))

    def _start(self, secret: bytes) -> None:
        """Begins a step. Its keyed HMAC is kept, because several secrets are derived from it."""
        self._secret = hmacs.keyed(self.hash_name, secret)

    def derive(self, label: bytes, transcript_hash: bytes | None = None) -> bytes:
        """A secret that is derived at the present step. Without a transcript hash, that of no
        messages.
        """
        digest = self._empty if transcript_hash is None else transcript_hash
        return derive_secret(self.hash_name, self._secret, label, digest)

    def advance(self, key_material: bytes | None) -> None:
        """Goes from Early to Handshake Secret with the (EC)DHE secret, then to Master Secret."""
        material = key_material if key_material is not None else bytes(len(self._empty))
        self._start(hkdf_extract(self.hash_name, self.derive(b"derived"), material))


def verify_data(hash_name: str, base_key: bytes, transcript_hash: bytes) -> bytes:
    """The verify_data of a Finished under its sender's traffic secret, or a binder under its
    binder_key (RFC 8446 sections 4.4.4 and 4.2.11.2).
    """
    finished_key = hkdf_expand_label(hash_name, base_key, b"finished", b"", len(transcript_hash))
    return hmacs.digest(hash_name, finished_key, transcript_hash)


def next_traffic_secret(hash_name: str, secret: bytes) -> bytes:
    """The traffic secret after a KeyUpdate (RFC 8446 section 7.2)."""
    return hkdf_expand_label(hash_name, secret, b"traffic upd", b"", len(secret))


def resumption_psk(hash_name: str, resumption_master_secret: bytes, ticket_nonce: bytes) -> bytes:
    """The PSK of a NewSessionTicket (RFC 8446 section 4.6.1)."""
    length = len(resumption_master_secret)
    return hkdf_expand_label(
        hash_name, resumption_master_secret, b"resumption", ticket_nonce, length
    )


def exporter(
    hash_name: str, exporter_secret: bytes, label: bytes, length: int, context: bytes
) -> bytes:
    """``length`` bytes of keying material (RFC 8446 section 7.5).

    Raises:
        ValueError: HKDF cannot give so many bytes, or the label is longer than 249 bytes.
    """
    empty = _empty_hash(hash_name)
    limit = 255 * len(empty)
    if not 0 <= length <= limit:
        raise ValueError(f"DTLS 1.3 exports 0 to {limit} bytes with this cipher suite")
    secret = derive_secret(hash_name, exporter_secret, label, empty)
    digest = hashlib.new(hash_name, context).digest()
    return hkdf_expand_label(hash_name, secret, b"exporter", digest, length)


@frozen
class TrafficKeys:
    """The keys of one epoch in one direction (RFC 8446 section 7.3, RFC 9147 section 4.2.3)."""

    aead: AEAD
    key: bytes = field(repr=False)
    iv: bytes = field(repr=False)
    sn_key: bytes = field(repr=False)

    @classmethod
    def derive(cls, suite: Suite, secret: bytes) -> TrafficKeys:
        name, length = suite.hash_name, suite.aead.key_length
        mac = hmacs.keyed(name, secret)
        return cls(
            suite.aead,
            hkdf_expand_label(name, mac, b"key", b"", length),
            hkdf_expand_label(name, mac, b"iv", b"", IV_LENGTH),
            hkdf_expand_label(name, mac, b"sn", b"", length),
        )
