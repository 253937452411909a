"""The list fits the package, and a change reaches whoever holds the function."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.mutants.generating import changes
from tests.mutants.listed import MUTANTS
from tests.mutants.mutant import (
    PACKAGE,
    ROOT,
    DoesNotApply,
    Mutant,
    changed_functions,
    plant,
    selected,
)
from tests.mutants.running import Task


@cache
def functions(module: str) -> set[str]:
    tree = ast.parse((ROOT / module).read_text())
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


def test_each_mutant_has_a_name_of_its_own():
    names = [mutant.name for mutant in MUTANTS]
    assert len(names) == len(set(names)) > 300


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_mutant_applies(mutant):
    assert mutant.changed_source() != mutant.path.read_text()
    for node_id in mutant.node_ids():
        module, _, function = node_id.partition("::")
        assert (ROOT / module).is_file()
        assert not function or function.partition("[")[0] in functions(module)


def of(old: str, new: str, file: str = "core/record/replay.py") -> Mutant:
    return Mutant("m", "r", file, old, new, "core/test_protection.py")


@pytest.mark.parametrize("old", ["distance", "text of no file"])
def test_a_text_that_is_not_unique_does_not_apply(old):
    with pytest.raises(DoesNotApply, match="its old text stands"):
        of(old, "x").changed_source()


def test_a_check_that_has_moved_is_found():
    moved = of("class ReplayWindow:", "class ReplayWindow(object):", "core/gone.py")
    assert moved.path == PACKAGE / "core/record/replay.py"


def test_what_is_no_python_does_not_apply():
    with pytest.raises(DoesNotApply, match="does not compile"):
        of("class ReplayWindow:", "class:").changed_source()


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        (
            "record/replay.py",
            "self.highest: int = -1",
            "self.highest: int = -2",
            {"ReplayWindow.__init__"},
        ),
        ("record/replay.py", '"""The anti-replay window', '"""\n\nA window', None),
        ("reliability/acks.py", "MAX_RECORDS = 32", "MAX_RECORDS = 33", None),
        # Called when the module is loaded, and a function in such a one.
        ("crypto/chains.py", "not usage.key_cert_sign", "usage.key_cert_sign", None),
        (
            "crypto/chains.py",
            "if not allows_role(usage, role)",
            "if allows_role(usage, role)",
            None,
        ),
    ],
)
def test_what_can_be_changed_in_place(file, old, new, expected):
    mutant = of(old, new, f"core/{file}")
    found = changed_functions(mutant.path, mutant.changed_source())
    assert expected == (None if found is None else {name for name, _ in found})


def test_a_change_reaches_a_function_that_somebody_has_imported():
    from aiodtls.core.record.protection13 import reconstruct

    mutant = of("return number - span", "return -1", "core/record/protection13.py")
    assert reconstruct(0xFFFF, 16, 0x10000) == 0xFFFF
    found = changed_functions(mutant.path, mutant.changed_source())
    assert found is not None
    before = {reconstruct: reconstruct.__code__}
    try:
        plant(mutant.path, found)
        assert reconstruct(0xFFFF, 16, 0x10000) == -1
    finally:
        for function, code in before.items():
            function.__code__ = code
    assert reconstruct(0xFFFF, 16, 0x10000) == 0xFFFF


def test_words_pick_mutants():
    some = [of("a", "b"), Mutant("n", "RFC 6347 4.2", "core/x.py", "", "", "")]
    assert list(selected(some, [])) == some
    assert list(selected(some, ["6347"])) == some[1:]
    assert list(selected(some, ["replay", "x.py"])) == some
    assert list(selected(some, ["nothing"])) == []


def test_tests_are_picked_by_module_function_and_case():
    task = Task("t", PACKAGE, "", ("tests/a.py::one", "tests/b.py", "tests/c.py::x[1]"))
    ranks = {
        "tests/a.py::one": 0,
        "tests/a.py::one[2]": 0,
        "tests/a.py::one_more": None,
        "tests/b.py::any[1]": 1,
        "tests/c.py::x[1]": 2,
        "tests/c.py::x[2]": None,
    }
    assert {node_id: task.rank(node_id) for node_id in ranks} == ranks
    assert task.files == {"tests/a.py", "tests/b.py", "tests/c.py"}


def test_a_hunt_takes_each_check_out(tmp_path):
    source = tmp_path / "checks.py"
    source.write_text(
        "LIMIT = 8\n"
        "def check(a, b):\n"
        '    "Text."\n'
        "    if a is None or b > LIMIT:\n"
        "        raise ValueError(min(a, b))\n"
        "    log(a)\n"
        "    return not a + 1\n"
    )
    found = [(change.kind, change.line, change.new) for change in changes(source)]
    assert found == [
        ("constant doubled", 1, "16"),
        ("check removed", 4, "False"),
        ("always", 4, "True"),
        ("term dropped", 4, "((b > LIMIT))"),
        ("term dropped", 4, "((a is None))"),
        ("comparison", 4, "((a) is not (None))"),
        ("comparison", 4, "((b) >= (LIMIT))"),
        ("min dropped", 5, "(a)"),
        ("min dropped", 5, "(b)"),
        ("not dropped", 7, "(a + 1)"),
        ("arithmetic", 7, "((a) - (1))"),
    ]
    for change in changes(source):
        assert compile(change.source, Path(source).name, "exec")
