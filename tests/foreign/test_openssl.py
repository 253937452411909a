"""OpenSSL's s_server and s_client, both roles, over loopback."""

from __future__ import annotations

import asyncio

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

import aiodtls
from aiodtls import PSK, DTLSConfig
from tests.chaos import ChaosProxy
from tests.peers import PSK_HEX, PSK_IDENTITY, PSK_KEY, openssl_client, openssl_server, running
from tests.pki import PKI

SECLEVEL_0 = "ALL:@SECLEVEL=0"
CERTIFICATE_SUITES = [
    ("ecdsa-p256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    ("ecdsa-p256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    ("ecdsa-p256", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("ecdsa-p256", "TLS_ECDHE_ECDSA_WITH_AES_128_CCM"),
    ("ecdsa-p256", "TLS_ECDHE_ECDSA_WITH_AES_256_CCM"),
    ("ecdsa-p256", "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8"),
    ("ecdsa-p256", "TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8"),
    ("rsa-2048", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    ("rsa-2048", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    ("rsa-2048", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
]
PSK_SUITES = [
    "TLS_PSK_WITH_AES_128_GCM_SHA256",
    "TLS_PSK_WITH_AES_256_GCM_SHA384",
    "TLS_PSK_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_PSK_WITH_AES_128_CCM",
    "TLS_PSK_WITH_AES_256_CCM",
    "TLS_PSK_WITH_AES_128_CCM_8",
    "TLS_PSK_WITH_AES_256_CCM_8",
    "TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256",
]
OTHER_KEYS = ["ecdsa-p384", "ecdsa-p521", "ed25519", "ed448"]
PSK_CLIENT = ("-psk_identity", PSK_IDENTITY, "-psk", PSK_HEX)


async def talk_as_client(port: int, program, config: DTLSConfig, host: str = "localhost"):
    """Handshake, a line each way; the endpoint's facts."""
    async with aiodtls.connect("127.0.0.1", port, config=config, server_hostname=host) as endpoint:
        await endpoint.send(b"from aiodtls\n")
        await program.wait_for(b"from aiodtls")
        await program.send_line(b"from openssl")
        async with asyncio.timeout(10):
            assert await endpoint.recv() == b"from openssl\n"
        return endpoint


async def talk_as_server(config: DTLSConfig, *extra: str):
    """Handshake, a line each way, confirmed; the endpoint and the client's output."""
    async with aiodtls.serve(None, "127.0.0.1", config=config) as server:
        async with openssl_client(server.sockname, *extra) as program:
            async with asyncio.timeout(10):
                endpoint = await anext(aiter(server))
                await program.send_line(b"from openssl")
                assert await endpoint.recv() == b"from openssl\n"
                assert endpoint.confirmed
            await endpoint.send(b"from aiodtls\n")
            await program.wait_for(b"from aiodtls")
            endpoint.close()
        return endpoint, program.output


@pytest.mark.parametrize(("kind", "suite"), CERTIFICATE_SUITES)
async def test_client_with_certificate_suites(pki: PKI, free_udp_port, kind, suite):
    config = DTLSConfig(trust=pki.trust, cipher_suites=[suite])
    leaf = pki.leaf(kind)
    async with openssl_server(free_udp_port, leaf, "-cipher", SECLEVEL_0) as program:
        endpoint = await talk_as_client(free_udp_port, program, config)
    assert endpoint.cipher_suite == suite


@pytest.mark.parametrize(("kind", "suite"), CERTIFICATE_SUITES)
async def test_server_with_certificate_suites(pki: PKI, kind, suite):
    config = DTLSConfig(credentials=pki.leaf(kind).credentials, cipher_suites=[suite])
    trust = ("-CAfile", pki.cafile, "-verify_return_error", "-verify_hostname", "localhost")
    endpoint, output = await talk_as_server(config, *trust, "-cipher", SECLEVEL_0)
    assert endpoint.cipher_suite == suite
    assert b"Verification: OK" in output


@pytest.mark.parametrize("suite", PSK_SUITES)
async def test_client_with_psk_suites(free_udp_port, suite):
    config = DTLSConfig(psk=PSK(PSK_IDENTITY, PSK_KEY), cipher_suites=[suite])
    async with openssl_server(free_udp_port, None, "-cipher", SECLEVEL_0) as program:
        endpoint = await talk_as_client(free_udp_port, program, config)
    assert endpoint.cipher_suite == suite
    assert endpoint.get_extra_info("psk_identity_hint") == b"hint"


@pytest.mark.parametrize("suite", PSK_SUITES)
async def test_server_with_psk_suites(suite):
    async def look_up(identity, context):
        await asyncio.sleep(0)
        return PSK_KEY if identity == PSK_IDENTITY.encode() else None

    config = DTLSConfig(psk=look_up, cipher_suites=[suite], psk_identity_hint="hint")
    endpoint, output = await talk_as_server(config, *PSK_CLIENT, "-cipher", SECLEVEL_0)
    assert endpoint.psk_identity == PSK_IDENTITY.encode()
    assert b"PSK identity hint: hint" in output


@pytest.mark.parametrize("group", ["x25519", "secp256r1", "secp384r1", "secp521r1", "x448"])
async def test_groups(pki: PKI, free_udp_port, group):
    # An RSA certificate, for OpenSSL takes the groups for a limit on ECDSA keys too.
    config = DTLSConfig(trust=pki.trust, groups=[group])
    curves = ("-groups", "X25519:X448:P-256:P-384:P-521")
    async with openssl_server(free_udp_port, pki.leaf("rsa-2048"), *curves) as program:
        endpoint = await talk_as_client(free_udp_port, program, config)
    assert endpoint.group == group
    server = DTLSConfig(credentials=pki.leaf("rsa-2048").credentials, groups=[group])
    endpoint, _ = await talk_as_server(server, *curves)
    assert endpoint.group == group


@pytest.mark.parametrize("kind", OTHER_KEYS)
async def test_key_kinds(pki: PKI, free_udp_port, kind):
    leaf = pki.leaf(kind)
    if kind.startswith("ecdsa"):
        # OpenSSL 3.0's server signs with Ed25519 and Ed448 in TLS only, not in DTLS 1.2.
        async with openssl_server(free_udp_port, leaf) as program:
            await talk_as_client(free_udp_port, program, DTLSConfig(trust=pki.trust))
    await talk_as_server(DTLSConfig(credentials=leaf.credentials), "-CAfile", pki.cafile)


@pytest.mark.parametrize("kind", ["ecdsa-p256", "rsa-2048", "ed25519"])
async def test_mutual_authentication(pki: PKI, free_udp_port, kind):
    leaf, mine = pki.leaf("ecdsa-p256"), pki.leaf(kind, "client")
    config = DTLSConfig(trust=pki.trust, credentials=mine.credentials)
    demand = ("-Verify", "1", "-verify_return_error", "-CAfile", pki.cafile)
    async with openssl_server(free_udp_port, leaf, *demand) as program:
        await talk_as_client(free_udp_port, program, config)
        assert b"CN = client" in program.output
    server = DTLSConfig(credentials=leaf.credentials, trust=pki.trust, client_auth="required")
    shown = ("-cert", mine.certfile, "-key", mine.keyfile, "-CAfile", pki.cafile)
    endpoint, _ = await talk_as_server(server, *shown)
    assert endpoint.peer_certificates[0].subject.rfc4514_string() == "CN=client"


async def test_client_without_the_certificate_that_the_server_requires(pki: PKI):
    config = DTLSConfig(credentials=pki.leaf().credentials, trust=pki.trust, client_auth="required")
    async with aiodtls.serve(None, "127.0.0.1", config=config) as server:
        async with openssl_client(server.sockname) as program:
            await program.wait_for(b"alert handshake failure")
        assert server.statistics.handshakes_failed == 1


async def test_server_that_is_not_trusted(free_udp_port, pki: PKI, credentials):
    config = DTLSConfig(trust=aiodtls.Trust.fingerprints(credentials.fingerprint()))
    async with openssl_server(free_udp_port, pki.leaf()) as program:
        with pytest.raises(aiodtls.CertificateError):
            await aiodtls.connect("127.0.0.1", free_udp_port, config=config)
        await program.wait_for(b"alert")


async def test_mtu_256(pki: PKI, free_udp_port):
    leaf = pki.leaf("rsa-2048")
    config = DTLSConfig(trust=pki.trust, pmtu=256)
    async with openssl_server(free_udp_port, leaf, "-mtu", "256") as program:
        await talk_as_client(free_udp_port, program, config)
    server = DTLSConfig(credentials=leaf.credentials, pmtu=256)
    await talk_as_server(server, "-CAfile", pki.cafile, "-mtu", "256")


async def test_alpn(pki: PKI, free_udp_port):
    config = DTLSConfig(trust=pki.trust, alpn_protocols=["coap", "other"])
    async with openssl_server(free_udp_port, pki.leaf(), "-alpn", "other") as program:
        endpoint = await talk_as_client(free_udp_port, program, config)
    assert endpoint.alpn_protocol == "other"
    server = DTLSConfig(credentials=pki.leaf().credentials, alpn_protocols=["coap"])
    endpoint, output = await talk_as_server(server, "-alpn", "x,coap")
    assert endpoint.alpn_protocol == "coap"
    assert b"ALPN protocol: coap" in output


# Each profile, OpenSSL's name for it, and how much is exported.
SRTP_PROFILES = [
    ("SRTP_AES128_CM_HMAC_SHA1_80", "SRTP_AES128_CM_SHA1_80", 60),
    ("SRTP_AES128_CM_HMAC_SHA1_32", "SRTP_AES128_CM_SHA1_32", 60),
    ("SRTP_AEAD_AES_128_GCM", "SRTP_AEAD_AES_128_GCM", 56),
    ("SRTP_AEAD_AES_256_GCM", "SRTP_AEAD_AES_256_GCM", 88),
]


@pytest.mark.parametrize(("profile", "name", "length"), SRTP_PROFILES)
async def test_srtp_export_is_equal_on_both_sides(pki, free_udp_port, profile, name, length):
    config = DTLSConfig(trust=pki.trust, srtp_profiles=[profile])
    export = ("-keymatexport", "EXTRACTOR-dtls_srtp", "-keymatexportlen", str(length))
    async with openssl_server(free_udp_port, pki.leaf(), "-use_srtp", name, *export) as program:
        endpoint = await talk_as_client(free_udp_port, program, config)
        keys = endpoint.srtp_keys()
        joined = keys.client_key + keys.server_key + keys.client_salt + keys.server_salt
        assert joined.hex().upper().encode() in program.output
    assert endpoint.srtp_profile == profile
    server = DTLSConfig(credentials=pki.leaf().credentials, srtp_profiles=[profile])
    endpoint, output = await talk_as_server(server, "-use_srtp", name, *export)
    material = endpoint.export_keying_material("EXTRACTOR-dtls_srtp", length)
    assert material.hex().upper().encode() in output


async def check_that_we_did_not_end_it(endpoint: aiodtls.DTLSEndpoint) -> None:
    """OpenSSL may take the warning for the end; then it is the peer who says so."""
    try:
        endpoint.recv_nowait()
    except aiodtls.EndpointClosed as error:
        assert error.reason in ("peer_alert", "close_notify")
    except BlockingIOError:
        await endpoint.send(b"still here\n")


async def test_renegotiation_is_refused_and_the_association_continues(pki: PKI, free_udp_port):
    config = DTLSConfig(credentials=pki.leaf().credentials)
    async with aiodtls.serve(None, "127.0.0.1", config=config) as server:
        async with openssl_client(server.sockname) as program:
            endpoint = await anext(aiter(server))
            await program.send_line(b"R")
            await program.wait_for(b"RENEGOTIATING")
            await asyncio.sleep(0.3)
            await check_that_we_did_not_end_it(endpoint)
    async with openssl_server(free_udp_port, pki.leaf()) as program:
        client = DTLSConfig(trust=pki.trust)
        async with aiodtls.connect("127.0.0.1", free_udp_port, config=client) as endpoint:
            await endpoint.send(b"one\n")
            await program.wait_for(b"one")
            await program.send_line(b"r")
            await endpoint.send(b"two\n")
            await asyncio.sleep(0.2)
            await check_that_we_did_not_end_it(endpoint)


async def test_dtls_1_0_is_refused_by_name(pki: PKI):
    config = DTLSConfig(credentials=pki.leaf().credentials)
    async with aiodtls.serve(None, "127.0.0.1", config=config) as server:
        address = "{}:{}".format(*server.sockname)
        command = ("openssl", "s_client", "-dtls1", "-cipher", SECLEVEL_0, "-connect", address)
        async with running(*command) as program:
            await program.wait_for(b"alert protocol version")


@pytest.mark.parametrize("seed", range(2))
async def test_through_a_hostile_network(pki: PKI, free_udp_port, seed):
    config = DTLSConfig(trust=pki.trust, retransmit_initial=0.1)
    chaos = {"drop": 0.2, "duplicate": 0.2, "delay": 0.2}
    async with (
        openssl_server(free_udp_port, pki.leaf("rsa-2048"), "-mtu", "400") as program,
        ChaosProxy(("127.0.0.1", free_udp_port), seed=seed, **chaos) as proxy,
        aiodtls.connect(*proxy.address, config=config) as endpoint,
    ):
        while b"through chaos" not in program.output:
            await endpoint.send(b"through chaos\n")
            await asyncio.sleep(0.05)
    server_config = DTLSConfig(
        credentials=pki.leaf("rsa-2048").credentials, retransmit_initial=0.1, pmtu=400
    )
    async with (
        aiodtls.serve(None, "127.0.0.1", config=server_config) as server,
        ChaosProxy(server.sockname, seed=seed, **chaos) as proxy,
        openssl_client(proxy.address) as program,
    ):
        async with asyncio.timeout(30):
            endpoint = await anext(aiter(server))
            received: list[bytes] = []
            while not received:
                await program.send_line(b"through chaos")
                # A dropped duplicate leaves s_client in a blocking read; this gets it out.
                await endpoint.send(b"wake up\n")
                with_data = asyncio.ensure_future(endpoint.recv())
                done, _ = await asyncio.wait({with_data}, timeout=0.1)
                if done:
                    received.append(with_data.result())
                else:
                    with_data.cancel()
        assert b"through chaos\n" in received[0]


def ocsp_response() -> bytes:
    """A whole one that says nothing: what matters is that it comes across."""
    refusal = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
    return refusal.public_bytes(Encoding.DER)


async def test_client_is_shown_an_ocsp_response(pki: PKI, free_udp_port, tmp_path):
    (tmp_path / "response.der").write_bytes(ocsp_response())
    config = DTLSConfig(trust=pki.trust, request_ocsp_response=True)
    extra = ("-status_file", str(tmp_path / "response.der"))
    async with openssl_server(free_udp_port, pki.leaf("ecdsa-p256"), *extra) as program:
        endpoint = await talk_as_client(free_udp_port, program, config)
    assert endpoint.get_extra_info("ocsp_response") == ocsp_response()


async def test_server_staples_an_ocsp_response(pki: PKI):
    leaf = pki.leaf("ecdsa-p256")
    config = DTLSConfig(credentials=leaf.credentials.stapled(ocsp_response=ocsp_response()))
    _, output = await talk_as_server(config, "-status", "-CAfile", pki.cafile)
    assert b"OCSP Response Status: trylater" in output


async def test_a_client_that_is_rejected_hears_the_alert(pki: PKI):
    """It has no certificate, so its data is held back like that of one who has."""
    credentials = pki.leaf().credentials
    config = DTLSConfig(
        credentials=credentials, trust=aiodtls.Trust.deferred(), client_auth="optional"
    )
    async with aiodtls.serve(None, "127.0.0.1", config=config) as server:
        async with openssl_client(server.sockname) as program, asyncio.timeout(10):
            endpoint = await anext(aiter(server))
            await program.send_line(b"from openssl")
            await endpoint.wait_confirmed()
            endpoint.reject_peer()
            await program.wait_for(b"bad certificate")
            with pytest.raises(aiodtls.EndpointClosed, match="rejected"):
                await endpoint.recv()


async def test_a_client_with_a_psk_alone_is_refused_where_a_certificate_is_required(pki: PKI):
    config = DTLSConfig(
        credentials=pki.leaf().credentials,
        trust=pki.trust,
        client_auth="required",
        psk=PSK(PSK_IDENTITY, PSK_KEY),
        psk_satisfies_client_auth=False,
    )
    cipher = ("-cipher", "PSK-AES128-GCM-SHA256:@SECLEVEL=0")
    async with aiodtls.serve(None, "127.0.0.1", config=config) as server:
        async with openssl_client(server.sockname, *PSK_CLIENT, *cipher) as program:
            async with asyncio.timeout(10):
                await program.wait_for(b"handshake failure")
