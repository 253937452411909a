"""Values are compared, hashed, copied and carried by their fields, like frozen dataclasses."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest

from aiodtls.core.frozen import frozen, frozen_kw_only


@frozen
class Point:
    x: int
    y: tuple[int, ...] = ()
    note: str = dataclasses.field(default="", compare=False)


@frozen_kw_only
class Named:
    x: int
    y: int = 0


def test_equal_fields_are_equal_values_and_one_key():
    assert Point(1, (2,)) == Point(1, (2,), note="another")
    assert hash(Point(1, (2,))) == hash(Point(1, (2,), note="another"))
    assert Point(1) != Point(2)
    assert {Point(1): "found"}[Point(1)] == "found"
    assert len({Point(1), Point(1), Point(2), Named(x=1), Named(x=1, y=0)}) == 3


def test_another_class_is_never_equal():
    assert Point(1) != Named(x=1)


@pytest.mark.parametrize("made", [Point(1, (2, 3), "note"), Named(x=1, y=2)])
def test_copies_are_equal(made):
    assert copy.copy(made) == copy.deepcopy(made) == pickle.loads(pickle.dumps(made)) == made
    assert dataclasses.replace(made, x=5).x == 5
    assert made.x == 1


def test_there_is_no_room_for_other_attributes():
    with pytest.raises(AttributeError):
        Point(1).z = 1  # type: ignore[attr-defined]


def test_names_are_required_where_they_are_all_that_tells_fields_apart():
    with pytest.raises(TypeError):
        Named(1)  # type: ignore[misc]


def test_only_shown_fields_are_in_the_repr():
    @frozen
    class Keyed:
        name: str
        key: bytes = dataclasses.field(repr=False)

    assert repr(Point(1, (2,), "note")) == "Point(x=1, y=(2,), note='note')"
    assert repr(Keyed("a", b"secret")).endswith("Keyed(name='a')")


def test_a_class_keeps_the_methods_of_its_own():
    @frozen
    class Secret:
        key: bytes

        def __repr__(self) -> str:
            return "Secret()"

    assert repr(Secret(b"secret")) == "Secret()"
    assert Secret(b"secret") == Secret(b"secret")
