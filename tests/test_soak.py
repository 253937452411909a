"""A few seconds of what ``python -m tests.soak`` does for half an hour."""

from __future__ import annotations

import asyncio

from tests.soak import Soak, held

KINDS = ("tasks", "descriptors", "timers")
COUNTED = ("resumed", "moved", "addresses changed", "keys updated", "fell silent", "echoed")


async def test_many_associations_come_move_and_go_and_leave_nothing_behind():
    before = held()
    run = Soak(5.0, associations=20, rate=200.0, life=2.0, stay=1.0, keys=0.5, awaited=COUNTED)
    await run.run(every=1.0)
    after = held()
    for _ in range(100):
        # What the proxy still delays, and the last timers, take a moment to be gone.
        if all(after[name] <= before[name] for name in KINDS):
            break
        await asyncio.sleep(0.05)
        after = held()
    assert not run.failures
    assert all(run.counts[name] for name in COUNTED), run.counts
    for name in KINDS:
        assert after[name] <= before[name], name
