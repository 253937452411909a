"""A few seconds of what ``python -m tests.soak`` does for half an hour."""

from __future__ import annotations

import asyncio

from tests.soak import Soak, held


async def test_many_associations_come_move_and_go_and_leave_nothing_behind():
    before = held()
    run = Soak(5.0, associations=20, rate=200.0, life=2.0, stay=1.0, keys=0.5)
    await run.run(every=1.0)
    await asyncio.sleep(0.1)
    after = held()
    assert not run.failures
    counted = ("resumed", "moved", "addresses changed", "keys updated", "fell silent", "echoed")
    assert all(run.counts[name] for name in counted), run.counts
    for name in ("tasks", "descriptors", "timers"):
        assert after[name] <= before[name], name
