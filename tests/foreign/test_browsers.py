"""aiortc with our DTLS, and browsers: both roles, both versions."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aioice.ice
import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack

from aiodtls.contrib.aiortc import installed
from tests import browsers

pytestmark = [pytest.mark.built("browsers"), pytest.mark.filterwarnings("ignore")]

# Makes a connection with tracks of its own, echoes what comes on data channels, and answers with
# its description: an answer to the offer that it gets, or an offer.
BEGIN = """
const [offer, media, done] = arguments;
(async () => {
  const pc = window.pc = new RTCPeerConnection();
  window.tracks = [];
  pc.ontrack = event => window.tracks.push(event.track.kind);
  const echo = channel => {
    channel.binaryType = "arraybuffer";
    channel.onmessage = event => channel.send(event.data);
  };
  pc.ondatachannel = event => echo(event.channel);
  const stream = new MediaStream();
  if (media) {
    const audio = new AudioContext();
    const tone = audio.createOscillator();
    const destination = audio.createMediaStreamDestination();
    tone.connect(destination);
    tone.start();
    const canvas = document.createElement("canvas");
    const context = canvas.getContext("2d");
    let shade = 0;
    setInterval(() => {
      context.fillStyle = `rgb(${shade = (shade + 8) % 256},0,0)`;
      context.fillRect(0, 0, 99, 99);
    }, 50);
    for (const source of [destination.stream, canvas.captureStream(20)])
      for (const track of source.getTracks()) stream.addTrack(track);
  }
  if (offer) await pc.setRemoteDescription(offer);
  else echo(pc.createDataChannel("echo"));
  for (const track of stream.getTracks()) pc.addTrack(track, stream);
  await pc.setLocalDescription(offer ? await pc.createAnswer() : await pc.createOffer());
  while (pc.iceGatheringState != "complete") await new Promise(next => setTimeout(next, 10));
  return {type: pc.localDescription.type, sdp: pc.localDescription.sdp};
})().then(done, error => done({error: String(error)}));
"""
ANSWERED = """
const [answer, done] = arguments;
window.pc.setRemoteDescription(answer).then(() => done(null), error => done(String(error)));
"""
# When the connection has one of these states; also what there is of tracks and packets.
STATE = """
const [wanted, done] = arguments;
(async () => {
  while (!wanted.includes(window.pc.connectionState))
    await new Promise(next => setTimeout(next, 20));
  return window.pc.connectionState;
})().then(done, error => done(String(error)));
"""
MEDIA = """
const [done] = arguments;
(async () => {
  for (;;) {
    const found = new Set();
    for (const report of (await window.pc.getStats()).values())
      if (report.type == "inbound-rtp" && report.packetsReceived > 0) found.add(report.kind);
    if (found.size == 2) return window.tracks.sort();
    await new Promise(next => setTimeout(next, 50));
  }
})().then(done, error => done(String(error)));
"""
CLOSE = "const [done] = arguments; window.pc.close(); done(null);"


@pytest.fixture(scope="module", params=list(browsers.BROWSERS))
def browser(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    directory: Path = tmp_path_factory.mktemp(request.param)
    with browsers.BROWSERS[request.param](directory) as running:
        yield running


@pytest.fixture(autouse=True)
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda *_, **__: ["127.0.0.1"])


@pytest.fixture
def loss(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Loses a quarter of the DTLS datagrams in both directions, from a seed, while it is on."""
    rng = random.Random()
    connection = aioice.ice.Connection
    send, receive = connection.send, connection.recv
    on = False

    def is_lost(data: bytes) -> bool:
        return on and 20 <= data[0] < 64 and rng.random() < 0.25

    async def lossy_send(self: Any, data: bytes) -> None:
        if not is_lost(data):
            await send(self, data)

    async def lossy_receive(self: Any) -> bytes:
        while is_lost(data := await receive(self)):
            pass
        return data

    monkeypatch.setattr(connection, "send", lossy_send)
    monkeypatch.setattr(connection, "recv", lossy_receive)

    def switch(seed: int | None) -> None:
        nonlocal on
        on = seed is not None
        rng.seed(seed)

    return switch


def described(description: Any) -> dict[str, str]:
    return {"type": description.type, "sdp": description.sdp}


@asynccontextmanager
async def connected(
    browser: Any, role: str, *, tracks: bool = False, forged: bool = False, **fields: Any
) -> AsyncIterator[tuple[RTCPeerConnection, asyncio.Future[Any]]]:
    """A connection in which we have this role, and its data channel once that is open.

    The answerer is the client. With ``forged`` the browser sees another fingerprint than ours.
    """
    pc = RTCPeerConnection()
    channel: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    pc.on("datachannel", channel.set_result)

    def seen(description: Any) -> dict[str, str]:
        there = described(description)
        if forged:
            there["sdp"] = _forged(there["sdp"])
        return there

    try:
        with installed(**fields):
            if tracks:
                pc.addTrack(AudioStreamTrack())
                pc.addTrack(VideoStreamTrack())
            if role == "server":
                made = pc.createDataChannel("echo")
                made.on("open", lambda: channel.set_result(made))
                await pc.setLocalDescription(await pc.createOffer())
                answer = await browser.run(BEGIN, seen(pc.localDescription), tracks)
                await pc.setRemoteDescription(RTCSessionDescription(**answer))
            else:
                offer = await browser.run(BEGIN, None, tracks)
                await pc.setRemoteDescription(RTCSessionDescription(**offer))
                await pc.setLocalDescription(await pc.createAnswer())
                assert await browser.run(ANSWERED, seen(pc.localDescription)) is None
        yield pc, channel
    finally:
        await pc.close()
        await browser.run(CLOSE)


def _forged(sdp: str) -> str:
    lines = []
    for line in sdp.splitlines():
        if line.startswith("a=fingerprint:"):
            name, _, print_ = line.partition(" ")
            line = f"{name} {':'.join(reversed(print_.split(':')))}"
        lines.append(line)
    return "\r\n".join(lines) + "\r\n"


roles = pytest.mark.parametrize("role", ["client", "server"])
versions = pytest.mark.parametrize("version", ["1.2", "1.3"])


@roles
@versions
async def test_a_channel_echoes_and_tracks_flow(browser, role, version):
    rng = random.Random(7)
    messages = [rng.randbytes(min(65_536, int(2 ** rng.uniform(0, 16)))) for _ in range(999)]
    messages.append(rng.randbytes(65_535))
    async with (
        asyncio.timeout(240),
        connected(browser, role, tracks=True, versions=[version]) as (pc, channel),
    ):
        opened = await channel
        echoed: asyncio.Queue[bytes] = asyncio.Queue()
        opened.on("message", echoed.put_nowait)
        endpoint = pc.sctp.transport.endpoint
        assert (endpoint.role, endpoint.version) == (role, version)
        assert endpoint.group == ("X25519MLKEM768" if version == "1.3" else "x25519")
        window = 20
        for number, message in enumerate(messages):
            opened.send(message)
            if number >= window:
                assert await echoed.get() == messages[number - window]
        for message in messages[-window:]:
            assert await echoed.get() == message
        for receiver in pc.getReceivers():
            await receiver.track.recv()
        assert await browser.run(MEDIA) == ["audio", "video"]
        await pc.close()
        assert await browser.run(STATE, ["closed", "disconnected", "failed"])


@roles
@versions
@pytest.mark.parametrize("seed", range(3))
async def test_a_quarter_of_the_handshake_is_lost(browser, loss, role, version, seed):
    loss(seed)
    async with asyncio.timeout(120), connected(browser, role, versions=[version]) as (pc, channel):
        while pc.connectionState == "connecting" or pc.connectionState == "new":
            changed = asyncio.Event()
            pc.once("connectionstatechange", changed.set)
            await changed.wait()
        assert pc.connectionState == "connected"
        loss(None)
        opened = await channel
        echoed: asyncio.Queue[str] = asyncio.Queue()
        opened.on("message", echoed.put_nowait)
        opened.send("still here")
        assert await echoed.get() == "still here"


@roles
@versions
async def test_a_fingerprint_that_the_browser_refuses_fails_both(browser, role, version):
    async with (
        asyncio.timeout(120),
        connected(browser, role, versions=[version], forged=True) as (pc, _),
    ):
        assert await browser.run(STATE, ["failed", "connected"]) == "failed"
        while pc.connectionState != "failed":
            changed = asyncio.Event()
            pc.once("connectionstatechange", changed.set)
            await changed.wait()


@pytest.mark.parametrize("browser", ["chromium"], indirect=True)
async def test_the_selected_path_breaks(browser, monkeypatch):
    """The browser, which controls ICE, goes over to another of our addresses. Firefox would not."""
    addresses = ["127.0.0.1", "127.77.0.2"]
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda *_, **__: addresses)
    cut: set[str] = set()
    protocol = aioice.ice.StunProtocol
    receive, send, send_stun = protocol.datagram_received, protocol.send_data, protocol.send_stun

    def is_cut(self: Any) -> bool:
        return self.local_candidate.host in cut

    def received(self: Any, data: Any, addr: Any) -> None:
        if not is_cut(self):
            receive(self, data, addr)

    async def sent(self: Any, *arguments: Any) -> None:
        if not is_cut(self):
            await send(self, *arguments)

    def sent_stun(self: Any, *arguments: Any) -> None:
        if not is_cut(self):
            send_stun(self, *arguments)

    monkeypatch.setattr(protocol, "datagram_received", received)
    monkeypatch.setattr(protocol, "send_data", sent)
    monkeypatch.setattr(protocol, "send_stun", sent_stun)
    async with asyncio.timeout(120), connected(browser, "client") as (pc, channel):
        opened = await channel
        echoed: asyncio.Queue[str] = asyncio.Queue()
        opened.on("message", echoed.put_nowait)
        opened.send("before")
        assert await echoed.get() == "before"
        connection = pc.sctp.transport.transport._connection

        def selected() -> str:
            return connection._nominated[1].local_candidate.host

        cut.add(first := selected())
        opened.send("after")
        assert await echoed.get() == "after"
        assert selected() in addresses and selected() != first
        assert pc.sctp.transport.state == "connected"
