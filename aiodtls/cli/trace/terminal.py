"""Draws a ladder as text, coloured where it goes to a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from aiodtls.cli.trace.ladder import Arrow, Ladder, Moment, Note

MARGIN = 11
NARROWEST = 60
COLOURS = {
    "handshake": "36",
    "data": "32",
    "ack": "34",
    "alert": "35",
    "other": "37",
    "trouble": "31",
    "note": "2",
}
# What stands for these where the terminal has ASCII alone.
ASCII = str.maketrans("│─┄▶◀✕\N{NO-BREAK SPACE}", "|-.><x ")
LEGEND = "@2: under the keys of epoch 2   ✕: lost   ┄: after the other trace's end, or before it"


class Drawing:
    """``width`` is that of the terminal, in columns."""

    def __init__(self, ladder: Ladder, width: int, *, coloured: bool) -> None:
        self._ladder = ladder
        self._inside = max(width, NARROWEST) - 2 * MARGIN - 2
        self._coloured = coloured

    def lines(self) -> Iterator[str]:
        ladder = self._ladder
        yield ladder.title
        if ladder.remark:
            yield ladder.remark
        yield ""
        names = [role if role in ladder.roles else f"({role})" for role in ("client", "server")]
        yield self._line("ms", names[0] + names[1].rjust(self._inside - len(names[0])), "ms", " ")
        for row in ladder.rows:
            yield from self._arrow(row) if isinstance(row, Arrow) else self._note(row)
        yield ""
        yield self._paint(LEGEND, "note")

    def _line(self, left: str, inside: str, right: str, rail: str = "│") -> str:
        return f"{left:>{MARGIN - 1}} {rail}{inside}{rail} {right}".rstrip()

    def _time(self, moment: Moment | None) -> str:
        return "" if moment is None else f"{(moment[0] - self._ladder.start) * 1000:.1f}"

    def _paint(self, text: str, colour: str) -> str:
        return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m" if self._coloured else text

    def _arrow(self, arrow: Arrow) -> Iterator[str]:
        inside = self._inside
        *above, last = textwrap.wrap(arrow.label, inside - 8) or [""]
        colour = "trouble" if arrow.fate == "lost" else arrow.kind
        for text in above:
            yield self._line("", self._paint(text.center(inside), colour), "")
        lost = arrow.fate == "lost"
        unheard = arrow.fate == "unknown" and len(self._ladder.roles) == 2
        # What is lost ends on the way.
        shaft = f" {last} ".center(inside - (7 if lost else 1), "┄" if unheard else "─")
        if arrow.sender == "client":
            drawn = shaft + ("✕      " if lost else "▶")
            left, right = arrow.sent, arrow.received
        else:
            drawn = ("      ✕" if lost else "◀") + shaft
            left, right = arrow.received, arrow.sent
        yield self._line(self._time(left), self._paint(drawn, colour), self._time(right))

    def _note(self, note: Note) -> Iterator[str]:
        inside, time = self._inside, self._time(note.begins)
        colour = "trouble" if note.is_trouble else "note"
        for text in textwrap.wrap(note.text, inside - 4) or [""]:
            if note.side == "client":
                yield self._line(time, self._paint(f" {text}".ljust(inside), colour), "")
            else:
                yield self._line("", self._paint(f"{text} ".rjust(inside), colour), time)
            time = ""
