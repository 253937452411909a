"""Draws a ladder as SVG. Each event has a line of its own, so arrows that overtake others cross."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape
from typing import TypeAlias

from aiodtls.cli.trace.ladder import Arrow, Ladder, Moment, Note

WIDTH = 1400
LEFT, RIGHT = 400, 1000
TOP, STEP, BOTTOM = 90, 22, 30
TIMES = {"client": (60, "end"), "server": (WIDTH - 60, "start")}
COLOURS = {
    "handshake": "#0b7285",
    "data": "#2b8a3e",
    "ack": "#364fc7",
    "alert": "#862e9c",
    "other": "#495057",
    "trouble": "#c92a2a",
    "note": "#868e96",
}
# As many characters stand along an arrow, and beside a side.
MAX_LABEL, MAX_NOTE = 94, 48

# The height of each event: the number of its row, and "sent", "received" or "note".
Places: TypeAlias = dict[tuple[int, str], float]


def svg(ladder: Ladder) -> str:
    """The drawing, as the text of a file."""
    places = _places(ladder)
    height = TOP + STEP * (len(set(places.values())) + 1) + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
        f"<title>{escape(ladder.title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        *_markers(),
        _text(20, 26, ladder.title, "#212529", size=14),
        _text(20, 46, ladder.remark, COLOURS["trouble"]) if ladder.remark else "",
    ]
    for role, x in (("client", LEFT), ("server", RIGHT)):
        name = role if role in ladder.roles else f"({role})"
        parts.append(_text(x, TOP - 14, name, "#212529", anchor="middle", size=14))
        parts.append(
            f'<line x1="{x}" y1="{TOP}" x2="{x}" y2="{height - BOTTOM}" stroke="#adb5bd"/>'
        )
    arrows = [(n, row) for n, row in enumerate(ladder.rows) if isinstance(row, Arrow)]
    ends = {number: _ends(arrow, number, places) for number, arrow in arrows}
    # Text stands above all lines.
    for number, arrow in arrows:
        parts += _line(arrow, ends[number])
    for number, arrow in arrows:
        parts += _labels(arrow, number, ends[number], places, ladder.start)
    for number, row in enumerate(ladder.rows):
        if isinstance(row, Note):
            parts += _note(row, places[number, "note"], ladder.start)
    return "\n".join([*filter(None, parts), "</svg>", ""])


def _places(ladder: Ladder) -> Places:
    """The height of each event, in the order of time."""
    moments: list[tuple[Moment, int, str]] = []
    for number, row in enumerate(ladder.rows):
        if isinstance(row, Note):
            moments.append((row.begins, number, "note"))
            continue
        if row.sent is not None:
            moments.append((row.sent, number, "sent"))
        if row.received is not None:
            moments.append((row.received, number, "received"))
    moments.sort()
    return {(n, what): TOP + STEP * (at + 1) for at, (_, n, what) in enumerate(moments)}


def _markers() -> Iterator[str]:
    yield "<defs>"
    for name, colour in COLOURS.items():
        yield (
            f'<marker id="{name}" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" '
            f'markerHeight="8" orient="auto"><path d="M0 0 8 4 0 8z" fill="{colour}"/></marker>'
        )
    yield "</defs>"


def _ends(arrow: Arrow, number: int, places: Places) -> tuple[float, float, float, float]:
    """x and y of where an arrow begins, and of where it ends. A lost one ends on the way."""
    sent, received = places.get((number, "sent")), places.get((number, "received"))
    begin = sent if sent is not None else received
    end = received if received is not None else begin
    assert begin is not None and end is not None
    x1, x2 = (LEFT, RIGHT) if arrow.sender == "client" else (RIGHT, LEFT)
    if arrow.fate == "lost":
        x2 = x1 + (x2 - x1) * 4 // 5
    return x1, begin, x2, end


def _colour(arrow: Arrow) -> str:
    return "trouble" if arrow.fate == "lost" else arrow.kind


def _line(arrow: Arrow, ends: tuple[float, float, float, float]) -> Iterator[str]:
    x1, y1, x2, y2 = ends
    colour = _colour(arrow)
    is_whole = arrow.sent is not None and arrow.received is not None
    dashes = "" if is_whole else ' stroke-dasharray="5 3"'
    marker = "" if arrow.fate == "lost" else f' marker-end="url(#{colour})"'
    yield (
        f'<line x1="{x1}" y1="{y1:.0f}" x2="{x2}" y2="{y2:.0f}" stroke="{COLOURS[colour]}" '
        f'stroke-width="1.4"{dashes}{marker}><title>{escape(arrow.label)}</title></line>'
    )


def _labels(
    arrow: Arrow,
    number: int,
    ends: tuple[float, float, float, float],
    places: Places,
    start: float,
) -> Iterator[str]:
    x1, y1, x2, y2 = ends
    colour = COLOURS[_colour(arrow)]
    x, y = (LEFT + RIGHT) / 2, (y1 + y2) / 2
    # Along the arrow, and never upside down.
    slope = math.degrees(math.atan2(y2 - y1, x2 - x1))
    turn = slope if arrow.sender == "client" else slope - 180
    label = _text(0, -4, _cut(arrow.label, MAX_LABEL), colour, anchor="middle", size=11)
    yield f'<g transform="translate({x:.0f} {y:.0f}) rotate({turn:.2f})">{label}</g>'
    if arrow.fate == "lost":
        yield _text(x2, y2 + 5, "\N{MULTIPLICATION X}", colour, anchor="middle", size=16)
    other = "server" if arrow.sender == "client" else "client"
    for side, what, at in (
        (arrow.sender, "sent", arrow.sent),
        (other, "received", arrow.received),
    ):
        if at is not None:
            yield _moment(side, places[number, what], at[0] - start)


def _note(note: Note, y: float, start: float) -> Iterator[str]:
    colour = COLOURS["trouble" if note.is_trouble else "note"]
    x, anchor = (LEFT - 10, "end") if note.side == "client" else (RIGHT + 10, "start")
    yield _text(x, y + 4, _cut(note.text, MAX_NOTE), colour, anchor=anchor)
    yield _moment(note.side, y, note.begins[0] - start)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}\N{HORIZONTAL ELLIPSIS}"


def _moment(side: str, y: float, seconds: float) -> str:
    x, anchor = TIMES[side]
    return _text(x, y + 4, f"{seconds * 1000:.1f} ms", "#495057", anchor=anchor, size=10)


def _text(
    x: float, y: float, text: str, colour: str, *, anchor: str = "start", size: int = 12
) -> str:
    # A white edge keeps labels readable where lines cross them.
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" fill="{colour}" text-anchor="{anchor}" font-size="{size}" '
        f'stroke="white" stroke-width="3" paint-order="stroke">{escape(text)}</text>'
    )
