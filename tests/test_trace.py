"""DTLSConfig(trace=...): qlog files, functions, and what bounds them."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

import aiodtls
from aiodtls import DTLSConfig, trace
from aiodtls.testing import pair
from tests.test_fork import in_a_child

OWN = aiodtls.Credentials.self_signed("localhost")
PINNED = aiodtls.Trust.fingerprints(OWN.fingerprint())


def records_of(path: Path) -> list[dict[str, Any]]:
    """The JSON texts of a file. Each begins with a record separator and ends with a line feed."""
    first, *texts = path.read_text("ascii").split("\x1e")
    assert first == "" and all(text.endswith("\n") for text in texts)
    return [json.loads(text) for text in texts]


def files(directory: Path) -> dict[str, list[dict[str, Any]]]:
    """What was written, by role: one file of each."""
    trace.flush()
    found = {path.name.split("-")[1]: records_of(path) for path in directory.glob("*.sqlog")}
    assert len(found) == len(list(directory.iterdir()))
    return found


def names(events: list[dict[str, Any]]) -> list[str]:
    return [event["name"].removeprefix("dtls:") for event in events]


def both(directory: Path, version: str) -> tuple[DTLSConfig, DTLSConfig]:
    """The configs of a client and a server that write traces there."""
    client = DTLSConfig(versions=[version], trust=PINNED, trace=directory)
    return client, DTLSConfig(credentials=OWN, trace=directory)


async def exchange(config: DTLSConfig, server: DTLSConfig | None = None, **options: Any) -> None:
    async with pair(config, server, **options) as (client, served):
        await client.send(b"what was said")
        assert await served.recv() == b"what was said"
        await served.send(b"what was answered")
        assert await client.recv() == b"what was answered"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_each_association_has_a_file_of_qlog(tmp_path, version):
    await exchange(*both(tmp_path, version))
    found = files(tmp_path)
    assert set(found) == {"client", "server"}
    for role, (header, *events) in found.items():
        assert header["file_schema"] == "urn:ietf:params:qlog:file:sequential"
        assert header["serialization_format"] == "application/qlog+json-seq"
        about = header["trace"]
        assert about["vantage_point"]["type"] == role and about["event_schemas"]
        assert about["common_fields"]["time_format"] == "relative_to_epoch"
        assert about["common_fields"]["reference_time"]["epoch"].endswith("Z")
        assert all(set(event) == {"time", "name", "data"} for event in events)
        times = [event["time"] for event in events]
        assert times == sorted(times) and times[0] >= 0
        assert names(events)[0] == "association_started"
        assert {"datagram_sent", "record_received", "message_sent", "key_updated"} <= set(
            names(events)
        )
        assert names(events).count("handshake_completed") == 1
        assert "association_closed" in names(events)
        timers = [event["data"] for event in events if event["name"] == "dtls:timer_updated"]
        assert any(timer.get("delta", 0) > 0 for timer in timers)
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert "what was" not in path.read_text()


async def test_over_a_socket_a_trace_has_every_record_of_data(tmp_path):
    async def echo(endpoint: aiodtls.DTLSEndpoint) -> None:
        async for data in endpoint:
            await endpoint.send(data)

    config = DTLSConfig(credentials=OWN, trace=tmp_path)
    client_config = DTLSConfig(trust=PINNED)
    async with aiodtls.serve(echo, "127.0.0.1", config=config) as server:
        port = server.sockname[1]
        async with aiodtls.connect("127.0.0.1", port, config=client_config) as client:
            for number in range(40):
                await client.send(b"%d" % number)
            for _ in range(40):
                await client.recv()
    ((_, *events),) = files(tmp_path).values()
    for direction in ("sent", "received"):
        data = [
            event
            for event in events
            if event["name"] == f"dtls:record_{direction}"
            and event["data"]["type"] == "application_data"
        ]
        assert len(data) == 40


async def test_losses_are_in_it(tmp_path):
    async with pair(*both(tmp_path, "1.3"), loss=0.3, seed=7, virtual_time=True) as (client, _):
        # Lost or not: nobody resends data.
        await client.send(b"what was said")
        await asyncio.sleep(10)
    found = files(tmp_path)
    told = [name for _, *events in found.values() for name in names(events)]
    assert "flight_resent" in told
    expired = [
        event
        for _, *events in found.values()
        for event in events
        if event["data"].get("event_type") == "expired"
    ]
    assert expired
    # Both are on the clock of one loop.
    epochs = {
        header["trace"]["common_fields"]["reference_time"]["epoch"] for header, *_ in found.values()
    }
    assert len({epoch[:16] for epoch in epochs}) == 1


async def test_a_function_gets_each_event():
    events: list[dict[str, Any]] = []
    await exchange(DTLSConfig(trace=events.append))
    assert names(events)[0] == "association_started"
    assert events[0]["data"]["role"] == "client"
    assert len({event["group_id"] for event in events}) == 1
    assert {"record_sent", "record_received", "association_closed"} <= set(names(events))


async def test_a_function_that_raises_disturbs_nothing(caplog):
    def fail(event: dict[str, Any]) -> None:
        raise RuntimeError("no room")

    with caplog.at_level(logging.ERROR):
        await exchange(DTLSConfig(trace=fail))
    assert "the function of trace= raised" in caplog.text


async def async_function(event: dict[str, Any]) -> None:
    """Nobody would await it."""


def test_a_trace_is_a_directory_or_a_plain_function(tmp_path):
    for name in ("trace", "keylog"):
        with pytest.raises(TypeError, match="plain function"):
            DTLSConfig(**{name: async_function})
    for wrong in (tmp_path / "missing", 5):
        with pytest.raises(aiodtls.ConfigError, match="trace"):
            DTLSConfig(trace=wrong)  # type: ignore[arg-type]
    with pytest.raises(aiodtls.ConfigError, match="trace_limit"):
        DTLSConfig(trace=tmp_path, trace_limit=0)


async def test_traces_stay_within_the_limit_and_whole(tmp_path, caplog):
    limit = 6000
    old = tmp_path / "old.sqlog"
    old.write_text("x" * 1000)
    config = DTLSConfig(trace=tmp_path, trace_limit=limit)
    with caplog.at_level(logging.WARNING):
        await exchange(config)
        await exchange(config)
        trace.flush()
    old.unlink()
    written = list(tmp_path.iterdir())
    assert 3000 < sum(path.stat().st_size for path in written) <= limit - 1000
    assert all(records_of(path) for path in written)
    assert caplog.text.count("trace_limit is 6000 bytes") == 1


async def test_what_waits_for_the_disk_is_bounded(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(trace, "MAX_WAITING", 20)
    gate = threading.Event()
    blocked = trace._threads[0].submit(gate.wait, 30)
    with caplog.at_level(logging.WARNING):
        await exchange(DTLSConfig(trace=tmp_path))
    gate.set()
    assert blocked.result()
    ((_, *events),) = files(tmp_path).values()
    assert len(events) == 19
    assert caplog.text.count("have gaps") == 1


async def test_a_directory_that_goes_away_ends_nothing(tmp_path, caplog):
    directory = tmp_path / "traces"
    directory.mkdir()
    with caplog.at_level(logging.ERROR):
        async with pair(*both(directory, "1.3")) as (client, server):
            trace.flush()
            shutil.rmtree(directory)
            for message in (b"once", b"again"):
                await client.send(message)
                assert await server.recv() == message
                trace.flush()
    assert caplog.text.count("cannot be written") == 1


async def test_a_stranger_leaves_no_file(tmp_path):
    config = DTLSConfig(credentials=OWN, trace=tmp_path)
    loop = asyncio.get_running_loop()
    async with aiodtls.serve(lambda endpoint: None, "127.0.0.1", config=config) as server:
        transport, protocol = await loop.create_datagram_endpoint(
            Answered, remote_addr=server.sockname[:2]
        )
        client = aiodtls.core.DTLSConnection.client(
            DTLSConfig(trust=aiodtls.Trust.insecure()), "server", loop.time()
        )
        for datagram, _ in client.datagrams_to_send():
            transport.sendto(datagram)
        await asyncio.wait_for(protocol.answered, 30)
        transport.close()
    trace.flush()
    assert list(tmp_path.iterdir()) == []


class Answered(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        if not self.answered.done():
            self.answered.set_result(None)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
async def test_a_forked_child_writes_nothing_into_the_traces_of_its_parent(tmp_path):
    async with pair(DTLSConfig(trace=tmp_path)) as (client, server):
        trace.flush()
        # There the association ends at once.
        assert in_a_child(lambda: trace.flush() or "done") == "done"
        await client.send(b"on")
        assert await server.recv() == b"on"
    ((_, *events),) = files(tmp_path).values()
    reasons = [e["data"]["reason"] for e in events if e["name"] == "dtls:association_closed"]
    assert reasons in (["local"], ["close_notify"])


async def test_without_a_trace_nothing_is_observed():
    async with pair() as (client, _):
        assert trace.observe(DTLSConfig(), "client", None) is None
        assert client.version
