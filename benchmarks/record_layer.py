"""What one record costs in the record layer, beside a bare call of the cipher."""

from __future__ import annotations

import time
from collections.abc import Callable

from aiodtls_side import MESSAGE, AiodtlsMemory, configs
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def _best(run: Callable[[], object], count: int) -> float:
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(count):
            run()
        best = min(best, time.perf_counter() - start)
    return 1e6 * best / count


def record_costs(count: int) -> dict[str, float]:
    """Microseconds: a bare encryption, protect, and a received datagram read."""
    client, server = AiodtlsMemory(*configs()).handshake()
    cipher, nonce, additional = AESGCM(bytes(16)), bytes(12), bytes(13)
    writer = client._layer.writer
    costs = {
        "bare AES-GCM": _best(lambda: cipher.encrypt(nonce, MESSAGE, additional), count),
        "protect": _best(lambda: writer.protect(23, MESSAGE), count),
    }
    records = iter([writer.protect(23, MESSAGE) for _ in range(5 * count)])

    def receive() -> None:
        server.receive_datagram(next(records), "client", 0.0)
        server.read()

    costs["receive and read"] = _best(receive, count)
    return costs
