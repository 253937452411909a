"""Drivers of foreign DTLS programs: started, talked to over their standard input and output, ended.

Each is an async context manager that yields a :class:`Program`; its output is shown where a test
fails, and it is ended by its own process id, whatever happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
from collections.abc import AsyncIterator, Sequence
from typing import Any

from tests import traces
from tests.pki import Leaf
from tests.selection import missing, need, place

PACKAGES = {
    "openssl": "openssl",
    "gnutls-cli": "gnutls-bin",
    "gnutls-serv": "gnutls-bin",
    "coap-client-openssl": "libcoap3-bin",
    "coap-client-gnutls": "libcoap3-bin",
    "coap-server-openssl": "libcoap3-bin",
    "coap-server-gnutls": "libcoap3-bin",
    "coap-server-notls": "libcoap3-bin",
}
# Seconds until a program has surely failed, however busy the machine is.
LONGEST_WAIT = 60.0
PSK_HEX = "1a2b3c4d5e6f708192a3b4c5d6e7f809"
PSK_KEY = bytes.fromhex(PSK_HEX)
PSK_IDENTITY = "Client_identity"


def requires(program: str) -> None:
    if shutil.which(program) is None:
        missing(f"{program} is missing; on Debian: apt-get install {PACKAGES[program]}")


def trixie(program: str) -> tuple[str, ...]:
    """The command of a program of Debian 13, as tests/debian13.sh unpacks it.

    Its own dynamic linker runs it with its own libraries: neither root nor a chroot is needed.
    """
    need("debian13")
    root = place("debian13")
    linker = next(root.glob("usr/lib/*/ld-linux*.so.*"), None)
    executable = next(
        (p for d in ("bin", "sbin") if (p := root / "usr" / d / program).exists()), None
    )
    if linker is None or executable is None:
        missing(f"{root} has no {program}; sh tests/debian13.sh {root} makes it anew")
    return (str(linker), "--library-path", str(linker.parent), str(executable))


class Program:
    """A running program with its output so far."""

    def __init__(self, process: asyncio.subprocess.Process, name: str) -> None:
        self.process = process
        self.name = name
        self.output = b""
        self._changed = asyncio.Event()
        self._reader = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while data := await self.process.stdout.read(4096):
            self.output += data
            traces.note(f"peer printed {data!r}")
            self._changed.set()
        traces.note("peer has ended its output")
        self._changed.set()

    async def send_line(self, line: bytes) -> None:
        assert self.process.stdin is not None
        traces.note(f"peer is told {line!r}")
        self.process.stdin.write(line + b"\n")
        await self.process.stdin.drain()

    async def wait_for(self, text: bytes, timeout: float = LONGEST_WAIT) -> None:
        """Until the output holds ``text``. Fails the test with the output otherwise."""
        try:
            async with asyncio.timeout(timeout):
                while text not in self.output:
                    if self._reader.done():
                        break
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass
        assert text in self.output, f"{self.name} never printed {text!r}:\n{self.output.decode()}"

    async def ended(self) -> None:
        """Until all of the output of a program that has ended is here."""
        await self._reader

    async def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        await self.process.wait()
        await self._reader


@contextlib.asynccontextmanager
async def running(
    *command: str, cwd: str | None = None, fds: Sequence[int] = ()
) -> AsyncIterator[Program]:
    requires(command[0])
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        pass_fds=fds,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    program = Program(process, command[0])
    try:
        yield program
    except BaseException as error:
        traces.note(f"failed: {error!r}; {' '.join(command)}")
        print(f"--- {' '.join(command)}\n{program.output.decode(errors='replace')}")
        raise
    finally:
        await program.end()


async def bound(port: int, program: Program, timeout: float = LONGEST_WAIT) -> None:
    """Until an IPv4 socket is bound to the UDP port, where 127.0.0.1 reaches it.

    A server that binds both families may have the IPv6 one first.
    """
    wanted = {f"{host}:{port:04X}" for host in ("0100007F", "00000000")}
    deadline = asyncio.get_running_loop().time() + timeout
    while True:
        with open("/proc/net/udp") as file:
            if any(line.split()[1] in wanted for line in file):
                return
        ended = program.process.returncode is not None
        late = asyncio.get_running_loop().time() > deadline
        assert not ended and not late, f"{program.name} never listened:\n{program.output.decode()}"
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def serving(port: int, *command: str, cwd: str | None = None) -> AsyncIterator[Program]:
    """A server, once it takes datagrams at 127.0.0.1 and the port."""
    async with running(*command, cwd=cwd) as program:
        await bound(port, program)
        yield program


@contextlib.asynccontextmanager
async def openssl_server(
    port: int, leaf: Leaf | None = None, *extra: str
) -> AsyncIterator[Program]:
    """``s_server``: prints what it receives, sends lines given to ``send_line``."""
    keys = (
        ("-cert", leaf.certfile, "-key", leaf.keyfile)
        if leaf
        else ("-nocert", "-psk", PSK_HEX, "-psk_hint", "hint")
    )
    address = f"127.0.0.1:{port}"
    command = ("openssl", "s_server", "-dtls1_2", "-accept", address, *keys, *extra)
    async with serving(port, *command) as program:
        yield program


@contextlib.asynccontextmanager
async def openssl_client(address: Any, *extra: str) -> AsyncIterator[Program]:
    """``s_client`` connecting to ``address``."""
    target = f"{address[0]}:{address[1]}"
    async with running("openssl", "s_client", "-dtls1_2", "-connect", target, *extra) as program:
        yield program


@contextlib.asynccontextmanager
async def gnutls_server(port: int, *extra: str) -> AsyncIterator[Program]:
    """``gnutls-serv --echo``. It binds every address; nothing but the test knows its port."""
    command = ("gnutls-serv", "--udp", "--echo", "-p", str(port), *extra)
    async with serving(port, *command) as program:
        yield program


@contextlib.asynccontextmanager
async def gnutls_client(address: Any, *extra: str) -> AsyncIterator[Program]:
    command = ("gnutls-cli", "--udp", "-p", str(address[1]), *extra, address[0])
    async with running(*command) as program:
        yield program


async def run_to_end(command: Sequence[str], timeout: float = LONGEST_WAIT) -> bytes:
    """Runs a program that ends by itself; its output."""
    requires(command[0])
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(timeout):
            output, _ = await process.communicate()
            return output
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
