"""``aiodtls demo``: a server and a client over real UDP sockets, with a report of what happens."""

from __future__ import annotations

import argparse
import asyncio
import time

from aiodtls import events
from aiodtls.cli.options import config
from aiodtls.cli.output import Output, facts_of
from aiodtls.client import connect
from aiodtls.core.config import DTLSConfig
from aiodtls.core.crypto.credentials import Credentials
from aiodtls.core.crypto.trust import Trust
from aiodtls.endpoint import DTLSEndpoint
from aiodtls.server import serve

BURST_BYTES = 1200
# How many messages are sent without an echo yet. They fit the receive queue and the socket's
# buffer.
WINDOW = 64
STALLED_AFTER = 0.25


async def run(options: argparse.Namespace, output: Output) -> int:
    """Runs a handshake, echoes and a burst."""
    server_config, client_config = _configs(options)
    start = time.perf_counter()

    def on_event(endpoint: DTLSEndpoint | None, event: events.Event) -> None:
        if isinstance(event, events.FlightSent) and endpoint is not None:
            _show_flight(output, endpoint.role, event, time.perf_counter() - start)

    async def echo(endpoint: DTLSEndpoint) -> None:
        async for data in endpoint:
            await endpoint.send(data)

    output.tell("handshake", "handshake over UDP on the loopback interface:")
    async with serve(echo, "127.0.0.1", config=server_config, on_event=on_event) as server:
        host, port = server.sockname[:2]
        async with connect(host, port, config=client_config, on_event=on_event) as endpoint:
            elapsed = time.perf_counter() - start
            _show_facts(output, endpoint, elapsed)
            await _echo(output, endpoint, options.messages)
            await _burst(output, endpoint, options.burst)
    return 0


def _configs(options: argparse.Namespace) -> tuple[DTLSConfig, DTLSConfig]:
    """The configs of both sides. Without any key in the options, a certificate is generated."""
    if options.psk or options.psk_file:
        both = config(options)
        return both, both
    if options.cert:
        credentials = Credentials.from_files(options.cert, options.key)
    else:
        credentials = Credentials.self_signed("localhost", "127.0.0.1")
    pin = Trust.fingerprints(credentials.fingerprint())
    server_config = config(options, credentials=credentials, trust=pin)
    return server_config, config(options, credentials=credentials, trust=pin, client_auth="none")


def _show_flight(output: Output, role: str, event: events.FlightSent, elapsed: float) -> None:
    sizes = " + ".join(map(str, event.datagram_sizes))
    resend = f" (resend {event.resend})" if event.resend else ""
    output.tell(
        "flight_sent",
        f"  {1000 * elapsed:7.2f} ms  {role:6}  {sizes} bytes{resend}: {', '.join(event.messages)}",
        role=role,
        milliseconds=round(1000 * elapsed, 2),
        messages=event.messages,
        datagram_sizes=event.datagram_sizes,
        resend=event.resend,
    )


def _show_facts(output: Output, endpoint: DTLSEndpoint, elapsed: float) -> None:
    facts = facts_of(endpoint)
    if not output.as_json:
        output.say(f"connected after {1000 * elapsed:.2f} ms:")
        for name, value in facts.items():
            if value is not None:
                output.say(f"  {name.replace('_', ' '):13} {value}")
    else:
        output.tell("connected", "", milliseconds=round(1000 * elapsed, 2), **facts)


async def _echo(output: Output, endpoint: DTLSEndpoint, count: int) -> None:
    for number in range(1, count + 1):
        start = time.perf_counter()
        message = f"message {number} of {count}".encode()
        reply = await _exchange(endpoint, message)
        microseconds = round(1e6 * (time.perf_counter() - start))
        text = f"  {reply.decode()!r} came back after {microseconds} us"
        output.tell("echo", text, data=reply, microseconds=microseconds)


async def _exchange(endpoint: DTLSEndpoint, message: bytes) -> bytes:
    """Sends a message and returns its echo. Sends the message again if it was lost."""
    while True:
        await endpoint.send(message)
        try:
            async with asyncio.timeout(STALLED_AFTER):
                while (reply := await endpoint.recv()) != message:
                    pass
                return reply
        except TimeoutError:
            continue


async def _burst(output: Output, endpoint: DTLSEndpoint, count: int) -> None:
    """Sends full datagrams and receives their echoes, a window of them at a time. Counts losses."""
    if count <= 0:
        return
    message = bytes(min(BURST_BYTES, endpoint.max_payload))
    received = 0
    start = time.perf_counter()
    for first in range(0, count, WINDOW):
        batch = min(WINDOW, count - first)
        await endpoint.send_many([message] * batch)
        try:
            async with asyncio.timeout(STALLED_AFTER):
                for _ in range(batch):
                    await endpoint.recv()
                    received += 1
        except TimeoutError:
            continue
    seconds = time.perf_counter() - start
    rate = round(received / seconds)
    output.tell(
        "burst",
        f"burst: {count} messages of {len(message)} bytes sent, {received} echoed "
        f"in {seconds:.2f} s, {rate} echoes a second",
        sent=count,
        echoed=received,
        message_bytes=len(message),
        seconds=round(seconds, 3),
        echoes_per_second=rate,
    )
