"""Resumption through connect() and serve()."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

import aiodtls
import aiodtls.channel
from aiodtls import Credentials, DTLSConfig, SessionCache, Trust
from aiodtls.core.registry import AlertDescription, AlertLevel, ContentType
from aiodtls.events import SessionReceived
from aiodtls.net.send_queue import Priority
from tests.malicious import seal

CREDENTIALS = Credentials.self_signed("localhost")
SERVER = DTLSConfig(credentials=CREDENTIALS)
CLIENT = DTLSConfig(trust=Trust.fingerprints(CREDENTIALS.fingerprint()))
CLIENT12 = dataclasses.replace(CLIENT, versions=["1.2"])


async def echo(endpoint):
    async for data in endpoint:
        await endpoint.send(data)


async def meet(port, version, session):
    """One connection with an echo; whether it resumed, the sessions received, the endpoint."""
    received = []

    def on_event(endpoint, event):
        if isinstance(event, SessionReceived):
            received.append(event.session)

    config = dataclasses.replace(CLIENT, versions=[version])
    endpoint = aiodtls.connect(
        "127.0.0.1",
        port,
        config=config,
        server_hostname="localhost",
        session=session,
        on_event=on_event,
    )
    async with endpoint:
        # The echo comes after the tickets.
        await endpoint.send(b"hello")
        assert await endpoint.recv() == b"hello"
    return endpoint, received


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_a_session_is_resumed_and_survives_being_stored(version):
    async with aiodtls.serve(echo, "127.0.0.1", config=SERVER) as server:
        port = server.sockname[1]
        first, received = await meet(port, version, None)
        assert not first.resumed and first.session in received
        stored = aiodtls.Session.from_bytes(first.session.to_bytes())
        again, _ = await meet(port, version, stored)
        assert again.resumed
        assert again.peer_certificates == first.peer_certificates


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_a_cache_resumes_by_itself(version):
    cache = SessionCache()
    async with aiodtls.serve(echo, "127.0.0.1", config=SERVER) as server:
        port = server.sockname[1]
        resumed = [(await meet(port, version, cache))[0].resumed for _ in range(6)]
    assert resumed == [False, True, True, True, True, True]


async def test_a_server_with_the_same_ticket_keys_takes_the_tickets_after_a_restart():
    cache = SessionCache()
    secret = bytes(range(1, 33))
    port = 0
    for expected in (False, True, True):
        config = dataclasses.replace(SERVER, ticket_keys=aiodtls.TicketKeys(secret))
        async with aiodtls.serve(echo, "127.0.0.1", port, config=config) as server:
            port = server.sockname[1]
            endpoint, _ = await meet(port, "1.3", cache)
            assert endpoint.resumed == expected


class AsyncStore:
    """A session store behind a network."""

    def __init__(self) -> None:
        self.kept: dict[bytes, bytes] = {}
        self.deleted: list[bytes] = []
        self.is_silent = False

    async def _arrive(self) -> None:
        await asyncio.sleep(30 if self.is_silent else 0.01)

    async def put(self, key: bytes, value: bytes) -> None:
        await self._arrive()
        self.kept[key] = value

    async def get(self, key: bytes) -> bytes | None:
        await self._arrive()
        return self.kept.get(key)

    async def delete(self, key: bytes) -> None:
        await self._arrive()
        self.deleted.append(key)
        self.kept.pop(key, None)


def fatal_alert(endpoint: aiodtls.DTLSEndpoint) -> None:
    """What a broken peer would send."""
    channel = endpoint._channel
    alert = bytes((AlertLevel.fatal, AlertDescription.internal_error))
    record = seal(channel.connection, ContentType.alert, alert)
    channel.carrier.send_datagrams([(record, endpoint.peername)], Priority.data)


async def test_a_store_of_coroutines_serves_session_ids_and_forgets_after_a_fatal_alert():
    store = AsyncStore()
    config = dataclasses.replace(SERVER, versions=["1.2"], session_store=store)
    client = dataclasses.replace(CLIENT12, session_tickets=0)
    options = {"config": client, "server_hostname": "localhost", "session": SessionCache()}
    async with aiodtls.serve(echo, "127.0.0.1", config=config) as server:
        for expected in (False, True):
            async with aiodtls.connect(*server.sockname, **options) as endpoint:
                assert endpoint.resumed is expected
                await endpoint.send(b"ping")
                await endpoint.recv()
                if expected:
                    fatal_alert(endpoint)
        async with asyncio.timeout(5):
            while not store.deleted:
                await asyncio.sleep(0.01)
        assert not store.kept
        async with aiodtls.connect(*server.sockname, **options) as endpoint:
            assert not endpoint.resumed


async def test_a_store_that_does_not_answer_delays_a_handshake_and_ends_none(monkeypatch, caplog):
    monkeypatch.setattr(aiodtls.channel, "STORE_TIMEOUT", 0.05)
    store = AsyncStore()
    config = dataclasses.replace(SERVER, versions=["1.2"], session_store=store)
    client = dataclasses.replace(CLIENT12, session_tickets=0)
    options = {"config": client, "server_hostname": "localhost", "session": SessionCache()}
    async with aiodtls.serve(echo, "127.0.0.1", config=config) as server:
        for silent, resumed in ((False, False), (True, False), (False, False), (False, True)):
            store.is_silent = silent
            async with aiodtls.connect(*server.sockname, **options) as endpoint:
                assert endpoint.resumed is resumed
                await endpoint.send(b"ping")
                await endpoint.recv()
    said = [record.getMessage() for record in caplog.records if "session store" in record.msg]
    assert [text.partition(": ")[2] for text in said] == [
        "get of the session store failed",
        "put of the session store failed",
    ]


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_a_fatal_alert_takes_the_sessions_of_its_association_out_of_the_cache(version):
    """The one that was offered, and those that were given since; others stay."""
    cache = SessionCache()

    async def breaks(endpoint: aiodtls.DTLSEndpoint) -> None:
        async for data in endpoint:
            await endpoint.send(data)
            if data == b"break":
                fatal_alert(endpoint)

    async with aiodtls.serve(breaks, "127.0.0.1", config=SERVER) as server:
        port = server.sockname[1]
        key = ("localhost", port)
        _, given = await meet(port, version, None)
        for session in given:
            cache.put(key, session)
        options = {"server_hostname": "localhost", "session": cache}
        options["config"] = dataclasses.replace(CLIENT, versions=[version])
        async with aiodtls.connect("127.0.0.1", port, **options) as endpoint:
            assert endpoint.resumed
            await endpoint.send(b"break")
            with pytest.raises(aiodtls.EndpointClosed) as caught:
                while True:
                    await endpoint.recv()
            assert caught.value.reason == "peer_alert"
            assert endpoint.session is None
    # In DTLS 1.2 there was one session, and a ticket of DTLS 1.3 is taken out of the cache at once.
    assert cache.get(key) == (given[-2] if version == "1.3" else None)
    assert cache.get(key) is None
