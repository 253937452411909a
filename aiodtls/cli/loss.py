"""--loss: drops outgoing datagrams on purpose, to show that the handshake still completes."""

from __future__ import annotations

import secrets
from typing import Any

from aiodtls.net.segments import split_batch
from aiodtls.net.send_queue import Priority
from aiodtls.protocol import DTLSProtocol


def drop_outgoing(percent: float) -> None:
    """From now on every protocol of this process drops ``percent`` of its datagrams."""
    send = DTLSProtocol.send_datagrams

    def lossy(self: DTLSProtocol, datagrams: list[tuple[bytes, Any]], priority: Priority) -> None:
        left = [item for item in datagrams if secrets.randbelow(10_000) >= percent * 100]
        send(self, left, priority)

    def lossy_batch(self: DTLSProtocol, batch: bytes, size: int, addr: Any) -> None:
        lossy(self, [(data, addr) for data in split_batch(batch, size)], Priority.data)

    DTLSProtocol.send_datagrams = lossy  # type: ignore[method-assign]
    DTLSProtocol.send_batch = lossy_batch  # type: ignore[method-assign]
