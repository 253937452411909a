"""One sender process and one receiver process: messages of 1,200 bytes as fast as they go.

``python -m benchmarks.wire receive VERSION LOOP CALLS CERTIFICATE KEY`` and ``... send VERSION LOOP
CALLS PORT COUNT`` are the two of aiodtls, with the calls for "each" message or for "many";
openssl_wire.c is the same on OpenSSL. Both print messages, seconds of CPU and seconds by the clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization

import aiodtls
from aiodtls import Credentials, DTLSConfig, Trust
from benchmarks.common import MESSAGE, SUITES, WINDOW, cpu_now, credentials

HERE = Path(__file__).parent
END = b"end"
ENDS = 5
# Messages between two turns of the sender's loop.
BURST = 250


async def receive(version: str, calls: str, certificate: str, key: str) -> None:
    config = DTLSConfig(
        credentials=Credentials.from_files(certificate, key), cipher_suites=[SUITES[version]]
    )
    async with aiodtls.serve(None, "127.0.0.1", config=config) as server:
        print(server.sockname[1], flush=True)
        endpoint = await anext(aiter(server))
        await endpoint.recv()
        cpu, start = cpu_now(), time.perf_counter()
        count, last = await (_take_many if calls == "many" else _take_each)(endpoint)
        print(count, cpu_now() - cpu, last - start)


async def _take_each(endpoint: aiodtls.DTLSEndpoint) -> tuple[int, float]:
    """How many came, and when the last ones did."""
    count, last = 0, 0.0
    async for data in endpoint:
        if data == END:
            break
        count += 1
        if not count % WINDOW:
            last = time.perf_counter()
    return count, last


async def _take_many(endpoint: aiodtls.DTLSEndpoint) -> tuple[int, float]:
    count, last = 0, 0.0
    while (messages := await endpoint.recv_many())[-1] != END:
        count += len(messages)
        last = time.perf_counter()
    return count, last


async def send(version: str, calls: str, port: int, count: int) -> None:
    config = DTLSConfig(trust=Trust.insecure(), cipher_suites=[SUITES[version]])
    async with aiodtls.connect("127.0.0.1", port, config=config) as endpoint:
        await asyncio.sleep(0.1)
        cpu, start = cpu_now(), time.perf_counter()
        burst = [MESSAGE] * BURST
        for _ in range(count // BURST):
            if calls == "many":
                await endpoint.send_many(burst)
            else:
                for message in burst:
                    await endpoint.send(message)
            await asyncio.sleep(0)
        print(count, cpu_now() - cpu, time.perf_counter() - start)
        with contextlib.suppress(aiodtls.EndpointClosed):
            for _ in range(ENDS):
                await asyncio.sleep(0.05)
                await endpoint.send(END)


@dataclass(frozen=True)
class Traffic:
    """Microseconds of CPU a message, sent and received, and messages delivered a second."""

    sent: float
    received: float
    rate: float


class Wire:
    """The two processes of each contender, and what they need in a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._certificate, self._key = directory / "certificate.pem", directory / "key.pem"
        from cryptography import x509

        certificate = x509.load_der_x509_certificate(credentials().chain[0])
        self._certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self._key.write_bytes(
            credentials().private_key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )

    def build(self) -> str | None:
        """The C program; None where there is no compiler, or no OpenSSL to build with."""
        compiler = shutil.which("cc")
        program = self._directory / "openssl_wire"
        if compiler is None:
            return None
        command = [compiler, "-O2", "-o", program, HERE / "openssl_wire.c", "-lssl", "-lcrypto"]
        built = subprocess.run(command, capture_output=True, check=False)
        return str(program) if not built.returncode else None

    def openssl(self, program: str, count: int) -> Traffic:
        return self._run(
            [program, "receive", self._certificate, self._key],
            lambda port: [program, "send", port, str(count), str(len(MESSAGE))],
        )

    def aiodtls(
        self, count: int, version: str = "1.2", loop: str = "asyncio", calls: str = "each"
    ) -> Traffic:
        python = [sys.executable, "-m", "benchmarks.wire"]
        return self._run(
            [*python, "receive", version, loop, calls, self._certificate, self._key],
            lambda port: [*python, "send", version, loop, calls, port, str(count)],
        )

    def _run(self, receiver: list[Any], sender: Any) -> Traffic:
        with subprocess.Popen(receiver, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            port = process.stdout.readline().strip()
            done = subprocess.run(sender(port), capture_output=True, text=True, check=True)
            received = process.stdout.readline().split()
        sent, sent_cpu, _ = map(float, done.stdout.split())
        messages, cpu, wall = map(float, received)
        return Traffic(1e6 * sent_cpu / sent, 1e6 * cpu / messages, messages / wall)


@contextlib.contextmanager
def wire() -> Any:
    with tempfile.TemporaryDirectory() as directory:
        yield Wire(Path(directory))


def main() -> None:
    role, version, loop, calls, *arguments = sys.argv[1:]
    if role == "receive":
        main_task = receive(version, calls, *arguments)
    else:
        main_task = send(version, calls, int(arguments[0]), int(arguments[1]))
    if loop == "uvloop":
        import uvloop

        uvloop.run(main_task)
    else:
        asyncio.run(main_task)


if __name__ == "__main__":
    main()
