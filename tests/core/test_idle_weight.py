"""An idle association is light: few objects for the garbage collector to visit."""

from __future__ import annotations

import gc
from enum import Enum

import pytest

from aiodtls.core.connection import DTLSConnection
from tests.harness import Pair
from tests.simulated.variants import configs

MOST_OBJECTS = 18
LONG_AFTER = 300


def owned(connection: DTLSConnection) -> list[object]:
    """What the garbage collector tracks for this connection alone."""
    gc.collect()
    tracked = {id(item): item for item in gc.get_objects()}
    # What others share with it: configuration, code points, classes, functions.
    shared = {id(connection.config), id(connection._random), id(connection._touched)}
    shared.add(id(connection.counters.total))
    found: dict[int, object] = {}
    waiting: list[object] = [connection]
    while waiting:
        item = waiting.pop()
        if id(item) in found or id(item) in shared or id(item) not in tracked:
            continue
        if isinstance(item, type) or not _is_state(item):
            continue
        found[id(item)] = item
        waiting += gc.get_referents(item)
    return list(found.values())


def _is_state(item: object) -> bool:
    """Whether it is a plain container, or an object of the core that is no constant."""
    if isinstance(item, Enum):
        return False
    # Python 3.14 tracks an empty dict, which has nothing to visit; older ones do not.
    if item == {}:
        return False
    if isinstance(item, list | dict | tuple | set):
        return True
    module = type(item).__module__
    # Suites and what else stands in crypto are constants.
    return module.startswith("aiodtls.core") and not module.startswith("aiodtls.core.crypto")


@pytest.mark.parametrize("variant", ["psk", "psk13"])
def test_an_idle_association_has_few_objects(variant):
    client, server = configs(variant)
    pair = Pair(client, server)
    assert pair.run() and pair.connected
    pair.exchange()
    for connection in (pair.client, pair.server):
        while connection.next_event() is not None:
            pass
        # A client keeps its session besides.
        connection.free_memory(pair.now + LONG_AFTER)
        own = [item for item in owned(connection) if item is not connection.session]
        names = sorted(type(item).__name__ for item in own)
        assert len(own) <= MOST_OBJECTS, names
