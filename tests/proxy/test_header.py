"""The PROXY protocol header tells who the peer is, as the specification has it."""

from __future__ import annotations

import hashlib
import struct
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from aiodtls.cli.proxy import header
from aiodtls.cli.proxy.header import header_of
from aiodtls.net.ancillary import PeerAddress, with_source
from tests.pki import PKI

VALUES = {
    "peername": ("192.0.2.7", 4711),
    "sockname": ("198.51.100.1", 5684),
    "version": "1.3",
    "cipher_suite": "TLS_AES_128_GCM_SHA256",
    "peer_certificates": (),
    "peer_public_key": None,
    "psk_identity": None,
    "alpn_protocol": None,
    "server_hostname": None,
    "resumed": False,
}


def made(**values: Any) -> bytes:
    endpoint: Any = SimpleNamespace(**{**VALUES, **values})
    return header_of(endpoint, is_verified=True)


def parsed(values: bytes) -> dict[int, bytes]:
    found = {}
    while values:
        kind, length = struct.unpack_from("!BH", values)
        found[kind] = values[3 : 3 + length]
        values = values[3 + length :]
    return found


def taken_apart(text: bytes) -> tuple[int, bytes, dict[int, bytes]]:
    assert text[:12] == bytes.fromhex("0d0a0d0a000d0a515549540a")
    command, kind, length = struct.unpack_from("!BBH", text, 12)
    assert command == 0x21 and length == len(text) - 16
    size = {0x12: 12, 0x22: 36}[kind]
    return kind, text[16 : 16 + size], parsed(text[16 + size :])


def test_an_ipv4_peer_with_a_psk():
    kind, addresses, values = taken_apart(made(psk_identity=b"sensor-1"))
    assert kind == 0x12
    assert addresses == bytes((192, 0, 2, 7, 198, 51, 100, 1)) + struct.pack("!HH", 4711, 5684)
    assert values[0xE0] == b"sensor-1" and set(values) == {0x20, 0xE0}
    flags, verify = struct.unpack_from("!BI", values[0x20])
    assert flags == 1 and verify == 1
    assert parsed(values[0x20][5:]) == {0x21: b"DTLSv1.3", 0x23: b"TLS_AES_128_GCM_SHA256"}


def test_an_ipv6_peer_of_a_wildcard_socket():
    kind, addresses, _ = taken_apart(
        made(peername=("2001:db8::7", 1, 0, 0), sockname=("::", 5684, 0, 0))
    )
    assert kind == 0x22
    assert addresses[:16] == bytes.fromhex("20010db8000000000000000000000007")
    assert addresses[16:32] == bytes(16)


def test_the_address_that_the_peer_sent_to_goes_before_a_wildcard():
    info = struct.pack("=i4s4s", 1, bytes((198, 51, 100, 9)), bytes(4))
    peer = with_source(("192.0.2.7", 4711), 0, 8, info)
    assert isinstance(peer, PeerAddress)
    _, addresses, _ = taken_apart(made(peername=peer, sockname=("0.0.0.0", 5684)))
    assert addresses[4:8] == bytes((198, 51, 100, 9))


def test_an_ipv4_peer_of_an_ipv6_socket_is_ipv4():
    kind, addresses, _ = taken_apart(
        made(peername=("::ffff:192.0.2.7", 1, 0, 0), sockname=("::", 5684, 0, 0))
    )
    assert kind == 0x12 and addresses[:8] == bytes((192, 0, 2, 7, 0, 0, 0, 0))


@pytest.mark.parametrize(("resumed", "flags"), [(False, 7), (True, 5)])
def test_a_certificate_with_its_name_and_the_hash_of_its_key(pki: PKI, resumed, flags):
    leaf = pki.leaf("ecdsa-p256", "client").credentials.leaf
    assert leaf is not None
    key = leaf.public_key()
    _, _, values = taken_apart(
        made(
            peer_certificates=(leaf,),
            peer_public_key=key,
            resumed=resumed,
            alpn_protocol="coap",
            server_hostname="door.example",
        )
    )
    assert values[1] == b"coap" and values[2] == b"door.example"
    assert struct.unpack_from("!BI", values[0x20]) == (flags, 0)
    assert parsed(values[0x20][5:])[0x22] == b"client"
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert values[0xE1] == hashlib.sha256(der).digest()


def test_an_unchecked_certificate_is_not_called_verified(pki: PKI):
    leaf = pki.leaf("ecdsa-p256", "client").credentials.leaf
    endpoint: Any = SimpleNamespace(**{**VALUES, "peer_certificates": (leaf,)})
    _, _, values = taken_apart(header_of(endpoint, is_verified=False))
    assert struct.unpack_from("!BI", values[0x20]) == (7, 1)


def test_a_name_that_is_too_long_is_left_out(pki: PKI, monkeypatch):
    monkeypatch.setattr(header, "MAX_COMMON_NAME", 5)
    leaf = pki.leaf("ecdsa-p256", "client").credentials.leaf
    _, _, values = taken_apart(made(peer_certificates=(leaf,)))
    assert 0x22 not in parsed(values[0x20][5:])
