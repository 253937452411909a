"""python -m tests.fuzz.seeds: first inputs, from real handshakes, into ``found/``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from aiodtls.core.wire.fragments import parse_fragments
from aiodtls.core.wire.records import split_datagram
from tests.fuzz.connections import VARIANTS, Talk
from tests.fuzz.parsers import MESSAGES, TICKET_KEYS
from tests.harness import CLIENT

FOUND = Path(__file__).parent / "found"


def plan(*parts: int | bytes) -> bytes:
    """Bytes as choices, and datagrams with their length before them."""
    return b"".join(
        bytes((part,)) if isinstance(part, int) else len(part).to_bytes(2, "big") + part + b"\0"
        for part in parts
    )


def datagrams(variant: str) -> list[tuple[str, bytes]]:
    """Who sent what, in a handshake and an exchange after it."""
    talk, sent = Talk(variant), []
    for _ in range(100):
        moved = [(side, data) for c, side in talk.sides() for data, _ in c.datagrams_to_send()]
        for side, data in moved:
            receiver = talk.server if side == CLIENT else talk.client
            receiver.receive_datagram(data, side, talk.now)
        sent += moved
        if not moved and talk.client.handshake_complete:
            return sent
        if not moved:
            break
    raise AssertionError(f"{variant} does not complete")


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

    for index, variant in enumerate(VARIANTS):
        _from_handshake(index, variant, keep)
    for kind, _ in enumerate(MESSAGES):
        keep("message", bytes((kind,)) + bytes(64))
    print(counts)


def _from_handshake(index: int, variant: str, keep: Callable[[str, bytes], None]) -> None:
    choice = next(b for b in range(192, 256) if b % len(VARIANTS) == index)
    sent = datagrams(variant)
    for number, (side, data) in enumerate(sent):
        keep("datagram", b"\0" + data)
        for message in plaintext_messages(data):
            keep("message", message)
        receiver = 1 if side == CLIENT else 0
        keep("handshake", plan(choice, number % 8, receiver, data))
        keep("established", plan(choice, receiver, 0, 0, data))
        keep("listener", plan(choice, 0, 1, data, 1, data))
        keep(
            "structured", plan(choice, number & 1, *(int(n == number) for n in range(12)), 0, 9, 4)
        )
    talk = Talk(variant)
    talk.run()
    session = talk.client.session
    if session is not None:
        keep("secrets", session.to_bytes())
        keep("secrets", TICKET_KEYS.seal(session, bytes))
    keep("secrets", sent[0][1][25:])


if __name__ == "__main__":
    main()
