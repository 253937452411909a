"""docs/reference/statistics.md explains every statistic and gauge, and nothing else."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from aiodtls import Gauges, Statistics
from aiodtls.core.statistics import Sums

PAGE = (Path(__file__).parent.parent / "docs/reference/statistics.md").read_text()
COUNTERS, GAUGES = PAGE.split("\n## Gauges\n")


def named(part: str) -> set[str]:
    """The names in the first column of its tables."""
    cells = [row.split("|")[1] for row in part.splitlines() if row.startswith("| `")]
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def test_every_statistic_stands_on_the_page():
    assert named(COUNTERS) == {item.name for item in fields(Statistics)} | {"handshakes_full"}


def test_every_gauge_stands_on_the_page():
    assert named(GAUGES) == {item.name for item in fields(Gauges)}


def test_every_eviction_has_a_name_on_the_page():
    sums = Sums()
    sums.count_handshake_evicted()
    sums.count_association_evicted()
    sums.count_lingering_evicted()
    assert all(f"`{name}`" in COUNTERS for name in sums.snapshot().evictions)
