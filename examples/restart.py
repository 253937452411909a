"""An echo server whose clients notice neither that it is replaced nor that it was killed.

    python examples/restart.py DIRECTORY [PORT | fd:NUMBER]

Start it, stop it with SIGTERM or kill it, and start it again with the same directory: it goes on
with the associations of the one before. On SIGTERM it exports all of them. Against a crash each
association lives on a lease, and a newer export is stored whenever the last one is half used up.

The directory holds keys to live associations. Nobody else may read it, and no copy of it may be
restored: each state must be adopted once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import aiodtls
from aiodtls import PSK, DTLSConfig, DTLSEndpoint, DTLSError
from aiodtls.events import Event, ExportNeeded

LEASE = 500
CONFIG = DTLSConfig(psk=PSK("sensor-1", b"0123456789abcdef"))


class Store:
    """The newest state of each association, in a file of its own, given out once."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, exist_ok=True)
        self._directory = directory
        path = directory / "key"
        if not path.exists():
            path.write_bytes(os.urandom(32))
        self.key = path.read_bytes()

    def put(self, state: bytes) -> None:
        identity, _ = aiodtls.association_of(state)
        path = self._directory / f"{identity.hex()}.state"
        path.with_suffix(".new").write_bytes(state)
        path.with_suffix(".new").replace(path)

    def drop(self, state: bytes) -> None:
        identity, _ = aiodtls.association_of(state)
        (self._directory / f"{identity.hex()}.state").unlink(missing_ok=True)

    def take_all(self) -> Iterator[bytes]:
        for path in list(self._directory.glob("*.state")):
            state = path.read_bytes()
            # Gone before it is used: of two processes that start, or one that crashes here, no
            # two adopt it.
            path.unlink()
            yield state


class Server:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._states: dict[DTLSEndpoint, bytes] = {}

    def save(self, endpoint: DTLSEndpoint) -> None:
        """Stores a newer export; a little later where none can be made just now."""
        try:
            state = endpoint.export_state(self._store.key, lease=LEASE)
        except aiodtls.EndpointClosed:
            return
        except DTLSError:
            asyncio.get_running_loop().call_later(0.05, self.save, endpoint)
            return
        self._store.put(state)
        endpoint.export_stored(state)
        self._states[endpoint] = state

    def on_event(self, endpoint: DTLSEndpoint | None, event: Event) -> None:
        if isinstance(event, ExportNeeded) and endpoint is not None:
            self.save(endpoint)

    async def echo(self, endpoint: DTLSEndpoint) -> None:
        self.save(endpoint)
        try:
            async for data in endpoint:
                if data == b"new keys":
                    endpoint.update_keys()
                await endpoint.send(data)
        except aiodtls.EndpointClosed as error:
            print("an association ended:", error)
        # Ended by itself, not by the export of all: nobody may go on with it.
        if state := self._states.pop(endpoint, None):
            self._store.drop(state)

    async def hand_over(self, server: aiodtls.DTLSServer) -> None:
        self._states.clear()
        while True:
            for state in server.export_all(self._store.key):
                self._store.put(state)
            if not server.endpoints:
                # Nothing more is read: it waits in the socket for the next process.
                return
            await asyncio.sleep(0.01)


async def main(directory: str, where: str) -> None:
    if where.startswith("fd:"):
        # Of a parent that keeps the socket open: what comes meanwhile waits in its buffer.
        sock = socket.socket(fileno=int(where.removeprefix("fd:")))
    else:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", int(where)))
    store = Store(Path(directory))
    echo = Server(store)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = await aiodtls.serve(echo.echo, sock=sock, config=CONFIG, on_event=echo.on_event)
    adopted = 0
    for state in store.take_all():
        with contextlib.suppress(DTLSError, ValueError):
            server.adopt(state, store.key)
            adopted += 1
    print(f"port {server.sockname[1]}, {adopted} associations adopted", flush=True)
    await stop.wait()
    await echo.hand_over(server)
    server.close()
    await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "0"))
