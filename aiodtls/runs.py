"""Runs: datagrams for one address that one system call sends or receives (UDP_SEGMENT, UDP_GRO).

In a run they lie one behind another, all of one size but for the last, which may be shorter.
"""

from __future__ import annotations

from collections.abc import Sequence

# UDP_MAX_SEGMENTS of the kernels that first had it, and what an IPv4 packet holds beyond headers.
MAX_SEGMENTS = 64
MAX_RUN = 65507


def split_run(run: bytes, size: int) -> list[bytes]:
    """The datagrams of a run, each of ``size`` bytes but for the last."""
    if size >= len(run):
        return [run]
    return [run[at : at + size] for at in range(0, len(run), size)]


def length_of_run(sizes: Sequence[int], limit: int = MAX_RUN, overhead: int = 0) -> int:
    """How many of the first datagrams, of so many bytes and ``overhead`` each, may be one run.

    ``limit`` is the largest datagram that may be part of a run; 0 where there are no runs.
    """
    size = sizes[0]
    if not 0 < size + overhead <= limit:
        return 1
    most = min(len(sizes), MAX_SEGMENTS, MAX_RUN // (size + overhead))
    head = sizes[:most]
    if head.count(size) == most:
        return most
    length = next(at for at, other in enumerate(head) if other != size)
    return length + 1 if 0 < head[length] + overhead < size + overhead else length
