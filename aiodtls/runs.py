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


def length_of_run(sizes: Sequence[int], limit: int = MAX_RUN) -> int:
    """How many of the first datagrams, of so many bytes each, may go out as one run.

    ``limit`` is the largest that may be part of a run; 0 where there are no runs.
    """
    size = sizes[0]
    if not 0 < size <= limit:
        return 1
    most = min(len(sizes), MAX_SEGMENTS, MAX_RUN // size)
    length = 1
    while length < most and sizes[length] == size:
        length += 1
    if length < most and 0 < sizes[length] < size:
        length += 1
    return length
