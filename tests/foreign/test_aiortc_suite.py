"""aiortc's own tests pass with our DTLS in the place of pyOpenSSL's.

AIODTLS_AIORTC names a checkout of the aiortc that is installed: no package has its tests. They
sleep for fixed times, so a busy machine fails them.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from tests.peers import run_to_end

pytestmark = pytest.mark.by_hand("AIODTLS_AIORTC")

# These are about pyOpenSSL, or about what is different on purpose.
LEFT_OUT = {
    "test_handshake_error": "patches do_handshake of pyOpenSSL",
    "test_retransmit_after_handshake": "reaches into pyOpenSSL",
    "test_bad_client_fingerprint": "expects that the other side is not told",
    "test_rtp": "counts the packets of pyOpenSSL's handshake, whose first hello is shorter",
}


@pytest.mark.parametrize("module", ["rtcdtlstransport", "ortc", "rtcpeerconnection"])
async def test_the_tests_of_aiortc_pass(module, monkeypatch):
    checkout = os.environ["AIODTLS_AIORTC"]
    monkeypatch.chdir(checkout)
    plugins = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([checkout, plugins]))
    tests = f"tests/test_{module}.py"
    options = ["-q", "-p", "aiortc_plugin", "-p", "no:cacheprovider", "-p", "no:asyncio"]
    if module == "rtcdtlstransport":
        for name in LEFT_OUT:
            options += ["--deselect", f"{tests}::RTCDtlsTransportTest::{name}"]
    command = [sys.executable, "-m", "pytest", *options, tests]
    output = await run_to_end(command, timeout=550)
    words = output.decode().splitlines()[-1]
    assert re.search(r"\d+ passed", words), output.decode()[-4000:]
    assert not re.search(r"\b(failed|error)", words), output.decode()[-4000:]
