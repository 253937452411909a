"""pion/dtls, DTLS 1.3 and 1.2, both roles.

tests/built/pion.sh builds a driver of its release, which speaks DTLS 1.2 alone. AIODTLS_PION names
a driver of its main branch, which is in no package; docs/foreign-peers.md says how to make one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Any

import pytest

import aiodtls
from aiodtls import DTLSConfig, events
from tests.chaos import ChaosProxy
from tests.peers import running, serving
from tests.pki import PKI
from tests.selection import place

PION = os.environ.get("AIODTLS_PION") or str(place("pion") / "pion-driver")
pytestmark = pytest.mark.built("pion")
# What the main branch alone has: DTLS 1.3 and return routability checks.
of_main = pytest.mark.by_hand("AIODTLS_PION")
VERSIONS = ["1.2", pytest.param("1.3", marks=of_main)]
CHAOS = {"drop": 0.2, "duplicate": 0.2, "delay": 0.2}


@contextlib.asynccontextmanager
async def pion_server(port: int, pki: PKI, version: str, *extra: str):
    leaf = pki.leaf("ecdsa-p256")
    keys = ("-cert", leaf.certfile, "-key", leaf.keyfile, "-ca", pki.cafile)
    address = f"127.0.0.1:{port}"
    command = (PION, "-role", "server", "-addr", address, "-version", version, *keys, *extra)
    async with serving(port, *command) as program:
        yield program


def pion_client(address: Any, pki: PKI, version: str, *extra: str):
    target = f"{address[0]}:{address[1]}"
    return running(PION, "-addr", target, "-version", version, "-ca", pki.cafile, *extra)


async def echoed(address: Any, config: DTLSConfig, *, update: bool = False) -> Any:
    """Our client: what it sends comes back, now and then lost on the way."""
    async with (
        aiodtls.connect(*address, config=config, server_hostname="localhost") as endpoint,
        asyncio.timeout(20),
    ):
        for message in (b"from aiodtls", b"and again"):
            received = b""
            while received != message:
                await endpoint.send(message)
                with contextlib.suppress(TimeoutError):
                    received = await asyncio.wait_for(endpoint.recv(), 0.3)
            if update:
                endpoint.update_keys()
        return endpoint


async def serve_one(config: DTLSConfig, pki: PKI, *extra: str, chaos: Any = None) -> Any:
    """Our server echoes to one client of pion's."""
    endpoints = []

    async def echo(endpoint: aiodtls.DTLSEndpoint) -> None:
        endpoints.append(endpoint)
        async for data in endpoint:
            await endpoint.send(data)

    (version,) = config.versions or ("1.3",)
    async with aiodtls.serve(echo, "127.0.0.1", config=config) as server:
        async with contextlib.AsyncExitStack() as stack:
            address = server.sockname
            if chaos is not None:
                proxy = ChaosProxy(address, seed=chaos, **CHAOS)
                address = (await stack.enter_async_context(proxy)).address
            program = await stack.enter_async_context(pion_client(address, pki, version, *extra))
            await program.wait_for(b"echoed: from pion", timeout=30)
        return endpoints[0]


def client_config(pki: PKI, version: str, **changes: Any) -> DTLSConfig:
    return DTLSConfig(trust=pki.trust, versions=[version], **changes)


def server_config(pki: PKI, version: str, **changes: Any) -> DTLSConfig:
    credentials = pki.leaf("ecdsa-p256").credentials
    return DTLSConfig(credentials=credentials, versions=[version], **changes)


@pytest.mark.parametrize("version", VERSIONS)
async def test_client(pki: PKI, free_udp_port, version):
    async with pion_server(free_udp_port, pki, version):
        endpoint = await echoed(("127.0.0.1", free_udp_port), client_config(pki, version))
    assert endpoint.version == version


@pytest.mark.parametrize("version", VERSIONS)
async def test_server(pki: PKI, version):
    """In DTLS 1.3 pion's first hello has a hybrid share and comes in two datagrams."""
    endpoint = await serve_one(server_config(pki, version), pki)
    assert endpoint.version == version
    assert endpoint.group == ("X25519MLKEM768" if version == "1.3" else "x25519")


@of_main
@pytest.mark.parametrize(
    "suite",
    ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"],
)
async def test_suites_of_dtls13(pki: PKI, free_udp_port, suite):
    async with pion_server(free_udp_port, pki, "1.3"):
        config = client_config(pki, "1.3", cipher_suites=[suite])
        endpoint = await echoed(("127.0.0.1", free_udp_port), config)
    assert endpoint.cipher_suite == suite
    endpoint = await serve_one(server_config(pki, "1.3", cipher_suites=[suite]), pki)
    assert endpoint.cipher_suite == suite


@of_main
@pytest.mark.parametrize("group", ["X25519MLKEM768", "x25519", "secp256r1", "secp384r1"])
async def test_groups_of_dtls13(pki: PKI, free_udp_port, group):
    async with pion_server(free_udp_port, pki, "1.3"):
        config = client_config(pki, "1.3", groups=[group])
        endpoint = await echoed(("127.0.0.1", free_udp_port), config)
    assert endpoint.group == group
    assert (await serve_one(server_config(pki, "1.3", groups=[group]), pki)).group == group


@pytest.mark.parametrize("version", VERSIONS)
async def test_mutual_authentication(pki: PKI, free_udp_port, version):
    own = pki.leaf("ecdsa-p384")
    async with pion_server(free_udp_port, pki, version, "-mutual"):
        config = client_config(pki, version, credentials=own.credentials)
        await echoed(("127.0.0.1", free_udp_port), config)
    # With a P-384 key pion signs by ecdsa_secp256r1_sha256 in DTLS 1.3, which RFC 8446 s. 4.2.3
    # forbids; so its client has a P-256 key.
    own = pki.leaf("ecdsa-p256")
    config = server_config(pki, version, trust=pki.trust, client_auth="required")
    endpoint = await serve_one(config, pki, "-cert", own.certfile, "-key", own.keyfile)
    assert endpoint.peer_certificates[0] == own.credentials.leaf


@of_main
async def test_we_update_our_keys(pki: PKI, free_udp_port):
    async with pion_server(free_udp_port, pki, "1.3"):
        await echoed(("127.0.0.1", free_udp_port), client_config(pki, "1.3"), update=True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("pmtu", [300, 576, 1280])
async def test_small_datagrams(pki: PKI, free_udp_port, version, pmtu):
    size = str(pmtu - 28)
    async with pion_server(free_udp_port, pki, version, "-mtu", size):
        await echoed(("127.0.0.1", free_udp_port), client_config(pki, version, pmtu=pmtu))
    await serve_one(server_config(pki, version, pmtu=pmtu), pki, "-mtu", size)


@pytest.mark.parametrize("version", VERSIONS)
async def test_connection_ids(pki: PKI, free_udp_port, version):
    async with pion_server(free_udp_port, pki, version, "-cid", "8"):
        await echoed(("127.0.0.1", free_udp_port), client_config(pki, version, connection_id=4))
    await serve_one(server_config(pki, version, connection_id=6), pki, "-cid", "5")


async def until_echoed(endpoint: aiodtls.DTLSEndpoint, message: bytes) -> None:
    """Sends the message until it comes back."""
    received = b""
    while received != message:
        await endpoint.send(message)
        with contextlib.suppress(TimeoutError):
            received = await asyncio.wait_for(endpoint.recv(), 0.1)


@of_main
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("own", [0, 4])
async def test_our_client_is_followed_once_it_has_answered(pki: PKI, free_udp_port, version, own):
    """pion checks by path_challenge, and answers at the old address until then."""
    async with (
        pion_server(free_udp_port, pki, version, "-cid", "8"),
        ChaosProxy(("127.0.0.1", free_udp_port)) as proxy,
        aiodtls.connect(
            *proxy.address,
            config=client_config(pki, version, connection_id=own),
            server_hostname="localhost",
        ) as endpoint,
        asyncio.timeout(20),
    ):
        await until_echoed(endpoint, b"before")
        for number in range(5):
            proxy.rebind()
            await until_echoed(endpoint, b"after %d" % number)


@of_main
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("theirs", [0, 5])
@pytest.mark.parametrize("check", ["basic", "enhanced"])
async def test_their_client_is_followed_once_it_has_answered(pki: PKI, version, theirs, check):
    endpoints = []

    async def echo(endpoint: aiodtls.DTLSEndpoint) -> None:
        endpoints.append(endpoint)
        async for data in endpoint:
            await endpoint.send(data)

    changes = {"connection_id": 6, "return_routability_check": check, "retransmit_initial": 0.1}
    config = server_config(pki, version, **changes)
    async with (
        aiodtls.serve(echo, "127.0.0.1", config=config) as server,
        ChaosProxy(server.sockname) as proxy,
        pion_client(proxy.address, pki, version, "-cid", str(theirs), "-lines") as program,
    ):
        await program.wait_for(b"echoed: from pion")
        for number in range(3):
            proxy.rebind()
            await program.send_line(b"after %d" % number)
            await program.wait_for(b"echoed: after %d" % number)
            # The answer may have gone by the old path, where the check asks that first.
            assert endpoints[0].statistics.addresses_changed == number + 1
        assert endpoints[0].statistics.path_checks_failed == 0


@of_main
@pytest.mark.parametrize("version", VERSIONS)
async def test_their_client_answers_our_probes(pki: PKI, version):
    told = []

    async def echo(endpoint: aiodtls.DTLSEndpoint) -> None:
        async for data in endpoint:
            await endpoint.send(data)

    config = server_config(pki, version, keepalive_interval=0.2, retransmit_initial=0.3)
    async with (
        aiodtls.serve(
            echo, "127.0.0.1", config=config, on_event=lambda _, event: told.append(event)
        ) as server,
        pion_client(server.sockname, pki, version, "-cid", "5", "-lines") as program,
    ):
        await program.wait_for(b"echoed: from pion")
        before = server.statistics
        await asyncio.sleep(1.5)
        after = server.statistics
        # Several probes, as many answers, and nobody is missed.
        probes = after.datagrams_sent - before.datagrams_sent
        assert probes >= 3 and after.datagrams_received - before.datagrams_received >= probes - 1
        assert not any(isinstance(e, events.PeerUnresponsive | events.Closed) for e in told)
        await program.send_line(b"still here")
        await program.wait_for(b"echoed: still here")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("seed", range(3))
async def test_through_a_hostile_network(pki: PKI, free_udp_port, version, seed):
    timers = {"retransmit_initial": 0.1}
    async with (
        pion_server(free_udp_port, pki, version),
        ChaosProxy(("127.0.0.1", free_udp_port), seed=seed, **CHAOS) as proxy,
    ):
        await echoed(proxy.address, client_config(pki, version, **timers))
    await serve_one(server_config(pki, version, **timers), pki, chaos=seed)
