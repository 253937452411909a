"""Lines of standard input, read by the event loop.

No thread holds the buffer of ``sys.stdin``: the interpreter aborts at its end where one does.
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
    """Each line with its line feed; the last may have none. Ends with the input."""
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
    """None where the program was started without standard input."""
    # The number 0 may belong to a socket then, so it is asked of ``sys.stdin``.
    with contextlib.suppress(AttributeError, OSError, ValueError):
        return sys.stdin.fileno()
    return None


async def _read(descriptor: int) -> bytes:
    """What is there next, as soon as anything is; empty at the end."""
    loop = asyncio.get_running_loop()
    readable = loop.create_future()
    try:
        loop.add_reader(descriptor, _resolve, readable)
    except PermissionError:
        # Linux cannot wait for a file or for /dev/null, nor is there anything to wait for.
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
    """A terminal that was hung up, or a closed descriptor, is the end of the input."""
    try:
        return os.read(descriptor, CHUNK)
    except OSError:
        return b""


async def _read_by_thread(descriptor: int) -> bytes:
    """For loops that wait for sockets alone, as on Windows.

    The thread is a daemon, so it holds up no exit, and it holds no lock while it waits.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[bytes] = loop.create_future()

    def read() -> None:
        chunk = _take(descriptor)
        # The loop may be closed by then.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_resolve, result, chunk)

    threading.Thread(target=read, daemon=True).start()
    return await result


def _resolve(future: asyncio.Future[bytes], value: bytes = b"") -> None:
    if not future.done():
        future.set_result(value)
