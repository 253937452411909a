"""Every code block of README.md and of docs/ does what its page says."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import ports
from tests.documentation.blocks import blocks_of
from tests.documentation.reading import ROOT, Reading
from tests.pki import PKI

# They take two minutes, and one at a time.
pytestmark = pytest.mark.by_hand("AIODTLS_ALL")
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
WITH_CODE = [page for page in PAGES if "```" in page.read_text()]


@pytest.fixture
def alone() -> Iterator[None]:
    """Pages name ports, so they are read one after another, whatever runs beside this."""
    with Path(tempfile.gettempdir(), "aiodtls-documentation.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Has ca.pem, and cert.pem and key.pem of sensor.example and of localhost."""
    pki = PKI(tmp_path)
    leaf = pki.leaf()
    Path(leaf.certfile).rename(tmp_path / "cert.pem")
    Path(leaf.keyfile).rename(tmp_path / "key.pem")
    return tmp_path


@pytest.fixture
def example_port(directory: Path) -> Iterator[int]:
    """The port of a server that echoes, to which names under .example lead."""
    with ports.reserved() as port:
        command = ["serve", f"127.0.0.1:{port}", "--cert", "cert.pem", "--key", "key.pem"]
        process = subprocess.Popen(
            [sys.executable, "-m", "aiodtls", *command],
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline()
            yield port
        finally:
            process.terminate()
            process.communicate()


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_blocks_run(page: Path, directory: Path, example_port: int, alone: None) -> None:
    Reading(directory, blocks_of(page), example_port).read()
