"""State stores: each state is given out once, and only its holder replaces it."""

from __future__ import annotations

import asyncio
import dataclasses
import stat

import pytest

from aiodtls.cluster import Entry, Holder, MemoryStateStore, Orders, SQLiteStateStore, StateStore

A, B, C = b"process a", b"process b", b"process c"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def entry(number: int = 1, generation: int = 1, **options) -> Entry:
    options.setdefault("may_be_new", generation == 1)
    state = b"state %d of %d" % (generation, number)
    ids = (b"id %d" % number, b"spare %d" % number)
    return Entry(b"association %d" % number, generation, state, ids, **options)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite"])
async def store(request, tmp_path, clock):
    if request.param == "memory":
        made: StateStore = MemoryStateStore(clock=clock)
    else:
        made = SQLiteStateStore(tmp_path / "states.db", clock=clock)
    yield made
    await made.close()


async def test_a_state_is_given_out_once(store):
    assert await store.put(A, [entry()]) == [True]
    assert await store.ask(B, b"id 1") == Holder(A, False)
    assert await store.take(B, b"spare 1", A) == b"state 1 of 1"
    assert await store.take(C, b"id 1", B) is None
    assert await store.take(B, b"id 1", B) is None
    assert await store.put(B, [entry(generation=2)]) == [True]
    assert await store.take(C, b"id 1", B) == b"state 2 of 1"


async def test_two_that_take_at_once_do_not_both_get_it(store):
    await store.put(A, [entry()])
    taken = await asyncio.gather(*(store.take(name, b"id 1", A) for name in (B, C, A, B)))
    assert sorted(state is not None for state in taken) == [False, False, False, True]


async def test_who_lost_an_association_stores_it_no_more(store):
    await store.put(A, [entry(), entry(2)])
    await store.take(B, b"id 1", A)
    put = [entry(generation=2), entry(2, generation=2), entry(3)]
    assert await store.put(A, put) == [False, True, True]
    put = [dataclasses.replace(each, may_be_new=True) for each in put]
    assert (await store.put(A, put))[0] is False
    for _ in range(2):
        # An answer may be lost.
        assert await store.beat(A, 5.0) == Orders((), (b"association 1",))
    await store.remove(A, [b"association 1"])
    assert await store.beat(A, 5.0) == Orders()
    assert await store.ask(A, b"id 1") == Holder(B, False)


async def test_a_process_that_lives_is_asked_and_not_robbed(store, clock):
    await store.put(A, [entry(), entry(2)])
    await store.beat(A, 5.0)
    assert await store.ask(B, b"id 1") == Holder(A, True)
    assert await store.take(B, b"id 1", A) is None
    assert await store.beat(A, 5.0) == Orders((b"association 1",), ())
    assert await store.beat(A, 5.0) == Orders()
    assert await store.put(A, [entry(generation=2, is_released=True)]) == [True]
    assert await store.ask(B, b"id 1") == Holder(b"", False)
    assert await store.put(A, [entry(generation=3)]) == [False]
    assert await store.take(B, b"id 1", b"") == b"state 2 of 1"
    clock.now += 5.1
    assert await store.take(B, b"id 2", A) == b"state 1 of 2"


async def test_what_was_taken_back_is_not_lost(store):
    await store.put(A, [entry()])
    await store.take(B, b"id 1", A)
    await store.put(B, [entry(generation=2)])
    assert await store.take(A, b"id 1", B) == b"state 2 of 1"
    assert await store.beat(A, 5.0) == Orders()
    assert await store.beat(B, 5.0) == Orders((), (b"association 1",))


async def test_an_older_generation_replaces_nothing(store):
    await store.put(A, [entry()])
    assert await store.put(A, [entry(generation=4)]) == [True]
    assert await store.put(A, [entry(generation=3)]) == [False]
    # The answer was lost, and the same is put again.
    assert await store.put(A, [entry(generation=4)]) == [True]
    assert await store.put(A, [dataclasses.replace(entry(generation=4), state=b"x")]) == [False]
    assert await store.take(A, b"id 1", A) == b"state 4 of 1"
    assert await store.put(A, [entry(generation=4)]) == [False]


async def test_what_the_store_does_not_know_is_new_or_refused(store):
    assert await store.put(A, [entry(generation=2)]) == [False]
    assert await store.put(A, [entry(generation=2, may_be_new=True)]) == [True]
    await store.remove(B, [b"association 1"])
    assert await store.ask(B, b"id 1") is not None
    await store.remove(A, [b"association 1", b"association 9"])
    assert await store.ask(B, b"id 1") is None
    # It has ended elsewhere, as far as a process that was asleep can know.
    assert await store.put(A, [entry(generation=3)]) == [False]


async def test_an_association_is_found_under_its_present_ids_alone(store):
    await store.put(A, [entry()])
    await store.put(A, [dataclasses.replace(entry(generation=2), connection_ids=(b"new",))])
    assert await store.ask(B, b"id 1") is None
    assert await store.take(B, b"nothing", A) is None
    assert await store.take(B, b"new", B) is None
    assert await store.take(B, b"new", A) == b"state 2 of 1"


async def test_a_file_outlives_the_process_and_is_private(tmp_path, clock):
    path = tmp_path / "states.db"
    store = SQLiteStateStore(path, clock=clock)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await store.put(A, [entry()])
    other = SQLiteStateStore(path, clock=clock)
    await store.close()
    assert await other.take(B, b"id 1", A) == b"state 1 of 1"
    await other.close()
    again = SQLiteStateStore(path, clock=clock)
    assert await again.take(B, b"id 1", B) is None
    await again.close()


async def test_a_failed_put_stores_nothing(tmp_path, clock):
    store = SQLiteStateStore(tmp_path / "states.db", clock=clock)
    bad = dataclasses.replace(entry(2), connection_ids=(None,))
    with pytest.raises(Exception, match="NOT NULL"):
        await store.put(A, [entry(), bad])
    assert await store.ask(A, b"id 1") is None
    await store.close()


def test_an_entry_shows_no_state():
    assert "state 1" not in repr(entry())
