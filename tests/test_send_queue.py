"""The send queue: order, turns, what is dropped first, and the count of bytes."""

from __future__ import annotations

import pytest

from aiodtls.core.networks import network_of
from aiodtls.net.send_queue import ANSWER_TURNS, DATAGRAM_OVERHEAD, Priority, SendQueue

ANSWER, HANDSHAKE, CONTROL, DATA = Priority


def one_by_one(queue: SendQueue) -> list[tuple[object, bytes]]:
    """What leaves, one datagram a turn."""
    found = []
    while queue:
        first = queue.first()
        found.append((first.addr, first.datagrams[0]))
        queue.done(first, 1)
    return found


def queue_of(datagrams: int, size: int = 0) -> SendQueue:
    """A queue that holds so many datagrams of one size beside data."""
    queue = SendQueue()
    queue.limit(datagrams * (size + DATAGRAM_OVERHEAD), lambda addr: network_of((addr, 1)))
    return queue


def test_datagrams_to_one_address_keep_their_order():
    queue = SendQueue()
    queue.add([b"1", b"2"], "a", DATA)
    queue.add([b"3"], "a", DATA)
    queue.add([b"4"], "a", CONTROL)
    queue.add([b"5"], "a", DATA)
    assert queue.size == queue.data_size == 5
    assert queue.first().datagrams == [b"1", b"2", b"3"]
    assert [data for _, data in one_by_one(queue)] == [b"1", b"2", b"3", b"4", b"5"]
    assert queue.size == queue.data_size == queue.dropped == 0


def test_what_is_done_in_part_leaves_the_rest():
    queue = SendQueue()
    queue.add([b"12", b"345"], "a", DATA)
    first = queue.first()
    queue.done(first, 0)
    queue.done(first, 1)
    assert queue.size == 3 and queue.first().datagrams == [b"345"]
    queue.add([b"6"], "a", DATA)
    assert queue.first().datagrams == [b"345", b"6"]
    queue.done(queue.first(), 2)
    assert not queue and queue.size == 0


def test_a_cleared_queue_has_nothing_to_be_done():
    queue = SendQueue()
    for priority in Priority:
        queue.add([b"12"], "a", priority)
    waiting = queue.first()
    queue.clear()
    # Who was sending it sees that nothing is left.
    assert waiting.datagrams == [] and not queue and queue.size == queue.data_size == 0
    queue.done(waiting, 1)
    assert queue.size == 0


def test_associations_take_turns_so_that_a_large_message_delays_no_small_one():
    queue = SendQueue()
    queue.add([b"large"] * 100, "a", DATA)
    queue.add([b"small"], "b", DATA)
    assert one_by_one(queue)[1] == ("b", b"small")


def test_networks_of_handshakes_take_turns():
    queue = SendQueue()
    queue.limit(1 << 20, lambda addr: network_of((addr, 1)))
    for host in range(1, 100):
        queue.add([b"flight"] * 3, f"192.0.2.{host}", HANDSHAKE)
    queue.add([b"honest", b"flight"], "198.51.100.1", HANDSHAKE)
    left = one_by_one(queue)
    assert [index for index, (addr, _) in enumerate(left) if addr == "198.51.100.1"] == [1, 3]


def test_no_line_waits_for_another_to_be_empty():
    queue = SendQueue()
    queue.limit(1 << 30, lambda addr: None)
    for number in range(700):
        for priority in (ANSWER, HANDSHAKE, DATA):
            queue.add([b"x"], (priority, number), priority)
    left = [priority for (priority, _), _ in one_by_one(queue)[:700]]
    assert [left.count(priority) for priority in (ANSWER, HANDSHAKE, DATA)] == [100, 200, 400]


def test_a_line_that_was_empty_has_saved_up_nothing():
    queue = SendQueue()
    for number in range(400):
        queue.add([b"x"], number, DATA)
        queue.done(queue.first(), 1)
    for number in range(100):
        queue.add([b"x"], number, DATA)
        queue.add([b"x"], "stranger", ANSWER)
        queue.add([b"x"], "peer", HANDSHAKE)
    left = [addr for addr, _ in one_by_one(queue)[:70]]
    assert left.count("stranger") <= 11 and left.count("peer") <= 21


def test_of_stateless_answers_the_older_are_dropped():
    queue = queue_of(80, size=10)
    for number in range(1000):
        queue.add([b"%010d" % number], number, ANSWER)
        assert queue.size <= 10 * 10
    left = [addr for addr, _ in one_by_one(queue)]
    assert 5 <= len(left) <= 10 and left == list(range(1000 - len(left), 1000))
    assert queue.dropped == 1000 - len(left)


def test_a_flood_from_one_network_neither_delays_nor_drops_the_answers_to_another():
    queue = queue_of(800, size=10)
    # Two networks may have one turn, by chance.
    queue._salt = 0
    for number in range(1000):
        queue.add([b"%010d" % number], f"192.0.2.{number % 250}", ANSWER)
        if number == 500:
            queue.add([b"0123456789"] * 3, "198.51.100.1", ANSWER)
    left = [addr for addr, _ in one_by_one(queue)]
    assert [index for index, addr in enumerate(left) if addr == "198.51.100.1"] == [1, 3, 5]


def test_answers_to_forged_addresses_have_a_bounded_number_of_turns():
    queue = queue_of(80_000, size=10)
    for number in range(5000):
        queue.add([b"0123456789"], f"10.{number // 250}.{number % 250}.1", ANSWER)
    assert 32 < len(queue._answers.turns) <= ANSWER_TURNS


def test_of_handshakes_the_network_with_most_loses_the_older_half():
    queue = queue_of(80, size=10)
    queue.add([b"0123456789"] * 4, "198.51.100.1", HANDSHAKE)
    for number in range(1000):
        queue.add([b"%010d" % number], f"192.0.2.{number % 250}", HANDSHAKE)
        assert queue.size <= 40 * 10
    left = one_by_one(queue)
    assert [addr for addr, _ in left].count("198.51.100.1") == 4
    assert left[-1][1] == b"%010d" % 999
    assert queue.dropped == 1004 - len(left)


def test_data_is_never_dropped_and_what_else_associations_send_is():
    queue = queue_of(80, size=10)
    for number in range(100):
        queue.add([b"0123456789"], number % 7, CONTROL)
    assert queue.size == 30 * 10 and queue.dropped == 70
    queue.add([b"0123456789"] * 1000, "a", DATA)
    assert queue.data_size == queue.size == 1030 * 10
    queue.add([b"0123456789"], "a", CONTROL)
    assert queue.dropped == 71
    assert len(one_by_one(queue)) == 1030


@pytest.mark.parametrize("priority", [ANSWER, HANDSHAKE])
def test_what_is_dropped_while_it_is_being_sent_is_counted_once(priority):
    queue = queue_of(8, size=10)
    queue.add([b"0123456789"], "192.0.2.1", priority)
    sent = queue.first()
    for number in range(20):
        queue.add([b"0123456789"], f"192.0.2.{number}", priority)
    assert sent.datagrams == []
    queue.done(sent, 1)
    left = one_by_one(queue)
    assert queue.dropped == 21 - len(left) and queue.size == 0


def test_the_share_of_one_line_is_not_taken_from_another():
    queue = queue_of(80, size=10)
    for number in range(1000):
        queue.add([b"0123456789"], "192.0.2.1", HANDSHAKE)
        queue.add([b"0123456789"], number, ANSWER)
    queue.add([b"0123456789"], "peer", CONTROL)
    assert ("peer", b"0123456789") in one_by_one(queue)
