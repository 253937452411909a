"""The code blocks of a page, and what kind each is."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

# Blocks that hold no code: figures, output, and the directives of the site.
NO_CODE = {"text", "toctree", "eval-rst", "figure", "note", "warning", "tip"}
DATA = {"ini", "json", "toml", "yaml", "systemd"}
SHELL = {"sh", "console"}
PYTHON = {"python", "py"}

# The first line of a Python block says where the block belongs.
_FILE = re.compile(r"# ([\w-]+\.py)$")
_NAMES = re.compile(r"# with (\w+(?:, \w+)*)$")
# The first line of a shell block whose last command goes on while the page is read.
OWN_TERMINAL = "# in a terminal of its own"


@dataclass(frozen=True)
class Block:
    """One fenced block; ``line`` is where it begins in its page."""

    language: str
    text: str
    line: int

    @property
    def is_program(self) -> bool:
        """Whether it is a whole program, which begins the event loop itself."""
        return self.language in PYTHON and "asyncio.run(" in self.text

    @property
    def file(self) -> str | None:
        """The name under which readers save it, from its first line."""
        found = _FILE.match(self.first_line)
        return found.group(1) if found else None

    @property
    def fixtures(self) -> tuple[str, ...]:
        """The names that complete a fragment, from its first line."""
        found = _NAMES.match(self.first_line)
        return tuple(found.group(1).split(", ")) if found else ()

    @property
    def first_line(self) -> str:
        return self.text.split("\n", 1)[0]

    @property
    def has_terminal_of_its_own(self) -> bool:
        return self.first_line == OWN_TERMINAL


def blocks_of(page: Path) -> list[Block]:
    """All code blocks of a page, from top to bottom.

    Raises:
        ValueError: A block names no language, or one of no known kind.
    """
    found = []
    for token in MarkdownIt().parse(page.read_text()):
        if token.type == "code_block":
            raise ValueError(f"{page.name}: an indented block; use a fence that names its language")
        if token.type != "fence":
            continue
        assert token.map is not None
        words = token.info.split()
        language = words[0].strip("{}") if words else ""
        if language in NO_CODE:
            continue
        line = token.map[0] + 1
        if language not in DATA | SHELL | PYTHON:
            raise ValueError(f"{page.name}:{line}: a block of no known kind, {language!r}")
        found.append(Block(language, token.content, line))
    return found


def compiled(block: Block) -> ast.Module:
    """The syntax tree of a Python block; a fragment may await."""
    return compile(
        block.text,
        f"line {block.line}",
        "exec",
        ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
    )
