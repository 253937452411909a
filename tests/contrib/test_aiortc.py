"""Our DTLS under aiortc, against itself and against aiortc's own, which is OpenSSL's."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aioice.ice
import aiortc
import pytest
from aiortc import RTCPeerConnection, rtcdtlstransport, rtcpeerconnection
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack
from aiortc.rtcdtlstransport import (
    SRTP_AEAD_AES_256_GCM,
    SRTP_AES128_CM_SHA1_80,
    RTCCertificate,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
)
from aiortc.rtp import RtpPacket

from aiodtls import ConfigError
from aiodtls.contrib.aiortc import DTLSTransport, install, installed

OPENSSL = rtcdtlstransport.RTCDtlsTransport
VERSIONS = ["1.2", "1.3"]
versions = pytest.mark.parametrize("version", VERSIONS)
# Which side is ours: the server (the controlling one), the client, or both. OpenSSL has no 1.3.
pairs = pytest.mark.parametrize(
    ("version", "ours"), [("1.2", "server"), ("1.2", "client"), ("1.2", "both"), ("1.3", "both")]
)


# aiortc's own transport, with an old pyOpenSSL.
pytestmark = pytest.mark.filterwarnings("ignore:Attempting to mutate a Context:DeprecationWarning")


class Path:
    """One end of a path that ICE could have found. ``loss`` says whether a datagram is lost."""

    def __init__(self, role: str, incoming: asyncio.Queue[Any], outgoing: asyncio.Queue[Any]):
        self.role = role
        self.incoming, self.outgoing = incoming, outgoing
        self.loss: Any = lambda: False

    async def _recv(self) -> bytes:
        data = await self.incoming.get()
        if data is None:
            raise ConnectionError
        return data

    async def _send(self, data: bytes) -> None:
        if not self.loss():
            self.outgoing.put_nowait(data)

    def stop(self) -> None:
        self.incoming.put_nowait(None)


class Receiver:
    """Takes the messages of an association, in the place of SCTP."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()

    async def _handle_data(self, data: bytes) -> None:
        self.messages.put_nowait(data)


class RTPReceiver:
    def __init__(self) -> None:
        self.packets: asyncio.Queue[RtpPacket] = asyncio.Queue()
        self.disconnected = asyncio.Event()

    def _handle_disconnect(self) -> None:
        self.disconnected.set()

    async def _handle_rtp_packet(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        self.packets.put_nowait(packet)


def transports(
    version: str | None = None, ours: str = "both", **fields: Any
) -> tuple[Any, Any, list[Path]]:
    """A server and a client, and the ends of their path."""
    there: asyncio.Queue[Any] = asyncio.Queue()
    back: asyncio.Queue[Any] = asyncio.Queue()
    paths = [Path("controlling", there, back), Path("controlled", back, there)]
    if version is not None:
        fields["versions"] = [version]
    kind = type("Configured", (DTLSTransport,), {"config_fields": fields})
    made = []
    for path, side in zip(paths, ("server", "client"), strict=True):
        transport = (kind if ours in (side, "both") else OPENSSL)(
            path, [RTCCertificate.generateCertificate()]
        )
        transport._register_data_receiver(Receiver())
        made.append(transport)
    return made[0], made[1], paths


async def start(server: Any, client: Any, seen_by_server: Any = None) -> None:
    await asyncio.gather(
        server.start(seen_by_server or client.getLocalParameters()),
        client.start(server.getLocalParameters()),
    )


async def state(transport: Any, wanted: str) -> None:
    while transport.state != wanted:
        changed = asyncio.Event()
        transport.once("statechange", changed.set)
        await changed.wait()


@asynccontextmanager
async def connected(*arguments: Any, **fields: Any) -> AsyncIterator[tuple[Any, Any]]:
    async with asyncio.timeout(30):
        server, client, _ = transports(*arguments, **fields)
        await start(server, client)
        assert (server.state, client.state) == ("connected", "connected")
        yield server, client
        await client.stop()
        await server.stop()


@pairs
async def test_data_and_a_normal_end(version, ours):
    async with connected(version, ours) as (server, client):
        for message in (b"ping", bytes(1188)):
            await client._send_data(message)
            assert await server._data_receiver.messages.get() == message
            await server._send_data(message)
            assert await client._data_receiver.messages.get() == message
        ends = RTPReceiver()
        server._rtp_router.receivers.add(ends)
        await client.stop()
        await state(server, "closed")
        assert client.state == "closed" and ends.disconnected.is_set()
        with pytest.raises(ConnectionError):
            await client._send_data(b"late")


@pairs
@pytest.mark.parametrize("profile", [SRTP_AEAD_AES_256_GCM, SRTP_AES128_CM_SHA1_80])
async def test_media(version, ours, profile):
    async with asyncio.timeout(30):
        server, client, _ = transports(version, ours)
        client._srtp_profiles = [profile]
        receivers = RTPReceiver(), RTPReceiver()
        await start(server, client)
        for transport, receiver in zip((server, client), receivers, strict=True):
            transport._rtp_router.register_receiver(receiver, ssrcs=[7], payload_types=[0])
        for sender, receiver in zip((client, server), receivers, strict=True):
            packet = RtpPacket(payload_type=0, sequence_number=1, ssrc=7, payload=b"sound")
            await sender._send_rtp(packet.serialize())
            assert (await receiver.packets.get()).payload == b"sound"
        await client.stop()
        await server.stop()


@pairs
async def test_without_a_common_srtp_profile_both_fail(version, ours):
    async with asyncio.timeout(30):
        server, client, _ = transports(version, ours)
        client._srtp_profiles = [SRTP_AEAD_AES_256_GCM]
        server._srtp_profiles = [SRTP_AES128_CM_SHA1_80]
        await start(server, client)
        assert (server.state, client.state) == ("failed", "failed")
        await client.stop()
        await server.stop()
        assert (server.state, client.state) == ("failed", "failed")


@versions
@pytest.mark.parametrize("seed", range(5))
async def test_a_quarter_of_the_handshake_is_lost(version, seed):
    async with asyncio.timeout(60):
        server, client, paths = transports(version, retransmit_initial=0.02)
        rng = random.Random(seed)
        for path in paths:
            path.loss = lambda: rng.random() < 0.25
        await start(server, client)
        assert (server.state, client.state) == ("connected", "connected")
        await client.stop()
        await server.stop()


# -- fingerprints -------------------------------------------------------------------------------

OTHER = RTCCertificate.generateCertificate().getFingerprints()


@versions
@pytest.mark.parametrize(
    "prints",
    [
        OTHER,
        [RTCDtlsFingerprint("sha-256", "bogus")],
        [RTCDtlsFingerprint("sha-3", "AB:CD")],
        [],
    ],
    ids=["another", "malformed", "unknown", "none"],
)
async def test_a_refused_fingerprint_fails_both_ends(version, prints):
    async with asyncio.timeout(30):
        server, client, _ = transports(version)
        await start(server, client, RTCDtlsParameters(prints))
        assert server.state == "failed"
        # A client of DTLS 1.3 is connected before the server has looked at its certificate.
        await state(client, "failed")
        await client.stop()
        await server.stop()
        assert (server.state, client.state) == ("failed", "failed")


async def test_the_strongest_fingerprint_counts():
    async with asyncio.timeout(30):
        server, client, _ = transports()
        own = {print_.algorithm: print_ for print_ in client.getLocalParameters().fingerprints}
        prints = [OTHER[0], own["sha-512"], RTCDtlsFingerprint("sha-3", "AB:CD")]
        await start(server, client, RTCDtlsParameters(prints))
        assert (server.state, client.state) == ("connected", "connected")
        await client.stop()
        await server.stop()


# -- odd moments --------------------------------------------------------------------------------


async def test_early_messages_wait_for_their_receiver():
    async with connected() as (server, client):
        receiver = client._data_receiver
        client._unregister_data_receiver(receiver)
        messages = [bytes([number]) for number in range(5)]
        for message in messages:
            await server._send_data(message)
        await server._send_data(b"last")
        while len(client._messages) < 6:
            await asyncio.sleep(0)
        client._register_data_receiver(receiver)
        assert [await receiver.messages.get() for _ in range(6)] == [*messages, b"last"]


async def test_a_receiver_that_raises_ends_its_association(caplog):
    class Broken:
        async def _handle_data(self, data: bytes) -> None:
            raise RuntimeError("cannot be processed")

    async with connected() as (server, client):
        client._unregister_data_receiver(client._data_receiver)
        client._register_data_receiver(Broken())
        await server._send_data(b"anything")
        await state(server, "closed")
        assert client.state == "closed"
    assert "cannot be processed" in caplog.text


@pytest.mark.parametrize("who", [0, 1])
async def test_stopping_ends_a_handshake(who):
    async with asyncio.timeout(30):
        *both, paths = transports()
        paths[who].loss = lambda: True
        other = both[1 - who].getLocalParameters()
        starting = asyncio.ensure_future(both[who].start(other))
        await state(both[who], "connecting")
        await asyncio.sleep(0)
        await both[who].stop()
        await starting
        assert both[who].state == "closed"


@pytest.mark.parametrize("established", [False, True])
async def test_the_end_of_ice_ends_it(established):
    async with asyncio.timeout(30):
        server, client, paths = transports()
        if established:
            await start(server, client)
            paths[0].stop()
            await state(server, "closed")
            await client.stop()
        else:
            starting = asyncio.ensure_future(server.start(client.getLocalParameters()))
            paths[0].stop()
            await starting
            assert server.state == "failed"
        await server.stop()


async def test_counters_are_those_of_the_path():
    async with connected() as (server, client):
        await client._send_data(b"ping")
        await server._data_receiver.messages.get()
        await client._send_rtp(RtpPacket(payload_type=0, ssrc=7, payload=b"x").serialize())
        while (stats := server._get_stats()[server._stats_id]).packetsReceived == 0:
            await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.sleep(0)
        stats = server._get_stats()[server._stats_id]
        other = client._get_stats()[client._stats_id]
        assert stats.packetsReceived == other.packetsSent > 3
        assert stats.bytesReceived == other.bytesSent > 100
        assert stats.bytesSent == other.bytesReceived and stats.dtlsState == "connected"


# -- the whole of aiortc ------------------------------------------------------------------------


@pytest.fixture
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda *_, **__: ["127.0.0.1"])


async def agree(offerer: RTCPeerConnection, answerer: RTCPeerConnection) -> None:
    await offerer.setLocalDescription(await offerer.createOffer())
    await answerer.setRemoteDescription(offerer.localDescription)
    await answerer.setLocalDescription(await answerer.createAnswer())
    await offerer.setRemoteDescription(answerer.localDescription)


async def test_channels_and_tracks(loopback):
    messages = [bytes([size % 251]) * size for size in (1, 100, 1188, 20_000, 65_536)]
    tracks: asyncio.Queue[Any] = asyncio.Queue()
    echoed: asyncio.Queue[bytes] = asyncio.Queue()
    offerer, answerer = RTCPeerConnection(), RTCPeerConnection()
    answerer.on("track", tracks.put_nowait)

    @answerer.on("datachannel")
    def echo(channel: Any) -> None:
        channel.on("message", channel.send)

    try:
        async with asyncio.timeout(60):
            with installed():
                offerer.addTrack(AudioStreamTrack())
                offerer.addTrack(VideoStreamTrack())
                channel = offerer.createDataChannel("echo")
                opened = asyncio.Event()
                channel.on("open", opened.set)
                channel.on("message", echoed.put_nowait)
                await agree(offerer, answerer)
            await opened.wait()
            assert isinstance(offerer.sctp.transport, DTLSTransport)
            for message in messages:
                channel.send(message)
                assert await echoed.get() == message
            for _ in range(2):
                await (await tracks.get()).recv()
            assert offerer.connectionState == answerer.connectionState == "connected"
    finally:
        await offerer.close()
        await answerer.close()


def test_installing_can_be_undone():
    modules = aiortc, rtcdtlstransport, rtcpeerconnection
    uninstall = install(versions=["1.2"])
    made = {module.RTCDtlsTransport for module in modules}
    assert len(made) == 1 and issubclass(made.pop(), DTLSTransport)
    with installed():
        assert rtcdtlstransport.RTCDtlsTransport.config_fields == {}
    assert rtcdtlstransport.RTCDtlsTransport.config_fields == {"versions": ["1.2"]}
    uninstall()
    uninstall()
    assert {module.RTCDtlsTransport for module in modules} == {OPENSSL}
    with pytest.raises(ConfigError, match="pmtu"):
        install(pmtu=1)
    with pytest.raises(TypeError, match="no_such_field"):
        install(no_such_field=1)  # type: ignore[call-arg]
    assert rtcdtlstransport.RTCDtlsTransport is OPENSSL
