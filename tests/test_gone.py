"""Peers that are gone, and those that come back without what they knew, over real sockets."""

from __future__ import annotations

import asyncio

import pytest

import aiodtls
from aiodtls import PSK, DTLSConfig, EndpointClosed, events
from tests.chaos import ChaosProxy

VERSIONS = ["1.2", "1.3"]


def config(version: str, **options) -> DTLSConfig:
    return DTLSConfig(
        psk=PSK("device", b"0123456789abcdef"), groups=["x25519"], versions=[version], **options
    )


async def echo(endpoint: aiodtls.DTLSEndpoint) -> None:
    async for data in endpoint:
        await endpoint.send(data)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("own", [0, None])
async def test_a_client_that_lost_its_state_is_let_in_from_the_same_port(version, own):
    ends: list[tuple[aiodtls.DTLSEndpoint, Exception]] = []

    def on_event(endpoint: aiodtls.DTLSEndpoint, event: events.Event) -> None:
        if isinstance(event, events.Closed):
            ends.append((endpoint, event.error))

    server_config = config(version, connection_id=own)
    async with (
        asyncio.timeout(10),
        aiodtls.serve(echo, "127.0.0.1", config=server_config, on_event=on_event) as server,
    ):
        port = server.sockname[1]
        before = await aiodtls.connect("127.0.0.1", port, config=config(version))
        await before.send(b"before")
        assert await before.recv() == b"before"
        [old] = server.endpoints
        local = before.sockname
        # Without a word, as when the power fails.
        before.abort()
        await before.wait_closed()
        async with aiodtls.connect(
            "127.0.0.1", port, config=config(version), local_addr=local[:2]
        ) as after:
            await after.send(b"after")
            assert await after.recv() == b"after"
            assert after.sockname == local
            assert [endpoint for endpoint, _ in ends] == [old]
            error = ends[0][1]
            assert isinstance(error, EndpointClosed) and error.reason == "replaced"
            with pytest.raises(EndpointClosed):
                await old.recv()
            assert len(server.endpoints) == 1


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_server_that_is_gone_is_noticed_by_its_silence(version):
    told: list[events.Event] = []
    patient = config(version, keepalive_interval=0.1, retransmit_initial=0.03)
    async with asyncio.timeout(20), aiodtls.serve(echo, "127.0.0.1", config=config(version)) as s:
        async with ChaosProxy(s.sockname) as proxy:
            endpoint = await aiodtls.connect(
                *proxy.address, config=patient, on_event=lambda _, event: told.append(event)
            )
            await endpoint.send(b"there?")
            assert await endpoint.recv() == b"there?"
            # Nobody says anything, and both sides are still there.
            await asyncio.sleep(0.5)
            assert not any(isinstance(event, events.Closed) for event in told)
        with pytest.raises(EndpointClosed) as caught:
            await endpoint.recv()
        assert caught.value.reason == "idle"
        kinds = [type(event) for event in told]
        assert kinds[-1] is events.Closed and events.PeerUnresponsive in kinds
