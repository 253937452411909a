"""DTLSEndpoint and connect(): sending, receiving, cancelling, ending."""

from __future__ import annotations

import asyncio
import gc
import socket

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

import aiodtls
from aiodtls import Credentials, DTLSConfig, Trust, events
from aiodtls.testing import pair
from tests.selection import needs_ml_kem


def configs12() -> tuple[DTLSConfig, DTLSConfig]:
    credentials = Credentials.self_signed("localhost")
    trust = Trust.fingerprints(credentials.fingerprint())
    client = DTLSConfig(versions=["1.2"], trust=trust)
    return client, DTLSConfig(versions=["1.2"], credentials=credentials)


@needs_ml_kem
async def test_what_is_negotiated_is_shown():
    async with pair() as (client, server):
        assert (client.role, server.role) == ("client", "server")
        assert client.version == server.version == "1.3"
        assert client.cipher_suite == server.cipher_suite
        assert client.group == server.group == "X25519MLKEM768"
        assert client.peer_certificates and client.peer_public_key is not None
        assert server.peer_certificates == () and server.peer_public_key is None
        assert client.server_hostname == server.server_hostname == "localhost"
        assert client.get_extra_info("cipher")[0] == client.cipher_suite
        assert client.get_extra_info("nothing", 7) == 7
        assert "open" in repr(client)


async def test_a_raw_public_key_is_the_peers_key():
    raw = Credentials.raw_public_key(ec.generate_private_key(ec.SECP256R1()))
    trust = Trust.public_keys(raw.public_key)
    both = DTLSConfig(credentials=raw, trust=trust, client_auth="required")
    async with pair(both, both) as (client, server):
        for endpoint in (client, server):
            assert endpoint.peer_public_key == raw.public_key
            assert endpoint.peer_certificates == ()
            assert endpoint.get_extra_info("peercert") is None


async def test_in_dtls13_an_ack_confirms_the_client():
    async with pair() as (client, server):
        assert server.confirmed
        async with asyncio.timeout(5):
            await client.wait_confirmed()


async def test_in_dtls12_the_first_data_confirms_the_server():
    async with pair(*configs12()) as (client, server):
        assert client.confirmed and not server.confirmed
        await client.send(b"x")
        async with asyncio.timeout(5):
            await server.wait_confirmed()
        assert server.confirmed and server.recv_nowait() == b"x"


async def test_exporters_agree():
    async with pair() as (client, server):
        ours = client.export_keying_material("EXPERIMENTAL x", 40, b"context")
        assert ours == server.export_keying_material("EXPERIMENTAL x", 40, b"context")
        assert ours != server.export_keying_material("EXPERIMENTAL x", 40)
        with pytest.raises(aiodtls.DTLSError):
            client.srtp_keys()


@pytest.mark.parametrize("pmtu", [256, 1500])
async def test_a_large_send_is_split_at_the_pmtu(pmtu):
    async with pair() as (client, server):
        client.pmtu = pmtu
        data = bytes(range(256)) * 100
        count = await client.send(data)
        assert count == -(-len(data) // client.max_payload)
        received = b""
        while len(received) < len(data):
            piece = await server.recv()
            assert len(piece) <= client.max_payload
            received += piece
        assert received == data


async def test_split_false_is_one_record_or_nothing():
    async with pair() as (client, _):
        sent = client.statistics.records_sent
        for call in (client.send_nowait,):
            with pytest.raises(aiodtls.MessageTooLarge) as error:
                call(bytes(client.max_payload + 1), split=False)
            assert error.value.errno is not None
        with pytest.raises(aiodtls.MessageTooLarge):
            await client.send(bytes(client.max_payload + 1), split=False)
        with pytest.raises(aiodtls.MessageTooLarge):
            await client.send_many([b"x", bytes(client.max_payload + 1)])
        assert client.statistics.records_sent == sent
        assert await client.send(bytes(client.max_payload), split=False) == 1


async def test_pmtu_has_a_least_value_and_an_event():
    seen = []
    async with pair() as (client, _):
        client._channel.report_to(lambda endpoint, event: seen.append(event))
        with pytest.raises(aiodtls.ConfigError):
            client.pmtu = 255
        client.pmtu = 600
        assert client.pmtu == 600
    assert isinstance(seen[0], events.PathMTUChanged)


async def test_send_many_and_recv_many():
    async with pair() as (client, server):
        assert await client.send_many([b"1", b"2", b"3"]) == 3
        await asyncio.sleep(0.01)
        assert await server.recv_many(2) == [b"1", b"2"]
        assert await server.recv_many() == [b"3"]


async def test_receivers_are_served_in_order_and_cancelling_one_loses_nothing():
    async with pair() as (client, server):
        waiting = [asyncio.ensure_future(server.recv()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await client.send_many([b"a", b"b"])
        assert await waiting[1] == b"a"
        assert await waiting[2] == b"b"
        late = asyncio.ensure_future(server.recv())
        await asyncio.sleep(0)
        await client.send(b"c")
        while not server._channel._receivers and not late.done():
            await asyncio.sleep(0)
            if late.done() or not server._channel._receivers:
                break
        # Its data is in hand, and then it is cancelled: the data must not be gone.
        late.cancel()
        try:
            got = await late
        except asyncio.CancelledError:
            got = await asyncio.wait_for(server.recv(), 5)
        assert got == b"c"


async def test_the_receive_queue_is_bounded_and_the_newest_are_dropped(client_config, credentials):
    config = DTLSConfig(credentials=credentials, recv_queue=3)
    async with pair(client_config, config) as (client, server):
        for number in range(6):
            await client.send(b"%d" % number)
        await asyncio.sleep(0.01)
        assert server.statistics.messages_dropped == 3
        assert await server.recv_many() == [b"0", b"1", b"2"]


async def test_what_is_queued_stays_readable_after_the_end():
    async with pair() as (client, server):
        await client.send(b"last words")
        client.close()
        await server.wait_closed()
        assert await server.recv() == b"last words"
        with pytest.raises(aiodtls.EndpointClosed) as error:
            await server.recv()
        assert error.value.reason == "close_notify"
        assert [data async for data in server] == []
        with pytest.raises(aiodtls.EndpointClosed):
            await server.send(b"x")
        with pytest.raises(aiodtls.EndpointClosed) as error:
            await client.recv()
        assert error.value.reason == "local"


async def test_a_waiting_receiver_hears_of_the_end():
    async with pair() as (client, server):
        waiting = asyncio.ensure_future(server.recv())
        await asyncio.sleep(0)
        client.close()
        client.close()
        with pytest.raises(aiodtls.EndpointClosed):
            await waiting


async def test_abort_is_silent():
    async with pair() as (client, server):
        client.abort()
        await asyncio.sleep(0.01)
        assert "open" in repr(server)
        with pytest.raises(aiodtls.EndpointClosed):
            await client.recv()


async def test_abort_takes_the_reasons_that_an_end_can_have():
    async with pair() as (client, server):
        for reason in ("", "because", None, 5):
            with pytest.raises(ValueError, match="reason is one of close_notify"):
                client.abort(reason=reason)
        assert "open" in repr(client)
        client.abort(reason="disowned")
        with pytest.raises(aiodtls.EndpointClosed) as error:
            await client.send(b"x")
        assert error.value.reason == "disowned"
        with pytest.raises(aiodtls.EndpointClosed):
            [data async for data in client]
        assert "open" in repr(server)


async def test_a_paused_transport_makes_senders_wait_in_order():
    async with pair() as (client, server):
        protocol = client._channel.carrier
        protocol.pause_writing()
        with pytest.raises(aiodtls.BufferFull):
            client.send_nowait(b"x")
        first, cancelled, last = (
            asyncio.ensure_future(client.send(text)) for text in (b"1", b"2", b"3")
        )
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.sleep(0)
        assert not first.done() and not last.done()
        protocol.resume_writing()
        assert await first == await last == 1
        assert [await server.recv(), await server.recv()] == [b"1", b"3"]
        with pytest.raises(asyncio.CancelledError):
            await cancelled


async def test_an_endpoint_is_awaited_once(server_config, client_config):
    async with aiodtls.serve(None, "127.0.0.1", config=server_config) as server:
        endpoint = aiodtls.connect(*server.sockname, config=client_config)
        with pytest.raises(aiodtls.DTLSError):
            await endpoint.recv()
        assert "not connected" in repr(endpoint)
        assert await asyncio.ensure_future(endpoint) is endpoint
        with pytest.raises(RuntimeError):
            await endpoint
        endpoint.close()
        await endpoint.wait_closed()


async def test_forgotten_endpoints_are_warned_about_and_closed():
    client, server = await pair()
    channel = client._channel
    with pytest.warns(ResourceWarning, match="unclosed"):
        del client
        gc.collect()
    await asyncio.sleep(0.01)
    assert channel.connection.closed
    server.close()


async def test_deferred_trust_holds_data_back(server_config):
    config = DTLSConfig(trust=aiodtls.Trust.deferred())
    async with pair(config, server_config) as (client, server):
        await server.send(b"early")
        await asyncio.sleep(0.01)
        with pytest.raises(BlockingIOError):
            client.recv_nowait()
        client.accept_peer()
        assert await client.recv() == b"early"


async def test_a_rejected_peer_is_told_by_an_alert_and_nothing_of_it_is_read(server_config):
    config = DTLSConfig(trust=aiodtls.Trust.deferred())
    async with pair(config, server_config) as (client, server):
        await server.send(b"early")
        await asyncio.sleep(0.01)
        with pytest.raises(ValueError, match="error alert"):
            client.reject_peer("close_notify")
        with pytest.raises(TypeError, match="description"):
            client.reject_peer(42)
        client.reject_peer("access_denied")
        with pytest.raises(aiodtls.EndpointClosed) as caught:
            await client.recv()
        assert caught.value.reason == "local" and "access_denied" in str(caught.value)
        with pytest.raises(aiodtls.EndpointClosed, match="access_denied") as caught:
            await server.recv()
        assert caught.value.reason == "peer_alert"


async def test_trust_may_be_an_async_function(server_config):
    seen = []

    async def check(chain, context):
        await asyncio.sleep(0)
        seen.append(chain)
        return len(seen) == 1

    config = DTLSConfig(trust=check)
    async with pair(config, server_config) as (client, _):
        assert seen[0] == (client.peer_certificates[0].public_bytes(_der()),)
    with pytest.raises(aiodtls.CertificateError):
        await pair(config, server_config)


def _der():
    from cryptography.hazmat.primitives.serialization import Encoding

    return Encoding.DER


async def test_a_failing_psk_function_is_logged_and_ends_that_handshake(caplog):
    def fail(identity, context):
        raise ValueError("the database is gone")

    client = DTLSConfig(psk=aiodtls.PSK("a", b"k" * 16))
    with pytest.raises(aiodtls.HandshakeRefused) as error:
        await pair(client, DTLSConfig(psk=fail))
    assert error.value.description == "internal_error"
    assert "the database is gone" in caplog.text


async def test_losses_are_repaired():
    for seed in range(3):
        async with pair(loss=0.3, seed=seed) as (client, server):
            assert client.version == server.version


async def test_on_event_tells_the_story(server_config, client_config):
    seen = []
    async with aiodtls.serve(None, "127.0.0.1", config=server_config) as server:
        target = server.sockname
        async with aiodtls.connect(
            *target, config=client_config, on_event=lambda endpoint, event: seen.append(event)
        ) as endpoint:
            async with asyncio.timeout(5):
                await endpoint.wait_confirmed()
    # A ticket may come at any time.
    kinds = [type(event) for event in seen if not isinstance(event, events.SessionReceived)]
    wanted = [events.FlightSent, events.FlightReceived, events.HandshakeCompleted]
    wanted += [events.Confirmed, events.Closed]
    assert list(dict.fromkeys(kinds)) == wanted


async def test_exceptions_of_on_event_are_logged(server_config, client_config, caplog):
    def fail(endpoint, event):
        raise ValueError("mine")

    async with aiodtls.serve(None, "127.0.0.1", config=server_config) as server:
        async with aiodtls.connect(*server.sockname, config=client_config, on_event=fail) as it:
            await it.send(b"fine")
    assert "on_event raised" in caplog.text


async def test_a_refused_port_is_heard_of_at_once(client_config, free_udp_port):
    async with asyncio.timeout(5):
        with pytest.raises(ConnectionRefusedError):
            await aiodtls.connect("127.0.0.1", free_udp_port, config=client_config)


async def test_a_silent_peer_times_out(client_config):
    import dataclasses

    config = dataclasses.replace(client_config, handshake_timeout=0.2)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        with pytest.raises(TimeoutError) as error:
            await aiodtls.connect(*silent.getsockname(), config=config)
    assert isinstance(error.value, aiodtls.HandshakeTimeout)


async def test_cancelled_while_connecting_nothing_is_left(client_config):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        connecting = asyncio.ensure_future(
            aiodtls.connect(*silent.getsockname(), config=client_config)
        )
        await asyncio.sleep(0.05)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1


async def test_the_first_address_that_answers_wins(server_config, client_config, monkeypatch):
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind(("127.0.0.1", 0))
    async with aiodtls.serve(None, "127.0.0.1", config=server_config) as server:

        async def resolve(*args, **kwargs):
            return [(socket.AF_INET, silent.getsockname()), (socket.AF_INET, server.sockname)]

        monkeypatch.setattr("aiodtls.net.sockets.resolve", resolve)
        async with aiodtls.connect(
            "localhost", 1, config=client_config, happy_eyeballs_delay=0.05
        ) as endpoint:
            assert endpoint.peername == server.sockname
        await endpoint.wait_closed()
    silent.close()
    assert len(asyncio.all_tasks()) == 1


async def test_a_client_without_a_check_refuses_to_start(server_config):
    with pytest.raises(aiodtls.ConfigError):
        await aiodtls.connect(None, 1, config=DTLSConfig(trust=aiodtls.Trust.system()))
    with pytest.raises(aiodtls.ConfigError):
        await aiodtls.connect("h", 1, config=DTLSConfig(psk=lambda identity, context: b"k"))


async def test_a_socket_of_the_users_own(server_config, client_config):
    async with aiodtls.serve(None, "127.0.0.1", config=server_config) as server:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.connect(server.sockname)
        async with aiodtls.connect(None, None, config=client_config, sock=sock) as endpoint:
            assert endpoint.sockname == sock.getsockname()
        await endpoint.wait_closed()
