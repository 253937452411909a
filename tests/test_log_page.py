"""docs/reference/log.md explains every line that is logged, and nothing else is logged."""

from __future__ import annotations

import ast
import logging
import re
from pathlib import Path

import pytest

from aiodtls import log
from aiodtls.core.errors import FAILURE_REASONS

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/reference/log.md").read_text()
LINES = {name: value for name, value in vars(log).items() if isinstance(value, log.Line)}
METHODS = {"debug", "info", "warning", "error", "exception", "critical", "log"}


def rows() -> dict[str, str]:
    """The level of each line, as the page says."""
    cells = [row.strip("|").split("|") for row in PAGE.splitlines() if row.startswith("| `")]
    return {cell[0].strip().strip("`"): cell[1].strip() for cell in cells if "%" in cell[0]}


@pytest.mark.parametrize("name", LINES)
def test_every_line_stands_on_the_page(name):
    line = LINES[name]
    level = rows()[line.text]
    assert level in (logging.getLevelName(line.level), "as the line")


def test_the_page_has_no_line_that_is_not_logged():
    assert set(rows()) == {line.text for line in LINES.values()}


def test_nothing_is_logged_past_the_table():
    found = []
    package = ROOT / "aiodtls"
    # An adapter has a logger of its own, which its guide names.
    own = set((package / "contrib").rglob("*.py"))
    for path in sorted(set(package.rglob("*.py")) - own):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            owner = ast.unparse(node.func.value)
            is_logger = owner in ("logging", "logger") or owner.startswith("log.")
            if node.func.attr in METHODS and is_logger and path.name != "log.py":
                found.append(f"{path.name}:{node.lineno}")
    assert not found


def test_every_reason_of_a_failure_stands_in_the_guide():
    guide = (ROOT / "docs/guides/refused-handshakes.md").read_text()
    named = set(re.findall(r"`([a-z_]+)`", guide))
    assert set(FAILURE_REASONS) <= named
