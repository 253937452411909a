"""Reads lines of standard input with the event loop.

No thread may hold the buffer of ``sys.stdin`` when the interpreter exits, because that aborts it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import AsyncIterator

CHUNK = 65536


async def lines() -> AsyncIterator[bytes]:
    """Yields each line with its line feed. The last line may have none. Ends with the input."""
    descriptor = _descriptor()
    if descriptor is None:
        return
    rest = b""
    while chunk := await _read(descriptor):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line + b"\n"
    if rest:
        yield rest


def _descriptor() -> int | None:
    """The file descriptor; None if the program was started without standard input."""
    # Descriptor 0 may belong to a socket then, so ``sys.stdin`` is asked.
    with contextlib.suppress(AttributeError, OSError, ValueError):
        return sys.stdin.fileno()
    return None


async def _read(descriptor: int) -> bytes:
    """Returns the next bytes as soon as there are any; empty at the end."""
    loop = asyncio.get_running_loop()
    readable = loop.create_future()
    try:
        loop.add_reader(descriptor, _resolve, readable)
    except PermissionError:
        # epoll cannot wait for a file or for /dev/null. Both can be read at once.
        await asyncio.sleep(0)
        return _take(descriptor)
    except NotImplementedError:
        return await _read_by_thread(descriptor)
    try:
        await readable
    finally:
        loop.remove_reader(descriptor)
    return _take(descriptor)


def _take(descriptor: int) -> bytes:
    """A terminal that was hung up, or a closed descriptor, counts as the end of the input."""
    try:
        return os.read(descriptor, CHUNK)
    except OSError:
        return b""


async def _read_by_thread(descriptor: int) -> bytes:
    """For event loops that can wait only for sockets, as on Windows.

    The thread is a daemon, so it does not delay the exit. It holds no lock while it waits.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[bytes] = loop.create_future()

    def read() -> None:
        chunk = _take(descriptor)
        # The loop may be closed already.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_resolve, result, chunk)

    threading.Thread(target=read, daemon=True).start()
    return await result


def _resolve(future: asyncio.Future[bytes], value: bytes = b"") -> None:
    if not future.done():
        future.set_result(value)
