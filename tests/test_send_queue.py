"""The send queue: order, what may grow, and the count of bytes."""

from __future__ import annotations

from aiodtls.net.send_queue import Priority, SendQueue


def drained(queue: SendQueue) -> list[tuple[object, Priority, list[bytes]]]:
    found = []
    while queue:
        oldest = queue.oldest()
        found.append((oldest.addr, oldest.priority, list(oldest.datagrams)))
        queue.done(len(oldest.datagrams))
    return found


def test_datagrams_keep_their_order_their_peer_and_their_priority():
    queue = SendQueue()
    queue.add([b"1", b"2"], "a", Priority.data)
    queue.add([b"3"], "a", Priority.data)
    queue.add([b"4"], "a", Priority.handshake)
    queue.add([b"5"], "b", Priority.handshake)
    queue.add([b"6"], "a", Priority.data)
    assert queue.size == 6
    assert drained(queue) == [
        ("a", Priority.data, [b"1", b"2", b"3"]),
        ("a", Priority.handshake, [b"4"]),
        ("b", Priority.handshake, [b"5"]),
        ("a", Priority.data, [b"6"]),
    ]
    assert queue.size == 0


def test_what_is_done_in_part_leaves_the_rest():
    queue = SendQueue()
    queue.add([b"12", b"345"], "a", Priority.data)
    queue.done(0)
    queue.done(1)
    assert queue.size == 3 and queue.oldest().datagrams == [b"345"]
    queue.add([b"6"], "a", Priority.data)
    assert queue.oldest().datagrams == [b"345", b"6"]
    queue.done(2)
    assert not queue and queue.size == 0


def test_a_cleared_queue_has_nothing_to_be_done():
    queue = SendQueue()
    queue.add([b"12"], "a", Priority.stateless_answer)
    waiting = queue.oldest()
    queue.clear()
    # Who was sending it sees that nothing is left.
    assert waiting.datagrams == [] and not queue and queue.size == 0
    queue.done(1)
    assert queue.size == 0


def test_stateless_answers_are_the_first_to_go():
    assert sorted(Priority) == [Priority.stateless_answer, Priority.handshake, Priority.data]
