"""Timers under asyncio: one for an association and one for a listener, no later than they ask."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from aiodtls import PSK, DTLSConfig, DTLSProtocol, EndpointClosed
from aiodtls.channel import Channel

CONFIG = DTLSConfig(psk=PSK("device", b"0123456789abcdef"), groups=["x25519"])


class Handle:
    def __init__(self, at: float, callback: Callable[[], None]) -> None:
        self.at, self.callback, self.is_live = at, callback, True

    def cancel(self) -> None:
        self.is_live = False


class Timers:
    """Stands in for ``call_at`` of the running loop."""

    def __init__(self) -> None:
        self.made: list[Handle] = []

    def call_at(self, at: float, callback: Callable[[], None], *, context: Any = None) -> Handle:
        self.made.append(Handle(at, callback))
        return self.made[-1]

    @property
    def live(self) -> list[float]:
        return [handle.at for handle in self.made if handle.is_live]

    def run(self) -> None:
        """The one that is live."""
        [handle] = [handle for handle in self.made if handle.is_live]
        handle.is_live = False
        handle.callback()


@pytest.fixture
async def timers(monkeypatch: pytest.MonkeyPatch) -> Timers:
    found = Timers()
    monkeypatch.setattr(asyncio.get_running_loop(), "call_at", found.call_at)
    return found


class Connection:
    """What a channel asks of a connection; ``at`` is its next timeout."""

    config = CONFIG
    role = "server"
    peer = ("192.0.2.1", 1)
    handshake_complete = confirmed = closed = False
    failure: Exception | None = None

    def __init__(self) -> None:
        self.at: float | None = None
        self.timeouts: list[float] = []

    def next_timeout(self) -> float | None:
        return self.at

    def handle_timeout(self, now: float) -> None:
        self.timeouts.append(now)

    def read(self) -> None:
        return None

    def next_event(self) -> None:
        return None


class Carrier:
    transport = batching = None
    is_paused = False
    headers = 28

    def __init__(self) -> None:
        self.drained = 0

    def drain(self) -> None:
        self.drained += 1


def channel_of(connection: Connection) -> tuple[Channel, Carrier]:
    carrier = Carrier()
    return Channel(carrier, connection), carrier  # type: ignore[arg-type]


async def test_an_association_has_one_timer_no_later_than_it_asks(timers):
    connection = Connection()
    channel, _ = channel_of(connection)
    for at, live in ((None, []), (50, [50]), (60, [50]), (40, [40]), (None, []), (70, [70])):
        connection.at = at
        channel.drain()
        assert timers.live == live


async def test_a_timeout_is_handled_and_drained_and_another_may_follow(timers):
    connection = Connection()
    channel, carrier = channel_of(connection)
    connection.at = 50
    channel.drain()
    timers.run()
    assert len(connection.timeouts) == 1 and carrier.drained == 1
    connection.at = 60
    channel.drain()
    assert timers.live == [60]


async def test_an_association_that_ended_has_no_timer(timers):
    connection = Connection()
    channel, _ = channel_of(connection)
    connection.at = 50
    channel.drain()
    connection.closed, connection.failure = True, EndpointClosed("local")
    channel.drain()
    assert timers.live == []


class Transport(asyncio.DatagramTransport):
    def sendto(self, data: Any, addr: Any = None) -> None:
        pass


@pytest.fixture
async def protocol(monkeypatch: pytest.MonkeyPatch) -> DTLSProtocol:
    made = DTLSProtocol(CONFIG)
    made.connection_made(Transport())
    asked: dict[str, float | None] = {"at": None}
    handled: list[float] = []
    monkeypatch.setattr(made._listener, "next_timeout", lambda: asked["at"])
    monkeypatch.setattr(made._listener, "handle_timeout", handled.append)
    made.asked, made.handled = asked, handled  # type: ignore[attr-defined]
    return made


async def test_a_listener_has_one_timer_no_later_than_it_asks(timers, protocol):
    for at, live in ((None, []), (50, [50]), (60, [50]), (40, [40]), (None, []), (70, [70])):
        protocol.asked["at"] = at
        protocol.drain()
        assert timers.live == live
    assert len(timers.made) == 3


async def test_a_timeout_of_the_listener_is_handled(timers, protocol):
    protocol.asked["at"] = 50
    protocol.drain()
    timers.run()
    assert len(protocol.handled) == 1
    # Drained, it has asked for the next one.
    assert timers.live == [50]


async def test_without_a_transport_the_listener_waits_for_nothing(timers, protocol):
    protocol.asked["at"] = 50
    protocol.drain()
    protocol.connection_lost(None)
    assert timers.live == []
