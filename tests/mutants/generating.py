"""Finds every check in a source file, and writes the file without it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LEAVING = (ast.Raise, ast.Return, ast.Continue, ast.Break)
# The boundary moved by one, or the comparison turned round.
COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.In: "not in",
    ast.NotIn: "in",
    ast.Is: "is not",
    ast.IsNot: "is",
}
ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "+",
    ast.FloorDiv: "*",
    ast.LShift: ">>",
    ast.RShift: "<<",
}
# Calls that say something to people and nothing to the protocol.
TALK = {"debug", "info", "warning", "log", "append_note", "wipe"}


@dataclass(frozen=True)
class Change:
    """One place of a file, and what stands there instead."""

    kind: str
    line: int
    last_line: int
    old: str
    new: str
    source: str

    def __str__(self) -> str:
        old = " ".join(self.old.split())
        return f"{self.line}: {self.kind}: {old[:90]} -> {self.new[:60]}"


class _Text:
    """A source text that is cut at the places the parser gives."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._starts = [0]
        for line in source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._lines = source.splitlines()

    def _at(self, line: int, column: int) -> int:
        """The parser counts columns in bytes."""
        text = self._lines[line - 1].encode()[:column].decode()
        return self._starts[line - 1] + len(text)

    def change(self, kind: str, node: ast.expr | ast.stmt, new: str) -> Change:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self._at(node.lineno, node.col_offset)
        end = self._at(node.end_lineno, node.end_col_offset)
        old = self.source[start:end]
        source = self.source[:start] + new + self.source[end:]
        return Change(kind, node.lineno, node.end_lineno, old, new, source)


def changes(path: Path) -> list[Change]:
    """Every change of a file that leaves it a program, in the order of its lines."""
    text = _Text(path.read_text())
    tree = ast.parse(text.source)
    found = {}
    for change in _walk(tree, text):
        try:
            compile(change.source, str(path), "exec", dont_inherit=True)
        except SyntaxError:
            continue
        found.setdefault(change.source, change)
    return sorted(found.values(), key=lambda change: change.line)


def _walk(node: ast.AST, text: _Text) -> Iterator[Change]:
    for child in ast.iter_child_nodes(node):
        if _is_typing(child) or _is_docstring(child):
            continue
        if isinstance(child, ast.stmt):
            yield from _of_statement(child, text)
        elif isinstance(child, ast.expr):
            yield from _of_expression(child, text)
        yield from _walk(child, text)


def _is_typing(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" in ast.unparse(node.test)
    return isinstance(node, ast.Import | ast.ImportFrom | ast.Assert)


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _of_statement(node: ast.stmt, text: _Text) -> Iterator[Change]:
    if isinstance(node, ast.If):
        kind = "check removed" if isinstance(node.body[-1], LEAVING) else "branch removed"
        yield text.change(kind, node.test, "False")
        yield text.change("always", node.test, "True")
    elif isinstance(node, ast.Expr) and not isinstance(node.value, ast.Yield):
        call = node.value.value if isinstance(node.value, ast.YieldFrom) else node.value
        if isinstance(call, ast.Call) and _called(call) not in TALK:
            yield text.change("call removed", node.value, _without(node.value))
    elif isinstance(node, ast.AugAssign):
        yield text.change("step removed", node, "pass")
    elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
        yield from _of_limit(node.value, text)


def _called(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _without(value: ast.expr) -> str:
    """A function stays a generator when its only `yield from` goes."""
    return "(yield from ())" if isinstance(value, ast.YieldFrom) else "None"


def _of_limit(value: ast.expr, text: _Text) -> Iterator[Change]:
    if isinstance(value, ast.Constant) and type(value.value) in (int, float) and value.value > 1:
        yield text.change("constant doubled", value, repr(value.value * 2))
    if isinstance(value, ast.Constant) and type(value.value) is bool:
        yield text.change("constant turned", value, repr(not value.value))


def _of_expression(node: ast.expr, text: _Text) -> Iterator[Change]:
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        yield from _of_comparison(node, text)
    elif isinstance(node, ast.BoolOp):
        word = " and " if isinstance(node.op, ast.And) else " or "
        for term in node.values:
            rest = word.join(
                f"({ast.unparse(other)})" for other in node.values if other is not term
            )
            yield text.change("term dropped", node, f"({rest})")
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield text.change("not dropped", node, f"({ast.unparse(node.operand)})")
    elif isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        if not _holds_text(node):
            left, right = ast.unparse(node.left), ast.unparse(node.right)
            operator = ARITHMETIC[type(node.op)]
            yield text.change("arithmetic", node, f"(({left}) {operator} ({right}))")
    elif isinstance(node, ast.Call):
        yield from _of_call(node, text)
    elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "AlertDescription":
        if node.attr != "INTERNAL_ERROR":
            yield text.change("other alert", node, "AlertDescription.INTERNAL_ERROR")
    elif isinstance(node, ast.IfExp):
        yield text.change("first branch", node, f"({ast.unparse(node.body)})")
        yield text.change("second branch", node, f"({ast.unparse(node.orelse)})")


def _holds_text(node: ast.BinOp) -> bool:
    return any(
        isinstance(part, ast.JoinedStr)
        or (isinstance(part, ast.Constant) and isinstance(part.value, str | bytes))
        for part in (node.left, node.right)
    )


def _of_comparison(node: ast.Compare, text: _Text) -> Iterator[Change]:
    left, right = ast.unparse(node.left), ast.unparse(node.comparators[0])
    operator = COMPARISONS[type(node.ops[0])]
    yield text.change("comparison", node, f"(({left}) {operator} ({right}))")


def _of_call(node: ast.Call, text: _Text) -> Iterator[Change]:
    name = _called(node)
    if name in ("min", "max") and isinstance(node.func, ast.Name):
        if len(node.args) == 2:
            for part in node.args:
                yield text.change(f"{name} dropped", node, f"({ast.unparse(part)})")
    elif name in ("any", "all") and isinstance(node.func, ast.Name):
        other = "all" if name == "any" else "any"
        arguments = ", ".join(ast.unparse(part) for part in node.args)
        yield text.change("any and all", node, f"{other}({arguments})")
