"""Nobody who moves is lost, however often and on however bad a path."""

from __future__ import annotations

import pytest

from tests.simulated.address_changes import FASTER, FORGERIES, REPLAYS, ROUND_TRIP, World


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


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_change_is_followed_within_one_round_trip_of_the_first_record(version):
    world = World(version, associations=12, loss=0.0)
    world.run(95)
    assert len(world.checks) > 12 * 17
    assert max(world.checks) == pytest.approx(ROUND_TRIP)
    lossy = World(version, associations=12, loss=0.05)
    lossy.run(95)
    # Nine of ten: else the challenge or its answer was lost, and the next goes 0.25 s later.
    assert lossy.within_a_round_trip > 0.8


@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_an_attacker_who_sees_all_records_moves_nothing_and_draws_no_more_than_the_rules_say(
    version, enhanced
):
    world = World(version, associations=12, enhanced=enhanced, attacked=True)
    world.run(95)
    assert world.lost == 0 and world.echoed > (0.3 if enhanced else 0.5)
    assert {kind for kind, _ in world.spent} == {REPLAYS, FORGERIES, FASTER}
    assert world.drawn_by(REPLAYS) == world.drawn_by(FORGERIES) == 0
    assert world.drawn_by(FASTER) > 0
    assert all(size <= 3 * world.spent[address] for address, size in world.drawn.items())
    statistics = world.listener.statistics
    assert statistics.records_forged > 0 and statistics.records_replayed > 0
    assert statistics.addresses_changed > 0.9 * world.changes - 12
