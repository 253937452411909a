"""The verdict on an attack: each bar that is missed is told."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from tests.adversary.attacks import ATTACKS, Attack
from tests.adversary.honest import Seen
from tests.adversary.running import MIB, Result
from tests.adversary.server import Measured

SEEN = Seen(handshakes=[0.1] * 99 + [math.inf], echoes=[0.01, 0.25])
MEASURED = Measured(
    seconds=3.0, memory=64 * MIB, close=2.0, log_lines=100, counters={"hellos_answered": 30}
)


def missed(seen: dict[str, Any], measured: dict[str, Any]) -> list[str]:
    """Of a run that just meets every bar, but for these fields."""
    attack = Attack("name", "what", lambda attackers: iter(()), ("hellos_answered", 10))
    result = Result(
        attack,
        "other",
        dataclasses.replace(SEEN, **seen),
        dataclasses.replace(MEASURED, **measured),
        datagrams=1000,
        kbit=1000.0,
    )
    return result.missed


def test_a_run_that_meets_every_bar_misses_none():
    assert missed({}, {}) == []


@pytest.mark.parametrize(
    ("seen", "measured", "word"),
    [
        ({"handshakes": [0.1] * 98 + [3.1, math.inf]}, {}, "handshakes"),
        ({"handshakes": []}, {}, "handshakes"),
        ({"echoes": [0.01, 0.26]}, {}, "echoes"),
        ({"echoes": [0.01, math.inf]}, {}, "echoes"),
        ({"echoes": []}, {}, "echoes"),
        ({}, {"memory": 64 * MIB + 1}, "memory"),
        ({}, {"close": 2.1}, "closing"),
        ({}, {"log_lines": 1000}, "logged"),
        ({}, {"counters": {"hellos_answered": 29}}, "did not arrive"),
        ({}, {"counters": {}}, "did not arrive"),
    ],
)
def test_each_bar_that_is_missed_is_told(seen, measured, word):
    (told,) = missed(seen, measured)
    assert word in told


def test_attacks_have_names_of_their_own_and_counters_that_exist():
    from aiodtls import Statistics

    names = [attack.name for attack in ATTACKS]
    assert len(set(names)) == len(names)
    assert all(hasattr(Statistics(), attack.shows[0]) for attack in ATTACKS)
