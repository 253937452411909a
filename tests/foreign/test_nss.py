"""NSS's tstclnt, DTLS 1.3, both roles.

It serves one connection, and spins at the end of its standard input, which is held open for it.
Its server asks for no certificate, and it sends no KeyUpdate; it answers ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import aiodtls
from aiodtls import PSK, DTLSConfig
from tests.chaos import ChaosProxy
from tests.peers import Program, bound, running, trixie
from tests.pki import PKI, Leaf

pytestmark = pytest.mark.built("debian13")

SUITES = {
    "TLS_AES_128_GCM_SHA256": ":1301",
    "TLS_AES_256_GCM_SHA384": ":1302",
    "TLS_CHACHA20_POLY1305_SHA256": ":1303",
}
GROUPS = {
    "X25519MLKEM768": "mlkem768x25519",
    "x25519": "x25519",
    "secp256r1": "P256",
    "secp384r1": "P384",
    "secp521r1": "P521",
}
KINDS = ["ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-2048"]
MTUS = [256, 300, 576, 1280, 1500]
PSK_KEY = bytes.fromhex("0123456789abcdef" * 4)
CHAOS = {"drop": 0.2, "duplicate": 0.2, "delay": 0.2}
# It waits without end for what comes, and looks at the timers of its library only then;
# an application asks it by DTLS_GetHandshakeTimeout how long to wait. This is too short for a
# record and does nothing but end the wait.
WAKE = b"\x16"


def make_database(directory: Path, cafile: str, leaf: Leaf | None) -> str:
    """NSS's own store, with the CA and perhaps a leaf named ``leaf``; its name for the tools."""
    certutil = trixie("certutil")
    directory.mkdir()
    database = f"sql:{directory}"

    def tool(*command: str) -> None:
        subprocess.run(command, check=True, capture_output=True, timeout=20)

    tool(*certutil, "-N", "-d", database, "--empty-password")
    tool(*certutil, "-A", "-d", database, "-n", "ca", "-t", "CT,C,C", "-i", cafile)
    if leaf is not None:
        bundle = str(directory / "leaf.p12")
        export = ("-in", leaf.certfile, "-inkey", leaf.keyfile, "-name", "leaf", "-out", bundle)
        tool(*trixie("openssl"), "pkcs12", "-export", *export, "-passout", "pass:x")
        tool(*trixie("pk12util"), "-i", bundle, "-d", database, "-W", "x", "-K", "")
    return database


class Databases:
    """One for each leaf, made when first asked for."""

    def __init__(self, pki: PKI, directory: Path) -> None:
        self.pki = pki
        self._directory = directory
        self._made: dict[str, str] = {}

    def __getitem__(self, kind: str) -> str:
        if kind not in self._made:
            leaf = self.pki.leaf(kind, "nss") if kind != "none" else None
            self._made[kind] = make_database(self._directory / kind, self.pki.cafile, leaf)
        return self._made[kind]


@pytest.fixture(scope="module")
def databases(pki: PKI, tmp_path_factory: pytest.TempPathFactory) -> Databases:
    return Databases(pki, tmp_path_factory.mktemp("nss"))


@contextlib.asynccontextmanager
async def tstclnt(role: str, port: int, database: str, *extra: str) -> AsyncIterator[Program]:
    command = (*trixie("tstclnt"), "-4", "-h", "127.0.0.1", "-p", str(port), "-d", database)
    async with running(*command, "-P", role, "-v", "-V", "tls1.3:tls1.3", *extra) as program:
        yield program


@contextlib.asynccontextmanager
async def nss_server(port: int, database: str, *extra: str) -> AsyncIterator[Program]:
    async with tstclnt("server", port, database, "-n", "leaf", *extra) as program:
        await bound(port, program)
        yield program


def nss_client(port: int, database: str, *extra: str) -> Any:
    return tstclnt("client", port, database, "-a", "localhost", *extra)


async def talk(endpoint: aiodtls.DTLSEndpoint, program: Program, word: bytes = b"data") -> None:
    """A line each way."""
    await endpoint.send(word + b" from aiodtls\n")
    await program.wait_for(word + b" from aiodtls")
    await program.send_line(word + b" from nss")
    async with asyncio.timeout(10):
        assert await endpoint.recv() == word + b" from nss\n"


@contextlib.asynccontextmanager
async def calling(
    databases: Databases, port: int, *extra: str, kind: str = "ecdsa-p256", **changes: Any
) -> AsyncIterator[tuple[aiodtls.DTLSEndpoint, Program]]:
    """Our client with NSS's server, a line each way behind them."""
    config = DTLSConfig(**({"versions": ["1.3"], "trust": databases.pki.trust} | changes))
    async with (
        nss_server(port, databases[kind], *extra) as program,
        aiodtls.connect("127.0.0.1", port, config=config, server_hostname="localhost") as endpoint,
    ):
        await talk(endpoint, program)
        yield endpoint, program


@contextlib.asynccontextmanager
async def called(
    databases: Databases, *extra: str, kind: str = "none", **changes: Any
) -> AsyncIterator[tuple[aiodtls.DTLSEndpoint, Program]]:
    """Our server with NSS's client, a line each way behind them; ``kind`` is the client's."""
    credentials = databases.pki.leaf().credentials
    config = DTLSConfig(**({"versions": ["1.3"], "credentials": credentials} | changes))
    async with (
        aiodtls.serve(None, "127.0.0.1", config=config) as server,
        nss_client(server.sockname[1], databases[kind], *extra) as program,
    ):
        async with asyncio.timeout(10):
            endpoint = await anext(aiter(server))
        await talk(endpoint, program)
        yield endpoint, program


@pytest.mark.parametrize("suite", SUITES)
async def test_client_with_each_suite(databases, free_udp_port, suite):
    async with calling(databases, free_udp_port, cipher_suites=[suite]) as (endpoint, _):
        assert (endpoint.version, endpoint.cipher_suite) == ("1.3", suite)


@pytest.mark.parametrize("suite", SUITES)
async def test_server_with_each_suite(databases, suite):
    async with called(databases, "-c", SUITES[suite]) as (endpoint, _):
        assert (endpoint.version, endpoint.cipher_suite) == ("1.3", suite)


@pytest.mark.parametrize("group", GROUPS)
async def test_client_with_each_group(databases, free_udp_port, group):
    options = ("-I", GROUPS[group])
    async with calling(databases, free_udp_port, *options, groups=[group]) as (endpoint, _):
        assert endpoint.group == group


@pytest.mark.parametrize("group", GROUPS)
async def test_server_with_each_group(databases, group):
    """With the cookie in our HelloRetryRequest."""
    async with called(databases, "-I", GROUPS[group], groups=[group]) as (endpoint, _):
        assert endpoint.group == group


async def test_client_is_asked_for_another_group(databases, free_udp_port):
    both = {"groups": ["x25519", "secp384r1"], "key_shares": ["x25519"]}
    async with calling(databases, free_udp_port, "-I", "P384", **both) as (endpoint, _):
        assert endpoint.group == "secp384r1"


async def test_server_asks_for_another_group(databases):
    async with called(databases, "-I", "x25519,P384", groups=["secp384r1"]) as (endpoint, _):
        assert endpoint.group == "secp384r1"


@pytest.mark.parametrize("kind", KINDS)
async def test_client_with_each_kind_of_key(databases, free_udp_port, kind):
    async with calling(databases, free_udp_port, kind=kind) as (endpoint, _):
        assert endpoint.peer_certificates[0].subject.rfc4514_string() == "CN=nss"


@pytest.mark.parametrize("kind", KINDS)
async def test_server_with_each_kind_of_key(databases, kind):
    credentials = databases.pki.leaf(kind).credentials
    async with called(databases, credentials=credentials) as (_, program):
        assert b"subject DN: CN=server" in program.output


@pytest.mark.parametrize("kind", KINDS)
async def test_client_authenticates_itself(databases, kind):
    demand = {"trust": databases.pki.trust, "client_auth": "required"}
    async with called(databases, "-n", "leaf", kind=kind, **demand) as (endpoint, _):
        assert endpoint.peer_certificates[0].subject.rfc4514_string() == "CN=nss"


async def test_client_without_the_certificate_that_we_require(databases):
    config = DTLSConfig(
        versions=["1.3"],
        credentials=databases.pki.leaf().credentials,
        trust=databases.pki.trust,
        client_auth="required",
    )
    async with (
        aiodtls.serve(None, "127.0.0.1", config=config) as server,
        nss_client(server.sockname[1], databases["none"]) as program,
    ):
        await program.wait_for(b"SSL_ERROR_RX_CERTIFICATE_REQUIRED_ALERT")
        assert server.statistics.handshakes_failed == 1


async def test_server_that_is_not_trusted(databases, free_udp_port, credentials):
    trust = aiodtls.Trust.fingerprints(credentials.fingerprint())
    async with nss_server(free_udp_port, databases["ecdsa-p256"]) as program:
        with pytest.raises(aiodtls.CertificateError):
            config = DTLSConfig(versions=["1.3"], trust=trust)
            await aiodtls.connect("127.0.0.1", free_udp_port, config=config)
        await program.wait_for(b"_ALERT")


async def test_external_psk_of_the_client(databases):
    option = ("-z", f"0x{PSK_KEY.hex()}:mylabel")
    # Without a certificate of the server, NSS cannot replace one ticket by another.
    psk_alone = {"psk": PSK("mylabel", PSK_KEY), "credentials": None, "session_tickets": 1}
    async with called(databases, *option, **psk_alone) as (endpoint, _):
        assert endpoint.psk_identity == b"mylabel"
        assert endpoint.peer_certificates == ()


async def test_client_resumes_with_our_ticket(databases, tmp_path):
    config = DTLSConfig(versions=["1.3"], credentials=databases.pki.leaf().credentials)
    # With its words from a file, it goes on to its next connection when the server closes.
    (tmp_path / "words").write_bytes(b"from nss\n")
    options = ("-u", "-L", "2", "-A", str(tmp_path / "words"))
    async with (
        aiodtls.serve(None, "127.0.0.1", config=config) as server,
        nss_client(server.sockname[1], databases["none"], *options) as program,
        asyncio.timeout(10),
    ):
        peers = aiter(server)
        for resumed in (False, True):
            endpoint = await anext(peers)
            assert await endpoint.recv() == b"from nss\n"
            await endpoint.send(b"resumed: %r\n" % resumed)
            await program.wait_for(b"resumed: %r" % resumed)
            assert endpoint.resumed == resumed
            endpoint.close()


async def test_we_update_our_keys_and_ask_for_theirs(databases, free_udp_port):
    async with calling(databases, free_udp_port) as (endpoint, program):
        for word in (b"one", b"two", b"three"):
            endpoint.update_keys()
            await talk(endpoint, program, word)
    async with called(databases) as (endpoint, program):
        for word in (b"one", b"two", b"three"):
            endpoint.update_keys()
            await talk(endpoint, program, word)


@pytest.mark.parametrize("pmtu", MTUS)
async def test_client_at_each_mtu(databases, free_udp_port, pmtu):
    async with calling(databases, free_udp_port, kind="rsa-2048", pmtu=pmtu) as (endpoint, _):
        assert endpoint.pmtu == pmtu


@pytest.mark.parametrize("pmtu", MTUS)
async def test_server_at_each_mtu(databases, pmtu):
    changes = {"credentials": databases.pki.leaf("rsa-2048").credentials, "pmtu": pmtu}
    async with called(databases, **changes) as (endpoint, _):
        assert endpoint.pmtu == pmtu


@pytest.mark.parametrize("seed", range(5))
async def test_client_through_a_hostile_network(databases, free_udp_port, seed):
    config = DTLSConfig(versions=["1.3"], trust=databases.pki.trust, retransmit_initial=0.1)
    async with (
        nss_server(free_udp_port, databases["ecdsa-p256"]) as program,
        ChaosProxy(("127.0.0.1", free_udp_port), seed=seed, wake=WAKE, **CHAOS) as proxy,
        aiodtls.connect(*proxy.address, config=config, server_hostname="localhost") as endpoint,
        asyncio.timeout(20),
    ):
        await exchange_through_loss(endpoint, program)


@pytest.mark.parametrize("seed", range(5))
async def test_server_through_a_hostile_network(databases, seed):
    credentials = databases.pki.leaf().credentials
    config = DTLSConfig(versions=["1.3"], credentials=credentials, retransmit_initial=0.1)
    async with (
        aiodtls.serve(None, "127.0.0.1", config=config) as server,
        ChaosProxy(server.sockname, seed=seed, wake=WAKE, **CHAOS) as proxy,
        nss_client(proxy.address[1], databases["none"], "-O") as program,
        asyncio.timeout(20),
    ):
        async with await anext(aiter(server)) as endpoint:
            await exchange_through_loss(endpoint, program)


async def exchange_through_loss(endpoint: aiodtls.DTLSEndpoint, program: Program) -> None:
    """Repeats a line each way until it has come."""
    while b"through chaos" not in program.output:
        await endpoint.send(b"through chaos\n")
        await asyncio.sleep(0.05)
    reply = asyncio.ensure_future(endpoint.recv())
    while not reply.done():
        await program.send_line(b"from nss")
        await asyncio.wait({reply}, timeout=0.05)
    assert set(reply.result().splitlines()) == {b"from nss"}
