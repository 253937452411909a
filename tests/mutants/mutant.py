"""A mutant: one change of one source file, and how a process gets to run it."""

from __future__ import annotations

import ast
import gc
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "aiodtls"
# A function of a file: its qualified name and its first line.
Place = tuple[str, int]


class DoesNotApply(Exception):
    """The source is not what the mutant was written for."""


@dataclass(frozen=True)
class Mutant:
    """A check taken out.

    ``old`` stands exactly once in ``file``, which is below aiodtls/, or, where it has moved, in
    all of the package. ``tests`` are node ids below tests/, separated by blanks: a module, a
    function or a single case.
    """

    name: str
    requirement: str
    file: str
    old: str
    new: str
    tests: str
    # Why no test is to be expected to see it, where that is so.
    survives: str = ""

    @property
    def path(self) -> Path:
        """Raises :class:`DoesNotApply`."""
        named = PACKAGE / self.file
        if named.exists() and named.read_text().count(self.old) == 1:
            return named
        counts = {path: path.read_text().count(self.old) for path in PACKAGE.rglob("*.py")}
        if sum(counts.values()) != 1:
            raise DoesNotApply(f"{self.name}: its old text stands {sum(counts.values())} times")
        return max(counts, key=counts.__getitem__)

    def changed_source(self) -> str:
        """Raises :class:`DoesNotApply`."""
        path = self.path
        changed = path.read_text().replace(self.old, self.new)
        try:
            compile(changed, str(path), "exec", dont_inherit=True)
        except SyntaxError as error:
            raise DoesNotApply(f"{self.name}: {path} does not compile: {error}") from error
        return changed

    def node_ids(self) -> tuple[str, ...]:
        return tuple(f"tests/{test}" for test in self.tests.split())


def changed_functions(path: Path, changed: str) -> dict[Place, CodeType] | None:
    """The new code of the functions that differ.

    None where something differs that is done once, when the module is loaded.
    """
    source = path.read_text()
    old = compile(source, str(path), "exec", dont_inherit=True)
    new = compile(changed, str(path), "exec", dont_inherit=True)
    found: dict[Place, CodeType] = {}
    if not _compare(old, new, found):
        return None
    names = {qualified_name.partition(".")[0] for qualified_name, _ in found}
    return None if names & _used_at_import(ast.parse(source)) else found


def _used_at_import(module: ast.Module) -> set[str]:
    """Functions that are called when the module is loaded, or that such functions name."""
    functions = {node.name: node for node in module.body if isinstance(node, ast.FunctionDef)}
    used: set[str] = set()
    waiting = _names_outside_functions(module) & functions.keys()
    while waiting:
        name = waiting.pop()
        used.add(name)
        named = {node.id for node in ast.walk(functions[name]) if isinstance(node, ast.Name)}
        waiting |= named & functions.keys() - used
    return used


def _names_outside_functions(node: ast.AST) -> set[str]:
    found: set[str] = set()
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            parts: list[ast.AST] = [*getattr(child, "decorator_list", ()), child.args]
            found |= {n.id for part in parts for n in ast.walk(part) if isinstance(n, ast.Name)}
        else:
            if isinstance(child, ast.Name):
                found.add(child.id)
            found |= _names_outside_functions(child)
    return found


def _compare(old: CodeType, new: CodeType, found: dict[Place, CodeType]) -> bool:
    """Fills in the functions of a module's or a class's body; False where the body differs."""
    if _shell(old) != _shell(new):
        return False
    for before, after in zip(_inner(old), _inner(new), strict=True):
        if _is_function(before):
            if not _compare_function(before, after, found):
                return False
        elif not _compare(before, after, found):
            return False
    return True


def _compare_function(old: CodeType, new: CodeType, found: dict[Place, CodeType]) -> bool:
    """A function, and those in it, of which closures may live already."""
    if _substance(old) == _substance(new):
        return True
    if old.co_freevars != new.co_freevars:
        return False
    found[old.co_qualname, old.co_firstlineno] = new
    before, after = _inner(old), _inner(new)
    if [code.co_name for code in before] != [code.co_name for code in after]:
        return True
    return all(map(_compare_function, before, after, [found] * len(before)))


def _inner(code: CodeType) -> list[CodeType]:
    return [const for const in code.co_consts if isinstance(const, CodeType)]


def _is_function(code: CodeType) -> bool:
    return bool(code.co_flags & 0x2)  # CO_NEWLOCALS: a class's body has it not


def _shell(code: CodeType) -> tuple[Any, ...]:
    """What runs when the body itself runs, whatever its lines and the functions in it are."""
    consts = [
        (const.co_name, const.co_varnames[: const.co_argcount], const.co_flags & 0x2)
        if isinstance(const, CodeType)
        else repr(const)
        for const in code.co_consts
    ]
    return code.co_code, code.co_names, code.co_varnames, consts


def _substance(code: CodeType) -> tuple[Any, ...]:
    return *_shell(code), code.co_flags, [_substance(inner) for inner in _inner(code)]


@cache
def living_functions() -> dict[tuple[str, Place], list[FunctionType]]:
    """The functions of the package that are loaded, by file and place."""
    found: dict[tuple[str, Place], list[FunctionType]] = {}
    for thing in gc.get_objects():
        if type(thing) is FunctionType and thing.__code__.co_filename.startswith(str(PACKAGE)):
            code = thing.__code__
            place = code.co_qualname, code.co_firstlineno
            found.setdefault((code.co_filename, place), []).append(thing)
    return found


def plant(path: Path, functions: dict[Place, CodeType]) -> None:
    """Changes functions of a module that is loaded, whoever holds them."""
    for place, code in functions.items():
        for function in living_functions().get((str(path), place), ()):
            function.__code__ = code


class _ChangedSource(SourceFileLoader):
    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self._source = source

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._source, self.path, "exec", dont_inherit=True)


class _Finder(MetaPathFinder):
    def __init__(self, path: Path, source: str) -> None:
        relative = path.relative_to(ROOT).with_suffix("")
        self._name = ".".join(relative.parts).removesuffix(".__init__")
        self._path, self._source = str(path), source

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        loader = _ChangedSource(fullname, self._path, self._source)
        return spec_from_file_location(fullname, self._path, loader=loader)


def plant_before_import(path: Path, source: str) -> None:
    """Has a module load from other source, where nothing of the package is loaded yet."""
    assert not any(name.partition(".")[0] == "aiodtls" for name in sys.modules)
    sys.meta_path.insert(0, _Finder(path, source))


def selected(mutants: list[Mutant], words: list[str]) -> Iterator[Mutant]:
    """Those with one of the words in their name, file or requirement; all without words."""
    for mutant in mutants:
        text = f"{mutant.name} {mutant.file} {mutant.requirement}"
        if not words or any(word in text for word in words):
            yield mutant


def of(file: str, tests: str, *rows: tuple[str, ...]) -> Iterator[Mutant]:
    """Mutants of one file: (name, requirement, old text, new text).

    Behind these may stand other tests, and then why no test is to be expected to see it.
    """
    for name, requirement, old, new, *others in rows:
        yield Mutant(name, requirement, file, old, new, *(others or (tests,)))
