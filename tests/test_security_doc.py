"""docs/security.md names tests: they exist, and no class of faults is without one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENT = (ROOT / "docs" / "security.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", DOCUMENT)))


@pytest.mark.parametrize("path, name", NAMED)
def test_what_is_named_exists(path, name):
    assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE)


def test_every_promise_names_a_test():
    rows = [line for line in DOCUMENT.splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 20
    assert all("::test_" in row for row in rows)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(core/[\w/]+\.py)`", DOCUMENT))))
def test_modules_that_are_named_exist(path):
    assert (ROOT / "aiodtls" / path).exists()


@pytest.mark.parametrize("row", range(1, 24))
def test_every_class_of_faults_has_its_tests(row):
    files = (ROOT / "tests" / "faults").glob("test_*.py")
    assert any(re.search(rf"^def test_(f\d+_)*f{row}_", f.read_text(), re.MULTILINE) for f in files)


@pytest.mark.parametrize("document", ["README.md", "docs/index.md"])
def test_it_is_found_from_the_front_page(document):
    assert "security" in (ROOT / document).read_text()
