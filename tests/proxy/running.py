"""The gateway as a program, and a plain backend for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from aiodtls.net import sockets
from tests.peers import LONGEST_WAIT, Program, running

AIODTLS = (sys.executable, "-W", "error", "-m", "aiodtls")


class Backend(asyncio.DatagramProtocol):
    """Notes what comes, by the address it comes from, and answers it."""

    def __init__(self, answer: Callable[[bytes], bytes | None] = lambda data: data) -> None:
        self.answer = answer
        self.received: dict[Any, list[bytes]] = {}
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.received.setdefault(addr, []).append(data)
        answer = self.answer(data)
        if answer is not None:
            self.transport.sendto(answer, addr)

    @property
    def address(self) -> tuple[str, int]:
        address: tuple[str, int] = self.transport.get_extra_info("sockname")
        return address


@contextlib.asynccontextmanager
async def backend(answer: Callable[[bytes], bytes | None] = lambda data: data) -> Any:
    loop = asyncio.get_running_loop()
    # The usual receive buffer loses what many peers send at once.
    sock = sockets.bound_socket(socket.AF_INET, ("127.0.0.1", 0))
    transport, protocol = await loop.create_datagram_endpoint(lambda: Backend(answer), sock=sock)
    try:
        yield protocol
    finally:
        transport.close()
        await asyncio.sleep(0)


class Proxy:
    """A running gateway."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.address = ("", 0)

    def events(self, kind: str) -> list[dict[str, Any]]:
        lines = self.program.output.splitlines(keepends=True)
        events = [json.loads(line) for line in lines if line.endswith(b"\n")]
        return [event for event in events if event["event"] == kind]

    async def told(self, kind: str, count: int = 1) -> dict[str, Any]:
        """The newest event of a kind, once there are so many."""
        async with asyncio.timeout(LONGEST_WAIT):
            while len(self.events(kind)) < count:
                if self.program.process.returncode is not None:
                    await self.program.ended()
                    assert len(self.events(kind)) >= count, self.program.output.decode()
                await asyncio.sleep(0.01)
        return self.events(kind)[-1]

    def signal(self, number: int) -> None:
        self.program.process.send_signal(number)

    async def ended(self) -> int:
        status = await asyncio.wait_for(self.program.process.wait(), LONGEST_WAIT)
        await self.program.ended()
        return status


@contextlib.asynccontextmanager
async def proxy(
    upstream: tuple[str, int],
    *options: str,
    listen: str | None = "127.0.0.1:0",
    fds: Sequence[int] = (),
    before: Sequence[str] = AIODTLS,
) -> AsyncIterator[Proxy]:
    where = ("--listen", listen) if listen is not None else ()
    target = ("--upstream", f"{upstream[0]}:{upstream[1]}")
    async with running(*before, "proxy", "--json", *where, *target, *options, fds=fds) as program:
        found = Proxy(program)
        serving = await found.told("serving")
        found.address = tuple(serving["addresses"][0][:2])
        yield found
