"""aiocoap's own tests of coaps:// pass with our transports in the place of its own.

AIODTLS_AIOCOAP names a checkout of aiocoap: no package has its tests whole.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from tests.peers import run_to_end

pytestmark = pytest.mark.by_hand("AIODTLS_AIOCOAP")


@pytest.mark.parametrize("module", ["dtls", "server", "observe", "blockwise"])
async def test_the_tests_of_aiocoap_pass(module, monkeypatch):
    checkout = os.environ["AIODTLS_AIOCOAP"]
    monkeypatch.chdir(checkout)
    plugins = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([checkout, plugins]))
    pytest_options = ["-q", "-p", "aiocoap_plugin", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *pytest_options, f"tests/test_{module}.py"]
    output = await run_to_end(command, timeout=300)
    words = output.decode().splitlines()[-1]
    assert re.search(r"\d+ passed", words), output.decode()[-4000:]
    assert not re.search(r"\b(failed|error)", words), output.decode()[-4000:]
    assert module != "dtls" or "skipped" not in words
