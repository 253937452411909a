"""mbedTLS's example programs, DTLS 1.2 with connection ids, both roles.

tests/built/mbedtls.sh builds them; AIODTLS_MBEDTLS names another build directory.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

import aiodtls
from aiodtls import PSK, DTLSConfig
from tests.chaos import ChaosProxy
from tests.peers import PSK_HEX, PSK_IDENTITY, PSK_KEY, Program, running, serving
from tests.pki import PKI
from tests.selection import place

MBEDTLS = place("mbedtls")
pytestmark = pytest.mark.built("mbedtls")

# The programs would keep their words until they end.
UNBUFFERED = ("stdbuf", "-oL")
SUITES = {
    "TLS_PSK_WITH_AES_128_GCM_SHA256": "TLS-PSK-WITH-AES-128-GCM-SHA256",
    "TLS_PSK_WITH_AES_128_CCM_8": "TLS-PSK-WITH-AES-128-CCM-8",
    "TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256": "TLS-ECDHE-PSK-WITH-CHACHA20-POLY1305-SHA256",
}
PSK_OPTIONS = (f"psk={PSK_HEX}", f"psk_identity={PSK_IDENTITY}")
# Ours, mbedTLS's; None is a peer that does not offer the extension.
IDS = [(4, "beef"), (8, ""), (0, "dead01"), (20, "0102030405060708"), (5, None), (None, "beef")]


def cid_options(value: str | None) -> tuple[str, ...]:
    return () if value is None else ("cid=1", f"cid_val={value}")


@contextlib.asynccontextmanager
async def mbedtls_server(port: int, *extra: str) -> AsyncIterator[Program]:
    """Answers each message of a client with an HTTP page."""
    command = [*UNBUFFERED, f"{MBEDTLS}/programs/ssl/ssl_server2", "dtls=1"]
    command += ["server_addr=127.0.0.1", f"server_port={port}"]
    async with serving(port, *command, *extra) as program:
        yield program


@contextlib.asynccontextmanager
async def mbedtls_client(address: Any, *extra: str) -> AsyncIterator[Program]:
    """Asks for an HTTP page and ends with it."""
    command = [*UNBUFFERED, f"{MBEDTLS}/programs/ssl/ssl_client2", "dtls=1"]
    command += ["server_addr=127.0.0.1", f"server_port={address[1]}", "server_name=localhost"]
    async with running(*command, *extra) as program:
        yield program


def psk_config(**changes: Any) -> DTLSConfig:
    return DTLSConfig(
        psk=PSK(PSK_IDENTITY, PSK_KEY),
        **({"cipher_suites": ["TLS_PSK_WITH_AES_128_GCM_SHA256"]} | changes),
    )


def check_ids(endpoint: aiodtls.DTLSEndpoint, own: int, theirs: str | None) -> None:
    agreed = theirs is not None
    assert len(endpoint.get_extra_info("connection_id", b"")) == (own if agreed else 0)
    assert endpoint.get_extra_info("peer_connection_id", b"").hex() == (theirs or "")


async def ask(port: int, config: DTLSConfig, session: Any = None) -> aiodtls.DTLSEndpoint:
    async with (
        aiodtls.connect(
            "127.0.0.1", port, config=config, server_hostname="localhost", session=session
        ) as endpoint,
        asyncio.timeout(10),
    ):
        await endpoint.send(b"GET / HTTP/1.0\r\n\r\n")
        assert b"HTTP/1.0 200 OK" in await endpoint.recv()
        return endpoint


async def answer(config: DTLSConfig, *extra: str, messages: int = 1, proxy: Any = None) -> Any:
    """Our server, and a client of theirs that asks ``messages`` times; its endpoint."""
    async with (
        aiodtls.serve(None, "127.0.0.1", config=config) as server,
        proxy or contextlib.nullcontext(),
    ):
        if proxy is not None:
            proxy.target = server.sockname
        address = proxy.address if proxy is not None else server.sockname
        async with mbedtls_client(address, *extra) as program, asyncio.timeout(20):
            endpoint = await anext(aiter(server))
            for number in range(messages):
                assert b"GET /" in await endpoint.recv()
                if proxy is not None:
                    proxy.forgetful = True
                page = f"HTTP/1.0 200 OK number {number}\r\n\r\n".encode()
                await endpoint.send(page)
                await program.wait_for(page.strip())
            return endpoint


@pytest.mark.parametrize("own, theirs", IDS)
async def test_client_with_ids_of_each_length(free_udp_port, own, theirs):
    async with mbedtls_server(free_udp_port, *PSK_OPTIONS, *cid_options(theirs)):
        endpoint = await ask(free_udp_port, psk_config(connection_id=own))
    check_ids(endpoint, own or 0, theirs)


@pytest.mark.parametrize("own, theirs", IDS)
async def test_server_with_ids_of_each_length(own, theirs):
    endpoint = await answer(psk_config(connection_id=own), *PSK_OPTIONS, *cid_options(theirs))
    check_ids(endpoint, 8 if own is None else own, theirs)


@pytest.mark.parametrize("suite", SUITES)
async def test_ids_with_each_kind_of_aead(free_udp_port, suite):
    options = (*PSK_OPTIONS, *cid_options("cafe"), f"force_ciphersuite={SUITES[suite]}")
    config = psk_config(cipher_suites=[suite], connection_id=3)
    async with mbedtls_server(free_udp_port, *options):
        check_ids(await ask(free_udp_port, config), 3, "cafe")
    check_ids(await answer(config, *options), 3, "cafe")


async def test_ids_with_certificates_at_the_least_mtu(pki: PKI, free_udp_port):
    leaf = pki.leaf("ecdsa-p256")
    options = (f"crt_file={leaf.certfile}", f"key_file={leaf.keyfile}", *cid_options("beef"))
    async with mbedtls_server(free_udp_port, *options, "mtu=250"):
        config = DTLSConfig(trust=pki.trust, pmtu=256, connection_id=6)
        check_ids(await ask(free_udp_port, config), 6, "beef")
    config = DTLSConfig(credentials=leaf.credentials, pmtu=256)
    options = (f"ca_file={pki.cafile}", *cid_options("beef"), "mtu=250")
    check_ids(await answer(config, *options), 8, "beef")


async def test_a_client_behind_a_forgetful_nat_is_followed():
    """mbedTLS knows no return routability check, so that is for the application to allow."""
    config = psk_config(follow_unchecked_address=True)
    options = (*PSK_OPTIONS, *cid_options("beef"), "exchanges=4")
    proxy = ChaosProxy(("127.0.0.1", 0))
    endpoint = await answer(config, *options, messages=4, proxy=proxy)
    assert endpoint.statistics.addresses_changed == 3


RESUMED = b"a session has been resumed"
# How a session is kept, as an option of the server's program or of the client's.
KINDS = {"ticket": "tickets=1", "id": "tickets=0"}


@pytest.mark.parametrize("kind", KINDS)
async def test_our_client_resumes(pki: PKI, free_udp_port, kind):
    leaf = pki.leaf("ecdsa-p256")
    options = (f"crt_file={leaf.certfile}", f"key_file={leaf.keyfile}", KINDS[kind])
    config, cache = DTLSConfig(trust=pki.trust), aiodtls.SessionCache()
    async with mbedtls_server(free_udp_port, *options, "debug_level=3") as program:
        for resumed in (False, True, True):
            program.output = b""
            endpoint = await ask(free_udp_port, config, cache)
            assert endpoint.resumed == (RESUMED in program.output) == resumed
            assert endpoint.peer_certificates[0] == leaf.credentials.leaf


@pytest.mark.parametrize("kind", KINDS)
async def test_their_client_resumes(pki: PKI, kind):
    config = DTLSConfig(credentials=pki.leaf("ecdsa-p256").credentials)
    options = (f"ca_file={pki.cafile}", KINDS[kind], "reconnect=2", "debug_level=3")
    async with (
        aiodtls.serve(None, "127.0.0.1", config=config) as server,
        mbedtls_client(server.sockname, *options) as program,
        asyncio.timeout(20),
    ):
        peers = aiter(server)
        for number in range(3):
            endpoint = await anext(peers)
            assert b"GET /" in await endpoint.recv()
            page = f"HTTP/1.0 200 OK number {number}\r\n\r\n".encode()
            await endpoint.send(page)
            await program.wait_for(page.strip())
            assert endpoint.resumed == bool(number)
            assert program.output.count(RESUMED) == number
