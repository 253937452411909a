"""serve() and DTLSServer: handlers, messages, closing; on both loops where it matters."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import socket
import warnings

import pytest

import aiodtls
from aiodtls import DTLSConfig
from aiodtls.channel import Channel
from aiodtls.core.connection import DTLSConnection
from aiodtls.protocol import DTLSProtocol


async def echo(endpoint: aiodtls.DTLSEndpoint) -> None:
    async for data in endpoint:
        await endpoint.send(data)


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_echo_on_both_loops_leaves_nothing_behind(run_loop, server_config, client_config, host):
    if host == "::1" and not has_ipv6():
        pytest.skip("the machine has no IPv6")

    async def main() -> None:
        async with aiodtls.serve(echo, host, config=server_config) as server:
            port = server.sockname[1]
            async with aiodtls.connect(host, port, config=client_config) as endpoint:
                data = bytes(range(256)) * 400
                await endpoint.send(data)
                received = b""
                while len(received) < len(data):
                    async with asyncio.timeout(5):
                        received += await endpoint.recv()
                assert received == data
                headers = 28 if host == "127.0.0.1" else 48
                # A unified header of 5 bytes, the server's connection id, the content type and a
                # tag (RFC 9147 section 4).
                assert endpoint.max_payload == 1500 - headers - 5 - 8 - 1 - 16
            await endpoint.wait_closed()
        assert server.statistics.handshakes_completed == 1
        assert len(asyncio.all_tasks()) == 1

    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        run_loop(main)
        gc.collect()


async def test_no_host_binds_both_families_on_one_port(server_config, client_config):
    async with aiodtls.serve(echo, config=server_config) as server:
        ports = {sock.getsockname()[1] for sock in server.sockets}
        assert len(ports) == 1
        for host in ("127.0.0.1", "::1") if has_ipv6() else ("127.0.0.1",):
            async with aiodtls.connect(host, ports.copy().pop(), config=client_config) as it:
                await it.send(b"x")
                assert await it.recv() == b"x"


async def test_a_handler_ends_its_own_association_and_nothing_else(
    server_config, client_config, caplog
):
    async def handler(endpoint):
        first = await endpoint.recv()
        if first == b"raise":
            raise ValueError("as asked")
        async for data in endpoint:
            await endpoint.send(data)

    async with aiodtls.serve(handler, "127.0.0.1", config=server_config) as server:
        target = server.sockname
        async with (
            aiodtls.connect(*target, config=client_config) as lucky,
            aiodtls.connect(*target, config=client_config) as unlucky,
        ):
            await lucky.send(b"stay")
            await unlucky.send(b"raise")
            with pytest.raises(aiodtls.EndpointClosed) as error:
                await unlucky.recv()
            assert error.value.reason == "close_notify"
            await lucky.send(b"still here")
            assert await lucky.recv() == b"still here"
    assert "as asked" in caplog.text


async def test_messages_over_all_peers_with_no_task_for_each(server_config, client_config):
    async with aiodtls.serve(None, "127.0.0.1", config=server_config) as server:

        async def answer() -> None:
            async for endpoint, data in server.messages():
                await endpoint.send(b"re: " + data)

        answering = asyncio.ensure_future(answer())
        async with (
            aiodtls.connect(*server.sockname, config=client_config) as one,
            aiodtls.connect(*server.sockname, config=client_config) as two,
        ):
            await one.send(b"1")
            await two.send(b"2")
            assert [await one.recv(), await two.recv()] == [b"re: 1", b"re: 2"]
            assert len(server.endpoints) == 2
        server.close()
        await asyncio.wait_for(answering, 5)


async def test_peers_that_connect_before_messages_is_called_are_kept(server_config, client_config):
    async with (
        aiodtls.serve(None, "127.0.0.1", config=server_config) as server,
        aiodtls.connect(*server.sockname, config=client_config) as client,
    ):
        await client.send(b"early")
        async with asyncio.timeout(5):
            while not any(endpoint._channel.has_data for endpoint in server.endpoints):
                await asyncio.sleep(0.001)
            async for endpoint, data in server.messages():
                await endpoint.send(b"re: " + data)
                break
            assert await client.recv() == b"re: early"


async def test_the_backlog_is_bounded(server_config, client_config, monkeypatch):
    monkeypatch.setattr("aiodtls.server.BACKLOG", 1)
    async with aiodtls.serve(None, "127.0.0.1", config=server_config) as server:
        async with aiodtls.connect(*server.sockname, config=client_config) as first:
            async with aiodtls.connect(*server.sockname, config=client_config) as second:
                with pytest.raises(aiodtls.EndpointClosed):
                    await second.recv()
            endpoint = await anext(aiter(server))
            assert endpoint.peername == first.sockname


async def test_slow_handlers_are_cancelled_after_close_timeout(server_config, client_config):
    cancelled = asyncio.Event()

    async def handler(endpoint):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    server = aiodtls.serve(handler, "127.0.0.1", config=server_config, close_timeout=0.05)
    async with server:
        async with aiodtls.connect(*server.sockname, config=client_config) as endpoint:
            await endpoint.send(b"x")
            await asyncio.sleep(0.05)
    assert cancelled.is_set()


async def test_serve_forever_ends_with_close(server_config):
    server = await aiodtls.serve(echo, "127.0.0.1", config=server_config)
    serving = asyncio.ensure_future(server.serve_forever())
    await asyncio.sleep(0)
    server.close()
    await asyncio.wait_for(serving, 5)
    await server.wait_closed()
    again = await aiodtls.serve(echo, "127.0.0.1", config=server_config)
    serving = asyncio.ensure_future(again.serve_forever())
    await asyncio.sleep(0)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving


async def test_a_server_dials_from_its_own_socket(server_config, client_config):
    async with (
        aiodtls.serve(echo, "127.0.0.1", config=server_config) as near,
        aiodtls.serve(echo, "127.0.0.1", config=server_config) as far,
    ):
        endpoint = await near.connect(
            far.sockname, config=client_config, server_hostname="localhost"
        )
        await endpoint.send(b"x")
        assert await endpoint.recv() == b"x"
        assert endpoint.sockname == near.sockname
        endpoint.close()


async def test_two_that_dial_each_other_come_to_one_association(credentials):
    trust = aiodtls.Trust.fingerprints(credentials.fingerprint())
    config = DTLSConfig(credentials=credentials, trust=trust, retransmit_initial=0.1)
    async with (
        aiodtls.serve(echo, "127.0.0.1", config=config) as one,
        aiodtls.serve(echo, "127.0.0.1", config=config) as two,
    ):
        results = await asyncio.gather(
            one.connect(two.sockname, server_hostname="localhost"),
            two.connect(one.sockname, server_hostname="localhost"),
            return_exceptions=True,
        )
        assert sorted(type(r).__name__ for r in results) == ["DTLSEndpoint", "SimultaneousOpen"]
        endpoint = next(r for r in results if isinstance(r, aiodtls.DTLSEndpoint))
        await endpoint.send(b"x")
        async with asyncio.timeout(5):
            assert await endpoint.recv() == b"x"
        endpoint.close()


async def test_update_config_is_for_new_handshakes(server_config, client_config):
    other = DTLSConfig(psk=aiodtls.PSK("a", b"k" * 16))
    async with aiodtls.serve(echo, "127.0.0.1", config=server_config) as server:
        async with aiodtls.connect(*server.sockname, config=client_config) as old:
            server.update_config(other)
            async with aiodtls.connect(*server.sockname, config=other) as new:
                assert new.psk_identity == b"a"
            await old.send(b"x")
            assert await old.recv() == b"x"


async def test_a_hundred_slow_look_ups_run_side_by_side():
    async def look_up(identity, context):
        await asyncio.sleep(0.3)
        return b"k" * 16

    server_config = DTLSConfig(psk=look_up)
    client_config = DTLSConfig(psk=aiodtls.PSK("a", b"k" * 16))
    async with aiodtls.serve(None, "127.0.0.1", config=server_config) as server:
        connecting = [aiodtls.connect(*server.sockname, config=client_config) for _ in range(100)]
        async with asyncio.timeout(60):
            endpoints = await asyncio.gather(*map(asyncio.ensure_future, connecting))
            for endpoint in endpoints:
                await endpoint.wait_confirmed()
        assert server.statistics.handshakes_completed == 100
        for endpoint in endpoints:
            endpoint.close()


async def test_a_config_that_cannot_serve_is_refused():
    with pytest.raises(aiodtls.ConfigError):
        aiodtls.serve(echo, config=DTLSConfig(trust=aiodtls.Trust.insecure()))


async def test_datagrams_with_other_first_bytes_are_not_dtls():
    seen = []

    class Shared(DTLSProtocol):
        def foreign_datagram_received(self, data, addr):
            seen.append((data, addr))

    protocol = Shared()
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: protocol, local_addr=("127.0.0.1", 0)
    )
    protocol.datagram_received(b"\x00\x01stun", ("127.0.0.1", 9))
    protocol.datagram_received(b"\x80srtp", ("127.0.0.1", 9))
    protocol.datagram_received(b"\x16dtls", ("127.0.0.1", 9))
    protocol.datagram_received(b"", ("127.0.0.1", 9))
    assert [data for data, _ in seen] == [b"\x00\x01stun", b"\x80srtp"]
    transport.close()


async def test_update_config_on_two_sockets_changes_all_or_nothing(server_config, client_config):
    """Both take the tickets that either gave, before and after."""
    if not has_ipv6():
        pytest.skip("the machine has no IPv6")
    cache = aiodtls.SessionCache()
    config = dataclasses.replace(server_config, connection_id=4)
    async with aiodtls.serve(echo, config=config) as server:
        assert server.config is config and config.ticket_keys is None
        port = server.sockname[1]

        async def resumes(host: str) -> bool:
            options = {"config": client_config, "server_hostname": "localhost", "session": cache}
            async with aiodtls.connect(host, port, **options) as endpoint:
                await endpoint.send(b"ping")
                await endpoint.recv()
                return endpoint.resumed

        assert not await resumes("127.0.0.1")
        assert await resumes("::1")
        with pytest.raises(aiodtls.ConfigError, match="connection_id=5"):
            server.update_config(dataclasses.replace(config, connection_id=5))
        assert server.config is config
        other = dataclasses.replace(config, idle_timeout=60.0)
        server.update_config(other)
        assert server.config is other
        assert await resumes("127.0.0.1")
        server.update_config(dataclasses.replace(config, ticket_keys=aiodtls.TicketKeys()))
        assert not await resumes("::1")
        assert await resumes("127.0.0.1")


async def test_statistics_and_gauges_of_a_server(server_config, client_config):
    async with aiodtls.serve(None, "127.0.0.1", config=server_config) as server:
        assert server.gauges == aiodtls.Gauges()
        async with aiodtls.connect(*server.sockname, config=client_config) as client:
            await client.send(b"one")
            peer = await anext(aiter(server))
            assert await peer.recv() == b"one"
            for _ in range(5):
                # They may wait for the end of the iteration, and are counted.
                await peer.send(b"four")
            assert server.statistics.bytes_sent == 20
            assert server.gauges.associations == 1 and server.gauges.half_open == 0
            both = server.statistics
            assert both.handshakes_completed == both.handshake_seconds.count == 1
            assert both.wire_bytes_received > 3 and both.wire_bytes_sent > 20
        await peer.wait_closed()
        assert server.gauges.associations == 0
        assert server.statistics.alerts_received == {"close_notify": 1}


async def test_statistics_look_at_no_association(server_config, client_config, monkeypatch):
    async with aiodtls.serve(None, "127.0.0.1", config=server_config) as server:
        async with aiodtls.connect(*server.sockname, config=client_config):
            peer = await anext(aiter(server))

            def walked(*_: object) -> None:
                raise AssertionError("an association was looked at")

            monkeypatch.setattr(Channel, "flush", walked)
            monkeypatch.setattr(DTLSConnection, "statistics", property(walked))
            assert server.statistics.handshakes_completed == 1
            monkeypatch.undo()
            peer.close()


async def test_a_server_shows_where_it_serves(server_config):
    async def handler(endpoint):
        await endpoint.wait_closed()

    server = aiodtls.serve(handler, "127.0.0.1", config=server_config)
    assert repr(server) == "<DTLSServer open, no socket>"
    async with server:
        assert repr(server) == f"<DTLSServer open, {server.sockname}>"
    assert repr(server) == "<DTLSServer closed, no socket>"
