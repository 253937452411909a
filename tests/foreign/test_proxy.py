"""The gateway in front of plain UDP servers of others: CoAP, syslog and DNS."""

from __future__ import annotations

import asyncio
import signal
import struct

import pytest

import aiodtls
from aiodtls import PSK, DTLSConfig
from tests.peers import run_to_end, running, serving, trixie
from tests.proxy.running import proxy
from tests.selection import place

KEY, USER = "secretPSKsecretPSK", "user1"
OPTIONS = ("--psk", f"{USER}:{KEY.encode().hex()}")
CONFIG = DTLSConfig(psk=PSK(USER, KEY.encode()))
SYSLOG = """
global(workDirectory="{work}")
module(load="imudp")
template(name="plain" type="string" string="%fromhost-ip% %msg%\\n")
input(type="imudp" address="127.0.0.1" port="{port}")
*.* action(type="omfile" file="/dev/stdout" template="plain")
"""


@pytest.mark.parametrize("build", ["openssl", "gnutls"])
async def test_coap(free_udp_port, build, tmp_path):
    """A client of libcoap that speaks DTLS, and a server of libcoap that does not."""
    command = ("coap-server-notls", "-A", "127.0.0.1", "-p", str(free_udp_port))
    (tmp_path / "payload").write_bytes(b"0123456789" * 100)
    async with serving(free_udp_port, *command):
        async with proxy(("127.0.0.1", free_udp_port), *OPTIONS) as gateway:
            base = f"coaps://127.0.0.1:{gateway.address[1]}"
            client = [f"coap-client-{build}", "-k", KEY, "-u", USER]
            assert b"libcoap" in await run_to_end([*client, "-m", "get", base])
            # Blockwise, both ways.
            data = ["-b", "64", "-f", str(tmp_path / "payload"), f"{base}/example_data"]
            await run_to_end([*client, "-m", "put", *data])
            got = await run_to_end([*client, "-b", "64", "-m", "get", f"{base}/example_data"])
            assert b"0123456789" * 100 in got, got.decode()


@pytest.mark.built("debian13")
async def test_syslog(free_udp_port, tmp_path):
    """rsyslog's plain input, behind the gateway: RFC 5426 becomes RFC 6012."""
    (tmp_path / "rsyslog.conf").write_text(SYSLOG.format(work=tmp_path, port=free_udp_port))
    modules = next(place("debian13").glob("usr/lib/*/rsyslog"))
    command = (*trixie("rsyslogd"), "-n", "-f", str(tmp_path / "rsyslog.conf"))
    command += ("-i", str(tmp_path / "pid"), "-M", str(modules))
    async with serving(free_udp_port, *command) as program:
        async with proxy(("127.0.0.1", free_udp_port), *OPTIONS) as gateway:
            async with aiodtls.connect(*gateway.address, config=CONFIG) as endpoint:
                await endpoint.send(b"<14>1 - device app - - - the last line before the end")
            # The device has closed at once, and its line has come through.
            await program.wait_for(b"the last line before the end")


@pytest.mark.built("debian13")
async def test_dns(free_udp_port):
    """dnsmasq answers through both gateways: DNS over DTLS (RFC 8094) for a plain client."""
    command = (*trixie("dnsmasq"), "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv")
    command += (f"--port={free_udp_port}", "--listen-address=127.0.0.1", "--bind-interfaces")
    command += ("--address=/device.test/192.0.2.7", "--no-hosts", "--user=", "--pid-file=")
    question = struct.pack("!HHHHHH", 0x1234, 0x0100, 1, 0, 0, 0)
    question += b"\6device\4test\0" + struct.pack("!HH", 1, 1)
    async with serving(free_udp_port, *command):
        async with proxy(("127.0.0.1", free_udp_port), *OPTIONS) as inner:
            async with proxy(inner.address, *OPTIONS, "--client") as outer:
                loop = asyncio.get_running_loop()
                answered = loop.create_future()

                class Client(asyncio.DatagramProtocol):
                    def datagram_received(self, data: bytes, addr: object) -> None:
                        answered.set_result(data)

                transport, _ = await loop.create_datagram_endpoint(
                    Client, remote_addr=outer.address
                )
                transport.sendto(question)
                answer = await asyncio.wait_for(answered, 20)
                transport.close()
    assert answer[:2] == question[:2] and bytes((192, 0, 2, 7)) in answer


@pytest.mark.by_hand("AIODTLS_ALL")
async def test_coap_observe_outlives_a_reload(free_udp_port):
    """Notifications go on to the client that asked for them."""
    command = ("coap-server-notls", "-A", "127.0.0.1", "-p", str(free_udp_port))
    async with serving(free_udp_port, *command):
        async with proxy(("127.0.0.1", free_udp_port), *OPTIONS) as gateway:
            url = f"coaps://127.0.0.1:{gateway.address[1]}/time"
            client = ("coap-client-openssl", "-k", KEY, "-u", USER, "-s", "5", "-m", "get", url)
            async with running(*client) as program:
                await program.wait_for(b":")
                gateway.signal(signal.SIGHUP)
                await gateway.told("reloaded")
                before = len(program.output)
                async with asyncio.timeout(30):
                    while len(program.output) == before:
                        await asyncio.sleep(0.05)
