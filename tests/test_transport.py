"""create_datagram_endpoint(): existing protocols over DTLS."""

from __future__ import annotations

import asyncio
import errno

import pytest

import aiodtls
from aiodtls import DTLSConfig, Trust


class Recorder(asyncio.DatagramProtocol):
    """Writes down every call."""

    def __init__(self, *, echoes: bool = False) -> None:
        self.echoes = echoes
        self.calls: list[tuple] = []
        self.data: asyncio.Queue[tuple[bytes, tuple]] = asyncio.Queue()
        self.errors: asyncio.Queue[Exception] = asyncio.Queue()
        self.lost = asyncio.Event()

    def connection_made(self, transport):
        self.transport = transport
        self.calls.append(("connection_made",))

    def datagram_received(self, data, addr):
        self.data.put_nowait((data, addr))
        if self.echoes:
            self.transport.sendto(data, addr)

    def error_received(self, exc):
        self.errors.put_nowait(exc)

    def peer_connected(self, addr):
        self.calls.append(("peer_connected", addr))

    def peer_lost(self, addr, exc):
        self.calls.append(("peer_lost", addr, exc))

    def connection_lost(self, exc):
        self.calls.append(("connection_lost", exc))
        self.lost.set()


@pytest.fixture
def config(credentials) -> DTLSConfig:
    trust = Trust.fingerprints(credentials.fingerprint())
    return DTLSConfig(credentials=credentials, trust=trust, retransmit_initial=0.1)


async def bound(config: DTLSConfig, *, echoes: bool = False, **options):
    return await aiodtls.create_datagram_endpoint(
        lambda: Recorder(echoes=echoes), ("127.0.0.1", 0), config=config, **options
    )


def test_connected_to_bound_on_both_loops(run_loop, config):
    async def main() -> None:
        server, served = await bound(config, echoes=True)
        addr = server.get_extra_info("sockname")
        client, protocol = await aiodtls.create_datagram_endpoint(
            Recorder, remote_addr=addr, config=config
        )
        assert protocol.calls == [("connection_made",)]
        client.sendto(b"hello")
        assert await asyncio.wait_for(protocol.data.get(), 5) == (b"hello", addr)
        assert client.get_endpoint().version == "1.3"
        peer = client.get_extra_info("sockname")
        assert server.get_endpoint(peer).role == "server"
        client.close()
        await asyncio.wait_for(protocol.lost.wait(), 5)
        assert protocol.calls[-1] == ("connection_lost", None)
        await asyncio.sleep(0.05)
        assert served.calls[1:] == [("peer_connected", peer), ("peer_lost", peer, None)]
        server.close()
        await asyncio.wait_for(served.lost.wait(), 5)
        assert len(asyncio.all_tasks()) == 1

    run_loop(main)


async def test_failure_raises_and_connection_made_is_never_called(config):
    server, _ = await bound(config)
    made = []
    with pytest.raises(aiodtls.CertificateError):
        await aiodtls.create_datagram_endpoint(
            lambda: made.append(Recorder()) or made[-1],
            remote_addr=server.get_extra_info("sockname"),
            config=DTLSConfig(trust=Trust.fingerprints("sha-256 " + ":".join(["00"] * 32))),
        )
    assert made[0].calls == []
    server.close()


async def test_sending_to_an_unknown_address_dials_it(config):
    server, _ = await bound(config, echoes=True)
    other, protocol = await bound(config)
    addr = server.get_extra_info("sockname")
    other.sendto(b"one", addr)
    other.sendto(b"two", addr)
    assert [(await protocol.data.get())[0] for _ in range(2)] == [b"one", b"two"]
    assert ("peer_connected", addr) in protocol.calls
    other.close()
    server.close()


async def test_without_dialling_an_unknown_address_is_an_error(config):
    transport, protocol = await bound(config, dial=False)
    transport.sendto(b"x", ("127.0.0.1", 9))
    error = await protocol.errors.get()
    assert error.errno == errno.ENOTCONN
    transport.close()


async def test_a_failed_dial_is_told_with_its_address(config, credentials):
    server, _ = await bound(config)
    addr = server.get_extra_info("sockname")
    wary = DTLSConfig(
        credentials=credentials, trust=Trust.fingerprints("sha-256 " + ":".join(["00"] * 32))
    )
    transport, protocol = await bound(wary)
    transport.sendto(b"x", addr)
    error = await asyncio.wait_for(protocol.errors.get(), 5)
    assert isinstance(error, aiodtls.CertificateError)
    assert error.peername == addr
    transport.close()
    server.close()


async def test_too_large_is_told_and_nothing_is_sent(config):
    server, served = await bound(config)
    client, protocol = await aiodtls.create_datagram_endpoint(
        Recorder, remote_addr=server.get_extra_info("sockname"), config=config
    )
    client.sendto(bytes(5000))
    error = await protocol.errors.get()
    assert error.errno == errno.EMSGSIZE
    client.sendto(b"fits")
    assert (await served.data.get())[0] == b"fits"
    with pytest.raises(ValueError, match="connected"):
        client.sendto(b"x", ("127.0.0.1", 9))
    client.abort()
    server.abort()
    await served.lost.wait()


async def test_the_peers_end_is_connection_lost(config):
    server, _ = await bound(config)
    client, protocol = await aiodtls.create_datagram_endpoint(
        Recorder, remote_addr=server.get_extra_info("sockname"), config=config
    )
    server.close()
    await asyncio.wait_for(protocol.lost.wait(), 5)
    assert protocol.calls[-1] == ("connection_lost", None)
    assert client.is_closing()


async def test_what_the_users_protocol_raises_is_logged(config, caplog):
    class Clumsy(Recorder):
        def datagram_received(self, data, addr):
            super().datagram_received(data, addr)
            raise ValueError("oops")

    server, served = await aiodtls.create_datagram_endpoint(Clumsy, ("127.0.0.1", 0), config=config)
    client, _ = await aiodtls.create_datagram_endpoint(
        Recorder, remote_addr=server.get_extra_info("sockname"), config=config
    )
    for text in (b"1", b"2"):
        client.sendto(text)
        assert (await asyncio.wait_for(served.data.get(), 5))[0] == text
    assert "oops" in caplog.text
    client.close()
    server.close()
    await served.lost.wait()
