"""What an association leaves behind is freed at once, without the garbage collector's help."""

from __future__ import annotations

import asyncio
import gc
import weakref

import aiodtls
from aiodtls import Credentials, DTLSConfig, Trust


async def test_a_client_that_has_closed_leaves_no_reference_cycle():
    credentials = Credentials.self_signed("localhost")
    client = DTLSConfig(trust=Trust.fingerprints(credentials.fingerprint()))
    server = DTLSConfig(credentials=credentials)
    gc.disable()
    try:
        async with aiodtls.serve(None, "127.0.0.1", config=server) as peers:
            async with aiodtls.connect(*peers.sockname, config=client) as endpoint:
                protocol = weakref.ref(endpoint._channel.carrier)
                connection = weakref.ref(endpoint._channel.connection)
            await endpoint.wait_closed()
            del endpoint
            # The transport tells its protocol of the end in a turn of its own.
            await asyncio.sleep(0.01)
            assert protocol() is None
            assert connection() is None
    finally:
        gc.enable()
