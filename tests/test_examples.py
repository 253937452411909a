"""Every example runs, as a person would run it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.peers import run_to_end, running
from tests.selection import needs_ml_kem

EXAMPLES = Path(__file__).parent.parent / "examples"


def example(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments]


async def test_psk_device():
    output = await run_to_end(example("psk_device.py"))
    assert b"sensor-1 reports 21.5 C" in output
    assert b"sensor-2 reports 48 %" in output


async def test_sans_io():
    output = await run_to_end(example("sans_io.py"))
    assert output.splitlines() == [b"DTLS 1.3, TLS_AES_128_GCM_SHA256", b"b'hello'"]


async def test_drop_in_transport():
    assert await run_to_end(example("drop_in_transport.py")) == b"it is now, dear client\n"


async def test_echo_server_and_client():
    async with running(*example("echo_server.py", "127.0.0.1:0")) as server:
        await server.wait_for(b"\n")
        words = server.output.decode().split()
        port, fingerprint = words[1].rstrip(","), " ".join(words[3:5])
        output = await run_to_end(example("echo_client.py", f"127.0.0.1:{port}", fingerprint))
        assert output.splitlines()[-1] == b"hello"
        await asyncio.sleep(0)


@needs_ml_kem
async def test_resumption():
    output = await run_to_end(example("resumption.py"))
    assert output.decode().splitlines() == [
        "DTLS 1.2: with a certificate, x25519",
        "DTLS 1.2: resumed, no new key agreement",
        "DTLS 1.3: with a certificate, X25519MLKEM768",
        "DTLS 1.3: resumed, X25519MLKEM768",
    ]


async def test_endgame():
    output = (await run_to_end(example("endgame.py"))).decode()
    handshakes = output.split("DTLS 1.")[1:]
    assert len(handshakes) == 4
    for text in handshakes:
        loser = "server" if text.startswith("2, the server's") else "client"
        assert f"{loser} sends" in text.split("has completed")[0]
        assert "finished again, time 1" in text
        for side in ("client", "server"):
            assert f"  {side} has completed the handshake\n" in text
            assert f"  {side} knows that the other side has, too\n" in text


async def test_connection_ids():
    output = await run_to_end(example("connection_ids.py"))
    assert output.decode().splitlines() == [
        "the device bears an id of 8 bytes, and the server one of 4",
        "followed to its new port: True",
        "followed again: True",
        "under the same id: False",
    ]


async def test_return_routability():
    output = await run_to_end(example("return_routability.py"))
    assert output.decode().splitlines() == [
        "datagrams that an impostor gets: 0",
        "the same record again: 0",
        "the address has changed: False",
        "the device has a new address, and has answered there",
        "1 change, 1 check failed",
    ]


async def test_coap_server_and_client(free_udp_port):
    async with running(*example("coap_server.py", f"127.0.0.1:{free_udp_port}")) as server:
        await server.wait_for(b"\n")
        uri = server.output.decode().strip()
        output = await run_to_end(example("coap_client.py", f"{uri}/who"))
        assert b"2.05 Content: :device, DTLS 1.3" in output
        output = await run_to_end(example("coap_client.py", f"{uri}/time", "1"))
        assert len(output.splitlines()) == 2
    output = await run_to_end(example("coap_client.py", f"{uri}/who"))
    assert b"refused" in output
