"""A suite that says what it did not run: tests/selection.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import pytest

def test_runs():
    pass

@pytest.mark.skip(reason="no reason")
def test_skipped():
    pass

@pytest.mark.built("nothing")
def test_of_a_built_peer():
    pass

@pytest.mark.by_hand("AIODTLS_NOTHING")
def test_of_a_peer_by_hand():
    pass

@pytest.mark.feature("magic")
def test_of_a_feature():
    pass
"""


def outcome(directory: Path, *options: str, **environment: str) -> tuple[int, str]:
    (directory / "test_some.py").write_text(TESTS)
    names = ("AIODTLS_ALL", "AIODTLS_UNAVAILABLE", "AIODTLS_NOTHING", "CI")
    inherited = {name: value for name, value in os.environ.items() if name not in names}
    command = [sys.executable, "-m", "pytest", "-p", "tests.selection", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "--rootdir", str(directory), *options, str(directory / "test_some.py")],
        cwd=Path(__file__).parent.parent,
        env=inherited | {"AIODTLS_CACHE": str(directory)} | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout


def test_what_is_missing_is_skipped_and_said(tmp_path):
    status, output = outcome(tmp_path, "-rs")
    assert status == 0
    assert "1 passed, 2 skipped, 2 deselected" in output
    assert "nothing is not in" in output
    assert "left out, as AIODTLS_PION names no build" in output or "AIODTLS_PION" in os.environ


@pytest.mark.parametrize("strict", ["AIODTLS_ALL", "CI"])
def test_a_peer_that_is_missing_is_a_failure_where_all_is_asked_for(tmp_path, strict):
    status, output = outcome(tmp_path, **{strict: "1" if strict == "AIODTLS_ALL" else "true"})
    assert status == 1
    assert "nothing is not in" in output


def test_with_all_no_skip_passes(tmp_path):
    status, output = outcome(tmp_path, AIODTLS_ALL="1")
    assert status == 1
    assert "1 passed, 2 deselected, 2 errors" in output
    assert "skipped, where nothing may be: Skipped: no reason" in output


def test_a_source_that_cannot_be_had_is_excused_and_said(tmp_path):
    status, output = outcome(
        tmp_path, "-k", "built", AIODTLS_ALL="1", AIODTLS_UNAVAILABLE="nothing"
    )
    assert (status, "1 skipped" in output) == (0, True)
    assert "left out, as its source cannot be had just now: nothing" in output


def test_a_variable_that_names_a_peer_selects_its_tests(tmp_path):
    status, output = outcome(tmp_path, "-k", "by_hand", AIODTLS_NOTHING="/somewhere")
    assert status == 0
    assert "1 passed" in output
