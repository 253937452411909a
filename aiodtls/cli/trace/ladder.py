"""Puts the traces of one or both sides together: which datagram of one is which of the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from aiodtls.cli.trace.reading import Happening, Side, numbers_of
from aiodtls.core.peer_text import shown

Kind = Literal["handshake", "data", "ack", "alert", "other"]
Fate = Literal["arrived", "lost", "unknown"]
NumberInEpoch = tuple[int, int]
# Seconds since 1970, and the place in a trace, which orders what happens at one time.
Moment = tuple[float, int]
# What a datagram is, where it carries several kinds of records.
MOST_TELLING: tuple[Kind, ...] = ("alert", "handshake", "ack", "data", "other")
KINDS: dict[str, Kind] = {
    "handshake": "handshake",
    "change_cipher_spec": "handshake",
    "application_data": "data",
    "ack": "ack",
    "alert": "alert",
}
MAX_LABEL = 400
SPACE = "\N{NO-BREAK SPACE}"


@dataclass
class Arrow:
    """A datagram: when and in which place it stands in each trace, None where none tells."""

    sender: str
    label: str
    kind: Kind
    sent: Moment | None = None
    received: Moment | None = None
    fate: Fate = "unknown"

    @property
    def begins(self) -> Moment:
        found = self.sent or self.received
        assert found is not None
        return found

    def arrived(self, at: Moment) -> None:
        self.received, self.fate = at, "arrived"

    def lost(self) -> None:
        self.fate = "lost"


@dataclass(frozen=True)
class Note:
    """Something that happened at one side."""

    side: str
    begins: Moment
    text: str
    is_trouble: bool = False


@dataclass(frozen=True)
class Ladder:
    """All that happened, in order. ``roles`` are the sides that have a trace."""

    title: str
    roles: tuple[str, ...]
    rows: list[Arrow | Note]
    start: float
    remark: str = ""


def ladder(sides: list[Side], *, with_timers: bool = False) -> Ladder:
    """The ladder of one trace, or of a client's and a server's. Raises ValueError for others."""
    roles = tuple(side.role for side in sides)
    if len(sides) > 2 or len(set(roles)) != len(sides):
        raise ValueError("give one trace, or a client's and a server's of the same association")
    remark = ""
    if len(sides) == 2:
        sides, remark = _on_one_clock(sides)
    arrows: list[Arrow] = []
    for sender in ("client", "server"):
        arrows += _arrows(sender, sides)
    notes = [note for side in sides for note in _notes(side, with_timers=with_timers)]
    rows: list[Arrow | Note] = [*notes, *arrows]
    rows.sort(key=lambda row: row.begins)
    start = rows[0].begins[0] if rows else 0.0
    return Ladder(" / ".join(side.title for side in sides), roles, rows, start, remark)


# -- datagrams ------------------------------------------------------------------------------------


def _arrows(sender: str, sides: list[Side]) -> list[Arrow]:
    """The datagrams in one direction."""
    ours = next((side for side in sides if side.role == sender), None)
    theirs = next((side for side in sides if side.role != sender), None)
    carried = _Carried(ours, theirs)
    arrows = []
    by_number: dict[NumberInEpoch, Arrow] = {}
    by_length: dict[int, list[Arrow]] = {}
    for sent in _named(ours, "datagram_sent"):
        numbers = list(numbers_of(sent.listed("records")))
        label, kind = carried.described(numbers, sent.number("length"))
        arrow = Arrow(sender, label, kind, sent=_moment(sent))
        arrows.append(arrow)
        by_number.update((number, arrow) for number in numbers)
        by_length.setdefault(sent.number("length"), []).append(arrow)
    for received in _named(theirs, "datagram_received"):
        numbers = list(numbers_of(received.listed("records")))
        found = next((by_number[number] for number in numbers if number in by_number), None)
        if found is None and not numbers:
            # All its records were dropped, or wait for their keys. Its length has to do.
            alike = by_length.get(received.number("length"), [])
            found = next((a for a in alike if a.received is None), None)
        if found is None:
            label, kind = carried.described(numbers, received.number("length"))
            at = _moment(received)
            arrows.append(Arrow(sender, label, kind, received=at, fate="arrived"))
        elif found.received is None:
            found.arrived(_moment(received))
    if ours is not None and theirs is not None:
        _judge(arrows, theirs)
    return arrows


def _judge(arrows: list[Arrow], receiver: Side) -> None:
    """Tells what is lost from what the receiver's trace could not have: it begins with the proved
    cookie, and its last event is the end.
    """
    first = receiver.happenings[0].at if receiver.happenings else 0.0
    taken = next(_named(receiver, "message_received"), None)
    if taken is not None and taken.data.get("address_validated") is True:
        hellos = [a for a in arrows if a.sent is not None and a.sent[0] <= taken.at]
        if hellos:
            # The listener has taken this hello, and told the association of it.
            hellos[-1].arrived(_moment(taken))
    closed = next(_named(receiver, "association_closed"), None)
    for arrow in arrows:
        if arrow.sent is None or arrow.received is not None:
            continue
        is_before = arrow.sent[0] < first
        is_after = closed is not None and arrow.sent[0] >= closed.at
        if not is_before and not is_after:
            arrow.lost()


class _Carried:
    """What the records of one direction carry, as far as a trace tells."""

    def __init__(self, sender: Side | None, receiver: Side | None) -> None:
        self._records: dict[NumberInEpoch, Happening] = {}
        told = [*_named(receiver, "record_received"), *_named(sender, "record_sent")]
        for record in told:
            for number in numbers_of([record.data]):
                self._records[number] = record

    def described(self, numbers: Iterable[NumberInEpoch], length: int) -> tuple[str, Kind]:
        """The label of a datagram, and what it is."""
        parts: list[str] = []
        kinds: set[Kind] = set()
        for number in numbers:
            record = self._records.get(number)
            if record is not None:
                parts.append(_contents(record))
                kinds.add(KINDS.get(record.text("type"), "other"))
        kind: Kind = next((kind for kind in MOST_TELLING if kind in kinds), "other")
        # The size stays with the last word where a label is broken.
        return f"{' + '.join(parts) or '?'}{SPACE}({length}{SPACE}B)", kind


def _contents(record: Happening) -> str:
    kind, epoch = record.text("type"), record.number("epoch")
    parts = []
    for fragment in record.listed("fragments"):
        of = Happening(0.0, "", fragment if isinstance(fragment, dict) else {})
        start, size, whole = of.number("offset"), of.number("length"), of.number("message_length")
        part = "" if size == whole else f" [{start}-{start + size} of {whole}]"
        parts.append(of.text("message") + part)
    text = ", ".join(parts) or kind
    if kind == "application_data":
        text = f"data, {record.number('payload_length')} B"
    elif kind == "ack":
        text = f"ack of {_listed(record.listed('acknowledged'))}"
    elif kind == "alert":
        text = f"alert {record.text('description')}, {record.text('level')}"
    return shown(text if not epoch else f"{text} @{epoch}", MAX_LABEL)


def _listed(numbers: list[object]) -> str:
    pairs = [n for n in numbers if isinstance(n, list) and len(n) == 2]
    return " ".join(f"{epoch}:{number}" for epoch, number in pairs) or "nothing"


# -- notes ----------------------------------------------------------------------------------------


def _notes(side: Side, *, with_timers: bool) -> list[Note]:
    notes = []
    for happening in side.happenings:
        found = _note(happening, with_timers=with_timers)
        if found is not None:
            text, is_trouble = found
            notes.append(Note(side.role, _moment(happening), shown(text), is_trouble))
    return notes


def _note(of: Happening, *, with_timers: bool) -> tuple[str, bool] | None:
    """The text of an event that is no datagram, and whether it means trouble; None for no note."""
    match of.name:
        case "record_dropped":
            return f"dropped {of.number('records')}: {of.text('reason')}", True
        case "flight_resent":
            return f"resend {of.number('resend')}", True
        case "flight_repeated":
            return "the peer repeats its flight", True
        case "timer_updated":
            event, timer = of.text("event_type"), of.text("timer")
            if event == "expired":
                return f"timer {timer} is due", timer == "retransmit"
            if with_timers:
                delta = f" in {of.text('delta')} ms" if event == "set" else ""
                return f"timer {timer} {event}{delta}", False
        case "key_updated":
            return f"keys of epoch {of.number('epoch')}, {of.text('direction')}", False
        case "connection_id_updated":
            return f"{of.text('owner')} connection id {of.text('new')}", False
        case "path_updated":
            return f"the peer moved from {of.text('old')} to {of.text('new')}", False
        case "mtu_updated":
            return f"datagrams up to {of.number('max_datagram_length')} bytes", False
        case "question_asked":
            return f"asks: {of.text('question')}", False
        case "handshake_completed":
            return f"complete: DTLS {of.text('version')}, {of.text('cipher_suite')}", False
        case "handshake_confirmed":
            return "confirmed", False
        case "handshake_failed":
            return f"failed at {of.text('stage')}: {of.text('reason')}", True
        case "association_closed":
            reason = of.text("reason")
            return f"closed: {reason}", reason not in ("local", "close_notify")
        case "key_limit_reached":
            return f"key limit reached: {of.text('direction')}", True
    return None


# -- clocks ---------------------------------------------------------------------------------------


def _on_one_clock(sides: list[Side]) -> tuple[list[Side], str]:
    """Shifts the server's times if a datagram would arrive before it was sent.

    The clocks of two hosts may differ by more than a datagram takes.
    """
    quickest = {
        sender: min(
            (
                arrow.received[0] - arrow.sent[0]
                for arrow in _arrows(sender, sides)
                if arrow.sent is not None and arrow.received is not None
            ),
            default=None,
        )
        for sender in ("client", "server")
    }
    there, back = quickest["client"], quickest["server"]
    if there is None or back is None or min(there, back) >= 0:
        return sides, ""
    # The way there and the way back are taken to be of one length.
    ahead = (there - back) / 2
    shifted = [
        side
        if side.role == "client"
        else Side(
            side.role,
            side.title,
            [replace(happening, at=happening.at - ahead) for happening in side.happenings],
        )
        for side in sides
    ]
    more = "ahead of" if ahead > 0 else "behind"
    by = f"about {abs(ahead) * 1000:.1f} ms {more}"
    return shifted, f"the server's clock is {by} the client's: its times are shifted"


def _moment(happening: Happening) -> Moment:
    return happening.at, happening.order


def _named(side: Side | None, name: str) -> Iterator[Happening]:
    return (h for h in (side.happenings if side is not None else ()) if h.name == name)
