"""``aiodtls scan`` against foreign servers: it finds what they are configured for."""

from __future__ import annotations

import pytest

from tests.foreign.test_libcoap import KEY
from tests.foreign.test_mbedtls import PSK_OPTIONS, mbedtls_server
from tests.foreign.test_wolfssl import wolfssl_server
from tests.peers import gnutls_server, openssl_server, serving
from tests.pki import PKI
from tests.test_scan import scan

ECDSA = ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")


async def test_openssl(pki: PKI, free_udp_port):
    ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256"
    options = ("-cipher", ciphers, "-groups", "P-256:X25519", "-alpn", "coap", "-serverpref")
    async with openssl_server(free_udp_port, pki.leaf(), *options):
        seen = await scan(free_udp_port)
    facts = seen.versions["1.2"]
    assert list(seen.versions) == ["1.2"]
    assert facts.cipher_suites == ECDSA
    assert facts.groups[0] == "secp256r1"
    assert facts.alpn_protocol == "coap"
    assert facts.extended_master_secret and facts.renegotiation_info and facts.tickets
    assert seen.certificates[0].matches_name


async def test_openssl_with_suites_that_we_lack(pki: PKI, free_udp_port):
    options = ("-cipher", "AES128-SHA:ECDHE-RSA-AES128-SHA", "-no_ticket")
    async with openssl_server(free_udp_port, pki.leaf("rsa-2048"), *options):
        seen = await scan(free_udp_port)
    facts = seen.versions["1.2"]
    assert set(facts.cipher_suites) == {
        "TLS_RSA_WITH_AES_128_CBC_SHA",
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    }
    assert not facts.tickets


async def test_gnutls(pki: PKI, free_udp_port):
    leaf = pki.leaf()
    priority = "NORMAL:-VERS-ALL:+VERS-DTLS1.2:+VERS-DTLS1.0"
    keys = ("--x509certfile", leaf.certfile, "--x509keyfile", leaf.keyfile)
    async with gnutls_server(free_udp_port, *keys, "--priority", priority):
        seen = await scan(free_udp_port)
    facts = seen.versions["1.2"]
    assert set(ECDSA) <= set(facts.cipher_suites)
    assert facts.cookie and facts.extended_master_secret and facts.renegotiation_info


@pytest.mark.parametrize("build", ["openssl", "gnutls"])
async def test_libcoap(free_udp_port, build):
    command = (f"coap-server-{build}", "-A", "127.0.0.1", "-p", str(free_udp_port), "-k", KEY)
    async with serving(free_udp_port + 1, *command, "-h", "CoAP"):
        seen = await scan(free_udp_port + 1)
    facts = seen.versions["1.2"]
    assert facts.cipher_suites and all("PSK" in suite for suite in facts.cipher_suites)
    assert not seen.certificates


@pytest.mark.built("mbedtls")
async def test_mbedtls(free_udp_port):
    suite = "force_ciphersuite=TLS-PSK-WITH-AES-128-CCM-8"
    async with mbedtls_server(free_udp_port, *PSK_OPTIONS, suite, "cid=1", "cid_val=beef"):
        seen = await scan(free_udp_port)
    facts = seen.versions["1.2"]
    assert facts.cipher_suites == ("TLS_PSK_WITH_AES_128_CCM_8",)
    assert facts.cookie and facts.connection_id


@pytest.mark.built("wolfssl")
async def test_wolfssl(pki: PKI, free_udp_port):
    async with wolfssl_server(free_udp_port, pki, "-d", "-i", version="1.3"):
        seen = await scan(free_udp_port)
    # It speaks to one address alone once a hello has come from there, and hears no second question.
    assert list(seen.versions) == ["1.3"] and seen.versions["1.3"].cookie
    assert not seen.is_complete and "no answer" in seen.notes[0]
