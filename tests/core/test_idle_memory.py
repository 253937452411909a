"""Associations free memory in turn, few at a time."""

from __future__ import annotations

from typing import Any

from aiodtls.core.idle_memory import AT_ONCE, EVERY, FIRST_TURN, IdleMemory


class Association:
    """Notes when it was asked to free memory."""

    def __init__(self) -> None:
        self.turns: list[float] = []

    def free_memory(self, now: float) -> None:
        self.turns.append(now)


def filled(count: int, now: float = 0.0) -> tuple[IdleMemory, list[Any]]:
    memory, associations = IdleMemory(), [Association() for _ in range(count)]
    for association in associations:
        memory.add(association, now)  # type: ignore[arg-type]
    return memory, associations


def test_without_associations_there_is_nothing_to_wait_for():
    memory, _ = filled(0)
    assert memory.next_turn() is None
    assert memory.take_turns(1000.0) == []


def test_the_first_turn_comes_soon_and_the_others_at_intervals():
    memory, [association] = filled(1, 10.0)
    times = [10.0 + FIRST_TURN + n * EVERY for n in range(3)]
    for at in times:
        assert memory.next_turn() == at
        assert memory.take_turns(at - 0.001) == []
        assert memory.take_turns(at) == [association]
    assert association.turns == times


def test_few_have_their_turn_at_once_and_nobody_is_left_out():
    memory, associations = filled(10 * AT_ONCE)
    calls = 0
    while memory.next_turn() <= FIRST_TURN:
        assert len(memory.take_turns(FIRST_TURN)) == AT_ONCE
        calls += 1
    assert calls == 10
    assert all(association.turns == [FIRST_TURN] for association in associations)


def test_newcomers_do_not_keep_the_others_from_their_turn():
    memory, [old] = filled(1)
    memory.take_turns(FIRST_TURN)
    now = FIRST_TURN + EVERY
    for _ in range(AT_ONCE // 2):
        memory.add(Association(), now - FIRST_TURN)  # type: ignore[arg-type]
    assert old in memory.take_turns(now)


def test_one_that_has_ended_has_no_turn_any_more():
    memory, [first, second] = filled(2)
    memory.discard(first)
    assert len(memory) == 1
    assert memory.take_turns(FIRST_TURN) == [second]
    memory.discard(second)
    memory.discard(second)
    assert memory.next_turn() is None
    assert not len(memory)
