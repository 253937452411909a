"""When a flight is sent again, and how long it is kept."""

from __future__ import annotations

import pytest

from aiodtls.core.registry import HandshakeType
from aiodtls.core.reliability.flight import OutgoingMessage
from aiodtls.core.reliability.outgoing_flight import Acknowledged, OutgoingFlight
from aiodtls.core.reliability.timers import Backoff, Timers
from aiodtls.core.wire.fragments import Fragment

NEVER = float("-inf")


@pytest.fixture
def flight() -> OutgoingFlight:
    made = OutgoingFlight(Timers(), Backoff(1.0, 64.0), max_resends=7)
    message = OutgoingMessage(0, HandshakeType.client_key_exchange, 2, bytes(100))
    made.start([message], {5: 12}, may_have_acks=False)
    made.sent(0.0)
    return made


def repeat_of_the_peer() -> Fragment:
    return Fragment(20, 12, 5, 0, bytes(12))


def test_an_ack_of_another_flight_is_no_unanswered_resend_of_this_one():
    """An empty one is: nothing of the flight has arrived, and its datagrams may be too big."""
    made = OutgoingFlight(Timers(), Backoff(1.0, 64.0), max_resends=7)
    message = OutgoingMessage(2, HandshakeType.certificate, 2, bytes(100))
    made.start([message], {}, may_have_acks=True)
    made.delivery.carried(7, [(2, 0, 60)])
    made.delivery.carried(8, [(2, 60, 100)])
    made.sent(0.0)
    made.rearm(0.0)
    assert made.acknowledge([1, 2], 2, 0.9) is Acknowledged.nothing and not made.size_resends
    assert made.acknowledge([7], 2, 0.9) is Acknowledged.resend_missing and not made.size_resends
    assert made.acknowledge([7], 2, 0.9) is Acknowledged.resend_missing and made.size_resends == 1
    assert made.acknowledge([], 2, 0.9) is Acknowledged.resend_missing and made.size_resends == 2


def test_a_flight_is_hurried_once_in_each_timeout(flight):
    assert not flight.may_hurry()
    flight.rearm(0.0)
    assert not flight.may_hurry()
    flight.timer_due(1.0, answer_has_begun=False)
    assert [flight.may_hurry() for _ in range(3)] == [True, False, False]
    flight.pause()
    flight.timer_due(3.0, answer_has_begun=False)
    assert flight.may_hurry()


def test_the_last_flight_is_kept_for_twice_the_segment_lifetime(flight):
    """RFC 6347 section 4.2.4: 2 x MSL are four minutes."""
    assert flight.last_flight_until == NEVER
    flight.keep_last(1000.0)
    assert flight.last_flight_until == 1240.0 and not flight.is_running
    flight.forget()
    assert flight.last_flight_until == NEVER


def test_a_repeat_in_the_clear_is_answered_a_quarter_of_the_timeout_after_the_flight(flight):
    def answers(now: float, *, authenticated: bool) -> bool:
        return flight.repeat_completed(repeat_of_the_peer(), now, authenticated=authenticated)

    assert not answers(0.2, authenticated=False)
    assert answers(0.2, authenticated=True)
    assert answers(0.25, authenticated=False)
    flight.forget()
    assert not answers(9.0, authenticated=True)
