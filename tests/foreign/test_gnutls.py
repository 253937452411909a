"""GnuTLS's gnutls-serv and gnutls-cli, both roles, over loopback."""

from __future__ import annotations

import asyncio

import pytest

import aiodtls
from aiodtls import PSK, DTLSConfig
from tests.chaos import ChaosProxy
from tests.peers import PSK_HEX, PSK_IDENTITY, PSK_KEY, gnutls_client, gnutls_server
from tests.pki import PKI

PSK_PRIORITY = "NORMAL:-KX-ALL:+PSK:+ECDHE-PSK:+AES-128-CCM-8:+AES-128-CCM:+AES-256-CCM"
CERTIFICATE_PRIORITY = "NORMAL:+AES-128-CCM:+AES-256-CCM:+AES-128-CCM-8:+AES-256-CCM-8"
CERTIFICATE_SUITES = [
    ("ecdsa-p256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    ("ecdsa-p256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    ("ecdsa-p256", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("ecdsa-p256", "TLS_ECDHE_ECDSA_WITH_AES_128_CCM"),
    ("ecdsa-p256", "TLS_ECDHE_ECDSA_WITH_AES_256_CCM"),
    ("ecdsa-p256", "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8"),
    ("ecdsa-p256", "TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8"),
    ("rsa-2048", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    ("rsa-2048", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("ed25519", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    ("ecdsa-p384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
]
PSK_SUITES = [
    "TLS_PSK_WITH_AES_128_GCM_SHA256",
    "TLS_PSK_WITH_AES_256_GCM_SHA384",
    "TLS_PSK_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_PSK_WITH_AES_128_CCM",
    "TLS_PSK_WITH_AES_128_CCM_8",
    "TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256",
]


async def echo_with(port: int, config: DTLSConfig) -> aiodtls.DTLSEndpoint:
    """Our client: a line, and its echo."""
    target = aiodtls.connect("127.0.0.1", port, config=config, server_hostname="localhost")
    async with target as endpoint, asyncio.timeout(10):
        await endpoint.send(b"over and back\n")
        assert await endpoint.recv() == b"over and back\n"
        return endpoint


async def serve_one(config: DTLSConfig, *extra: str) -> aiodtls.DTLSEndpoint:
    """Our server: a line each way with gnutls-cli."""
    async with aiodtls.serve(None, "127.0.0.1", config=config) as server:
        async with gnutls_client(server.sockname, *extra) as program, asyncio.timeout(15):
            endpoint = await anext(aiter(server))
            await program.wait_for(b"Simple Client Mode")
            await program.send_line(b"from gnutls")
            assert await endpoint.recv() == b"from gnutls\n"
            await endpoint.send(b"from aiodtls\n")
            await program.wait_for(b"from aiodtls")
            return endpoint


@pytest.mark.parametrize(("kind", "suite"), CERTIFICATE_SUITES)
async def test_certificate_suites(pki: PKI, free_udp_port, kind, suite):
    leaf = pki.leaf(kind)
    keys = ("--x509certfile", leaf.certfile, "--x509keyfile", leaf.keyfile)
    priority = ("--priority", CERTIFICATE_PRIORITY)
    config = DTLSConfig(trust=pki.trust, cipher_suites=[suite])
    async with gnutls_server(free_udp_port, *keys, "--disable-client-cert", *priority):
        endpoint = await echo_with(free_udp_port, config)
    assert endpoint.cipher_suite == suite
    server = DTLSConfig(credentials=leaf.credentials, cipher_suites=[suite])
    trust = ("--x509cafile", pki.cafile, "--verify-hostname=localhost")
    endpoint = await serve_one(server, *trust, *priority)
    assert endpoint.cipher_suite == suite


@pytest.mark.parametrize("suite", PSK_SUITES)
async def test_psk_suites(tmp_path, free_udp_port, suite):
    passwords = tmp_path / "psk.txt"
    passwords.write_text(f"{PSK_IDENTITY}:{PSK_HEX}\n")
    both = DTLSConfig(psk=PSK(PSK_IDENTITY, PSK_KEY), cipher_suites=[suite])
    priority = ("--priority", PSK_PRIORITY)
    async with gnutls_server(free_udp_port, "--pskpasswd", str(passwords), *priority):
        endpoint = await echo_with(free_udp_port, both)
    assert endpoint.cipher_suite == suite
    keys = ("--pskusername", PSK_IDENTITY, "--pskkey", PSK_HEX)
    if "ECDHE_PSK" in suite:
        # gnutls-cli 3.7 crashes once it is connected, where it would describe the session.
        async with aiodtls.serve(None, "127.0.0.1", config=both) as server:
            async with gnutls_client(server.sockname, *keys, *priority), asyncio.timeout(10):
                endpoint = await anext(aiter(server))
    else:
        endpoint = await serve_one(both, *keys, *priority)
    assert endpoint.psk_identity == PSK_IDENTITY.encode()


async def test_mutual_authentication(pki: PKI, free_udp_port):
    leaf, mine = pki.leaf(), pki.leaf("ecdsa-p256", "client")
    keys = ("--x509certfile", leaf.certfile, "--x509keyfile", leaf.keyfile)
    demand = ("--x509cafile", pki.cafile, "--require-client-cert", "--verify-client-cert")
    config = DTLSConfig(trust=pki.trust, credentials=mine.credentials)
    async with gnutls_server(free_udp_port, *keys, *demand):
        await echo_with(free_udp_port, config)
    server = DTLSConfig(credentials=leaf.credentials, trust=pki.trust, client_auth="required")
    shown = ("--x509certfile", mine.certfile, "--x509keyfile", mine.keyfile)
    endpoint = await serve_one(server, *shown, "--x509cafile", pki.cafile)
    assert endpoint.peer_certificates[0].subject.rfc4514_string() == "CN=client"


async def test_small_mtu(pki: PKI, free_udp_port):
    leaf = pki.leaf("rsa-2048")
    keys = ("--x509certfile", leaf.certfile, "--x509keyfile", leaf.keyfile)
    config = DTLSConfig(trust=pki.trust, pmtu=256)
    async with gnutls_server(free_udp_port, *keys, "--disable-client-cert", "--mtu", "400"):
        await echo_with(free_udp_port, config)
    server = DTLSConfig(credentials=leaf.credentials, pmtu=256)
    await serve_one(server, "--x509cafile", pki.cafile, "--mtu", "400")


async def test_alpn_and_srtp(pki: PKI):
    config = DTLSConfig(
        credentials=pki.leaf().credentials,
        alpn_protocols=["coap"],
        srtp_profiles=["SRTP_AES128_CM_HMAC_SHA1_80"],
    )
    wish = ("--alpn", "coap", "--srtp-profiles", "SRTP_AES128_CM_HMAC_SHA1_80")
    endpoint = await serve_one(config, "--x509cafile", pki.cafile, *wish)
    assert endpoint.alpn_protocol == "coap"
    assert endpoint.srtp_profile == "SRTP_AES128_CM_HMAC_SHA1_80"
    assert len(endpoint.srtp_keys().client_salt) == 14


@pytest.mark.parametrize("seed", range(2))
async def test_through_a_hostile_network(pki: PKI, free_udp_port, seed):
    leaf = pki.leaf("rsa-2048")
    keys = ("--x509certfile", leaf.certfile, "--x509keyfile", leaf.keyfile)
    config = DTLSConfig(trust=pki.trust, retransmit_initial=0.1)
    async with (
        gnutls_server(free_udp_port, *keys, "--disable-client-cert"),
        ChaosProxy(
            ("127.0.0.1", free_udp_port), seed=seed, drop=0.2, duplicate=0.2, delay=0.2
        ) as proxy,
        aiodtls.connect(*proxy.address, config=config) as endpoint,
    ):
        async with asyncio.timeout(20):
            receiving = asyncio.ensure_future(endpoint.recv())
            while not receiving.done():
                await endpoint.send(b"through chaos\n")
                await asyncio.wait({receiving}, timeout=0.05)
        assert receiving.result() == b"through chaos\n"
