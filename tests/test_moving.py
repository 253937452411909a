"""Peers that move, over real sockets and through a NAT that forgets."""

from __future__ import annotations

import asyncio

import pytest

import aiodtls
from aiodtls import PSK, DTLSConfig, events
from tests.chaos import ChaosProxy

VERSIONS = ["1.2", "1.3"]


def config(version: str, **options) -> DTLSConfig:
    return DTLSConfig(
        psk=PSK("device", b"0123456789abcdef"), groups=["x25519"], versions=[version], **options
    )


async def echo(endpoint: aiodtls.DTLSEndpoint) -> None:
    async for data in endpoint:
        await endpoint.send(data)


async def say_until_echoed(endpoint: aiodtls.DTLSEndpoint, data: bytes) -> None:
    """What is echoed to an address that the peer has left is lost."""
    async with asyncio.timeout(10):
        while True:
            await endpoint.send(data)
            try:
                async with asyncio.timeout(0.2):
                    while await endpoint.recv() != data:
                        pass
                return
            except TimeoutError:
                continue


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("check", ["basic", "enhanced", "off"])
async def test_a_client_behind_a_forgetful_nat_is_followed(version, check):
    seen = []
    server_config = config(
        version,
        return_routability_check=check,
        follow_unchecked_address=check == "off",
        retransmit_initial=0.2,
    )
    async with (
        aiodtls.serve(
            echo,
            "127.0.0.1",
            config=server_config,
            on_event=lambda endpoint, event: seen.append((endpoint.peername, event)),
        ) as server,
        ChaosProxy(server.sockname) as proxy,
        aiodtls.connect(*proxy.address, config=config(version)) as endpoint,
    ):
        for number in range(4):
            await say_until_echoed(endpoint, b"message %d" % number)
            proxy.rebind()
        changes = [(peer, e) for peer, e in seen if isinstance(e, events.AddressChanged)]
        assert len(changes) >= 3 and all(peer == e.new != e.old for peer, e in changes)
        assert server.statistics.addresses_changed == len(changes)
        assert server.statistics.handshakes_completed == 1
