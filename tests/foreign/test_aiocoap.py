"""aiocoap over our transports against libcoap (OpenSSL and GnuTLS builds) and tinydtls."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiocoap
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from aiodtls import PSK, Credentials, DTLSConfig, Trust
from aiodtls.contrib import aiocoap as coaps
from aiodtls.contrib.aiocoap.configs import default_config
from tests import peers
from tests.chaos import ChaosProxy
from tests.contrib.coap import Client, client, serving
from tests.peers import run_to_end
from tests.pki import PKI
from tests.selection import place

BUILDS = ["openssl", "gnutls"]
# GnuTLS alone among the builds of Debian has raw public keys.
MEETINGS = [(build, mode) for build in BUILDS for mode in ("psk", "certificate")]
MEETINGS.append(("gnutls", "raw"))
IDENTITY, KEY = "sensor-1", "a key of 128 bit"
MANDATORY = {
    "psk": "TLS_PSK_WITH_AES_128_CCM_8",
    "certificate": "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8",
    "raw": "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8",
}
# libcoap's text files may have no NUL.
BODY = b"0123456789abcdef" * 300
OURS, ITS = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


def key_file(directory: Path) -> str:
    """The key of libcoap's side."""
    path = directory / "raw.pem"
    pem = ITS.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    path.write_bytes(pem)
    return str(path)


def our_config(mode: str, pki: PKI, *, serves: bool, **fields: Any) -> DTLSConfig:
    """The config of our side."""
    if mode == "psk":
        return default_config(psk=PSK(IDENTITY, KEY.encode()), **fields)
    if serves:
        fields["client_auth"] = "required"
    if mode == "certificate":
        leaf = pki.leaf("ecdsa-p256", "server" if serves else "client")
        return default_config(credentials=leaf.credentials, trust=pki.trust, **fields)
    trust = Trust.public_keys(ITS.public_key())
    return default_config(credentials=Credentials.raw_public_key(OURS), trust=trust, **fields)


def its_options(mode: str, pki: PKI, directory: Path, *, serves: bool) -> list[str]:
    """What libcoap's programs are told."""
    if mode == "psk":
        return ["-k", KEY, "-h" if serves else "-u", "CoAP" if serves else IDENTITY]
    if mode == "raw":
        return ["-M", key_file(directory)]
    leaf = pki.leaf("ecdsa-p256", "server" if serves else "client")
    return ["-c", leaf.certfile, "-j", leaf.keyfile, "-C", pki.cafile]


@pytest.mark.parametrize(("build", "mode"), MEETINGS)
async def test_a_client_of_libcoap(build, mode, pki: PKI, tmp_path):
    config = our_config(mode, pki, serves=True)
    options = its_options(mode, pki, tmp_path, serves=False)
    sent, got = tmp_path / "sent", tmp_path / "got"
    sent.write_bytes(BODY)
    async with serving(config) as it:
        base = f"coaps://127.0.0.1:{it.address[1]}"
        command = [f"coap-client-{build}", *options]
        put = ["-m", "put", "-f", str(sent), "-o", str(got), "-b", "512", f"{base}/echo"]
        output = await run_to_end([*command, *put])
        assert got.exists(), output.decode()
        assert got.read_bytes() == BODY
        output = await run_to_end([*command, "-m", "get", f"{base}/echo"])
    claims = {
        "psk": IDENTITY.encode(),
        "certificate": b"cn:client",
        "raw": coaps.key_name(ITS.public_key()).encode(),
    }
    assert claims[mode] in output, output.decode()


@pytest.mark.parametrize("build", BUILDS)
async def test_a_client_of_libcoap_observes(build, pki: PKI, tmp_path):
    config = our_config("psk", pki, serves=True)
    options = its_options("psk", pki, tmp_path, serves=False)
    async with serving(config) as it:
        url = f"coaps://127.0.0.1:{it.address[1]}/counter"
        command = [f"coap-client-{build}", *options, "-s", "30", "-m", "get", url]
        async with peers.running(*command) as program:
            await program.wait_for(b"0")
            for number in range(1, 4):
                it.site.counter.count()
                await program.wait_for(b"%d" % number)


@contextlib.asynccontextmanager
async def libcoap_server(build: str, port: int, options: list[str]) -> AsyncIterator[Any]:
    """It serves coap:// at the port, and coaps:// at the next one."""
    command = (f"coap-server-{build}", "-A", "127.0.0.1", "-p", str(port), *options)
    async with peers.serving(port + 1, *command) as program:
        yield program


@pytest.mark.parametrize(("build", "mode"), MEETINGS)
async def test_a_server_of_libcoap(build, mode, pki: PKI, tmp_path, free_udp_port):
    config = our_config(mode, pki, serves=False)
    options = its_options(mode, pki, tmp_path, serves=True)
    async with libcoap_server(build, free_udp_port, options):
        async with client(("127.0.0.1", free_udp_port + 1), config) as requests:
            await exchange(requests)


async def exchange(requests: Client) -> aiocoap.Message:
    """A body in blocks, there and back."""
    reply = await requests.put(BODY, "example_data")
    assert reply.code.is_successful(), reply
    reply = await requests.get("example_data")
    assert reply.payload == BODY
    return reply


@pytest.mark.parametrize(("build", "mode"), MEETINGS)
async def test_the_mandatory_suites(build, mode, pki: PKI, tmp_path, free_udp_port):
    config = our_config(mode, pki, serves=False, cipher_suites=[MANDATORY[mode]])
    options = its_options(mode, pki, tmp_path, serves=True)
    async with libcoap_server(build, free_udp_port, options):
        async with client(("127.0.0.1", free_udp_port + 1), config) as requests:
            reply = await exchange(requests)
            assert reply.remote.endpoint.cipher_suite == MANDATORY[mode]


async def observed(requests: Client, request: Any, payload: bytes) -> None:
    """Until an observer is told of what is put."""
    async with asyncio.timeout(peers.LONGEST_WAIT):
        await requests.put(payload, "example_data")
        async for notification in request.observation:
            if notification.payload == payload:
                break


@pytest.mark.parametrize("build", BUILDS)
async def test_a_server_of_libcoap_is_observed(build, pki: PKI, tmp_path, free_udp_port):
    options = its_options("psk", pki, tmp_path, serves=True)
    async with libcoap_server(build, free_udp_port, options):
        address = ("127.0.0.1", free_udp_port + 1)
        async with client(address, our_config("psk", pki, serves=False)) as requests:
            request = requests.observe("example_data")
            await request.response
            await observed(requests, request, b"first")


@pytest.mark.parametrize("build", BUILDS)
async def test_a_server_of_libcoap_loses_sight_of_us(build, pki: PKI, tmp_path, free_udp_port):
    # It has no connection ids.
    options = its_options("psk", pki, tmp_path, serves=True)
    async with libcoap_server(build, free_udp_port, options):
        async with ChaosProxy(("127.0.0.1", free_udp_port + 1)) as relay:
            config = our_config("psk", pki, serves=False)
            async with client(relay.address, config) as requests:
                first = (await requests.put(b"small", "example_data")).remote.endpoint
                request = requests.observe("example_data")
                await request.response
                await observed(requests, request, b"first")
                relay.rebind()
                await observed(requests, request, b"second")
                await observed(requests, request, b"third")
                assert (await requests.get("example_data")).remote.endpoint is not first


@pytest.mark.parametrize("build", BUILDS)
async def test_loss_on_the_way_to_libcoap(build, pki: PKI, tmp_path, free_udp_port):
    options = its_options("psk", pki, tmp_path, serves=True)
    config = our_config("psk", pki, serves=False, retransmit_initial=0.2)
    target = ("127.0.0.1", free_udp_port + 1)
    async with libcoap_server(build, free_udp_port, options):
        # It takes the last block for another body if it comes twice: no loss here.
        async with client(target, config) as requests:
            await exchange(requests)
        async with ChaosProxy(target, seed=5, drop=0.1) as relay:
            async with client(relay.address, config) as requests:
                for _ in range(4):
                    assert (await requests.get("example_data")).payload == BODY
            assert relay.counts["dropped"] >= 3


@pytest.mark.by_hand("AIODTLS_ALL")
@pytest.mark.parametrize("build", BUILDS)
async def test_loss_on_the_way_from_libcoap(build, pki: PKI, tmp_path):
    # Its timeouts are CoAP's: some seconds for each loss.
    options = its_options("psk", pki, tmp_path, serves=False)
    sent, got = tmp_path / "sent", tmp_path / "got"
    sent.write_bytes(BODY)
    async with serving(our_config("psk", pki, serves=True)) as it:
        async with ChaosProxy(it.address, seed=5, drop=0.1) as relay:
            url = f"coaps://127.0.0.1:{relay.address[1]}/echo"
            put = ["-m", "put", "-f", str(sent), "-o", str(got), "-B", "90", url]
            await run_to_end([f"coap-client-{build}", *options, *put], timeout=120)
            assert relay.counts["dropped"] >= 1
    assert got.read_bytes() == BODY


# -- aiocoap on tinydtls, which has pre-shared keys alone in Python ---------------------------

DRIVERS = Path(__file__).parent / "tinydtls"
TINYDTLS_SUITES = ["TLS_PSK_WITH_AES_128_CCM_8", "TLS_PSK_WITH_AES_128_CCM"]


def tinydtls(driver: str, *arguments: str) -> list[str]:
    path = f"PYTHONPATH={place('tinydtls') / 'packages'}"
    return ["env", path, sys.executable, str(DRIVERS / driver), *arguments]


@pytest.mark.built("tinydtls")
@pytest.mark.parametrize("suite", TINYDTLS_SUITES)
async def test_a_client_on_tinydtls(suite, pki: PKI, tmp_path):
    config = our_config("psk", pki, serves=True, cipher_suites=[suite])
    sent = tmp_path / "sent"
    sent.write_bytes(BODY)
    async with serving(config) as it:
        uri = f"coaps://127.0.0.1:{it.address[1]}/echo"
        output = await run_to_end(tinydtls("client.py", uri, IDENTITY, KEY, str(sent)))
    assert output.splitlines() == [BODY, repr((IDENTITY.encode(),)).encode()], output.decode()


@pytest.mark.built("tinydtls")
@pytest.mark.parametrize("suite", TINYDTLS_SUITES)
async def test_a_server_on_tinydtls(suite, pki: PKI, free_udp_port):
    config = our_config("psk", pki, serves=False, cipher_suites=[suite])
    command = tinydtls("server.py", str(free_udp_port), IDENTITY, KEY)
    async with peers.serving(free_udp_port + 1, *command):
        async with client(("127.0.0.1", free_udp_port + 1), config) as requests:
            reply = await requests.put(BODY)
            assert reply.payload == BODY
            assert reply.remote.endpoint.cipher_suite == suite
