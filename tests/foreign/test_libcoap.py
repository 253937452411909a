"""libcoap's client and server (OpenSSL and GnuTLS builds): CoAP over our endpoints."""

from __future__ import annotations

import asyncio

import pytest

import aiodtls
from aiodtls import PSK, DTLSConfig
from tests.peers import run_to_end, serving
from tests.pki import PKI

BUILDS = ["openssl", "gnutls"]
KEY = "secretPSKsecretPSK"
USER = "user1"
# CoAP (RFC 7252 section 3): version 1, confirmable, token of 1 byte; GET with no options.
GET = b"\x41\x01\x12\x34\x55"
ACKNOWLEDGED_CONTENT = b"\x61\x45\x12\x34"
# COAPS is CoAP's port plus one (RFC 7252 section 12.8).


def answer(request: bytes, payload: bytes) -> bytes:
    """A piggybacked 2.05 Content with the request's message id and token."""
    token_length = request[0] & 0x0F
    header = bytes((0x60 | token_length, 0x45)) + request[2:4]
    return header + request[4 : 4 + token_length] + b"\xff" + payload


async def serve_coap(endpoint: aiodtls.DTLSEndpoint) -> None:
    async for request in endpoint:
        await endpoint.send(answer(request, b"from aiodtls"), split=False)


@pytest.mark.parametrize("build", BUILDS)
async def test_coap_client_with_psk(build):
    config = DTLSConfig(
        psk={USER: KEY.encode()},
        psk_identity_hint="CoAP",
        cipher_suites=["TLS_PSK_WITH_AES_128_CCM_8", "TLS_PSK_WITH_AES_128_GCM_SHA256"],
    )
    async with aiodtls.serve(serve_coap, "127.0.0.1", config=config) as server:
        url = f"coaps://127.0.0.1:{server.sockname[1]}/x"
        output = await run_to_end([f"coap-client-{build}", "-k", KEY, "-u", USER, "-m", "get", url])
    assert b"from aiodtls" in output, output.decode()


@pytest.mark.parametrize("build", BUILDS)
async def test_coap_client_with_certificates(pki: PKI, build):
    mine = pki.leaf("ecdsa-p256", "client")
    config = DTLSConfig(credentials=pki.leaf().credentials, trust=pki.trust, client_auth="required")
    async with aiodtls.serve(serve_coap, "127.0.0.1", config=config) as server:
        url = f"coaps://127.0.0.1:{server.sockname[1]}/x"
        keys = ["-c", mine.certfile, "-j", mine.keyfile, "-C", pki.cafile]
        output = await run_to_end([f"coap-client-{build}", *keys, "-m", "get", url])
    assert b"from aiodtls" in output, output.decode()


@pytest.mark.parametrize("build", BUILDS)
async def test_coap_server_with_psk(free_udp_port, build):
    config = DTLSConfig(psk=PSK(USER, KEY.encode()))
    port = str(free_udp_port)
    command = (f"coap-server-{build}", "-A", "127.0.0.1", "-p", port, "-k", KEY, "-h", "CoAP")
    async with serving(free_udp_port + 1, *command):
        await get_content(free_udp_port + 1, config)


@pytest.mark.parametrize("build", BUILDS)
async def test_coap_server_with_certificates(pki: PKI, free_udp_port, build):
    leaf, mine = pki.leaf(), pki.leaf("ecdsa-p256", "client")
    config = DTLSConfig(trust=pki.trust, credentials=mine.credentials)
    keys = ("-c", leaf.certfile, "-j", leaf.keyfile, "-C", pki.cafile)
    port = str(free_udp_port)
    command = (f"coap-server-{build}", "-A", "127.0.0.1", "-p", port, *keys)
    async with serving(free_udp_port + 1, *command):
        await get_content(free_udp_port + 1, config)


async def get_content(port: int, config: DTLSConfig) -> None:
    target = aiodtls.connect("127.0.0.1", port, config=config, server_hostname="localhost")
    async with target as endpoint, asyncio.timeout(10):
        await endpoint.send(GET, split=False)
        reply = await endpoint.recv()
    assert reply.startswith(ACKNOWLEDGED_CONTENT)
