"""``aiodtls trace FILE...``: draws what ``DTLSConfig(trace=directory)`` wrote, as a ladder."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from aiodtls.cli.output import Output
from aiodtls.cli.trace.ladder import ladder
from aiodtls.cli.trace.reading import read
from aiodtls.cli.trace.svg import svg
from aiodtls.cli.trace.terminal import ASCII, Drawing


async def run(options: argparse.Namespace, output: Output) -> int:
    """Draws the ladder of one side, or of both."""
    drawn = ladder([read(Path(file)) for file in options.files], with_timers=options.timers)
    if options.svg is not None:
        _write(options.svg, svg(drawn))
        output.say(f"wrote {options.svg}")
        return 0
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    drawing = Drawing(drawn, shutil.get_terminal_size((100, 24)).columns, coloured=coloured)
    for line in drawing.lines():
        print(_printable(line))
    return 0


def _write(file: str, text: str) -> None:
    Path(file).write_text(text, "utf-8")


def _printable(line: str) -> str:
    """The line in characters that the terminal has."""
    encoding = sys.stdout.encoding or "ascii"
    try:
        line.encode(encoding)
    except UnicodeEncodeError:
        line = line.translate(ASCII)
    return line.encode(encoding, "replace").decode(encoding)
