"""The examples for one protocol each, against the programs that they are for."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.peers import openssl_server, run_to_end, serving, trixie
from tests.pki import PKI
from tests.selection import place

EXAMPLES = Path(__file__).parents[2] / "examples"
needs_debian = pytest.mark.built("debian13")

RSYSLOG = """
global(workDirectory="{work}")
module(load="imdtls")
template(name="plain" type="string" string="%syslogseverity-text% %app-name% %msg%\\n")
input(type="imdtls" port="{port}"
      tls.cacert="{ca}" tls.mycert="{cert}" tls.myprivkey="{key}" tls.authmode="certvalid")
*.* action(type="omfile" file="/dev/stdout" template="plain")
"""
RADSECPROXY = """
ListenDTLS 127.0.0.1:{port}
LogLevel 2
LogDestination x-syslog:///
tls default {{
    CACertificateFile {ca}
    CertificateFile {cert}
    CertificateKeyFile {key}
}}
client 127.0.0.1 {{
    type dtls
    certificateNameCheck off
}}
realm * {{
    replymessage "nobody is known here"
}}
"""
SNMPD = """
[snmp] localCert agent
[snmp] trustCert ca
agentaddress dtlsudp:127.0.0.1:{port}
certSecName 10 manager --sn manager
rouser -s tsm manager authpriv
sysDescr a thing that speaks SNMP
"""


def example(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments]


@needs_debian
async def test_syslog(pki: PKI, free_udp_port, tmp_path):
    leaf, mine = pki.leaf("ecdsa-p256"), pki.leaf("ecdsa-p256", "client")
    files = {"ca": pki.cafile, "cert": leaf.certfile, "key": leaf.keyfile}
    (tmp_path / "rsyslog.conf").write_text(
        RSYSLOG.format(work=tmp_path, port=free_udp_port, **files)
    )
    modules = next(place("debian13").glob("usr/lib/*/rsyslog"))
    command = (*trixie("rsyslogd"), "-n", "-f", str(tmp_path / "rsyslog.conf"))
    command += ("-i", str(tmp_path / "pid"), "-M", str(modules))
    async with serving(free_udp_port, *command) as program:
        keys = (pki.cafile, mine.certfile, mine.keyfile)
        target = f"localhost:{free_udp_port}"
        output = await run_to_end(example("syslog.py", target, *keys, "a line to keep"))
        assert output.startswith(b"sent by DTLS 1."), output.decode()
        await program.wait_for(b"info aiodtls a line to keep")


@needs_debian
async def test_radius(pki: PKI, free_udp_port, tmp_path):
    leaf, mine = pki.leaf("ecdsa-p256"), pki.leaf("ecdsa-p256", "client")
    files = {"ca": pki.cafile, "cert": leaf.certfile, "key": leaf.keyfile}
    (tmp_path / "radsecproxy.conf").write_text(RADSECPROXY.format(port=free_udp_port, **files))
    command = (*trixie("radsecproxy"), "-f", "-c", str(tmp_path / "radsecproxy.conf"))
    async with serving(free_udp_port, *command):
        keys = (pki.cafile, mine.certfile, mine.keyfile)
        target = f"localhost:{free_udp_port}"
        output = await run_to_end(example("radius.py", target, *keys, "someone", "a password"))
        assert output.startswith(b"someone is rejected by DTLS 1."), output.decode()


@needs_debian
async def test_turn(pki: PKI, free_udp_port, tmp_path):
    leaf = pki.leaf("ecdsa-p256")
    port = str(free_udp_port)
    command = (*trixie("turnserver"), "-n", "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1")
    command += (f"--tls-listening-port={port}", f"--listening-port={free_udp_port + 1}")
    command += (f"--cert={leaf.certfile}", f"--pkey={leaf.keyfile}", "--no-tcp", "--no-tls")
    command += ("--lt-cred-mech", "--user=someone:a password", "--realm=door.example", "--no-cli")
    command += (f"--pidfile={tmp_path / 'pid'}", "--log-file=stdout", f"--userdb={tmp_path / 'db'}")
    async with serving(free_udp_port, *command):
        target = (f"localhost:{port}", pki.cafile)
        output = await run_to_end(example("turn.py", *target, "someone", "a password"))
        assert output.startswith(b"relayed address 127.0.0.1:"), output.decode()


async def test_hue(free_udp_port):
    """The stand-in has the one suite of a bridge, and its key."""
    key, area = "0123456789abcdef0123456789abcdef", "1a8d99cc-967b-44f2-9202-43f976c0fa6b"
    options = ("-cipher", "PSK-AES128-GCM-SHA256", "-psk_identity", "a-user")
    async with openssl_server(free_udp_port, None, "-psk", key, *options) as bridge:
        target = f"127.0.0.1:{free_udp_port}"
        output = await run_to_end(example("hue.py", target, "a-user", key, area, "0.3"))
        assert output == b"connected by TLS_PSK_WITH_AES_128_GCM_SHA256\n"
        await bridge.wait_for(b"HueStream\2\0\0")
        await bridge.wait_for(area.encode())


@needs_debian
async def test_snmp(pki: PKI, free_udp_port, tmp_path, monkeypatch):
    leaf, mine = pki.leaf("ecdsa-p256"), pki.leaf("ecdsa-p256", "client")
    store = tmp_path / "tls"
    for file, place_of in (
        (leaf.certfile, "certs/agent.crt"),
        (leaf.keyfile, "private/agent.key"),
        (mine.certfile, "certs/manager.crt"),
        (pki.cafile, "ca-certs/ca.crt"),
    ):
        (store / place_of).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, store / place_of)
    (store / "private/agent.key").chmod(0o600)
    (tmp_path / "snmpd.conf").write_text(SNMPD.format(port=free_udp_port))
    # Where it looks for certificates and MIBs, and where it writes.
    monkeypatch.setenv("SNMPCONFPATH", str(tmp_path))
    monkeypatch.setenv("SNMP_PERSISTENT_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("MIBDIRS", "")
    command = (*trixie("snmpd"), "-f", "-Le", "-C", "-c", str(tmp_path / "snmpd.conf"))
    async with serving(free_udp_port, *command, "-p", str(tmp_path / "pid")):
        keys = (pki.cafile, mine.certfile, mine.keyfile)
        output = await run_to_end(example("snmp.py", f"localhost:{free_udp_port}", *keys))
        assert output == b"a thing that speaks SNMP\n"
