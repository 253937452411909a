"""The DTLS 1.2 PRF against published vectors, and everything drawn from it against OpenSSL."""

import contextlib
import shutil
import subprocess

import pytest
from OpenSSL import SSL

from aiodtls.core.crypto import prf
from aiodtls.core.crypto.credentials import Credentials

# "TLS 1.2 PRF test vectors", as posted to the IETF TLS working group's mailing list.
VECTORS = [
    (
        "sha256",
        "9bbe436ba940f017b17652849a71db35",
        "a0ba9f936cda311827a6f796ffd5198c",
        "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a"
        "6b301791e90d35c9c9a46b4e14baf9af0fa022f7077def17abfd3797c0564bab"
        "4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff701"
        "87347b66",
    ),
    (
        "sha384",
        "b80b733d6ceefcdc71566ea48e5567df",
        "cd665cf6a8447dd6ff8b27555edb7465",
        "7b0c18e9ced410ed1804f2cfa34a336a1c14dffb4900bb5fd7942107e81c83cd"
        "e9ca0faa60be9fe34f82b1233c9146a0e534cb400fed2700884f9dc236f80edd"
        "8bfa961144c9e8d792eca722a7b32fc3d416d473ebc2c5fd4abfdad05d918425"
        "9b5bf8cd4d90fa0d31e2dec479e4f1a26066f2eea9a69236a3e52655c9e9aee6"
        "91c8f3a26854308d5eaa3be85e0990703d73e56f",
    ),
]
vectors = pytest.mark.parametrize(
    ("hash_name", "secret", "seed", "output"), VECTORS, ids=[v[0] for v in VECTORS]
)


@vectors
def test_published_vectors(hash_name: str, secret: str, seed: str, output: str) -> None:
    args = hash_name, bytes.fromhex(secret), b"test label", bytes.fromhex(seed)
    expected = bytes.fromhex(output)
    assert prf.prf(*args, len(expected)) == expected
    assert all(prf.prf(*args, n) == expected[:n] for n in (0, 1, 31, 32, 33, 48, 64, 65))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
@pytest.mark.parametrize("hash_name", ["sha256", "sha384"])
def test_openssl_kdf_agrees(hash_name: str) -> None:
    secret, seed = bytes(range(48)), b"key expansion" + bytes(range(100, 164))
    options = [f"digest:{hash_name}", f"hexsecret:{secret.hex()}", f"hexseed:{seed.hex()}"]
    command = ["openssl", "kdf", "-keylen", "104", "-binary"]
    command += [part for option in options for part in ("-kdfopt", option)]
    made = subprocess.run([*command, "TLS1-PRF"], capture_output=True, check=True).stdout
    server_random, client_random = seed[13:45], seed[45:]
    assert prf.key_block(hash_name, secret, client_random, server_random, 104) == made


@pytest.fixture(scope="module", params=["AES128-GCM-SHA256", "AES256-GCM-SHA384"])
def openssl_session(request):
    """Two finished DTLS 1.2 connections of OpenSSL in memory, and their PRF's hash."""
    credentials = Credentials.self_signed()
    contexts = [SSL.Context(SSL.DTLS_METHOD) for _ in range(2)]
    contexts[1].use_certificate(credentials.leaf)
    contexts[1].use_privatekey(credentials.private_key)
    for context in contexts:
        context.set_options(SSL.OP_NO_QUERY_MTU)
        # Last, as it makes a connection, after which pyOpenSSL warns of changes.
        context.set_cipher_list(f"ECDHE-ECDSA-{request.param}".encode())
    client, server = (SSL.Connection(context, None) for context in contexts)
    for connection in (client, server):
        connection.set_ciphertext_mtu(1400)
    client.set_connect_state()
    server.set_accept_state()
    drive(client, server)
    return request.param[-6:].lower(), client, server


def drive(client, server) -> None:
    for _ in range(20):
        for connection, peer in ((client, server), (server, client)):
            with contextlib.suppress(SSL.WantReadError):
                connection.do_handshake()
            with contextlib.suppress(SSL.WantReadError):
                peer.bio_write(connection.bio_read(65536))
    assert client.get_protocol_version_name() == "DTLSv1.2"


def randoms(connection) -> tuple[bytes, bytes]:
    return connection.client_random(), connection.server_random()


@pytest.mark.parametrize("context", [None, b"", b"context"])
def test_openssl_exports_the_same(openssl_session, context: bytes | None) -> None:
    hash_name, client, server = openssl_session
    label = b"EXTRACTOR-dtls_srtp"
    ours = prf.exporter(hash_name, client.master_key(), *randoms(client), label, 60, context)
    assert ours == client.export_keying_material(label, 60, context)
    assert ours == server.export_keying_material(label, 60, context)


def test_the_derivations_are_the_prf_with_their_labels() -> None:
    secret, client, server = b"s" * 48, b"c" * 32, b"S" * 32
    p = prf.prf
    assert prf.master_secret("sha256", secret, client, server) == p(
        "sha256", secret, b"master secret", client + server, 48
    )
    assert prf.extended_master_secret("sha384", secret, b"hash") == p(
        "sha384", secret, b"extended master secret", b"hash", 48
    )
    assert prf.verify_data("sha256", secret, b"server finished", b"hash") == p(
        "sha256", secret, b"server finished", b"hash", 12
    )
    # The randoms change places (RFC 5246 section 6.3).
    assert prf.key_block("sha256", secret, client, server, 40) == p(
        "sha256", secret, b"key expansion", server + client, 40
    )


def test_no_context_is_not_an_empty_context() -> None:
    def export(context: bytes | None) -> bytes:
        return prf.exporter("sha256", b"m" * 48, b"c" * 32, b"s" * 32, b"EXPORTER-x", 32, context)

    assert len({export(None), export(b""), export(b"\x00"), export(b"x")}) == 4


@pytest.mark.parametrize("label", sorted(prf.RESERVED_LABELS))
def test_reserved_labels_export_nothing(label: bytes) -> None:
    with pytest.raises(ValueError, match="belongs to DTLS"):
        prf.exporter("sha256", b"m" * 48, b"c" * 32, b"s" * 32, label, 32, None)


def test_exporter_arguments_are_checked() -> None:
    args = "sha256", b"m" * 48, b"c" * 32, b"s" * 32, b"EXPORTER-x"
    with pytest.raises(ValueError, match="context"):
        prf.exporter(*args, 32, bytes(65536))
    with pytest.raises(ValueError, match="negative"):
        prf.exporter(*args, -1, None)
    assert prf.exporter(*args, 0, None) == b""
