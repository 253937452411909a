"""The DTLS side of both directions: sending what a plain socket received."""

from __future__ import annotations

from aiodtls.cli.proxy.counters import Counters
from aiodtls.core.errors import BufferFull, DTLSError, MessageTooLarge
from aiodtls.endpoint import DTLSEndpoint
from aiodtls.net.segments import split_batch


def send_batch(endpoint: DTLSEndpoint, batch: bytes, size: int, counters: Counters) -> None:
    """Sends each datagram of a batch as one record. What cannot be sent is counted. HOT PATH."""
    datagrams = split_batch(batch, size)
    if len(datagrams) > 1:
        try:
            counters.count_to_dtls(endpoint.send_many_nowait(datagrams))
            return
        except (DTLSError, ValueError):
            # Nothing was sent. Below each goes by itself.
            pass
    sent = 0
    send = endpoint.send_nowait
    for data in datagrams:
        try:
            sent += send(data, split=False)
        except (DTLSError, ValueError) as error:
            counters.drop(_reason(error))
    counters.count_to_dtls(sent)


def _reason(error: Exception) -> str:
    if isinstance(error, BufferFull):
        return "no_room"
    if isinstance(error, MessageTooLarge):
        return "too_large"
    return "no_association" if isinstance(error, DTLSError) else "empty"
