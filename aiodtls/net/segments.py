"""GSO batches: datagrams of one address that one system call sends or receives.

They are concatenated in one buffer and have equal size, except that the last may be shorter
(UDP_SEGMENT and UDP_GRO of Linux).
"""

from __future__ import annotations

from collections.abc import Sequence

# UDP_MAX_SEGMENTS of the first kernels that had it, and the most UDP payload of an IPv4 packet.
MAX_SEGMENTS = 64
MAX_BATCH = 65507


def split_batch(batch: bytes, size: int) -> list[bytes]:
    """The datagrams of a batch, each of ``size`` bytes except for the last."""
    if size >= len(batch):
        return [batch]
    return [batch[at : at + size] for at in range(0, len(batch), size)]


def batch_length(sizes: Sequence[int], limit: int = MAX_BATCH, overhead: int = 0) -> int:
    """How many of the first datagrams, of these sizes plus ``overhead`` bytes each, fit one batch.

    ``limit`` is the largest datagram that may be part of a batch; 0 if batches are not supported.
    """
    size = sizes[0]
    if not 0 < size + overhead <= limit:
        return 1
    most = min(len(sizes), MAX_SEGMENTS, MAX_BATCH // (size + overhead))
    head = sizes[:most]
    if head.count(size) == most:
        return most
    length = next(at for at, other in enumerate(head) if other != size)
    return length + 1 if 0 < head[length] + overhead < size + overhead else length
