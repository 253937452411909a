"""The gateway as a program: both directions, under load, loss, reload and kill."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

import aiodtls
from aiodtls import PSK, DTLSConfig, EndpointClosed, HandshakeError, SessionCache, Trust
from tests.chaos import ChaosProxy
from tests.peers import PSK_HEX, PSK_IDENTITY, PSK_KEY
from tests.pki import PKI
from tests.proxy.running import AIODTLS, backend, proxy

KEY = ("--psk", f"{PSK_IDENTITY}:{PSK_HEX}")
# A second or more each.
slow = pytest.mark.by_hand("AIODTLS_ALL")
CONFIG = DTLSConfig(psk=PSK(PSK_IDENTITY, PSK_KEY), retransmit_initial=0.2)
# Started so, a program finds its own process id in LISTEN_PID, as a service manager sets it.
ACTIVATED = "import os, runpy; os.environ['LISTEN_PID'] = str(os.getpid()); " + (
    "runpy.run_module('aiodtls', run_name='__main__', alter_sys=True)"
)


async def asked(endpoint: aiodtls.DTLSEndpoint, question: bytes, timeout: float = 20) -> bytes:
    """The answer to a question, which is repeated until there is one, as UDP demands."""
    async with asyncio.timeout(timeout):
        while True:
            await endpoint.send(question)
            try:
                return await asyncio.wait_for(endpoint.recv(), 0.5)
            except TimeoutError:
                continue


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_each_peer_has_an_address_of_its_own_at_the_backend(version):
    config = DTLSConfig(psk=PSK(PSK_IDENTITY, PSK_KEY), versions=[version])
    async with backend() as plain, proxy(plain.address, *KEY) as gateway:
        first, second = [await aiodtls.connect(*gateway.address, config=config) for _ in range(2)]
        for number in range(3):
            for name, endpoint in (("first", first), ("second", second)):
                message = f"{name} {number}".encode()
                assert await asked(endpoint, message) == message
        heard = {lines[0].split()[0]: lines for lines in plain.received.values()}
        assert set(heard) == {b"first", b"second"} and len(plain.received) == 2
        first.close()
        second.close()


async def test_the_other_way_round():
    """Plain client, gateway, gateway, plain server: nobody but the gateways speaks DTLS."""
    loop = asyncio.get_running_loop()
    async with backend() as plain, proxy(plain.address, *KEY) as inner:
        async with proxy(inner.address, *KEY, "--client") as outer:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two:
                    for sock in (one, two):
                        sock.setblocking(False)
                        sock.connect(outer.address)
                        # The first ones wait for the handshake.
                        for number in range(5):
                            await loop.sock_sendall(sock, b"%d" % number)
                    async with asyncio.timeout(20):
                        for sock in (one, two):
                            got = [await loop.sock_recv(sock, 99) for _ in range(5)]
                            assert got == [b"0", b"1", b"2", b"3", b"4"]
            assert len(plain.received) == 2


@slow
async def test_certificates_and_the_identity_in_the_proxy_header(pki: PKI):
    leaf, mine = pki.leaf(), pki.leaf("ecdsa-p256", "client")
    files = ("--cert", leaf.certfile, "--key", leaf.keyfile, "--cafile", pki.cafile)
    options = (*files, "--client-auth", "required", "--proxy-protocol", "--alpn", "coap")
    config = DTLSConfig(trust=pki.trust, credentials=mine.credentials, alpn_protocols=["coap"])
    async with backend(lambda data: data[-5:]) as plain, proxy(plain.address, *options) as gateway:
        async with aiodtls.connect(
            *gateway.address, config=config, server_hostname="localhost"
        ) as endpoint:
            assert await asked(endpoint, b"hello") == b"hello"
            own = endpoint.sockname
        (data,) = {data for lines in plain.received.values() for data in lines}
    assert data.startswith(b"\r\n\r\n\0\r\nQUIT\n\x21\x12") and data.endswith(b"hello")
    assert data[16:20] == socket.inet_aton(own[0]) and int.from_bytes(data[24:26]) == own[1]
    assert b"\x22\x00\x06client" in data and b"\x01\x00\x04coap" in data


@slow
async def test_raw_public_keys(pki: PKI, tmp_path):
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    ours = aiodtls.Credentials.raw_public_key(pki.leaf("ed25519", "client").keyfile)
    theirs = aiodtls.Credentials.raw_public_key(pki.leaf("ed25519", "server").keyfile)
    (tmp_path / "client.pem").write_bytes(
        ours.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    own = ("--raw-public-key", "--key", pki.leaf("ed25519", "server").keyfile)
    trusted = ("--public-key", str(tmp_path / "client.pem"), "--client-auth", "required")
    config = DTLSConfig(credentials=ours, trust=Trust.public_keys(theirs.public_key))
    async with backend() as plain, proxy(plain.address, *own, *trusted) as gateway:
        async with aiodtls.connect(*gateway.address, config=config) as endpoint:
            assert await asked(endpoint, b"hello") == b"hello"


@slow
async def test_a_peer_that_moves_keeps_its_address_at_the_backend():
    async with backend() as plain, proxy(plain.address, *KEY) as gateway:
        async with ChaosProxy(gateway.address) as nat:
            async with aiodtls.connect(*nat.address, config=CONFIG) as endpoint:
                assert await asked(endpoint, b"before") == b"before"
                nat.rebind()
                assert await asked(endpoint, b"after") in (b"before", b"after")
                await endpoint.send(b"last")
                while await asyncio.wait_for(endpoint.recv(), 20) != b"last":
                    pass
        assert len(plain.received) == 1


@slow
async def test_load():
    """Everything of every peer comes back, in order, and to it alone."""
    peers, rounds, window = 40, 10, 5

    async def talk(name: int) -> None:
        async with aiodtls.connect(*gateway.address, config=CONFIG) as endpoint:
            for number in range(rounds):
                wanted = [b"%d %d %d" % (name, number, each) for each in range(window)]
                for message in wanted:
                    await endpoint.send(message)
                async with asyncio.timeout(60):
                    assert [await endpoint.recv() for _ in wanted] == wanted

    async with backend() as plain, proxy(plain.address, *KEY) as gateway:
        await asyncio.gather(*map(talk, range(peers)))
        assert len(plain.received) == peers
        assert all(len(lines) == rounds * window for lines in plain.received.values())
        gateway.signal(signal.SIGTERM)
        stopped = await gateway.told("stopped")
        assert stopped["to_plain"] == stopped["to_dtls"] == peers * rounds * window
        assert stopped["peers_total"] == peers and stopped["dropped"] == {}
        assert await gateway.ended() == 0


@slow
async def test_loss():
    """A fifth of all that the gateway sends by DTLS is lost, and a fifth of what it gets."""
    lossy = ("--loss", "20", "--retransmit-initial", "0.1")
    async with backend() as plain, proxy(plain.address, *KEY, *lossy) as gateway:
        async with ChaosProxy(gateway.address, seed=7, drop=0.2) as link:

            async def talk(name: int) -> None:
                async with aiodtls.connect(*link.address, config=CONFIG) as endpoint:
                    message = b"from %d" % name
                    assert await asked(endpoint, message, 60) == message

            await asyncio.gather(*map(talk, range(8)))
        assert {lines[0] for lines in plain.received.values()} == {b"from %d" % n for n in range(8)}


async def test_reload_takes_new_keys_and_loses_no_peer_and_no_session(tmp_path, pki: PKI):
    keys = tmp_path / "keys"
    keys.write_text(f"old:{PSK_HEX}\n")
    for name, leaf in (("cert.pem", pki.leaf().certfile), ("key.pem", pki.leaf().keyfile)):
        (tmp_path / name).write_bytes(Path(leaf).read_bytes())
    files = ("--cert", str(tmp_path / "cert.pem"), "--key", str(tmp_path / "key.pem"))
    old, new = (DTLSConfig(psk=PSK(name, PSK_KEY)) for name in ("old", "new"))
    by_certificate = DTLSConfig(trust=pki.trust)
    sessions = SessionCache()

    async def connect(config: DTLSConfig) -> aiodtls.DTLSEndpoint:
        return await aiodtls.connect(
            *gateway.address,
            config=config,
            server_hostname="localhost",
            session=sessions if config is by_certificate else None,
        )

    async with backend() as plain:
        async with proxy(plain.address, *files, "--psk-file", str(keys)) as gateway:
            stays = await connect(old)
            assert await asked(stays, b"before") == b"before"
            first = await connect(by_certificate)
            assert await asked(first, b"certificate") == b"certificate"
            shown = first.peer_certificates[0]
            assert first.session is not None
            first.close()
            other = pki.leaf("rsa-2048")
            (tmp_path / "cert.pem").write_bytes(Path(other.certfile).read_bytes())
            (tmp_path / "key.pem").write_bytes(Path(other.keyfile).read_bytes())
            keys.write_text(f"new:{PSK_HEX}\n")
            gateway.signal(signal.SIGHUP)
            await gateway.told("reloaded")
            assert await asked(stays, b"after") == b"after"
            with pytest.raises(HandshakeError):
                await aiodtls.connect(*gateway.address, config=old)
            async with await connect(new) as joined:
                assert await asked(joined, b"new") == b"new"
            async with await connect(by_certificate) as again:
                assert again.resumed
            async with aiodtls.connect(
                *gateway.address, config=by_certificate, server_hostname="localhost"
            ) as fresh:
                assert fresh.peer_certificates[0] != shown
            keys.write_text("no key at all\n")
            gateway.signal(signal.SIGHUP)
            assert "line 1" in (await gateway.told("not_reloaded"))["error"]
            async with await connect(new) as joined:
                assert await asked(joined, b"still") == b"still"
            assert await asked(stays, b"to the end") == b"to the end"
            stays.close()


@slow
async def test_sigterm_lets_peers_go_on_and_refuses_newcomers():
    async with backend() as plain:
        async with proxy(plain.address, *KEY, "--drain-timeout", "1000") as gateway:
            endpoint = await aiodtls.connect(*gateway.address, config=CONFIG)
            assert await asked(endpoint, b"before") == b"before"

            async def talk() -> None:
                while True:
                    assert await asked(endpoint, b"on and on") == b"on and on"
                    await asyncio.sleep(0.05)

            talking = asyncio.ensure_future(talk())
            gateway.signal(signal.SIGTERM)
            await gateway.told("draining")
            hasty = DTLSConfig(psk=PSK(PSK_IDENTITY, PSK_KEY), handshake_timeout=0.5)
            with pytest.raises((HandshakeError, OSError)):
                await aiodtls.connect(*gateway.address, config=hasty)
            assert not talking.done()
            talking.cancel()
            await asyncio.wait([talking])
            with pytest.raises(EndpointClosed) as ended:
                while True:
                    await asyncio.wait_for(endpoint.recv(), 20)
            assert ended.value.reason == "close_notify"
            assert await gateway.ended() == 0


@slow
async def test_a_peer_that_goes_on_is_closed_at_the_end_of_the_drain():
    async with backend() as plain:
        async with proxy(plain.address, *KEY, "--drain-timeout", "1.5") as gateway:
            endpoint = await aiodtls.connect(*gateway.address, config=CONFIG)
            gateway.signal(signal.SIGTERM)
            with pytest.raises(EndpointClosed):
                while True:
                    await endpoint.send(b"on and on")
                    await asyncio.wait_for(endpoint.recv(), 20)
                    await asyncio.sleep(0.05)
            assert await gateway.ended() == 0


@slow
async def test_a_second_sigterm_ends_it_at_once():
    async with backend() as plain:
        async with proxy(plain.address, *KEY, "--drain-timeout", "1000") as gateway:
            async with aiodtls.connect(*gateway.address, config=CONFIG) as endpoint:

                async def talk() -> None:
                    while True:
                        await endpoint.send(b"on and on")
                        await asyncio.sleep(0.1)

                talking = asyncio.ensure_future(talk())
                gateway.signal(signal.SIGTERM)
                await gateway.told("draining")
                gateway.signal(signal.SIGTERM)
                assert await gateway.ended() == 0
                talking.cancel()
                await asyncio.wait([talking])


@slow
async def test_after_a_kill_another_takes_its_place():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        fd = sock.fileno()
        # The socket stays open, as a service manager holds it.
        passed = ("env", "LISTEN_FDS=1", sys.executable, "-W", "error", "-c")
        moved = f"import os; os.dup2({fd}, 3); "
        before = (*passed, moved + ACTIVATED)
        fds = sorted({fd, 3}) if 3 in map(int, os.listdir("/proc/self/fd")) else [fd]
        async with backend() as plain:
            options = {"listen": None, "fds": fds, "before": before}
            async with proxy(plain.address, *KEY, **options) as gateway:
                assert gateway.address == sock.getsockname()
                lost = await aiodtls.connect(*gateway.address, config=CONFIG)
                assert await asked(lost, b"before") == b"before"
                gateway.signal(signal.SIGKILL)
                await gateway.ended()
            async with proxy(plain.address, *KEY, **options) as gateway:
                async with aiodtls.connect(*gateway.address, config=CONFIG) as endpoint:
                    assert await asked(endpoint, b"after") == b"after"
            lost.abort()


@slow
async def test_a_silent_peer_is_closed():
    async with backend() as plain, proxy(plain.address, *KEY, "--idle-timeout", "1") as gateway:
        silent = await aiodtls.connect(*gateway.address, config=CONFIG)
        assert await asked(silent, b"hello") == b"hello"
        with pytest.raises(EndpointClosed) as ended:
            await asyncio.wait_for(silent.recv(), 30)
        assert ended.value.reason == "close_notify"
        gateway.signal(signal.SIGTERM)
        assert (await gateway.told("stopped"))["idle"] == 1


@slow
async def test_no_more_peers_than_asked_for():
    async with backend() as plain, proxy(plain.address, *KEY, "--max-peers", "3") as gateway:
        assert gateway.events("serving")[0]["max_peers"] == 3
        peers = [await aiodtls.connect(*gateway.address, config=CONFIG) for _ in range(3)]
        for peer in peers:
            assert await asked(peer, b"hello") == b"hello"
        hasty = DTLSConfig(psk=PSK(PSK_IDENTITY, PSK_KEY), handshake_timeout=1.0)
        with pytest.raises(HandshakeError):
            await aiodtls.connect(*gateway.address, config=hasty)
        peers.pop().close()
        async with aiodtls.connect(*gateway.address, config=CONFIG) as another:
            assert await asked(another, b"hello") == b"hello"
        for peer in peers:
            peer.close()


@slow
async def test_datagrams_that_dtls_cannot_carry_are_counted():
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.bind(("127.0.0.1", 0))
        plain.setblocking(False)
        async with proxy(plain.getsockname(), *KEY) as gateway:
            async with aiodtls.connect(*gateway.address, config=CONFIG) as endpoint:
                await endpoint.send(b"hello")
                _, peer = await asyncio.wait_for(loop.sock_recvfrom(plain, 99), 20)
                await loop.sock_sendto(plain, b"", peer)
                assert (await gateway.told("dropped"))["empty"] == 1
                await loop.sock_sendto(plain, bytes(9000), peer)
                await loop.sock_sendto(plain, b"fits", peer)
                assert await asyncio.wait_for(endpoint.recv(), 20) == b"fits"
            gateway.signal(signal.SIGTERM)
            assert (await gateway.told("stopped"))["dropped"] == {"empty": 1, "too_large": 1}


@slow
async def test_a_backend_that_is_down_ends_nobody(free_udp_port):
    async with proxy(("127.0.0.1", free_udp_port), *KEY) as gateway:
        async with aiodtls.connect(*gateway.address, config=CONFIG) as endpoint:
            await endpoint.send(b"lost")
            assert (await gateway.told("dropped"))["refused"] == 1
            loop = asyncio.get_running_loop()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.bind(("127.0.0.1", free_udp_port))
                sock.setblocking(False)
                await endpoint.send(b"arrives")
                data, addr = await asyncio.wait_for(loop.sock_recvfrom(sock, 99), 20)
                assert data == b"arrives"
                await loop.sock_sendto(sock, b"answer", addr)
                assert await asyncio.wait_for(endpoint.recv(), 20) == b"answer"


@slow
async def test_a_client_whose_server_is_down_is_tried_again(free_udp_port):
    server = ("127.0.0.1", free_udp_port)
    loop = asyncio.get_running_loop()
    async with backend() as plain, proxy(server, *KEY, "--client") as outer:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect(outer.address)
            await loop.sock_sendall(sock, b"lost")
            assert "refused" in (await outer.told("handshake_failed"))["error"]
            listen = f"127.0.0.1:{free_udp_port}"
            async with proxy(plain.address, *KEY, listen=listen):
                async with asyncio.timeout(30):
                    while True:
                        await loop.sock_sendall(sock, b"again")
                        try:
                            assert await asyncio.wait_for(loop.sock_recv(sock, 99), 0.5) == b"again"
                            break
                        except TimeoutError:
                            continue


@slow
async def test_prometheus_scrapes_both_the_gateway_and_the_server(free_udp_port):
    scraped = ("--prometheus", f"127.0.0.1:{free_udp_port}")
    async with backend() as plain, proxy(plain.address, *KEY, *scraped) as gateway:
        async with aiodtls.connect(*gateway.address, config=CONFIG) as endpoint:
            assert await asked(endpoint, b"hello") == b"hello"
            url = f"http://127.0.0.1:{free_udp_port}/metrics"
            text = await asyncio.to_thread(lambda: urlopen(url, timeout=20).read().decode())
    samples = {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["aiodtls_proxy_peers"] == samples["aiodtls_proxy_peers_connected_total"] == 1
    assert samples["aiodtls_proxy_datagrams_to_plain_total"] >= 1
    assert samples["aiodtls_handshakes_completed_total"] == 1


@slow
@pytest.mark.parametrize("loop", ["plain", ""])
async def test_it_needs_no_batching(loop):
    before = ("env", f"AIODTLS_UDP={loop}", *AIODTLS)
    async with backend() as plain, proxy(plain.address, *KEY, before=before) as gateway:
        async with aiodtls.connect(*gateway.address, config=CONFIG) as endpoint:
            for number in range(10):
                assert await asked(endpoint, b"%d" % number) == b"%d" % number
