"""Many processes on one port, and many hosts behind one name.

It stands on the public face of :mod:`aiodtls`: whoever needs another supervisor can write one.
"""

from aiodtls.cluster.group import WorkerGroup, run
from aiodtls.cluster.keeper import Keeper
from aiodtls.cluster.redis_store import RedisStateStore, UnsafeStoreError
from aiodtls.cluster.stores import (
    Entry,
    Holder,
    MemoryStateStore,
    Orders,
    SQLiteStateStore,
    StateStore,
)
from aiodtls.cluster.worker import Worker
from aiodtls.core.id_layout import IdLayout

__all__ = [
    "Entry",
    "Holder",
    "IdLayout",
    "Keeper",
    "MemoryStateStore",
    "Orders",
    "RedisStateStore",
    "SQLiteStateStore",
    "StateStore",
    "UnsafeStoreError",
    "Worker",
    "WorkerGroup",
    "run",
]
