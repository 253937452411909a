"""Resumption through connect() and serve()."""

from __future__ import annotations

import dataclasses

import pytest

import aiodtls
from aiodtls import Credentials, DTLSConfig, SessionCache, Trust
from aiodtls.events import SessionReceived

CREDENTIALS = Credentials.self_signed("localhost")
SERVER = DTLSConfig(credentials=CREDENTIALS)
CLIENT = DTLSConfig(trust=Trust.fingerprints(CREDENTIALS.fingerprint()))


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
