"""The path that ICE has found, as a datagram transport."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from aiortc.rtcicetransport import RTCIceTransport

# The peer's address. ICE chooses the path, and changes it without telling.
PEER = ("ice", 0)


class ICEDatagramTransport(asyncio.DatagramTransport):
    """Sends through ICE, whose function for that is async although it never waits.

    Once ICE is closed, what is sent is dropped: the reader of ICE learns of it too.
    """

    def __init__(self, ice: RTCIceTransport) -> None:
        super().__init__()
        self._ice = ice
        self._unsent: deque[bytes] = deque()
        self._sender: asyncio.Task[None] | None = None
        self.packets_sent: int = 0
        self.bytes_sent: int = 0

    def sendto(self, data: Any, addr: Any = None) -> None:
        self._unsent.append(bytes(data))
        if self._sender is None:
            self._sender = asyncio.ensure_future(self._send_all())

    async def flush(self) -> None:
        """Returns when ICE has taken everything."""
        if self._sender is not None:
            await asyncio.wait([self._sender])

    async def _send_all(self) -> None:
        try:
            while self._unsent:
                data = self._unsent.popleft()
                await self._ice._send(data)
                self.packets_sent += 1
                self.bytes_sent += len(data)
        except ConnectionError:
            self._unsent.clear()
        finally:
            self._sender = None
