"""Nobody who moves is lost, however often and on however bad a path."""

from __future__ import annotations

import pytest

from tests.simulated.address_changes import World


@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_change_every_five_seconds_loses_no_association(version, enhanced):
    world = World(version, associations=12, enhanced=enhanced)
    world.run(95)
    assert world.changes > 12 * 17 and world.lost == 0
    followed = world.listener.statistics.addresses_changed
    # The last may be under way, and a few are overtaken by the next.
    assert followed > 0.95 * world.changes - 12
    # Of five messages a change costs the first, and as many as are sent during the check.
    assert world.echoed > (0.4 if enhanced else 0.6)
