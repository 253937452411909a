"""rsyslog's imdtls takes syslog over DTLS (RFC 6012) from our client."""

from __future__ import annotations

import pytest

import aiodtls
from aiodtls import DTLSConfig
from tests.peers import serving, trixie
from tests.pki import PKI
from tests.selection import place

pytestmark = pytest.mark.built("debian13")

CONFIG = """
global(workDirectory="{work}")
module(load="imdtls")
template(name="plain" type="string" string="%msg%\\n")
input(type="imdtls" port="{port}"
      tls.cacert="{ca}" tls.mycert="{cert}" tls.myprivkey="{key}" tls.authmode="certvalid")
*.* action(type="omfile" file="/dev/stdout" template="plain")
"""


async def test_a_line_arrives(pki: PKI, free_udp_port, tmp_path):
    leaf, mine = pki.leaf("ecdsa-p256"), pki.leaf("ecdsa-p256", "client")
    files = {"ca": pki.cafile, "cert": leaf.certfile, "key": leaf.keyfile}
    (tmp_path / "rsyslog.conf").write_text(
        CONFIG.format(work=tmp_path, port=free_udp_port, **files)
    )
    modules = next(place("debian13").glob("usr/lib/*/rsyslog"))
    command = (*trixie("rsyslogd"), "-n", "-f", str(tmp_path / "rsyslog.conf"))
    command += ("-i", str(tmp_path / "pid"), "-M", str(modules))
    config = DTLSConfig(versions=["1.2"], trust=pki.trust, credentials=mine.credentials)
    async with serving(free_udp_port, *command) as program:
        async with aiodtls.connect(
            "127.0.0.1", free_udp_port, config=config, server_hostname="localhost"
        ) as endpoint:
            await endpoint.send(b"<14>1 - device app - - - a line over DTLS")
            await program.wait_for(b"a line over DTLS")
