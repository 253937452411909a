"""Checks of the caller's values by the annotations of the functions and fields that take them.

A wrong argument of a function is a TypeError at the call. A wrong value in a configuration is a
ConfigError. Messages name the parameter and the types, and never show text or bytes, which may be
secret. Ranges are checked where a value is used.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from types import NoneType, UnionType
from typing import (
    Any,
    Literal,
    NoReturn,
    ParamSpec,
    TypeAlias,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from aiodtls.core.errors import ConfigError

P = ParamSpec("P")
R = TypeVar("R")

# Whether an annotation allows a value.
Test = Callable[[Any], bool]

Buffer: TypeAlias = bytes | bytearray | memoryview
BYTES = (bytes, bytearray, memoryview)
# Types that are often given by mistake instead of a sequence.
TEXT = (str, *BYTES)
MAX_SHOWN = 40
# Whether a function may be async. None means that it cannot be known before the call.
ASYNC, PLAIN, EITHER = (True, None), (False, None), (True, False, None)
FUNCTIONS = {
    ASYNC: "an async function",
    PLAIN: "a plain function",
    EITHER: "a plain or async function",
}


# -- for public functions and classes -----------------------------------------------------------


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Raises TypeError for an argument that its annotation does not allow. Not for hot paths."""
    return _checking(function, TypeError)


def checked_part(function: Callable[P, R]) -> Callable[P, R]:
    """As ``checked``, for the parts of a configuration: raises :class:`ConfigError`."""
    return _checking(function, ConfigError)


def _checking(function: Callable[P, R], error: type[Exception]) -> Callable[P, R]:
    names = list(_positional(function))
    tests: dict[str, Test] = {}
    in_order: list[tuple[str, Test]] = []

    def prepare() -> None:
        # At the first call, because only then all names in the annotations are known.
        hints = get_type_hints(function)
        tests.update((name, test_of(hint)) for name, hint in hints.items())
        in_order.extend((name, tests.get(name, test_of(Any))) for name in names)

    def check(arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        if not tests:
            prepare()
        further = len(arguments) - len(names)
        # The last parameter takes all further arguments.
        in_turn = in_order + in_order[-1:] * further if further > 0 else in_order
        for (name, test), value in zip(in_turn, arguments, strict=False):
            if not test(value):
                refuse(name, value)
        for name, value in named.items():
            if name in tests and not tests[name](value):
                refuse(name, value)

    def refuse(name: str, value: object) -> NoReturn:
        raise error(f"{name} {_mismatch(value, get_type_hints(function)[name])}")

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def checked_coroutine(*args: P.args, **kwargs: P.kwargs) -> Any:
            check(args, kwargs)
            return await function(*args, **kwargs)

        return checked_coroutine  # type: ignore[return-value]

    @functools.wraps(function)
    def checked_function(*args: P.args, **kwargs: P.kwargs) -> R:
        check(args, kwargs)
        return function(*args, **kwargs)

    return checked_function


def _positional(function: Callable[..., Any]) -> Iterator[str]:
    """The parameter names of positional arguments. The last name takes all further ones."""
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind not in (parameter.KEYWORD_ONLY, parameter.VAR_KEYWORD):
            yield name


class AsyncFunctionError(ConfigError, TypeError):
    """An async function in a configuration, where a plain one is needed: nobody would await it."""


def check_fields(made: object) -> None:
    """Raises :class:`ConfigError` for a field of a dataclass that its annotation does not allow.

    It is a TypeError too for an async function where a plain one is needed.
    """
    for name, hint, test in _field_tests(cast(Any, type(made))):
        value = getattr(made, name)
        if not test(value):
            is_async = callable(value) and _is_async(value)
            error = AsyncFunctionError if is_async else ConfigError
            raise error(f"{name} {_mismatch(value, hint)}")


@functools.cache
def _field_tests(cls: Any) -> list[tuple[str, Any, Test]]:
    hints = get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls) if field.init]
    return [(name, hints[name], test_of(hints[name])) for name in names]


# -- data to send -------------------------------------------------------------------------------


def message(data: object) -> bytes:
    """``data`` as bytes. Raises TypeError, and ValueError for an empty message."""
    if not isinstance(data, BYTES):
        raise TypeError(f"data must be bytes, bytearray or memoryview, not {type(data).__name__}")
    if not (content := bytes(data)):
        raise ValueError("data is empty: a peer does not deliver an empty message")
    return content


def messages(several: object) -> list[bytes]:
    """``message`` of each. Raises TypeError for one message instead of several."""
    if isinstance(several, TEXT) or not isinstance(several, Iterable):
        raise TypeError(f"messages must be an iterable of bytes, not {type(several).__name__}")
    return [message(data) for data in several]


def at_least(lowest: float, name: str, value: float) -> None:
    """Raises TypeError for a value that is not a number, ValueError for one below ``lowest``."""
    if not fits(value, type(lowest)):
        raise TypeError(f"{name} {_mismatch(value, type(lowest))}")
    if value < lowest:
        raise ValueError(f"{name} must be at least {lowest}, not {value}")


# -- values and annotations ---------------------------------------------------------------------


def fits(value: object, hint: Any) -> bool:
    """Whether an annotation allows a value."""
    return test_of(hint)(value)


@functools.cache
def test_of(hint: Any) -> Test:
    """The test of whether an annotation allows a value. The entries of a mapping are checked when
    they are used.

    To take an annotation apart takes longer than most tests, so it is done once.
    """
    origin, parameters = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _test_of_any([test_of(part) for part in parameters])
    if origin is Literal:
        return lambda value: isinstance(value, str) and value in parameters
    if origin is Callable:
        allowed = _allowed(parameters[-1])
        return lambda value: callable(value) and _is_async(value) in allowed
    if origin is tuple and parameters[-1] is Ellipsis:
        each = test_of(parameters[0])
        return lambda value: isinstance(value, tuple | list) and all(map(each, value))
    if origin is tuple:
        return _test_of_row([test_of(part) for part in parameters])
    if origin is Sequence:
        item = test_of(parameters[0])
        return lambda value: _are_several(value, Sequence) and all(map(item, value))
    if origin is Iterable:
        return lambda value: _are_several(value, Iterable)
    return _test_of_kind(origin or hint)


def _test_of_any(tests: list[Test]) -> Test:
    def fits_one(value: Any) -> bool:
        for test in tests:  # noqa: SIM110 - any() takes twice as long
            if test(value):
                return True
        return False

    return fits_one


def _test_of_row(tests: list[Test]) -> Test:
    return lambda values: (
        isinstance(values, tuple | list)
        and len(values) == len(tests)
        and all(test(value) for test, value in zip(tests, values, strict=True))
    )


def _are_several(value: object, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, TEXT)


def _test_of_kind(kind: Any) -> Test:
    """The test of an annotation without parameters."""
    if kind in (Any, object):
        return lambda value: True
    if kind is int:
        return _is_int
    if kind is float:
        return _is_finite
    if kind is bytes:
        return lambda value: isinstance(value, BYTES)
    if getattr(kind, "_is_protocol", False):
        methods = [name for name in vars(kind) if not name.startswith("_")]
        return lambda value: all(callable(getattr(value, name, None)) for name in methods)
    return lambda value: isinstance(value, kind or NoneType)


def _is_int(value: object) -> bool:
    # Python counts True as an int; here it is a mistake for a number.
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: object) -> bool:
    return math.isfinite(value) if isinstance(value, float) else _is_int(value)


def _allowed(result: Any) -> tuple[bool | None, ...]:
    """The results of ``_is_async`` that are allowed for a function with such a result."""
    if get_origin(result) is Awaitable:
        return ASYNC
    return EITHER if any(get_origin(part) is Awaitable for part in get_args(result)) else PLAIN


def _is_async(function: Any) -> bool | None:
    """Whether calling it returns a coroutine; None if that cannot be known before."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isclass(function):
        return hasattr(function, "__await__")
    call = getattr(type(function), "__call__", None)  # noqa: B004 - it is looked at, not called
    if any(map(_is_coroutine_function, (function, inspect.unwrap(function), call))):
        return True
    if getattr(function, "__name__", "") == "<lambda>":
        return None
    python = inspect.isroutine(function) or inspect.isfunction(call)
    return False if python else None


def _is_coroutine_function(function: Any) -> bool:
    flags = getattr(getattr(function, "__code__", None), "co_flags", 0)
    return inspect.iscoroutinefunction(function) or bool(flags & inspect.CO_COROUTINE)


def _mismatch(value: object, hint: Any) -> str:
    advice = ": put it into a list" if isinstance(value, str) and fits([value], hint) else ""
    return f"must be {describe(hint)}, not {_kind(value, hint)}{advice}"


def describe(hint: Any) -> str:
    """An annotation in words."""
    origin, parameters = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType, Literal):
        parts = list(dict.fromkeys(map(describe, parameters)))
        return " or ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
    if origin is Callable:
        return FUNCTIONS[_allowed(parameters[-1])]
    if origin is tuple and parameters[-1] is not Ellipsis:
        # Addresses are the only tuples that callers give.
        return "a tuple (host, port)"
    if origin in (Sequence, Iterable, tuple):
        return f"a sequence of {describe(parameters[0])}"
    if isinstance(hint, str):
        return f'"{hint}"'
    kind = origin or hint
    if kind in (None, NoneType):
        return "None"
    return "a finite float" if kind is float else str(kind.__name__)


def _kind(value: object, hint: Any) -> str:
    """The kind of a value in words, without showing it."""
    if value is None or isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str) and get_origin(hint) is Literal:
        return repr(value[:MAX_SHOWN])
    if isinstance(value, list | tuple):
        return f"{type(value).__name__} of {', '.join(sorted({type(v).__name__ for v in value}))}"
    if callable(value) and not inspect.isclass(value):
        return "an async function" if _is_async(value) else "a plain function"
    return type(value).__name__
