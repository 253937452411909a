"""Every example runs, as a person would run it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.peers import run_to_end, running

EXAMPLES = Path(__file__).parent.parent / "examples"


def example(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments]


async def test_psk_device():
    output = await run_to_end(example("psk_device.py"))
    assert b"sensor-1 reports 21.5 C" in output
    assert b"sensor-2 reports 48 %" in output


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
