"""docs/compliance.md names modules and tests that exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/compliance.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith(("| section", "| ---"))
]
NAMED = re.compile(r"`([^`]+)`")


@cache
def functions(module: str) -> set[str]:
    tree = ast.parse((ROOT / "tests" / module).read_text())
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def named(column: int) -> list[str]:
    return sorted({name for row in ROWS for name in NAMED.findall(row[column])})


def test_every_row_says_something():
    assert len(ROWS) > 300
    for row in ROWS:
        assert len(row) == 5, row
        _, requirement, where, test, deviation = row
        assert requirement and (deviation or (where and test)), row


@pytest.mark.parametrize("name", named(2))
def test_every_module_that_is_named_exists(name):
    path = ROOT / name if name.startswith("aiodtls/") else ROOT / "aiodtls/core" / name
    assert path.is_file()


@pytest.mark.parametrize("name", named(3))
def test_every_test_that_is_named_exists(name):
    module, _, function = name.partition("::")
    assert (ROOT / "tests" / module).is_file()
    assert not function or function in functions(module)
