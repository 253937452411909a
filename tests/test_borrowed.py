"""create_datagram_endpoint() on a transport that exists already."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

import aiodtls
from aiodtls import PSK, DTLSConfig
from tests.test_transport import Recorder

CONFIG = DTLSConfig(psk=PSK("device", bytes(range(16))))
Endpoint = tuple[asyncio.DatagramTransport, Recorder]


async def udp(**options: Any) -> Endpoint:
    loop = asyncio.get_running_loop()
    return await loop.create_datagram_endpoint(Recorder, **options)  # type: ignore[return-value]


async def dtls(transport: Any, **options: Any) -> tuple[Any, Recorder]:
    echoes = options.pop("echoes", False)
    return await aiodtls.create_datagram_endpoint(  # type: ignore[return-value]
        lambda: Recorder(echoes=echoes), config=CONFIG, transport=transport, **options
    )


def test_both_forms_on_both_loops(run_loop):
    async def main() -> None:
        async with asyncio.timeout(20):
            bound, _ = await udp(local_addr=("127.0.0.1", 0))
            address = bound.get_extra_info("sockname")
            server, user = await dtls(bound, echoes=True)
            assert user.calls == [("connection_made",)]
            connected, _ = await udp(remote_addr=address)
            client, asker = await dtls(connected)
            client.sendto(b"hello")
            assert (await asker.data.get())[0] == b"hello"
            assert server.get_extra_info("sockname") == address
            # Ours ends, and theirs goes on.
            client.close()
            await asker.lost.wait()
            assert asker.calls[-1] == ("connection_lost", None)
            while not any(call[0] == "peer_lost" for call in user.calls):
                await asyncio.sleep(0)
            server.abort()
            await user.lost.wait()
            assert user.calls[-1] == ("connection_lost", None)
            assert not bound.is_closing() and not connected.is_closing()
            # What comes afterwards is dropped until the owner says where it goes.
            connected.sendto(b"plain")
            await asyncio.sleep(0.01)
            again = Recorder()
            bound.set_protocol(again)
            connected.sendto(b"plain")
            assert (await again.data.get())[0] == b"plain"
            bound.close()
            connected.close()

    run_loop(main)


async def test_the_end_of_the_transport_is_ours_too():
    bound, former = await udp(local_addr=("127.0.0.1", 0))
    dtls_transport, user = await dtls(bound)
    bound.close()
    async with asyncio.timeout(20):
        await user.lost.wait()
    assert dtls_transport.is_closing()
    dtls_transport.close()
    await asyncio.sleep(0)
    assert [call[0] for call in user.calls] == ["connection_made", "connection_lost"]
    # The protocol was replaced, so it hears nothing.
    assert former.calls == [("connection_made",)]


async def test_the_end_is_told_once():
    bound, _ = await udp(local_addr=("127.0.0.1", 0))
    dtls_transport, user = await dtls(bound)
    async with asyncio.timeout(20):
        dtls_transport.abort()
        await user.lost.wait()
        bound.close()
        for _ in range(3):
            await asyncio.sleep(0)
    assert [call[0] for call in user.calls] == ["connection_made", "connection_lost"]


async def test_a_failed_handshake_leaves_the_transport_open():
    deaf = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    deaf.bind(("127.0.0.1", 0))
    connected, _ = await udp(remote_addr=deaf.getsockname())
    config = DTLSConfig(psk=PSK("device", bytes(range(16))), handshake_timeout=0.05)
    with pytest.raises(aiodtls.HandshakeTimeout):
        await aiodtls.create_datagram_endpoint(Recorder, config=config, transport=connected)
    assert not connected.is_closing()
    connected.close()
    deaf.close()


class Ice:
    """A path of datagrams that is no transport."""

    def sendto(self, data: bytes, addr: Any) -> None: ...


@pytest.mark.parametrize("thing", [Ice(), object(), asyncio.Transport()])
async def test_anything_else_is_told_to_use_the_protocol(thing):
    with pytest.raises(TypeError, match="DTLSProtocol"):
        await aiodtls.create_datagram_endpoint(Recorder, config=CONFIG, transport=thing)


async def test_a_transport_has_its_addresses_and_is_open():
    bound, _ = await udp(local_addr=("127.0.0.1", 0))
    for named in ({"local_addr": ("127.0.0.1", 0)}, {"remote_addr": ("127.0.0.1", 1)}):
        with pytest.raises(TypeError, match="remote_addr"):
            await dtls(bound, **named)
    bound.close()
    with pytest.raises(ValueError, match="closing"):
        await dtls(bound)
