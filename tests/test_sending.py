"""Messages sent close together leave as one batch, in order, and never after the end."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import sys

import pytest

from aiodtls import BufferFull, EndpointClosed, LeaseExhausted, MessageTooLarge
from aiodtls.core.record.lease import MIN_RECORDS
from aiodtls.endpoint import DTLSEndpoint
from aiodtls.net.batching import BatchingTransport
from aiodtls.net.segments import MAX_SEGMENTS
from tests.sockets_of_two import CONFIG, two_endpoints

KEY = bytes(32)
CONFIG13 = dataclasses.replace(CONFIG, versions=["1.3"])


@pytest.fixture(autouse=True)
def coalescing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is sent follows closely on what was sent before, on a slow machine too."""
    if sys.platform != "linux":
        pytest.skip("Linux alone batches")
    monkeypatch.setattr(BatchingTransport, "follows_closely", lambda transport, addr: True)


def pending(endpoint: DTLSEndpoint) -> list[bytes]:
    return list(endpoint._channel._pending)


async def received(endpoint: DTLSEndpoint, count: int) -> list[bytes]:
    return [await asyncio.wait_for(endpoint.recv(), 5) for _ in range(count)]


async def test_what_waits_leaves_when_the_turn_ends():
    async with two_endpoints() as (client, server):
        for number in range(5):
            await client.send(b"%d" % number)
        assert len(pending(client)) == 5
        assert await received(server, 5) == [b"0", b"1", b"2", b"3", b"4"]
        assert not pending(client)


async def test_the_first_message_after_a_burst_is_coalesced(
    monkeypatch,
):
    async with two_endpoints() as (client, server):
        await client.send_many([b"0"])
        for data in (b"1", b"2"):
            client.send_nowait(data)
        assert await received(server, 3) == [b"0", b"1", b"2"]
        # Long enough ago.
        monkeypatch.setattr(BatchingTransport, "follows_closely", lambda transport, addr: False)
        client.send_nowait(b"3")
        assert pending(client) == [b"3"]
        assert await received(server, 1) == [b"3"]
        client.send_nowait(b"4")
        assert pending(client) == []
        assert await received(server, 1) == [b"4"]


async def test_as_much_as_a_system_call_takes_leaves_at_once():
    async with two_endpoints() as (client, server):
        sent = [number.to_bytes(2, "big") for number in range(MAX_SEGMENTS + 1)]
        for data in sent:
            client.send_nowait(data)
        assert pending(client) == sent[-1:]
        assert await received(server, len(sent)) == sent


async def test_many_at_once_without_waiting_are_sent_all_or_none():
    async with two_endpoints() as (client, server):
        assert client.send_many_nowait([b"1", b"22", b"3"]) == 3
        assert await received(server, 3) == [b"1", b"22", b"3"]
        with pytest.raises(MessageTooLarge):
            client.send_many_nowait([b"4", bytes(client.max_payload + 1)])
        with pytest.raises(ValueError, match="empty"):
            client.send_many_nowait([b"4", b""])
        client._channel.carrier.is_paused = True
        with pytest.raises(BufferFull):
            client.send_many_nowait([b"4"])
        client._channel.carrier.is_paused = False
        client.send_many_nowait([b"5"])
        assert await received(server, 1) == [b"5"]
        client.close()
        with pytest.raises(EndpointClosed):
            client.send_many_nowait([b"6"])


async def test_messages_of_all_sizes_leave_in_order():
    async with two_endpoints() as (client, server):
        sent = [bytes((number,)) * size for number, size in enumerate((3, 3, 4, 4, 2, 9, 1, 5))]
        for data in sent:
            client.send_nowait(data)
        # What is longer than those before it begins another batch, what is shorter ends one.
        assert pending(client) == sent[-1:]
        assert await received(server, len(sent)) == sent


async def test_all_ways_to_send_keep_one_order():
    async with two_endpoints() as (client, server):
        await client.send(b"1")
        await client.send_many([b"2", b"3"])
        client.send_nowait(b"4")
        large = bytes(client.max_payload + 1)
        assert await client.send(large) == 2
        client.send_nowait(b"5")
        client.close()
        got = await received(server, 7)
        assert got[:4] + got[6:] == [b"1", b"2", b"3", b"4", b"5"]
        assert got[4] + got[5] == large
        with pytest.raises(EndpointClosed, match="close_notify"):
            await asyncio.wait_for(server.recv(), 5)


async def test_abort_sends_nothing_that_waits():
    async with two_endpoints() as (client, server):
        await client.send(b"1")
        client.abort()
        with pytest.raises(EndpointClosed):
            await client.send(b"2")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(server.recv(), 0.05)


async def test_a_transport_that_closes_sends_what_waits():
    async with two_endpoints() as (client, server):
        await client.send(b"1")
        await client.send(b"2")
        assert pending(client)
        client._channel.carrier.transport.close()
        assert await received(server, 2) == [b"1", b"2"]


async def test_a_full_buffer_coalesces_no_more_messages():
    async with two_endpoints() as (client, server):
        protocol = client._channel.carrier
        client.send_nowait(b"1")
        assert pending(client)
        protocol.pause_writing()
        with pytest.raises(BufferFull):
            client.send_nowait(b"2")
        waiting = asyncio.create_task(client.send(b"3"))
        await asyncio.sleep(0)
        assert not waiting.done()
        protocol.resume_writing()
        await waiting
        assert await received(server, 2) == [b"1", b"3"]


async def test_what_is_too_large_for_one_record_finds_out_behind_others():
    async with two_endpoints() as (client, server):
        await client.send(b"1")
        with pytest.raises(MessageTooLarge):
            client.send_nowait(bytes(client.max_payload + 1), split=False)
        client.send_nowait(bytes(client.max_payload))
        assert await received(server, 2) == [b"1", bytes(client.max_payload)]


async def test_a_smaller_pmtu_is_for_what_follows_alone():
    async with two_endpoints() as (client, server):
        large = bytes(client.max_payload)
        await client.send(large)
        client.pmtu = 600
        assert not pending(client)
        assert await client.send(large) > 1
        assert await received(server, 1) == [large]


async def test_what_waits_counts_towards_a_lease():
    """Either all of ``send_many`` leaves, or it waits for the next lease."""
    async with two_endpoints() as (client, _):
        client.export_stored(client.export_state(KEY, lease=200))
        connection = client._channel.connection
        room = connection.room
        for _ in range(20):
            await client.send(b"waits")
        many = client.send_many([b"more"] * (room - 10))
        # Its first step comes in this turn.
        assert many.send(None) is not None
        assert connection.room == room - 20
        many.close()


async def test_what_waits_counts_for_send_nowait_too():
    async with two_endpoints() as (client, _):
        client.export_stored(client.export_state(KEY, lease=200))
        connection = client._channel.connection
        room = connection.room
        for _ in range(20):
            client.send_nowait(b"waits")
        with pytest.raises(LeaseExhausted):
            client.send_nowait(bytes(client.max_payload * (room - 10)))
        assert connection.room == room - 20


async def test_what_waits_goes_before_the_numbers_of_a_new_lease_begin():
    """New keys begin with a lease of their own, which may be shorter than what waits."""
    async with two_endpoints(CONFIG13) as (client, server):
        client.export_stored(client.export_state(KEY, lease=4096))
        client.update_keys()
        client.export_stored(client.export_state(KEY, lease=4096))
        connection = client._channel.connection
        async with asyncio.timeout(5):
            while not connection._post.new_keys_wait:
                await asyncio.sleep(0.005)
        state = client.export_state(KEY, lease=MIN_RECORDS)
        epoch = connection._layer.write_epoch
        for _ in range(MAX_SEGMENTS - 1):
            client.send_nowait(b"waits")
        client.export_stored(state)
        await asyncio.sleep(0)
        assert connection._layer.write_epoch == epoch + 1
        assert connection._layer.writer.next_number <= connection._exporter._leases.granted.data_end
        assert await received(server, MAX_SEGMENTS - 1)


async def test_in_a_forked_child_nothing_waits_to_be_sent():
    async with two_endpoints() as (client, _):
        await client.send(b"1")
        transport = client._channel.carrier.transport
        client._channel.carrier.forked()
        with pytest.raises(EndpointClosed) as caught:
            await client.send(b"2")
        transport.abort()
        assert caught.value.reason == "forked"
        assert not pending(client)


@pytest.mark.parametrize(("messages", "used"), [(4, 3), (20, 20)], ids=["each", "rows"])
async def test_no_number_is_used_twice_where_protection_fails(messages, used):
    async with two_endpoints() as (client, server):
        connection = client._channel.connection
        writer = connection._layer.writer
        connection.protect_batch([b"to make the cipher"])
        cipher, begun = writer._cipher, writer.next_number

        class Failing:
            nonces: list[bytes] = []  # noqa: RUF012

            def encrypt(self, nonce: bytes, *arguments: bytes) -> bytes:
                self.note(nonce)
                return cipher.encrypt(nonce, *arguments)

            def encrypt_into(self, nonce: memoryview, *arguments: bytes | memoryview) -> int:
                self.note(bytes(nonce))
                return cipher.encrypt_into(nonce, *arguments)

            def note(self, nonce: bytes) -> None:
                self.nonces.append(nonce)
                if len(self.nonces) == 3:
                    raise MemoryError

        writer._cipher = Failing()
        with pytest.raises(MemoryError):
            connection.protect_batch([b"0"] * messages)
        assert writer.next_number == begun + used
        client.send_nowait(b"5")
        assert await received(server, 1) == [b"5"]
        assert len(set(Failing.nonces)) == len(Failing.nonces) == 4


async def test_a_refused_run_is_sent_once_all_the_same(monkeypatch):
    """An ICMP error that came meanwhile is of what was sent before."""
    async with two_endpoints() as (client, server):
        transport = client._channel.carrier.batching
        honest, refusals = transport._send_segments, [errno.ECONNREFUSED]

        def refuse(batch: bytes, size: int, addr: object) -> None:
            if refusals:
                raise OSError(refusals.pop(), "refused")
            honest(batch, size, addr)

        monkeypatch.setattr(transport, "_send_segments", refuse)
        sent = [b"1", b"2", b"3"]
        for data in sent:
            await client.send(data)
        assert await received(server, 3) == sent
        assert not refusals
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(server.recv(), 0.02)
