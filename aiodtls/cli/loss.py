"""--loss: a transport that drops outgoing datagrams on purpose, to show what resends do."""

from __future__ import annotations

import secrets
from typing import Any

from aiodtls.protocol import DTLSProtocol
from aiodtls.runs import split_run


def drop_outgoing(percent: float) -> None:
    """From now on every protocol of this process drops that share of its datagrams."""
    send = DTLSProtocol.send_datagram

    def lossy(self: DTLSProtocol, data: bytes, addr: Any) -> None:
        if secrets.randbelow(10_000) >= percent * 100:
            send(self, data, addr)

    def lossy_run(self: DTLSProtocol, run: bytes, size: int, addr: Any) -> None:
        for data in split_run(run, size):
            lossy(self, data, addr)

    DTLSProtocol.send_datagram = lossy  # type: ignore[method-assign]
    DTLSProtocol.send_run = lossy_run  # type: ignore[method-assign]
