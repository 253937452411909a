"""The bound on peers is the least of three, and the soft limit of open files is raised for it."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from aiodtls.cli.proxy import bound
from aiodtls.cli.proxy.bound import Bound

SCRIPT = """
import resource
from aiodtls.cli.proxy.bound import bound_on_peers
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (100, min(hard, 500)))
found = bound_on_peers(1_000_000)
print(found.files, found.ports, found.peers, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("files", "ports", "wanted", "peers", "words"),
    [
        (900, 25000, 10000, 900, "by the limit of open files"),
        (20000, 800, 10000, 800, "by the range of local ports"),
        (20000, 25000, 7, 7, "by --max-peers"),
        (-5, 25000, 7, 1, "by the limit of open files"),
    ],
)
def test_the_least_of_three_and_its_name(files, ports, wanted, peers, words):
    found = Bound(files=files, ports=ports, wanted=wanted)
    assert found.peers == peers
    assert f"at most {peers:,} peers, {words} (" in str(found)


def test_the_soft_limit_of_open_files_is_raised():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, check=True)
    files, ports, peers, soft = map(int, done.stdout.split())
    assert soft == min(500, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    assert 0 < files < soft - bound.SPARE_FILES and peers == min(files, ports)


def test_one_in_ten_ports_stays_for_others(tmp_path, monkeypatch):
    monkeypatch.setattr(bound, "PORT_RANGE", tmp_path / "range")
    (tmp_path / "range").write_text("40000\t40999\n")
    assert bound.bound_on_peers(10**6).ports == 900
    (tmp_path / "range").unlink()
    assert bound.bound_on_peers(10**6).ports == bound.USUAL_PORTS - bound.USUAL_PORTS // 10
