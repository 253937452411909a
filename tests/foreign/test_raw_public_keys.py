"""Raw public keys (RFC 7250) with OpenSSL 3.5 and GnuTLS 3.8, both roles, and wolfSSL's client.

The system's own may be older, so those of Debian 13 are run. wolfSSL's example server has no option
for raw public keys.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import aiodtls
from aiodtls import Credentials, DTLSConfig, Trust
from tests.peers import Program, running, serving, trixie
from tests.pki import PKI
from tests.selection import place

WOLFSSL = str(place("wolfssl"))
in_trixie = pytest.mark.built("debian13")
KINDS = ["ecdsa-p256", "ed25519", "rsa-2048"]
RAW_PRIORITY = "NORMAL:+CTYPE-CLI-RAWPK:+CTYPE-SRV-RAWPK"


class Keys:
    """The peer's files, and the same keys as ours."""

    def __init__(self, pki: PKI, kind: str, directory: Path) -> None:
        self.directory = directory
        theirs, ours = pki.leaf(kind), pki.leaf(kind, "client")
        self.leaf = theirs
        self.ours = Credentials.raw_public_key(ours.keyfile)
        self.theirs = Credentials.raw_public_key(theirs.keyfile)
        for name, credentials in (("ours.pub", self.ours), ("peer.pub", self.theirs)):
            pem = credentials.public_key.public_bytes(
                Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
            )
            (directory / name).write_bytes(pem)
        self.config = DTLSConfig(
            versions=["1.2"],
            credentials=self.ours,
            trust=Trust.public_keys(self.theirs.public_key),
            client_auth="required",
        )

    @property
    def openssl(self) -> tuple[str, ...]:
        own = ("-cert", self.leaf.certfile, "-key", self.leaf.keyfile)
        return (*own, "-enable_server_rpk", "-enable_client_rpk")

    @property
    def gnutls(self) -> tuple[str, ...]:
        own = ("--rawpkkeyfile", self.leaf.keyfile, "--rawpkfile", str(self.directory / "peer.pub"))
        return ("--udp", "--priority", RAW_PRIORITY, *own)


@pytest.fixture
def keys(pki: PKI, kind: str, tmp_path: Path) -> Keys:
    return Keys(pki, kind, tmp_path)


async def call(port: int, program: Program, keys: Keys) -> None:
    """Our client, and a line from it."""
    async with aiodtls.connect("127.0.0.1", port, config=keys.config) as endpoint:
        assert endpoint.peer_public_key == keys.theirs.public_key
        assert endpoint.peer_certificates == ()
        await endpoint.send(b"from aiodtls\n")
        await program.wait_for(b"from aiodtls")


async def answer(server: aiodtls.DTLSServer, program: Program, keys: Keys) -> None:
    """Our server, and a line each way."""
    async with asyncio.timeout(15), await anext(aiter(server)) as endpoint:
        assert endpoint.peer_public_key == keys.theirs.public_key
        await endpoint.send(b"from aiodtls\n")
        await program.wait_for(b"from aiodtls")
        await program.send_line(b"from the peer")
        assert await endpoint.recv() == b"from the peer\n"


# OpenSSL's server finds no cipher suite for Ed25519 in DTLS 1.2, raw or not.
@in_trixie
@pytest.mark.parametrize("kind", ["ecdsa-p256", "rsa-2048"])
async def test_our_client_and_openssls_server(keys, free_udp_port):
    target = f"127.0.0.1:{free_udp_port}"
    # It can be given no keys to expect, so it asks for one and says which it got.
    asks = ("-Verify", "1")
    command = (*trixie("openssl"), "s_server", "-dtls1_2", "-accept", target, *keys.openssl, *asks)
    async with serving(free_udp_port, *command) as program:
        await call(free_udp_port, program, keys)
        await program.wait_for(b"Client raw public key")


@in_trixie
@pytest.mark.parametrize("kind", KINDS)
async def test_openssls_client_and_our_server(keys):
    async with aiodtls.serve(None, "127.0.0.1", config=keys.config) as server:
        target = f"127.0.0.1:{server.sockname[1]}"
        command = (*trixie("openssl"), "s_client", "-dtls1_2", "-connect", target, *keys.openssl)
        async with running(*command) as program:
            await answer(server, program, keys)
            await program.wait_for(b"Server raw public key")


@in_trixie
@pytest.mark.parametrize("kind", KINDS)
async def test_our_client_and_gnutls_server(keys, free_udp_port):
    options = ("--echo", "-p", str(free_udp_port), "--require-client-cert", *keys.gnutls)
    async with serving(free_udp_port, *trixie("gnutls-serv"), *options) as program:
        await call(free_udp_port, program, keys)


@in_trixie
@pytest.mark.parametrize("kind", KINDS)
async def test_gnutls_client_and_our_server(keys):
    async with aiodtls.serve(None, "127.0.0.1", config=keys.config) as server:
        options = ("--insecure", "-p", str(server.sockname[1]), *keys.gnutls)
        async with running(*trixie("gnutls-cli"), *options, "127.0.0.1") as program:
            await answer(server, program, keys)


@pytest.mark.built("wolfssl")
@pytest.mark.parametrize(("version", "number"), [("1.2", "3"), ("1.3", "4")])
async def test_wolfssls_client_and_our_server(version, number):
    certs = Path(str(WOLFSSL), "certs")
    config = DTLSConfig(
        versions=[version],
        credentials=Credentials.raw_public_key(certs / "ecc-key.pem"),
        trust=Trust.public_keys((certs / "rpk/client-ecc-cert-rpk.der").read_bytes()),
        client_auth="required",
    )
    own = ("-c", "certs/rpk/client-ecc-cert-rpk.der", "-k", "certs/ecc-client-key.der")
    expected = ("-A", "certs/rpk/server-ecc-cert-rpk.der")
    async with aiodtls.serve(None, "127.0.0.1", config=config) as server:
        target = ("-u", "-v", number, "-h", "127.0.0.1", "-p", str(server.sockname[1]))
        command = (
            f"{WOLFSSL}/examples/client/client",
            *target,
            "--rpk",
            "--files-are-der",
            *own,
            *expected,
        )
        async with running(*command, cwd=WOLFSSL) as program:
            async with asyncio.timeout(15), await anext(aiter(server)) as endpoint:
                assert endpoint.version == version
                assert endpoint.peer_public_key is not None
                assert endpoint.peer_certificates == ()
                assert await endpoint.recv() == b"hello wolfssl!"
                await endpoint.send(b"from aiodtls\n")
                await program.wait_for(b"from aiodtls")
