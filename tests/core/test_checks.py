"""What annotations allow, and how a refusal is worded."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol
from unittest.mock import AsyncMock

import pytest

from aiodtls import ConfigError
from aiodtls.core import checks
from tests.harness import CLIENT, SERVER, Pair
from tests.simulated.variants import configs


class Shelf(Protocol):
    def put(self, value: bytes) -> None: ...


class Store:
    def put(self, value: bytes) -> None: ...


async def coroutine(value: object) -> None: ...


def plain(value: object) -> None: ...


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: object) -> Any:
        return function(*args)

    return wrapper


class Asynchronous:
    async def __call__(self, value: object) -> None: ...


class Plain:
    def __call__(self, value: object) -> None: ...


Handler = Callable[[int], Awaitable[object]]
Event = Callable[[int], object]
Either = Callable[[int], "bool | Awaitable[bool]"]


@pytest.mark.parametrize(
    ("hint", "good", "bad"),
    [
        (int, [0, -1], [True, 1.0, "1", None]),
        (float, [0, 1.5], [True, "1", float("nan"), float("inf"), None]),
        (bool, [True], [1, 0, "yes", None]),
        (str, ["", "x"], [b"x", 1]),
        (bytes, [b"", bytearray(1), memoryview(b"")], ["x", [1], 1]),
        (int | None, [None, 1], [True, ""]),
        (Literal["a", "b"], ["a"], ["c", 1, None, b"a"]),
        (Sequence[str], [(), ["x"]], ["x", b"x", ["x", 1], {"x"}, None]),
        (Iterable[bytes], [[b"x"], iter(())], [b"x", "x", 5]),
        (tuple[str, int], [("x", 1), ["x", 1]], [("x",), ("x", 1, 2), ("x", True), "x1"]),
        (tuple[bytes, ...], [(), (b"x",)], ["x", ("x",)]),
        (Mapping[str, bytes], [{}, {1: 2}], [[], "x"]),
        (Shelf, [Store()], [{}, None, object()]),
        (Handler, [coroutine, functools.partial(coroutine, 1), Asynchronous(), AsyncMock()], []),
        (Handler, [wrapped(coroutine), Asynchronous().__call__], [plain, Plain(), print, 5, Store]),
        (Handler, [], [functools.partial(plain), Plain().__call__]),
        # What a lambda returns cannot be told before it is called.
        (Handler, [lambda value: coroutine(value)], []),
        (Event, [lambda value: None], []),
        (Event, [plain, Plain(), print, Store], [coroutine, Asynchronous(), wrapped(coroutine), 5]),
        (Any, [1, None], []),
    ],
)
def test_what_an_annotation_allows(hint, good, bad):
    assert [value for value in good if not checks.fits(value, hint)] == []
    assert [value for value in bad if checks.fits(value, hint)] == []


@checks.checked
def function(number: int, *rest: str, either: Either | None = None, text: str | None = None):
    return number, rest


@checks.checked
async def asynchronous(number: int):
    return number


@checks.checked_part
def part(names: Sequence[str], how: Literal["a", "b"] = "a"):
    return names


async def test_arguments_are_named_with_what_they_must_be():
    assert function(1, "a", "b", either=coroutine, text="x") == (1, ("a", "b"))
    assert function(1, either=plain) == (1, ())
    assert await asynchronous(number=2) == 2
    assert part(["x"], how="b") == ["x"]
    for call, words in (
        (lambda: function("1"), "number must be int, not str"),
        (lambda: function(number=None), "number must be int, not None"),
        (lambda: function(1, "a", 2), "rest must be str, not 2"),
        (lambda: function(1, either=3), "either must be a plain or async function or None, not 3"),
        (lambda: function(1, text=b"secret"), "text must be str or None, not bytes$"),
        (lambda: function(), "required positional argument"),
        (lambda: function(1, other=2), "unexpected keyword"),
    ):
        with pytest.raises(TypeError, match=words):
            call()
    with pytest.raises(TypeError, match="number must be int, not True"):
        await asynchronous(True)
    for call, words in (
        (lambda: part("x"), "names must be a sequence of str, not str"),
        (lambda: part(["x", 5]), "names must be a sequence of str, not list of int, str"),
        (lambda: part([], how="perhaps"), 'how must be "a" or "b", not \'perhaps\''),
    ):
        with pytest.raises(ConfigError, match=words):
            call()


def test_a_function_of_the_wrong_kind_is_called_what_it_is():
    @checks.checked
    def takes(handler: Callable[[int], Awaitable[object]] | None, on_event: Event | None = None):
        """Nothing."""

    with pytest.raises(TypeError, match="an async function or None, not a plain function"):
        takes(plain)
    with pytest.raises(TypeError, match="a plain function or None, not an async function"):
        takes(None, coroutine)


def test_numbers_from_a_bound_on():
    checks.at_least(0.0, "delay", 0)
    checks.at_least(1, "limit", 1)
    for lowest, value, error in ((1, 0, ValueError), (1, 1.5, TypeError), (0.0, "1", TypeError)):
        with pytest.raises(error, match="limit must be"):
            checks.at_least(lowest, "limit", value)
    with pytest.raises(TypeError, match="must be a finite float"):
        checks.at_least(0.0, "delay", float("nan"))


def test_messages_are_bytes_and_not_empty():
    assert checks.message(bytearray(b"x")) == b"x"
    assert checks.messages(iter([b"x", memoryview(b"y")])) == [b"x", b"y"]
    for bad in (5, True, "x", [1], None):
        with pytest.raises(TypeError, match=type(bad).__name__):
            checks.message(bad)
        with pytest.raises(TypeError, match=type(bad).__name__):
            checks.messages([bad])
    for bad in (5, b"abc", "abc", bytearray(1), None):
        with pytest.raises(TypeError, match=f"messages must be .*, not {type(bad).__name__}"):
            checks.messages(bad)
    with pytest.raises(ValueError, match="empty"):
        checks.message(b"")
    with pytest.raises(ValueError, match="empty"):
        checks.messages([b"x", b""])


@pytest.mark.parametrize("variant", ["psk", "psk13"])
def test_a_received_empty_record_confirms_and_is_not_delivered(variant):
    pair = Pair(*configs(variant), cookie=False)
    pair.run()
    client, server = pair.client, pair.server
    with pytest.raises(ValueError, match="empty"):
        client.send(b"", pair.now)
    client._layer.protect(client._layer.write_epoch, 23, b"x")
    record = client._layer.protect(client._layer.write_epoch, 23, b"")
    server.receive_datagram(bytes(record), CLIENT, pair.now)
    pair.flush()
    assert server.confirmed and pair.data[SERVER] == []
    pair.exchange()
