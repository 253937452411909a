"""Messages between two processes of a group."""

from __future__ import annotations

import asyncio
import pickle
import socket
from typing import Any

_LENGTH_BYTES = 4


class Link:
    """Messages over one end of a socket pair, in order. No other process has the socket.

    So what comes was sent by a process that the supervisor started, and may be unpickled.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, sock: socket.socket) -> Link:
        """Takes over the socket."""
        sock.setblocking(False)
        return cls(*await asyncio.open_connection(sock=sock))

    def send(self, kind: str, *values: Any) -> None:
        """Sends a message, unless the other end is gone."""
        if not self._writer.is_closing():
            content = pickle.dumps((kind, *values))
            self._writer.write(len(content).to_bytes(_LENGTH_BYTES) + content)

    async def receive(self) -> tuple[Any, ...] | None:
        """The next message, its kind first; None if the other end is gone."""
        try:
            length = int.from_bytes(await self._reader.readexactly(_LENGTH_BYTES))
            content = await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        message: tuple[Any, ...] = pickle.loads(content)  # noqa: S301 - from our own process
        return message

    @property
    def waiting_bytes(self) -> int:
        """How much the other end has not taken yet."""
        return self._writer.transport.get_write_buffer_size()

    async def flush(self) -> None:
        """Waits until the other end has taken most of what was sent, or is gone."""
        try:
            await self._writer.drain()
        except ConnectionError:
            return

    def close(self) -> None:
        """What was sent still arrives."""
        self._writer.close()
