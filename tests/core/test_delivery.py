"""What ACKs say of a flight, and what is believed of it."""

from __future__ import annotations

from aiodtls.core.reliability.delivery import Delivery


def carried() -> Delivery:
    """Two messages in three records."""
    delivery = Delivery({4: 100, 5: 20})
    delivery.carried(1, [(4, 0, 60)])
    delivery.carried(2, [(4, 60, 100)])
    delivery.carried(3, [(5, 0, 20)])
    return delivery


def test_protected_acks_complete_a_flight():
    delivery = carried()
    assert delivery.acknowledge([1, 3], epoch=2) and not delivery.is_complete
    assert delivery.missing(4) == [(60, 100)] and delivery.missing(5) == []
    assert delivery.acknowledge([2], epoch=2) and delivery.is_complete
    assert not delivery.acknowledge([1, 2, 3, 9], epoch=2)


def test_an_ack_concerns_the_flight_whose_records_it_names_or_names_none():
    delivery = carried()
    assert delivery.concerns([1, 9]) and delivery.concerns([])
    assert not delivery.concerns([9, 10])
    # Also if an earlier ACK has named them.
    delivery.acknowledge([1], epoch=2)
    assert delivery.concerns([1]) and not delivery.acknowledge([1], epoch=2)


def test_plaintext_acks_complete_nothing_and_are_dropped_later():
    """Anybody can send them: they save resends for a while."""
    delivery = carried()
    assert delivery.acknowledge([1, 2, 3], epoch=0) and not delivery.is_complete
    assert delivery.missing(4) == delivery.missing(5) == []
    delivery.drop_unauthenticated()
    assert delivery.missing(4) == [(0, 100)] and delivery.missing(5) == [(0, 20)]
    assert not delivery.is_complete


def test_protected_acks_stay_when_plaintext_acks_are_dropped():
    delivery = carried()
    delivery.acknowledge([1, 2], epoch=2)
    delivery.acknowledge([3], epoch=0)
    delivery.drop_unauthenticated()
    assert delivery.missing(4) == [] and delivery.missing(5) == [(0, 20)]


def test_only_what_was_sent_before_something_that_arrived_is_lost():
    delivery = carried()
    assert delivery.lost(4) == delivery.lost(5) == []
    delivery.acknowledge([2], epoch=2)
    assert delivery.lost(4) == [(0, 60)] and delivery.lost(5) == []
