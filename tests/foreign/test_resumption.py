"""Sessions resumed with OpenSSL and GnuTLS, by ticket and by id, seen as such by both sides."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

import aiodtls
from aiodtls import PSK, DTLSConfig, MemorySessionStore, TicketKeys
from tests.foreign.test_gnutls import echo_with
from tests.foreign.test_openssl import PSK_CLIENT, SECLEVEL_0, talk_as_client
from tests.peers import (
    PSK_IDENTITY,
    PSK_KEY,
    gnutls_client,
    gnutls_server,
    openssl_client,
    openssl_server,
)
from tests.pki import PKI

# As ids, s_server keeps sessions itself; without the option it gives tickets.
KINDS = {"ticket": (), "id": ("-no_ticket",)}


def psk_config() -> DTLSConfig:
    return DTLSConfig(psk=PSK(PSK_IDENTITY, PSK_KEY))


async def connect_twice(port: int, program, config: DTLSConfig) -> None:
    first = await talk_as_client(port, program, config)
    assert first.session is not None
    program.output = b""
    async with aiodtls.connect(
        "127.0.0.1",
        port,
        config=config,
        server_hostname="localhost",
        session=aiodtls.Session.from_bytes(first.session.to_bytes()),
    ) as again:
        assert again.resumed and not again.confirmed
        await again.send(b"once more\n")
        await program.wait_for(b"once more")
        assert b"Reused session-id" in program.output or b"Reused, " in program.output
        await program.send_line(b"from openssl")
        async with asyncio.timeout(10):
            assert await again.recv() == b"from openssl\n"
        # OpenSSL's first record tells that it has our last flight.
        assert again.confirmed
        assert again.peer_certificates == first.peer_certificates


@pytest.mark.parametrize("kind", KINDS)
async def test_client_of_openssl(pki: PKI, free_udp_port, kind):
    config = DTLSConfig(trust=pki.trust)
    leaf = pki.leaf("ecdsa-p256")
    options = ("-naccept", "2", *KINDS[kind])
    async with openssl_server(free_udp_port, leaf, *options) as program:
        await connect_twice(free_udp_port, program, config)


async def test_client_of_openssl_with_a_psk(free_udp_port):
    options = ("-naccept", "2", "-cipher", SECLEVEL_0)
    async with openssl_server(free_udp_port, None, *options) as program:
        await connect_twice(free_udp_port, program, psk_config())


async def talk_twice(config: DTLSConfig, path: str, *extra: str, visits: int = 2) -> None:
    async with aiodtls.serve(None, "127.0.0.1", config=config) as server:
        peers = aiter(server)
        for number, option in enumerate(("-sess_out", "-sess_in")[:visits]):
            async with (
                openssl_client(server.sockname, option, path, *extra) as program,
                asyncio.timeout(10),
            ):
                endpoint = await anext(peers)
                await program.send_line(b"from openssl")
                assert await endpoint.recv() == b"from openssl\n"
                await endpoint.send(b"from aiodtls\n")
                await program.wait_for(b"from aiodtls")
                assert endpoint.resumed == bool(number)
                assert (b"Reused, " in program.output) == bool(number)
                endpoint.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_server_for_openssl(pki: PKI, tmp_path, kind):
    config = DTLSConfig(credentials=pki.leaf("ecdsa-p256").credentials)
    trust = ("-CAfile", pki.cafile, "-verify_return_error")
    await talk_twice(config, str(tmp_path / "session"), *trust, *KINDS[kind])


async def test_server_for_openssl_with_a_client_certificate(pki: PKI, tmp_path):
    leaf, own = pki.leaf("ecdsa-p256"), pki.leaf("ecdsa-p384")
    config = DTLSConfig(credentials=leaf.credentials, trust=pki.trust, client_auth="required")
    keys = ("-cert", own.certfile, "-key", own.keyfile)
    await talk_twice(config, str(tmp_path / "session"), "-CAfile", pki.cafile, *keys)


class NoStore:
    """A session store that is out of order."""

    def put(self, key: bytes, value: bytes) -> None:
        raise OSError("out of order")

    def get(self, key: bytes) -> None:
        raise OSError("out of order")

    def delete(self, key: bytes) -> None:
        raise OSError("out of order")


@pytest.mark.parametrize("store", [MemorySessionStore(), NoStore()], ids=["store", "none"])
async def test_server_for_openssl_with_a_chain_too_long_for_a_ticket(pki: PKI, tmp_path, store):
    """Its ticket names the chain. Without a store it is empty (RFC 5077 section 3.3), and OpenSSL
    completes the handshake but keeps no session.
    """
    leaf, own = pki.leaf("ecdsa-p256"), pki.leaf("ecdsa-p384")
    config = DTLSConfig(
        credentials=leaf.credentials,
        trust=pki.trust,
        client_auth="required",
        session_store=store,
    )
    chain = tmp_path / "chain.pem"
    chain.write_text(Path(pki.cafile).read_text() * 3)
    keys = ("-cert", own.certfile, "-key", own.keyfile, "-cert_chain", str(chain))
    options = ("-CAfile", pki.cafile, *keys)
    visits = 2 if isinstance(store, MemorySessionStore) else 1
    await talk_twice(config, str(tmp_path / "session"), *options, visits=visits)


async def test_server_for_openssl_that_restarts_and_changes_its_secret(pki: PKI, tmp_path):
    """The ticket of one server is taken by the next, which was given an older secret too."""
    credentials = pki.leaf("ecdsa-p256").credentials
    old, new = bytes(range(32)), bytes(range(1, 33))
    path, since = str(tmp_path / "session"), time.time() - 9 * 24 * 3600
    steps = (("-sess_out", (old,)), ("-sess_in", (old,)), ("-sess_in", (new, old)))
    for number, (option, secrets) in enumerate((*steps, ("-sess_in", (new,)))):
        keys = TicketKeys(*secrets, since=since)
        config = DTLSConfig(credentials=credentials, ticket_keys=keys)
        async with aiodtls.serve(None, "127.0.0.1", config=config) as server:
            trust = ("-CAfile", pki.cafile)
            async with (
                openssl_client(server.sockname, option, path, *trust) as program,
                asyncio.timeout(10),
            ):
                endpoint = await anext(aiter(server))
                await program.send_line(b"from openssl")
                assert await endpoint.recv() == b"from openssl\n"
                assert endpoint.resumed == (number in (1, 2))
                endpoint.close()


async def test_server_for_openssl_with_a_psk(tmp_path):
    await talk_twice(psk_config(), str(tmp_path / "session"), *PSK_CLIENT, "-cipher", SECLEVEL_0)


async def test_client_of_gnutls(pki: PKI, free_udp_port):
    leaf = pki.leaf("ecdsa-p256")
    keys = ("--x509certfile", leaf.certfile, "--x509keyfile", leaf.keyfile)
    config = DTLSConfig(trust=pki.trust)
    async with gnutls_server(free_udp_port, *keys, "--disable-client-cert"):
        first = await echo_with(free_udp_port, config)
        assert first.session is not None
        async with aiodtls.connect(
            "127.0.0.1",
            free_udp_port,
            config=config,
            server_hostname="localhost",
            session=first.session,
        ) as again:
            assert again.resumed
            await again.send(b"over and back\n")
            async with asyncio.timeout(10):
                assert await again.recv() == b"over and back\n"


@pytest.mark.parametrize("kind", ["ticket", "id"])
async def test_server_for_gnutls(pki: PKI, kind):
    config = DTLSConfig(credentials=pki.leaf("ecdsa-p256").credentials)
    options = ("--x509cafile", pki.cafile, "--verify-hostname", "localhost", "--resume")
    options += ("--noticket",) if kind == "id" else ()
    async with aiodtls.serve(None, "127.0.0.1", config=config) as server:
        peers = aiter(server)
        async with gnutls_client(server.sockname, *options) as program, asyncio.timeout(15):
            first = await anext(peers)
            assert not first.resumed
            # gnutls-cli hangs up after the first handshake, and dials again.
            second = await anext(peers)
            assert second.resumed
            await program.wait_for(b"This is a resumed session")
            await program.send_line(b"from gnutls")
            assert await second.recv() == b"from gnutls\n"
