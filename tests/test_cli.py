"""The command line, run as a program."""

from __future__ import annotations

import asyncio
import json
import shlex
import signal
import sys

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
)

from aiodtls import Credentials
from aiodtls._version import __version__
from aiodtls.cli.options import address
from tests.peers import PSK_HEX, PSK_IDENTITY, openssl_client, openssl_server, run_to_end, running
from tests.pki import PKI
from tests.selection import needs_ml_kem

AIODTLS = (sys.executable, "-W", "error", "-m", "aiodtls")
PSK = f"{PSK_IDENTITY}:{PSK_HEX}"


async def status_of(*arguments: str) -> tuple[int, bytes]:
    process = await asyncio.create_subprocess_exec(
        *AIODTLS,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode is not None
    return process.returncode, errors


@needs_ml_kem
async def test_demo_shows_what_happened():
    output = (await run_to_end([*AIODTLS, "demo", "--burst", "100"])).decode()
    for wanted in ("DTLS 1.3", "X25519MLKEM768", "finished", "message 5 of 5", "100 echoed"):
        assert wanted in output, output


async def test_demo_for_machines_under_loss():
    options = ("--json", "--loss", "10", "--retransmit-initial", "0.05", "--burst", "0")
    output = await run_to_end([*AIODTLS, "demo", *options])
    events = [json.loads(line) for line in output.splitlines()]
    assert [e["event"] for e in events].count("echo") == 5
    assert all(e["cipher_suite"] for e in events if e["event"] == "connected")


async def test_connect_to_serve_with_psk(free_udp_port):
    target = f"127.0.0.1:{free_udp_port}"
    async with running(*AIODTLS, "serve", target, "--psk", PSK) as server:
        await server.wait_for(b"serving on")
        async with running(*AIODTLS, "connect", target, "--psk", PSK) as client:
            await client.wait_for(b"connected")
            await client.send_line(b"one line")
            await client.wait_for(b"one line")
            client.process.stdin.close()
            assert await asyncio.wait_for(client.process.wait(), 10) == 0
        server.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(server.process.wait(), 10) == 0


async def test_serve_says_who_was_refused_and_why(free_udp_port):
    target = f"127.0.0.1:{free_udp_port}"
    async with running(*AIODTLS, "serve", target, "--psk", PSK) as server:
        await server.wait_for(b"serving on")
        stranger = ("--psk", f"stranger:{PSK_HEX}", "--versions", "1.3")
        status, _ = await status_of("connect", target, *stranger)
        assert status == 1
        await server.wait_for(b"refused 127.0.0.1:")
        await server.wait_for(b"(authentication): no PSK of the client is known")


async def test_connect_to_serve_with_raw_public_keys(pki: PKI, tmp_path, free_udp_port):
    target = f"127.0.0.1:{free_udp_port}"
    options = {}
    for name, peer in (("server", "client"), ("client", "server")):
        key = Credentials.raw_public_key(pki.leaf("ed25519", name).keyfile).public_key
        public = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (tmp_path / name).write_bytes(public)
        own = ("--raw-public-key", "--key", pki.leaf("ed25519", name).keyfile)
        options[name] = (*own, "--public-key", str(tmp_path / peer))
    required = ("--client-auth", "required")
    async with running(*AIODTLS, "serve", target, *options["server"], *required) as server:
        await server.wait_for(b"serving on")
        async with running(*AIODTLS, "connect", target, *options["client"]) as client:
            await client.send_line(b"one line")
            await client.wait_for(b"one line")


async def test_serve_speaks_with_openssl(pki: PKI, free_udp_port):
    leaf = pki.leaf()
    options = ("--cert", leaf.certfile, "--key", leaf.keyfile, "--json")
    async with running(*AIODTLS, "serve", f"127.0.0.1:{free_udp_port}", *options) as server:
        await server.wait_for(b'"serving"')
        trust = ("-CAfile", pki.cafile, "-verify_return_error")
        async with openssl_client(("127.0.0.1", free_udp_port), *trust) as program:
            await program.send_line(b"hello aiodtls")
            await server.wait_for(b"hello aiodtls")
            await program.wait_for(b"hello aiodtls")


async def test_connect_speaks_with_openssl(pki: PKI, free_udp_port):
    target = f"127.0.0.1:{free_udp_port}"
    options = ("--cafile", pki.cafile, "--server-hostname", "localhost")
    async with openssl_server(free_udp_port, pki.leaf()) as program:
        async with running(*AIODTLS, "connect", target, *options) as client:
            await client.send_line(b"hello openssl")
            await program.wait_for(b"hello openssl")


async def test_an_interrupt_ends_with_130(free_udp_port):
    async with running(*AIODTLS, "serve", f"127.0.0.1:{free_udp_port}", "--psk", PSK) as server:
        await server.wait_for(b"serving on")
        server.process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(server.process.wait(), 10) == 130


@pytest.mark.parametrize("lines", [[], [b"a line"]])
async def test_an_interrupted_client_ends_with_130_while_its_input_is_open(free_udp_port, lines):
    target = f"127.0.0.1:{free_udp_port}"
    async with running(*AIODTLS, "serve", target, "--psk", PSK) as server:
        await server.wait_for(b"serving on")
        async with running(*AIODTLS, "connect", target, "--psk", PSK) as client:
            await client.wait_for(b"connected")
            for line in lines:
                await client.send_line(line)
                await client.wait_for(b"\n" + line)
            client.process.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(client.process.wait(), 10) == 130
            await client.ended()
            assert b"Fatal" not in client.output and b"Traceback" not in client.output
        await server.wait_for(b"close_notify")


async def test_a_client_whose_peer_closes_ends_with_0_while_its_input_is_open(free_udp_port):
    target = f"127.0.0.1:{free_udp_port}"
    async with running(*AIODTLS, "serve", target, "--psk", PSK) as server:
        await server.wait_for(b"serving on")
        async with running(*AIODTLS, "connect", target, "--psk", PSK) as client:
            await client.wait_for(b"connected")
            server.process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(client.process.wait(), 10) == 0
            await client.ended()
            assert b"Fatal" not in client.output and b"Traceback" not in client.output


@pytest.mark.parametrize(
    ("arguments", "status", "word"),
    [
        (["connect", "127.0.0.1:9", "--insecure"], 1, "refused"),
        (["serve", "127.0.0.1:0"], 1, "credentials"),
        (["serve", "127.0.0.1:0", "--psk", PSK, "--pmtu", "100"], 1, "pmtu"),
        (["serve", "127.0.0.1:0", "--cipher-suites", "TLS_NULL", "--psk", PSK], 1, "TLS_NULL"),
        (["serve", "127.0.0.1:0", "--raw-public-key"], 1, "--key"),
        (["connect", "nowhere"], 2, "HOST:PORT"),
        (["connect", "::1:4433"], 2, "brackets"),
        (["serve", "127.0.0.1:0", "--psk", "secretsecret"], 2, "IDENTITY:HEXKEY"),
        ([], 2, "COMMAND"),
    ],
)
async def test_errors_are_one_line_and_a_status(arguments, status, word):
    code, errors = await status_of(*arguments)
    assert code == status
    assert word in errors.decode()
    assert b"secretsecret" not in errors.splitlines()[-1]
    if status == 1:
        assert len(errors.splitlines()) == 1


async def test_a_short_key_is_told_of_in_one_line_too():
    command = [sys.executable, "-m", "aiodtls", "serve", "127.0.0.1:0", "--psk", "id:aabb"]
    warning, error = (await run_to_end([*command, "--pmtu", "100"])).decode().splitlines()
    assert "pmtu" in error
    assert warning.startswith("aiodtls: a pre-shared key of 16 bits")


async def test_version():
    assert await run_to_end([*AIODTLS, "--version"]) == f"aiodtls {__version__}\n".encode()


def test_addresses():
    assert address("[::]:4433") == ("::", 4433)
    assert address("host:1") == ("host", 1)
    assert address(":5") == ("", 5)


@pytest.mark.parametrize("host", ["127.0.0.1", "", "[::1]"])
async def test_serve_shows_how_to_connect_to_a_certificate_of_its_own(free_udp_port, host):
    target = f"{host}:{free_udp_port}"
    async with running(*AIODTLS, "serve", target, "--self-signed") as server:
        await server.wait_for(b"--fingerprint")
        while not server.output.endswith(b"\n"):
            await asyncio.sleep(0.01)
        command = shlex.split(bytes(server.output).decode().partition("aiodtls connect")[2])
        command = ["aiodtls", "connect", *command]
        assert command[:2] == ["aiodtls", "connect"] and command[3] == "--fingerprint"
        async with running(*AIODTLS, *command[1:]) as client:
            await client.wait_for(b"connected")
            await client.send_line(b"one line")
            await client.wait_for(b"one line")
        wrong = command[4][:-2] + ("00" if command[4][-2:] != "00" else "01")
        status, errors = await status_of("connect", command[2], "--fingerprint", wrong)
        assert status == 1 and b"fingerprint" in errors


@pytest.mark.skipif(sys.platform != "linux", reason="a group of workers needs Linux")
async def test_workers_have_one_certificate(free_udp_port):
    target = f"127.0.0.1:{free_udp_port}"
    options = ("--self-signed", "--workers", "2")
    async with running(*AIODTLS, "serve", target, *options) as server:
        await server.wait_for(b"--fingerprint")
        while not server.output.endswith(b"\n"):
            await asyncio.sleep(0.01)
        found = shlex.split(bytes(server.output).decode().partition("--fingerprint")[2])[0]
        for _ in range(3):
            status, errors = await status_of("connect", target, "--fingerprint", found)
            assert status == 0 and b"connected" in errors, errors
        server.process.send_signal(signal.SIGHUP)
        await server.wait_for(b"reloaded")
        status, errors = await status_of("connect", target, "--fingerprint", found)
        assert status == 0 and b"connected" in errors, errors
        server.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(server.process.wait(), 10) == 0


async def test_a_password_is_in_a_file_or_the_environment(tmp_path, free_udp_port, monkeypatch):
    own = Credentials.self_signed("localhost", "127.0.0.1")
    encryption = BestAvailableEncryption(b"a secret")
    both = tmp_path / "both.pem"
    both.write_bytes(
        own.leaf.public_bytes(Encoding.PEM)
        + own.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    )
    (tmp_path / "password").write_text("a secret\n")
    monkeypatch.setenv("KEY_PASSWORD", "a secret")
    target = f"127.0.0.1:{free_udp_port}"
    for option in (
        ("--key-password-file", str(tmp_path / "password")),
        ("--key-password-env", "KEY_PASSWORD"),
    ):
        async with running(*AIODTLS, "serve", target, "--cert", str(both), *option) as server:
            await server.wait_for(b"serving on")
            pin = ("--fingerprint", own.fingerprint())
            async with running(*AIODTLS, "connect", target, *pin) as client:
                await client.wait_for(b"connected")
    for options, word in (
        (("--cert", str(both)), b"both.pem"),
        (("--cert", str(both), "--key-password-env", "NO_SUCH_NAME"), b"NO_SUCH_NAME"),
        (("--key-password-env", "KEY_PASSWORD"), b"--cert"),
        (("--self-signed", "--cert", str(both)), b"not both"),
        (("--key", str(both)), b"--key needs"),
        (("--raw-public-key",), b"needs --key"),
    ):
        status, errors = await status_of("serve", target, *options)
        assert status == 1 and word in errors and b"a secret" not in errors, errors
