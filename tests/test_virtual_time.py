"""Virtual time: the clock of the event loop jumps when nothing is left to do."""

from __future__ import annotations

import asyncio
import time

import pytest

from aiodtls import DTLSConfig, EndpointClosed
from aiodtls.testing import pair
from aiodtls.virtual_time import clock_of


async def test_virtual_time_takes_none():
    loop = asyncio.get_running_loop()
    real = time.monotonic()
    config = DTLSConfig(idle_timeout=3600.0)
    async with pair(config, virtual_time=True) as (client, _):
        begun = loop.time()
        with pytest.raises(EndpointClosed):
            await client.recv()
        # By a sleeping task too.
        await asyncio.sleep(86400)
        assert loop.time() - begun > 3600 + 86400
    # It goes on from there, and a second pair stops it again.
    assert loop.time() >= begun + 86400
    async with pair(virtual_time=True):
        await asyncio.sleep(1000)
    assert time.monotonic() - real < 500


async def test_virtual_time_needs_a_block_and_a_loop_of_asyncio():
    with pytest.raises(RuntimeError, match="async with"):
        await pair(virtual_time=True)

    class Other(asyncio.AbstractEventLoop):
        pass

    with pytest.raises(RuntimeError, match=r"Other"):
        clock_of(Other())
