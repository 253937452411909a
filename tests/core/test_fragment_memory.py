"""Who holds how much of incomplete messages, and who gives it up first."""

from __future__ import annotations

import pytest

from aiodtls.core.fragment_memory import FragmentMemory


@pytest.fixture
def memory() -> FragmentMemory[str]:
    return FragmentMemory()


def test_the_total_follows_what_each_holder_has(memory):
    memory.set("a", "net", 5)
    memory.set("b", "net", 7)
    memory.set("a", "net", 2)
    assert memory.total == 9
    memory.set("b", "net", 0)
    assert memory.total == 2 and "a" in memory and "b" not in memory
    memory.set("a", "net", 0)
    assert memory.total == 0


def test_the_largest_holder_of_the_largest_network_is_named(memory):
    memory.set("alone", "small", 10)
    memory.set("one", "large", 6)
    memory.set("two", "large", 7)
    assert memory.largest() == "two"
    memory.set("two", "large", 1)
    assert memory.largest() == "alone"


def test_a_holder_that_moves_stays_in_its_network(memory):
    memory.set("a", "first", 3)
    memory.set("a", "second", 4)
    memory.set("a", "second", 0)
    assert memory.total == 0
    with pytest.raises(IndexError):
        memory.largest()
