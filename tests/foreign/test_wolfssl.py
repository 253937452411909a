"""wolfSSL's example programs, DTLS 1.3 and 1.2, both roles.

tests/built/wolfssl.sh builds them; AIODTLS_WOLFSSL names another build directory.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

import aiodtls
from aiodtls import PSK, DTLSConfig, SessionCache
from tests.chaos import ChaosProxy
from tests.peers import Program, running, serving
from tests.pki import PKI
from tests.selection import place

WOLFSSL = str(place("wolfssl"))
pytestmark = pytest.mark.built("wolfssl")

VERSIONS = {"1.2": "3", "1.3": "4"}
# The programs would keep their words until they end.
UNBUFFERED = ("stdbuf", "-oL")
# What a client prints once its handshake has returned.
CONNECTED = b"SSL version is"
REPLY = b"I hear you fa shizzle!"
SUITES = {
    "TLS_AES_128_GCM_SHA256": "TLS13-AES128-GCM-SHA256",
    "TLS_AES_256_GCM_SHA384": "TLS13-AES256-GCM-SHA384",
    "TLS_CHACHA20_POLY1305_SHA256": "TLS13-CHACHA20-POLY1305-SHA256",
    "TLS_AES_128_CCM_SHA256": "TLS13-AES128-CCM-SHA256",
    "TLS_AES_128_CCM_8_SHA256": "TLS13-AES128-CCM-8-SHA256",
}
GROUPS = ["X25519MLKEM768", "SecP256r1MLKEM768", "x25519", "secp256r1", "secp384r1", "secp521r1"]
HYBRIDS = GROUPS[:2]
# The key of the example programs for DTLS 1.3, which goes with SHA-256 there.
PSK13 = PSK("Client_identity", bytes.fromhex("0123456789abcdef" * 4))


@contextlib.asynccontextmanager
async def wolfssl_server(
    port: int, pki: PKI | None, *extra: str, version: str = "1.3"
) -> AsyncIterator[Program]:
    """Answers one message and ends; without ``pki`` it has a PSK alone."""
    command = [*UNBUFFERED, f"{WOLFSSL}/examples/server/server", "-u", "-v", VERSIONS[version]]
    command += ["-p", str(port)]
    if pki is not None:
        leaf = pki.leaf("ecdsa-p256")
        command += ["-A", pki.cafile, "-c", leaf.certfile, "-k", leaf.keyfile]
    async with serving(port, *command, *extra, cwd=WOLFSSL) as program:
        yield program


@contextlib.asynccontextmanager
async def wolfssl_client(
    address: Any, pki: PKI | None, *extra: str, version: str = "1.3", own: str | None = None
) -> AsyncIterator[Program]:
    """Sends one message and ends with the answer."""
    command = [*UNBUFFERED, f"{WOLFSSL}/examples/client/client", "-u", "-v", VERSIONS[version]]
    command += ["-h", address[0], "-p", str(address[1])]
    if pki is not None:
        command += ["-A", pki.cafile]
        if own is not None:
            leaf = pki.leaf(own)
            command += ["-c", leaf.certfile, "-k", leaf.keyfile]
        else:
            command += ["-x"]
    async with running(*command, *extra, cwd=WOLFSSL) as program:
        yield program


async def ask(port: int, config: DTLSConfig, **options: Any) -> aiodtls.DTLSEndpoint:
    """Our client: a message, and the answer to it."""
    async with (
        aiodtls.connect(
            "127.0.0.1", port, config=config, server_hostname="localhost", **options
        ) as endpoint,
        asyncio.timeout(10),
    ):
        await endpoint.send(b"from aiodtls")
        assert await endpoint.recv() == REPLY
        return endpoint


async def answer(config: DTLSConfig, pki: PKI | None, *extra: str, **options: Any) -> Any:
    """Our server: one message of the client's, answered; the endpoint and the client's output."""
    async with (
        aiodtls.serve(None, "127.0.0.1", config=config) as server,
        wolfssl_client(server.sockname, pki, *extra, **options) as program,
        asyncio.timeout(15),
    ):
        endpoint = await anext(aiter(server))
        assert await endpoint.recv() == b"hello wolfssl!"
        await endpoint.send(REPLY)
        await program.wait_for(REPLY)
        return endpoint, program.output


def client_config(pki: PKI, **changes: Any) -> DTLSConfig:
    return DTLSConfig(trust=pki.trust, **({"versions": ["1.3"]} | changes))


def server_config(pki: PKI, **changes: Any) -> DTLSConfig:
    credentials = pki.leaf("ecdsa-p256").credentials
    return DTLSConfig(credentials=credentials, **({"versions": ["1.3"]} | changes))


@pytest.mark.parametrize("suite", SUITES)
async def test_client_with_each_suite(pki: PKI, free_udp_port, suite):
    async with wolfssl_server(free_udp_port, pki, "-d", "-l", SUITES[suite]):
        endpoint = await ask(free_udp_port, client_config(pki, cipher_suites=[suite]))
    assert (endpoint.version, endpoint.cipher_suite) == ("1.3", suite)


@pytest.mark.parametrize("suite", SUITES)
async def test_server_with_each_suite(pki: PKI, suite):
    endpoint, _ = await answer(server_config(pki, cipher_suites=[suite]), pki, "-l", SUITES[suite])
    assert (endpoint.version, endpoint.cipher_suite) == ("1.3", suite)


@pytest.mark.parametrize("group", GROUPS)
async def test_client_with_each_group(pki: PKI, free_udp_port, group):
    """With the cookie in its HelloRetryRequest; a hybrid's second hello has two datagrams."""
    extra = ("--pqc", group) if group in HYBRIDS else ()
    async with wolfssl_server(free_udp_port, pki, "-d", *extra):
        endpoint = await ask(free_udp_port, client_config(pki, groups=[group]))
    assert endpoint.group == group


@pytest.mark.parametrize("group", GROUPS)
async def test_server_with_each_group(pki: PKI, group):
    extra = ("--pqc", group) if group in HYBRIDS else ()
    endpoint, _ = await answer(server_config(pki, groups=[group]), pki, *extra)
    assert endpoint.group == group


async def test_client_is_asked_for_another_group(pki: PKI, free_udp_port):
    config = client_config(pki, groups=["secp384r1", "secp256r1"], key_shares=["secp384r1"])
    async with wolfssl_server(free_udp_port, pki, "-d", "--force-curve", "SECP256R1"):
        endpoint = await ask(free_udp_port, config)
    assert endpoint.group in ("secp256r1", "secp384r1")


async def test_server_asks_a_client_without_a_share(pki: PKI):
    endpoint, _ = await answer(server_config(pki, groups=["secp256r1"]), pki, "-J")
    assert endpoint.group == "secp256r1"


async def test_client_shows_its_certificate(pki: PKI, free_udp_port):
    config = client_config(pki, credentials=pki.leaf("ecdsa-p384").credentials)
    async with wolfssl_server(free_udp_port, pki, "-F"):
        await ask(free_udp_port, config)


@pytest.mark.parametrize("kind", ["ecdsa-p256", "rsa-2048"])
async def test_server_asks_for_a_certificate(pki: PKI, kind):
    config = server_config(pki, trust=pki.trust, client_auth="required")
    endpoint, _ = await answer(config, pki, own=kind)
    (certificate, *_) = endpoint.peer_certificates
    assert certificate == pki.leaf(kind).credentials.leaf


@pytest.mark.parametrize("mode", ["psk_dhe_ke", "psk_ke"])
async def test_client_with_a_psk(free_udp_port, mode):
    config = DTLSConfig(versions=["1.3"], psk=PSK13)
    extra = ("-K",) if mode == "psk_ke" else ()
    async with wolfssl_server(free_udp_port, None, "-s", *extra):
        endpoint = await ask(free_udp_port, config)
    assert endpoint.psk_identity == PSK13.identity
    assert (endpoint.group is None) == (mode == "psk_ke")


@pytest.mark.parametrize("mode", ["psk_dhe_ke", "psk_ke"])
async def test_server_with_a_psk(mode):
    # The client names the hash in the identity.
    psk = PSK(PSK13.identity + b"SHA256", PSK13.key)
    config = DTLSConfig(versions=["1.3"], psk=psk)
    extra = ("-K",) if mode == "psk_ke" else ()
    endpoint, _ = await answer(config, None, "-s", *extra)
    assert endpoint.psk_identity == psk.identity


async def test_the_client_updates_its_keys(pki: PKI):
    updates = []
    config = server_config(pki)
    async with (
        aiodtls.serve(
            None, "127.0.0.1", config=config, on_event=lambda _, event: updates.append(event)
        ) as server,
        wolfssl_client(server.sockname, pki, "-I") as program,
        asyncio.timeout(15),
    ):
        endpoint = await anext(aiter(server))
        assert await endpoint.recv() == b"hello wolfssl!"
        await endpoint.send(REPLY)
        await program.wait_for(REPLY)
    assert any(isinstance(event, aiodtls.events.KeysUpdated) for event in updates)


async def test_the_server_updates_its_keys(pki: PKI, free_udp_port):
    async with wolfssl_server(free_udp_port, pki, "-d", "-U"):
        await ask(free_udp_port, client_config(pki))


async def test_we_update_our_keys_towards_a_client(pki: PKI):
    directions = []
    config = server_config(pki)
    async with (
        aiodtls.serve(
            None,
            "127.0.0.1",
            config=config,
            on_event=lambda _, event: directions.append(getattr(event, "direction", None)),
        ) as server,
        wolfssl_client(server.sockname, pki) as program,
        asyncio.timeout(15),
    ):
        endpoint = await anext(aiter(server))
        assert await endpoint.recv() == b"hello wolfssl!"
        endpoint.update_keys()
        # The client reads until its answer is here, and acknowledges what comes before it.
        while "sent" not in directions:
            await asyncio.sleep(0.01)
        await endpoint.send(REPLY)
        await program.wait_for(REPLY)


@pytest.mark.parametrize("pmtu", [512, 576, 1280, 1500])
async def test_client_at_each_mtu(pki: PKI, free_udp_port, pmtu):
    config = client_config(pki, pmtu=pmtu, credentials=pki.leaf("ecdsa-p384").credentials)
    async with wolfssl_server(free_udp_port, pki):
        await ask(free_udp_port, config)


@pytest.mark.parametrize("pmtu", [256, 300, 576, 1280, 1500])
async def test_server_at_each_mtu(pki: PKI, pmtu):
    config = server_config(pki, pmtu=pmtu, trust=pki.trust, client_auth="required")
    await answer(config, pki, own="ecdsa-p384")


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_session_of_ours_is_resumed(pki: PKI, free_udp_port, version):
    cache = SessionCache()
    config = client_config(pki, versions=[version])
    async with wolfssl_server(free_udp_port, pki, "-d", "-i", version=version):
        resumed = [(await ask(free_udp_port, config, session=cache)).resumed for _ in range(3)]
    assert resumed == [False, True, True]


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_client_resumes_with_our_ticket(pki: PKI, version):
    config = server_config(pki, versions=[version])
    async with (
        aiodtls.serve(None, "127.0.0.1", config=config) as server,
        wolfssl_client(server.sockname, pki, "-r", version=version) as program,
        asyncio.timeout(15),
    ):
        peers = aiter(server)
        for expected in (False, True):
            endpoint = await anext(peers)
            assert (await endpoint.recv()).startswith(b"hello wolfssl" if not expected else b"")
            await endpoint.send(REPLY)
            await program.wait_for(REPLY)
            assert endpoint.resumed == expected
            endpoint.close()
        await program.wait_for(b"reused session id")


async def test_versions_meet_where_both_can(pki: PKI, free_udp_port):
    config = client_config(pki, versions=None)
    async with wolfssl_server(free_udp_port, pki, "-d", version="1.2"):
        assert (await ask(free_udp_port, config)).version == "1.2"
    endpoint, _ = await answer(server_config(pki, versions=None), pki, version="1.2")
    assert endpoint.version == "1.2"


CHAOS = {"drop": 0.2, "duplicate": 0.2, "delay": 0.2}


@pytest.mark.parametrize("seed", range(3))
async def test_client_through_a_hostile_network(pki: PKI, free_udp_port, seed):
    config = client_config(pki, retransmit_initial=0.1)
    async with (
        # Without -e it ends with the first message, at times before it has shown it.
        wolfssl_server(free_udp_port, pki, "-d", "-e"),
        ChaosProxy(("127.0.0.1", free_udp_port), seed=seed, **CHAOS) as proxy,
        aiodtls.connect(*proxy.address, config=config, server_hostname="localhost") as endpoint,
        asyncio.timeout(30),
    ):
        echo = asyncio.ensure_future(endpoint.recv())
        while not echo.done():
            await endpoint.send(b"from aiodtls")
            await asyncio.wait({echo}, timeout=0.05)
        assert echo.result() == b"from aiodtls"


@pytest.mark.parametrize("seed", range(3))
async def test_server_through_a_hostile_network(pki: PKI, seed):
    config = server_config(pki, retransmit_initial=0.1)
    async with (
        aiodtls.serve(None, "127.0.0.1", config=config) as server,
        ChaosProxy(server.sockname, seed=seed, **CHAOS) as proxy,
        wolfssl_client(proxy.address, pki) as program,
        asyncio.timeout(40),
    ):
        endpoint = await anext(aiter(server))
        await endpoint.wait_confirmed()
        # Data before its handshake has returned is an error to the example program.
        await program.wait_for(CONNECTED, timeout=30)
        while REPLY not in program.output:
            await endpoint.send(REPLY)
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("own", [0, 4, 10])
@pytest.mark.parametrize("version", VERSIONS)
async def test_client_with_connection_ids(pki: PKI, free_udp_port, version, own):
    config = client_config(pki, versions=[version], connection_id=own)
    async with wolfssl_server(free_udp_port, pki, "-d", "--cid", "abc", version=version):
        endpoint = await ask(free_udp_port, config)
    assert len(endpoint.get_extra_info("connection_id", b"")) == own
    assert endpoint.get_extra_info("peer_connection_id") == b"abc"


@pytest.mark.parametrize("own", [None, 0, 10])
@pytest.mark.parametrize("version", VERSIONS)
async def test_server_with_connection_ids(pki: PKI, version, own):
    config = server_config(pki, versions=[version], connection_id=own)
    endpoint, _ = await answer(config, pki, "--cid", "abcdef", version=version)
    assert len(endpoint.get_extra_info("connection_id", b"")) == (8 if own is None else own)
    assert endpoint.get_extra_info("peer_connection_id") == b"abcdef"
