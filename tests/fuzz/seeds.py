"""python -m tests.fuzz.seeds: first inputs, from real handshakes, into ``found/``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from aiodtls.core.wire.fragments import parse_fragments
from aiodtls.core.wire.records import split_datagram
from tests.fuzz.asking import ASKING
from tests.fuzz.courses import OTHER, Course, Talk, course
from tests.fuzz.grammar import MADE, MORE, PRODUCTIONS
from tests.fuzz.parsers import MESSAGES, TICKET_KEYS
from tests.fuzz.plan import VARIANTS, Plan
from tests.fuzz.primitives import known_by_heart
from tests.harness import CLIENT, SERVER

FOUND = Path(__file__).parent / "found"
SIDES = (CLIENT, SERVER)
# Callers of the listener, each as a choice at the first address.
GOES_ON, BEGINS, DIALS = 11 << 2, 14 << 2, 15 << 2

Keep = Callable[[str, bytes], None]


def production(index: int, *choices: int, more: bool = False) -> bytes:
    """A production of the grammar by its index."""
    choice = next(c for c in range(MADE, 256) if c % len(PRODUCTIONS) == index)
    if more:
        choice = next(c for c in range(MADE | MORE, 256) if c % len(PRODUCTIONS) == index)
    return bytes((choice, *choices))


def plaintext_messages(data: bytes) -> list[bytes]:
    """The handshake messages of a datagram in the clear, each behind its number for the target."""
    found = []
    for content_type, number, body in split_datagram(data)[0]:
        if content_type == 22 and not number >> 48:
            for fragment in parse_fragments(body):
                for index, kind in enumerate(MESSAGES):
                    if kind.msg_type == fragment.msg_type:
                        found.append(bytes((index,)) + fragment.data)
    return found


def main() -> None:
    counts: dict[str, int] = {}

    def keep(target: str, data: bytes) -> None:
        directory = FOUND / target
        directory.mkdir(parents=True, exist_ok=True)
        counts[target] = counts.get(target, 0) + 1
        (directory / f"seed{counts[target]}").write_bytes(data)

    with known_by_heart():
        for variant in (*VARIANTS, *ASKING):
            choice = next(b for b in range(160, 256) if Plan(bytes((b,))).variant() == variant)
            for side in (0, 1):
                _of_side(choice, side, course(variant, SIDES[side]), keep)
            _of_listener(choice, keep)
            _of_secrets(variant, keep)
    for kind, _ in enumerate(MESSAGES):
        keep("message", bytes((kind,)) + bytes(64))
    print(counts)


def _of_side(choice: int, side: int, course: Course, keep: Keep) -> None:
    for data in course.datagrams:
        keep("datagram", b"\0" + data)
        for message in plaintext_messages(data):
            keep("message", message)
    for moment in range(course.moments):
        for index in range(len(PRODUCTIONS)):
            made = production(index, *(0,) * 8)
            keep("handshake", bytes((choice, moment, side)) + made)
            keep("established", bytes((choice, side, 0, moment & 1)) + made)
        # The next one, and the one after it; part of one; and one message behind another's record.
        keep("handshake", bytes((choice, moment, side)) + production(0, 0, 0) + production(0, 1))
        for edit in range(11):
            keep("structured", bytes((choice, moment, side, edit, 0, 9, 4)))


def _of_listener(choice: int, keep: Keep) -> None:
    for calls in range(1, 4):
        going = bytes((GOES_ON, 0)) * calls
        for index in range(len(PRODUCTIONS)):
            keep("listener", bytes((choice,)) + going + b"\0" + production(index, *(0,) * 8))
    keep("listener", bytes((choice, BEGINS, 0, BEGINS, 0, GOES_ON, 0, GOES_ON, 0)))
    keep("listener", bytes((choice, DIALS, 0, GOES_ON, 1, GOES_ON, 15)))
    for number in range(3):
        keep("listener", bytes((choice, *((GOES_ON | number, 0) * 4))))


def _of_secrets(variant: str, keep: Keep) -> None:
    talk = Talk(variant)
    talk.run()
    session = talk.client.session
    if session is not None:
        keep("secrets", session.to_bytes())
        keep("secrets", TICKET_KEYS.seal(session, bytes))
    keep("secrets", talk.received[OTHER[CLIENT]][0][25:])


if __name__ == "__main__":
    main()
