"""The keys of tickets: a ratchet that two servers turn alike and that nobody turns back."""

from __future__ import annotations

import dataclasses
import hmac

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aiodtls import ConfigError, DTLSConfig, Session, TicketKeys
from aiodtls.core.listener import Listener
from aiodtls.core.sessions import MAX_LIFETIME
from aiodtls.core.ticket_keys import (
    DEFAULT_SINCE,
    INDEX_LENGTH,
    KEY_LABEL,
    MAX_STEPS,
    NEXT_LABEL,
    NONCE_LENGTH,
)
from tests.harness import CLIENT, Pair
from tests.simulated.variants import configs

DAY = 24 * 3600
NOW = 2_000_000_000.0
OLD, NEW = bytes(range(32)), bytes(range(32, 64))
BOTH = ["certificate", "certificate13"]


@pytest.fixture
def clock(calendar):
    """A list whose one element is the time of day."""
    calendar[0] = NOW
    return calendar


def session(**fields) -> Session:
    fresh = {"version": "1.3", "authenticated_at": NOW, "issued_at": NOW, "ticket": b"ticket"}
    return Session(suite=0x1301, secret=bytes(32), **(fresh | fields))


def session_at(now: float) -> Session:
    return session(authenticated_at=now, issued_at=now)


def sealed(keys: TicketKeys, **fields) -> bytes:
    return keys.seal(session(**fields), lambda length: bytes(length))


# -- tickets ---------------------------------------------------------------------------------------


def test_a_ticket_opens_while_its_session_lives(clock):
    keys = TicketKeys(OLD)
    short, long = sealed(keys, lifetime=100), sealed(keys)
    clock[0] = NOW + 99
    assert keys.open(short) == session(lifetime=100)
    clock[0] = NOW + 100
    assert keys.open(short) is None and keys.open(long) == session()
    clock[0] = NOW + MAX_LIFETIME - 1
    assert keys.open(long) == session()
    clock[0] = NOW + MAX_LIFETIME
    assert keys.open(long) is None


def test_bytes_that_are_not_a_ticket_are_not_opened(clock):
    keys = TicketKeys(OLD)
    ticket = sealed(keys)
    for at in range(len(ticket)):
        assert keys.open(ticket[:at]) is None
        assert keys.open(ticket[:at] + bytes((ticket[at] ^ 1,)) + ticket[at + 1 :]) is None
    assert TicketKeys(NEW).open(ticket) is None
    assert keys.open(ticket) == session()


def test_the_first_secret_makes_tickets_and_all_open_them(clock):
    before, both = TicketKeys(OLD), TicketKeys(NEW, OLD)
    ticket, renewed = sealed(before), sealed(both)
    assert both.open(ticket) == both.open(renewed) == session()
    assert before.open(renewed) is None and TicketKeys(NEW).open(renewed) == session()
    assert both.is_outdated(ticket) and not both.is_outdated(renewed)
    assert not before.is_outdated(ticket)


# -- the ratchet -----------------------------------------------------------------------------------


def bytes_within(thing: object) -> set[bytes]:
    """All that a thief of the object would find."""
    if isinstance(thing, bytes):
        return {thing}
    if isinstance(thing, dict):
        return set().union(*map(bytes_within, thing.values()))
    if isinstance(thing, tuple | list):
        return set().union(*map(bytes_within, thing))
    names = getattr(type(thing), "__slots__", ())
    return set().union(*(bytes_within(getattr(thing, name)) for name in names))


def opens_with(key: bytes, ticket: bytes) -> bool:
    index, rest = ticket[:INDEX_LENGTH], ticket[INDEX_LENGTH:]
    try:
        AESGCM(key).decrypt(rest[:NONCE_LENGTH], rest[NONCE_LENGTH:], index)
    except InvalidTag:
        return False
    return True


def thief_opens(keys: TicketKeys, ticket: bytes) -> bool:
    """By whatever is in the object, and all that comes of it in 100 periods."""
    for found in bytes_within(keys):
        assert len(found) == 32
        state = found
        for _ in range(100):
            if opens_with(state, ticket):
                return True
            if opens_with(hmac.digest(state, KEY_LABEL, "sha256"), ticket):
                return True
            state = hmac.digest(state, NEXT_LABEL, "sha256")
    return False


@pytest.mark.parametrize("period", [3600, 100_000, DAY, 3 * DAY, 7 * DAY])
@pytest.mark.parametrize("secrets", [(), (NEW,), (NEW, OLD)])
def test_a_thief_of_the_memory_opens_no_ticket_that_is_too_old(clock, period, secrets):
    """RFC 9325 section 3.4: whatever he sets the clock to."""
    keys = TicketKeys(*secrets, period=period, since=NOW - 50 * DAY)
    if secrets:
        assert not bytes_within(keys) & set(secrets)
    ticket = sealed(keys)
    assert thief_opens(keys, ticket)
    clock[0] = NOW + MAX_LIFETIME - 1
    assert keys.open(ticket) == session() and thief_opens(keys, ticket)
    clock[0] = NOW + MAX_LIFETIME + period
    assert keys.open(ticket) is None
    assert not thief_opens(keys, ticket)
    clock[0] = NOW
    assert keys.open(ticket) is None


def test_the_object_holds_the_keys_of_the_lifetime_and_the_next_period(clock):
    keys = TicketKeys(NEW, OLD)
    for day in range(30):
        clock[0] = NOW + day * DAY
        sealed(keys)
        # The days that a living ticket may be of, the next one, and the state of the ratchet.
        assert len(bytes_within(keys)) == 2 * (7 + 1 + 1 + 1)


def test_servers_with_one_secret_open_each_others_tickets_whenever_they_started(clock):
    first = TicketKeys(OLD)
    early = sealed(first)
    for day in (0, 1, 3, 6):
        clock[0] = NOW + day * DAY
        later = TicketKeys(OLD)
        assert later.open(early) == session()
        made = later.seal(session_at(clock[0]), bytes)
        assert first.open(made) == TicketKeys(OLD).open(made) == session_at(clock[0])
        # Neither has been turned for that.
        assert TicketKeys(OLD).open(early) == session()


def test_a_server_whose_clock_is_behind_opens_tickets_of_the_next_period(clock):
    behind, ahead = TicketKeys(OLD), TicketKeys(OLD)
    begin = (NOW // DAY + 1) * DAY
    clock[0] = begin + 1
    ticket = ahead.seal(session_at(clock[0]), bytes)
    clock[0] = begin - 20
    assert behind.open(ticket) == session_at(begin + 1)
    clock[0] = begin + 2 * DAY
    far = ahead.seal(session_at(begin), bytes)
    clock[0] = begin - 20
    assert behind.open(far) is None


def test_a_clock_that_falls_back_brings_no_key_back(clock):
    keys = TicketKeys(OLD)
    clock[0] = NOW + 30 * DAY
    sealed(keys)
    clock[0] = NOW
    assert keys.open(sealed(TicketKeys(OLD))) is None
    assert keys.open(sealed(keys)) == session()


def test_another_since_or_period_is_another_ratchet(clock):
    ticket = sealed(TicketKeys(OLD, since=NOW - 10 * DAY))
    assert TicketKeys(OLD, since=NOW - 10 * DAY).open(ticket) == session()
    for other in ({"since": NOW - 11 * DAY}, {"since": NOW - 10 * DAY, "period": 3600}, {}):
        assert TicketKeys(OLD, **other).open(ticket) is None


def test_before_since_the_first_key_serves(clock):
    """A device whose clock is not set yet."""
    clock[0] = 5.0
    keys = TicketKeys(OLD, since=NOW)
    assert keys.open(keys.seal(session_at(5.0), bytes)) == session_at(5.0)
    clock[0] = NOW + 1
    assert keys.open(sealed(TicketKeys(OLD, since=NOW))) == session()


# -- arguments -------------------------------------------------------------------------------------


@pytest.mark.parametrize("secrets", [(NEW[:31],), (NEW, NEW[:31]), (bytes(32),), (NEW, bytes(32))])
def test_a_ticket_secret_is_long_and_not_zero(secrets):
    with pytest.raises(ConfigError, match="32 random bytes"):
        TicketKeys(*secrets)


@pytest.mark.parametrize("wrong", ["a text of more than 32 characters", 5, None, [NEW]])
def test_a_ticket_secret_is_bytes(wrong):
    with pytest.raises(ConfigError, match="secrets must be bytes, not"):
        TicketKeys(wrong)


@pytest.mark.parametrize(
    ("period", "good"),
    [(59, 0), (60, 1), (7 * DAY, 1), (7 * DAY + 1, 0)],
)
def test_the_period_of_ticket_keys(period, good):
    if good:
        TicketKeys(period=period)
        return
    with pytest.raises(ConfigError, match="60 seconds to 7 days"):
        TicketKeys(period=period)


@pytest.mark.parametrize("wrong", ["60", True, float("nan")])
def test_times_of_ticket_keys_are_numbers(wrong):
    for name in ("since", "period"):
        with pytest.raises(ConfigError, match=f"{name} must be a finite float"):
            TicketKeys(OLD, **{name: wrong})


@pytest.mark.parametrize("since", [-1, 2_000_000_000_000])
def test_since_is_a_time_in_seconds(since):
    with pytest.raises(ConfigError, match="since is a time in seconds since 1970"):
        TicketKeys(OLD, since=since)


def test_the_ratchet_has_ten_thousand_steps_at_the_most(clock):
    period, first = 3600, NOW // 3600
    TicketKeys(OLD, since=(first - MAX_STEPS) * period, period=period)
    with pytest.raises(ConfigError, match=r"10001 periods ago.*make a new secret, with since"):
        TicketKeys(OLD, since=(first - MAX_STEPS) * period - 1, period=period)
    with pytest.raises(ConfigError, match="periods ago"):
        TicketKeys(OLD, since=0)
    # What is said by default will do for 27 years.
    clock[0] = DEFAULT_SINCE + 27 * 365 * DAY
    TicketKeys(OLD)


@pytest.mark.parametrize("wrong", [OLD, "text", 5, {}])
def test_ticket_keys_are_ticket_keys(wrong):
    with pytest.raises(ConfigError, match="ticket_keys must be TicketKeys or None, not"):
        DTLSConfig(ticket_keys=wrong)


# -- the wall clock and the monotonic clock --------------------------------------------------------


def test_a_wall_clock_that_runs_away_advances_nothing(clock):
    """Set to 2043 for a moment, and back: the keys of today are still there."""
    keys = TicketKeys(OLD)
    keys.advance(NOW, 5000.0)
    ticket = sealed(keys)
    for ahead in (DAY + 60, 30 * DAY, 3650 * DAY):
        keys.advance(NOW + ahead, 5010.0)
        clock[0] = NOW + ahead
        # What is made meanwhile opens.
        made = session_at(clock[0])
        assert keys.open(keys.seal(made, bytes)) == made
        clock[0] = NOW
        keys.advance(NOW + 20, 5020.0)
        assert keys.open(ticket) == session()


def test_meanwhile_the_monotonic_clock_turns_the_keys(clock):
    """However wrong the calendar is: no ticket opens for longer than its lifetime."""
    for wrong in (3650 * DAY, -3650 * DAY):
        keys = TicketKeys(OLD)
        keys.advance(NOW, 5000.0)
        ticket = sealed(keys)
        for day in range(1, 9):
            keys.advance(NOW + wrong, 5000.0 + day * DAY)
            assert thief_opens(keys, ticket) is (day <= 7)


def test_both_clocks_together_turn_the_keys(clock):
    """A host whose calendar is set a little, now and then."""
    keys, other = TicketKeys(OLD), TicketKeys(OLD)
    for day in range(40):
        wall, now = NOW + day * DAY + 600 * day, 5000.0 + day * DAY
        keys.advance(wall, now)
        clock[0] = wall
        assert keys.open(other.seal(session_at(wall), bytes)) == session_at(wall)


def test_a_clock_of_another_century_makes_no_work(clock):
    keys = TicketKeys()
    before = bytes_within(keys)
    for wall_time in (NOW + (MAX_STEPS + 1) * DAY, 1e18, 1e300, -1e18):
        keys.advance(wall_time)
    assert bytes_within(keys) == before


# -- in a server -----------------------------------------------------------------------------------


def serving(variant: str, keys: TicketKeys) -> Pair:
    client, server = configs(variant)
    pair = Pair(client, dataclasses.replace(server, ticket_keys=keys), wall_time=NOW)
    assert pair.run() and pair.connected
    pair.idle()
    return pair


@pytest.mark.parametrize("variant", BOTH)
def test_the_keys_of_a_server_turn_while_nobody_comes(variant, clock):
    keys = TicketKeys(OLD, since=NOW)
    pair = serving(variant, keys)
    ticket = pair.client.session.ticket
    assert thief_opens(keys, ticket)
    pair.client.close(pair.now)
    pair.flush()
    listener = pair.listener
    while pair.now < pair.start + 8 * DAY + 60:
        pair.now = listener.next_timeout()
        listener.handle_timeout(pair.now)
    assert not thief_opens(keys, ticket)


def test_a_listener_that_nobody_has_come_to_waits_for_nothing():
    assert Listener(configs("certificate")[1]).next_timeout() is None


@pytest.mark.parametrize("variant", BOTH)
def test_a_handshake_at_a_wrong_time_of_day_destroys_no_key(variant, clock):
    keys = TicketKeys(OLD, since=NOW)
    pair = serving(variant, keys)
    client, server = configs(variant)
    server = dataclasses.replace(server, ticket_keys=keys)
    wrong = Pair(client, server, wall_time=NOW + 5 * 365 * DAY, now=pair.now)
    assert wrong.run(lambda: wrong.failed or wrong.connected)
    again = Pair(client, server, wall_time=NOW + 60, now=pair.now + 60, session=pair.client.session)
    assert again.run() and again.connected and again.client.resumed


@pytest.mark.parametrize("variant", BOTH)
def test_a_restart_costs_nobody_a_full_handshake(variant, clock):
    """Days later too, and with another secret beside the old one."""
    given = serving(variant, TicketKeys(OLD)).client.session
    client, server = configs(variant)
    for day, secrets in ((0, (OLD,)), (3, (OLD,)), (6, (NEW, OLD))):
        clock[0] = NOW + day * DAY
        config = dataclasses.replace(server, ticket_keys=TicketKeys(*secrets))
        again = Pair(client, config, wall_time=NOW + day * DAY, session=given)
        assert again.run() and again.connected and again.client.resumed
    other = dataclasses.replace(server, ticket_keys=TicketKeys(NEW))
    full = Pair(client, other, wall_time=NOW, session=given)
    assert full.run() and full.connected and not full.client.resumed
    assert full.server.peer == CLIENT
