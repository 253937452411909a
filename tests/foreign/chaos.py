"""Handshakes and data with foreign peers through a hostile network:
``python -m tests.foreign.chaos [--handshakes 100] [PEER ...]``.

Each handshake has a peer, a proxy and a seed of its own; one datagram in five is dropped, one in
five comes twice, one in five comes late. A meeting is named after the peer, its role and version.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import socket
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import aiodtls
from aiodtls import DTLSConfig
from tests import peers, traces
from tests.chaos import ChaosProxy
from tests.foreign import test_mbedtls, test_nss, test_pion, test_wolfssl
from tests.peers import Program
from tests.pki import PKI

CHAOS = {"drop": 0.2, "duplicate": 0.2, "delay": 0.2}
WORD = b"through chaos"
PAUSE = 0.1


def _ports() -> Iterator[int]:
    """Over and over a thousand that are this process's alone, as long as it holds the first one."""
    bases = list(range(10_000, 30_000, 1000))
    random.SystemRandom().shuffle(bases)
    for base in bases:
        claim = socket.socket()
        try:
            claim.bind(("127.0.0.1", base))
        except OSError:
            claim.close()
            continue
        with claim:
            while True:
                yield from range(base + 1, base + 1000)
    raise RuntimeError("no ports are left")


PORTS = _ports()


def free_port() -> int:
    """Outside the range that the system gives out by itself, so that no proxy takes it."""
    while True:
        port = next(PORTS)
        with contextlib.suppress(OSError), socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.bind(("", port))
            return port


@dataclass
class Scene:
    """What meetings share: keys, our timers and what the network does."""

    pki: PKI
    databases: Any
    timers: dict[str, Any] = field(default_factory=dict)
    chaos: dict[str, float] = field(default_factory=lambda: dict(CHAOS))
    # How long the handshake of one meeting and its data may take, in seconds.
    limit: float = 120.0

    @contextlib.asynccontextmanager
    async def calling(
        self, port: int, seed: int, version: str = "1.2", wake: bytes = b""
    ) -> AsyncIterator[aiodtls.DTLSEndpoint]:
        """Our client, with a peer at ``port``."""
        config = DTLSConfig(trust=self.pki.trust, versions=[version], **self.timers)
        async with (
            ChaosProxy(("127.0.0.1", port), seed=seed, wake=wake, **self.chaos) as proxy,
            aiodtls.connect(
                *proxy.address,
                config=config,
                server_hostname="localhost",
                on_event=traces.note_event,
            ) as endpoint,
        ):
            yield endpoint

    @contextlib.asynccontextmanager
    async def called(
        self, seed: int, version: str = "1.2", wake: bytes = b""
    ) -> AsyncIterator[tuple[Any, Callable[[], Awaitable[aiodtls.DTLSEndpoint]]]]:
        """Our server: the address to call, and the first who came."""
        own = self.pki.leaf("ecdsa-p256").credentials
        config = DTLSConfig(credentials=own, versions=[version], **self.timers)
        async with (
            aiodtls.serve(None, "127.0.0.1", config=config, on_event=traces.note_event) as server,
            ChaosProxy(server.sockname, seed=seed, wake=wake, **self.chaos) as proxy,
        ):
            yield proxy.address, lambda: anext(aiter(server))


Meeting = Callable[[Scene, int], Awaitable[None]]
Again = Callable[[], Awaitable[Any]]


async def hear(endpoint: aiodtls.DTLSEndpoint, wanted: bytes, again: Again) -> None:
    """Does it again until a message with ``wanted`` has come."""

    async def wait() -> None:
        while wanted not in await endpoint.recv():
            pass

    waiting = asyncio.ensure_future(wait())
    try:
        while not waiting.done():
            await again()
            await asyncio.wait({waiting}, timeout=PAUSE)
        waiting.result()
    finally:
        waiting.cancel()


async def show(program: Program, wanted: bytes, again: Again) -> None:
    """Does it again until the program has printed ``wanted``."""
    while wanted not in program.output:
        await again()
        await asyncio.sleep(PAUSE)


async def talk_with_openssl(endpoint: aiodtls.DTLSEndpoint, program: Program) -> None:
    async def again() -> None:
        await program.send_line(b"from openssl")
        # A dropped duplicate leaves the program in a blocking read; this gets it out.
        await endpoint.send(WORD + b"\n")

    await hear(endpoint, b"from openssl", again)
    await show(program, WORD, again)


# -- those who serve --------------------------------------------------------------------------


async def openssl_serves(scene: Scene, seed: int) -> None:
    port = free_port()
    async with (
        peers.openssl_server(port, scene.pki.leaf("ecdsa-p256")) as program,
        scene.calling(port, seed) as endpoint,
    ):
        await talk_with_openssl(endpoint, program)


async def gnutls_serves(scene: Scene, seed: int) -> None:
    port, leaf = free_port(), scene.pki.leaf("ecdsa-p256")
    keys = ("--x509certfile", leaf.certfile, "--x509keyfile", leaf.keyfile)
    async with (
        peers.gnutls_server(port, *keys, "--disable-client-cert"),
        scene.calling(port, seed) as endpoint,
    ):
        await hear(endpoint, WORD, lambda: endpoint.send(WORD + b"\n"))


async def mbedtls_serves(scene: Scene, seed: int) -> None:
    port, leaf = free_port(), scene.pki.leaf("ecdsa-p256")
    options = (f"crt_file={leaf.certfile}", f"key_file={leaf.keyfile}", "exchanges=1000")
    async with (
        test_mbedtls.mbedtls_server(port, *options),
        scene.calling(port, seed) as endpoint,
    ):
        await hear(endpoint, b"200 OK", lambda: endpoint.send(b"GET / HTTP/1.0\r\n\r\n"))


def wolfssl_serves(version: str) -> Meeting:
    async def meet(scene: Scene, seed: int) -> None:
        port = free_port()
        async with (
            test_wolfssl.wolfssl_server(port, scene.pki, "-d", "-e", version=version),
            scene.calling(port, seed, version) as endpoint,
        ):
            await hear(endpoint, WORD, lambda: endpoint.send(WORD))

    return meet


async def pion_serves(scene: Scene, seed: int) -> None:
    port = free_port()
    async with (
        test_pion.pion_server(port, scene.pki, "1.2"),
        scene.calling(port, seed) as endpoint,
    ):
        await hear(endpoint, WORD, lambda: endpoint.send(WORD))


async def nss_serves(scene: Scene, seed: int) -> None:
    port = free_port()
    async with (
        test_nss.nss_server(port, scene.databases["ecdsa-p256"]) as program,
        scene.calling(port, seed, "1.3", wake=test_nss.WAKE) as endpoint,
    ):
        await show(program, WORD, lambda: endpoint.send(WORD + b"\n"))
        await hear(endpoint, b"from nss", lambda: program.send_line(b"from nss"))


# -- those who call ---------------------------------------------------------------------------


async def openssl_calls(scene: Scene, seed: int) -> None:
    async with (
        scene.called(seed) as (address, first),
        peers.openssl_client(address, "-CAfile", scene.pki.cafile) as program,
    ):
        await talk_with_openssl(await first(), program)


async def gnutls_calls(scene: Scene, seed: int) -> None:
    options = ("--x509cafile", scene.pki.cafile, "--verify-hostname", "localhost")
    async with (
        scene.called(seed) as (address, first),
        peers.gnutls_client(address, *options) as program,
    ):
        endpoint = await first()
        await program.wait_for(b"Simple Client Mode", timeout=scene.limit)
        await hear(endpoint, b"from gnutls", lambda: program.send_line(b"from gnutls"))
        await show(program, WORD, lambda: endpoint.send(WORD + b"\n"))


async def mbedtls_calls(scene: Scene, seed: int) -> None:
    patience = ("read_timeout=200", "max_resend=500")
    async with (
        scene.called(seed) as (address, first),
        test_mbedtls.mbedtls_client(address, f"ca_file={scene.pki.cafile}", *patience) as program,
    ):
        endpoint = await first()
        await hear(endpoint, b"GET /", lambda: asyncio.sleep(0))
        page = b"HTTP/1.0 200 OK " + WORD
        # It ends with the page.
        with contextlib.suppress(aiodtls.EndpointClosed):
            await show(program, WORD, lambda: endpoint.send(page + b"\r\n\r\n"))
        await program.wait_for(WORD)


def wolfssl_calls(version: str) -> Meeting:
    async def meet(scene: Scene, seed: int) -> None:
        async with (
            scene.called(seed, version) as (address, first),
            test_wolfssl.wolfssl_client(address, scene.pki, version=version) as program,
        ):
            endpoint = await first()
            # Data before its handshake has returned is an error to the example program, and each
            # datagram starts the wait anew after which it would repeat its last flight.
            await program.wait_for(test_wolfssl.CONNECTED, timeout=scene.limit)
            reply = test_wolfssl.REPLY
            with contextlib.suppress(aiodtls.EndpointClosed):
                await show(program, reply, lambda: endpoint.send(reply))
            await program.wait_for(reply)

    return meet


def pion_calls(version: str) -> Meeting:
    async def meet(scene: Scene, seed: int) -> None:
        async with (
            scene.called(seed, version) as (address, first),
            test_pion.pion_client(address, scene.pki, version) as program,
        ):
            endpoint = await first()

            async def echo() -> None:
                with contextlib.suppress(aiodtls.EndpointClosed):
                    async for data in endpoint:
                        await endpoint.send(data)

            # It ends when it is answered; its close_notify may be lost.
            echoing = asyncio.ensure_future(echo())
            try:
                await program.wait_for(b"echoed: from pion", timeout=scene.limit)
            finally:
                echoing.cancel()

    return meet


async def nss_calls(scene: Scene, seed: int) -> None:
    async with (
        scene.called(seed, "1.3", wake=test_nss.WAKE) as (address, first),
        test_nss.nss_client(address[1], scene.databases["none"], "-O") as program,
    ):
        endpoint = await first()
        await show(program, WORD, lambda: endpoint.send(WORD + b"\n"))
        await hear(endpoint, b"from nss", lambda: program.send_line(b"from nss"))


MEETINGS: dict[str, Meeting] = {
    "openssl serves": openssl_serves,
    "openssl calls": openssl_calls,
    "gnutls serves": gnutls_serves,
    "gnutls calls": gnutls_calls,
    "mbedtls serves": mbedtls_serves,
    "mbedtls calls": mbedtls_calls,
    "wolfssl serves 1.2": wolfssl_serves("1.2"),
    "wolfssl calls 1.2": wolfssl_calls("1.2"),
    "wolfssl serves 1.3": wolfssl_serves("1.3"),
    "wolfssl calls 1.3": wolfssl_calls("1.3"),
    "pion serves 1.2": pion_serves,
    "pion calls 1.2": pion_calls("1.2"),
    # Its server never repeats a HelloRetryRequest that was lost, so DTLS 1.3 is left out there.
    "pion calls 1.3": pion_calls("1.3"),
    "nss serves": nss_serves,
    "nss calls": nss_calls,
}


# What ends a handshake by the peer's own doing, as its own words prove.
THEIR_LIMITS = {
    # Through this proxy there is no other client, so it is a late copy of our only ClientHello.
    "mbedtls serves": "Client initiated reconnection from same port",
}


async def meet(
    name: str, scene: Scene, seeds: range, at_once: int, logs: Path, *, keep_all: bool
) -> dict[int, float | str]:
    """How many seconds each took, or what went wrong; by seed. Those leave their logs."""
    loop, places = asyncio.get_running_loop(), asyncio.Semaphore(at_once)
    results: dict[int, float | str] = {}

    async def one(seed: int) -> None:
        async with places:
            trace, started = traces.begin(), loop.time()
            try:
                async with asyncio.timeout(scene.limit):
                    await MEETINGS[name](scene, seed)
            except Exception as error:
                results[seed] = f"{error!r} after {loop.time() - started:.1f} s"
            else:
                results[seed] = loop.time() - started
            limit = THEIR_LIMITS.get(name)
            if limit and isinstance(results[seed], str) and any(limit in x for x in trace.lines):
                results[seed] = f"the peer's own limit, {limit!r}: {results[seed]}"
            if keep_all or isinstance(results[seed], str):
                trace.note(f"result: {results[seed]}")
                path = logs / f"{name.replace(' ', '-')}-{seed}.log"
                path.write_text("\n".join(trace.lines) + "\n")

    async with asyncio.TaskGroup() as group:
        for seed in seeds:
            group.create_task(one(seed))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", nargs="*", help="beginnings of names of meetings; all by default")
    parser.add_argument("--handshakes", type=int, default=100)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--at-once", type=int, default=10)
    parser.add_argument("--drop", type=float, default=20.0, help="percent of the datagrams")
    parser.add_argument("--retransmit-max", type=float, help="seconds; by default the RFC's timers")
    parser.add_argument("--logs", type=Path, default=Path("chaos-logs"), help="of what failed")
    parser.add_argument("--keep-all", action="store_true", help="logs of what went well too")
    options = parser.parse_args()
    options.logs.mkdir(parents=True, exist_ok=True)
    failed = False
    seeds = range(options.first_seed, options.first_seed + options.handshakes)
    with tempfile.TemporaryDirectory() as directory:
        pki = PKI(Path(directory))
        scene = Scene(pki, test_nss.Databases(pki, Path(directory)))
        scene.chaos["drop"] = options.drop / 100
        if options.retransmit_max is not None:
            limits = {"max_retransmits": 100, "handshake_timeout": scene.limit}
            scene.timers |= {"retransmit_max": options.retransmit_max, **limits}
        for name in MEETINGS:
            if options.peer and not name.startswith(tuple(options.peer)):
                continue
            results = {}
            try:
                results = asyncio.run(
                    meet(
                        name,
                        scene,
                        seeds,
                        options.at_once,
                        options.logs,
                        keep_all=options.keep_all,
                    )
                )
            except* pytest.skip.Exception as skipped:
                print(f"{name}: left out, {skipped.exceptions[0]}")
            times = [took for took in results.values() if isinstance(took, float)]
            wrong = {seed: error for seed, error in results.items() if isinstance(error, str)}
            theirs = sum(error.startswith("the peer's own limit") for error in wrong.values())
            middle = statistics.median(times) if times else float("nan")
            print(
                f"{name}: {len(times)} of {len(results)}, {theirs} by the peer's own limit, "
                f"median {middle:.1f} s, longest {max(times, default=0.0):.1f} s",
                flush=True,
            )
            for seed, error in sorted(wrong.items()):
                print(f"    seed {seed}: {error[:300]}")
            failed = failed or len(wrong) > theirs
    sys.exit(failed)


if __name__ == "__main__":
    main()
