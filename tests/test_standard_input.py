"""Standard input of every kind, read by the loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import socket
import sys
from pathlib import Path

import pytest

from aiodtls.cli import standard_input


@contextlib.contextmanager
def standard_input_is(monkeypatch: pytest.MonkeyPatch, descriptor: int):
    with os.fdopen(descriptor, "rb", closefd=True) as file:
        monkeypatch.setattr(sys, "stdin", file)
        yield


async def read_all() -> list[bytes]:
    async with asyncio.timeout(10):
        return [line async for line in standard_input.lines()]


async def test_a_file(monkeypatch, tmp_path: Path):
    path = tmp_path / "input"
    path.write_bytes(b"one\n\ntwo" + b"x" * 200_000)
    with standard_input_is(monkeypatch, os.open(path, os.O_RDONLY)):
        assert await read_all() == [b"one\n", b"\n", b"two" + b"x" * 200_000]


async def test_nothing(monkeypatch):
    with standard_input_is(monkeypatch, os.open(os.devnull, os.O_RDONLY)):
        assert await read_all() == []


async def test_none_at_all(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    assert await read_all() == []


@pytest.mark.parametrize("kind", ["pipe", "socket"])
async def test_what_another_program_writes(monkeypatch, kind):
    if kind == "pipe":
        reading, writing = os.pipe()
    else:
        reading, writing = (end.detach() for end in socket.socketpair())
    with standard_input_is(monkeypatch, reading):
        lines = standard_input.lines()
        os.write(writing, b"one\ntw")
        assert await anext(lines) == b"one\n"
        following = asyncio.ensure_future(anext(lines))
        await asyncio.sleep(0)
        os.write(writing, b"o\nthree")
        assert await following == b"two\n"
        os.close(writing)
        assert await anext(lines) == b"three"
        with pytest.raises(StopAsyncIteration):
            await anext(lines)


async def test_a_terminal_and_its_hang_up(monkeypatch):
    controller, terminal = pty.openpty()
    with standard_input_is(monkeypatch, terminal):
        lines = standard_input.lines()
        os.write(controller, b"typed\n")
        assert await anext(lines) == b"typed\n"
        following = asyncio.ensure_future(anext(lines))
        await asyncio.sleep(0)
        os.close(controller)
        with pytest.raises(StopAsyncIteration):
            await following


async def test_who_stops_reading_leaves_no_reader_behind(monkeypatch):
    reading, writing = os.pipe()
    with standard_input_is(monkeypatch, reading):
        following = asyncio.ensure_future(anext(standard_input.lines()))
        await asyncio.sleep(0)
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following
        assert not asyncio.get_running_loop().remove_reader(reading)
    os.close(writing)


async def test_a_loop_that_waits_for_sockets_alone(monkeypatch):
    def refuse(*arguments: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(asyncio.get_running_loop(), "add_reader", refuse)
    reading, writing = os.pipe()
    with standard_input_is(monkeypatch, reading):
        os.write(writing, b"one\ntwo\n")
        os.close(writing)
        assert await read_all() == [b"one\n", b"two\n"]
