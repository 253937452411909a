"""The fuzzers' own machinery: a check that cannot fail would find nothing in ten million inputs."""

from __future__ import annotations

from itertools import count
from types import SimpleNamespace

import pytest

from aiodtls.core.connection import DTLSConnection
from aiodtls.core.cookies import Cookies
from aiodtls.core.handshake.driver import HandshakeDriver
from aiodtls.core.listener import Listener
from aiodtls.core.record.layer import RecordLayer
from aiodtls.core.reliability.timers import Timers
from aiodtls.core.tables import Tables
from tests.fuzz.asking import ASKING, answer
from tests.fuzz.courses import BEGINNING, OTHER, check, course
from tests.fuzz.established import Established
from tests.fuzz.grammar import View, datagram, payload
from tests.fuzz.handshaking import Handshaking
from tests.fuzz.long_lived import Subject, Target, read_history, write_history
from tests.fuzz.moments import Moment
from tests.fuzz.plan import VARIANTS, Plan
from tests.fuzz.primitives import known_by_heart
from tests.fuzz.seeds import BEGINS, GOES_ON, production
from tests.fuzz.snapshot import Snapshot
from tests.fuzz.strangers import Strangers
from tests.fuzz.structured import Structured
from tests.fuzz.tracing import BY_KIND, Tracer
from tests.harness import CLIENT, SERVER


@pytest.fixture(autouse=True)
def by_heart():
    with known_by_heart():
        yield
    course.cache_clear()


def chosen(variant: str) -> int:
    """The byte that stands for a variant."""
    return next(b for b in range(192, 256) if b % len(VARIANTS) == VARIANTS.index(variant))


# -- snapshots ----------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS + ASKING)
@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_a_snapshot_undoes_what_a_whole_handshake_does_but_for_the_script(variant, side):
    found = course(variant, side)
    connection = found.reach(1)
    kept = Snapshot(connection)
    assert not kept.differences()
    for data in found.datagrams[1:]:
        connection.receive_datagram(data, OTHER[side], BEGINNING)
        answer(connection, BEGINNING)
    assert len(found.datagrams) == 1 or kept.differences()
    kept.restore()
    assert not kept.differences()


@pytest.mark.parametrize("variant", VARIANTS + ASKING)
def test_a_connection_that_was_closed_and_put_back_goes_on_as_if_nothing_had_been(variant):
    found = course(variant, CLIENT)
    connection = found.reach(len(found.datagrams))
    kept = Snapshot(connection)
    connection.send(b"lost", BEGINNING)
    connection.close(BEGINNING)
    assert connection.closed and kept.differences()
    kept.restore()
    connection.send(b"data", BEGINNING)
    assert not connection.closed and len(connection.datagrams_to_send()) == 1


# -- moments ------------------------------------------------------------------------------------


def test_a_message_refused_for_its_form_is_refused_as_the_script_would_have_done():
    # ServerHello of three bytes, in place of the real one.
    body = bytes((2, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3))
    record = bytes((22, 0xFE, 0xFD, *bytes(7), 9, 0, len(body))) + body
    careful, plain = Moment("psk", CLIENT, 0), course("psk", CLIENT).reach(0)
    careful.receive(record)
    plain.receive_datagram(record, SERVER, BEGINNING)
    assert plain.closed and careful.connection.closed and not careful.has_moved
    assert str(careful.connection.failure) == str(plain.failure)
    assert careful.connection.datagrams_to_send() == plain.datagrams_to_send()
    careful.renew()
    for data in careful.course.datagrams:
        careful.receive(data)
    assert careful.connection.handshake_complete


def test_a_script_that_was_resumed_is_made_anew():
    moment = Moment("psk13", SERVER, 0)
    moment.receive(moment.course.datagrams[0])
    assert moment.has_moved
    moment.renew()
    assert not moment.has_moved
    for data in moment.course.datagrams:
        moment.receive(data)
    assert moment.connection.handshake_complete


# -- targets notice what is wrong ---------------------------------------------------------------


def everything(target: Target, variant: str, heads: list[bytes]) -> None:
    """Each production with real material, some hundred times."""
    for _ in range(8):
        for head in heads:
            for index in range(9):
                for choices in ((0,) * 8, (1, 2, 3, 4, 5, 6, 7, 8), (4, 2, 40, *(0,) * 5)):
                    target(bytes((chosen(variant),)) + head + production(index, *choices))


STRANGERS_HEADS = [bytes((side, elsewhere, 0)) for side in (0, 1) for elsewhere in (0, 1)]


def window_moves_without_proof(monkeypatch):
    count = RecordLayer._count_forged

    def forged(self, reader):
        count(self, reader)
        reader.window.accept(reader.window.highest + 1)

    monkeypatch.setattr(RecordLayer, "_count_forged", forged)


def records_without_keys_are_kept(monkeypatch):
    def keep(self, record):
        self._early = [*(self._early or ()), record]

    monkeypatch.setattr(RecordLayer, "_keep_early", keep)


def plaintext_alerts_count(monkeypatch):
    def receive(self, payload, epoch):
        if payload[:1] == b"\2" or payload[:1] == b"\0":
            self._ended_by_peer("alert", closing=False)

    monkeypatch.setattr(DTLSConnection, "_receive_alert", receive)


@pytest.mark.parametrize(
    "fault",
    [window_moves_without_proof, records_without_keys_are_kept, plaintext_alerts_count],
)
def test_a_stranger_who_changes_an_association_is_noticed(fault, monkeypatch):
    target = Established()
    everything(target, "psk13", STRANGERS_HEADS)
    everything(target, "psk", STRANGERS_HEADS)
    target.forget()
    fault(monkeypatch)
    with pytest.raises(AssertionError):
        everything(target, "psk13", STRANGERS_HEADS)
        everything(target, "psk", STRANGERS_HEADS)


def cookies_always_fit(monkeypatch):
    monkeypatch.setattr(Cookies, "check", lambda *arguments: True)


def answers_come_eight_times(monkeypatch):
    answer = Listener._answer

    def often(self, *arguments):
        for _ in range(8):
            answer(self, *arguments)

    monkeypatch.setattr(Listener, "_answer", often)


def anybody_replaces_anybody(monkeypatch):
    adopt = Listener._adopt

    def replace(self, connection, now):
        live = self._routes.live(connection.peer)
        if live is not None:
            self._replace(live)
        adopt(self, connection, now)

    monkeypatch.setattr(Listener, "_adopt", replace)


def nothing_is_too_much(monkeypatch):
    monkeypatch.setattr(Tables, "room_for", lambda self, config, peer, now: True)


def callers() -> list[bytes]:
    """Callers at all addresses, the honest client's among them; before, real hellos there."""
    calls = [bytes((GOES_ON | at, 0)) for at in range(4)] * 2
    strange = [bytes((at,)) + production(0, 0) for at in range(4)]
    return [*strange, *calls, bytes((BEGINS | 3, 0))] * 6


@pytest.mark.parametrize(
    "fault",
    [
        cookies_always_fit,
        answers_come_eight_times,
        anybody_replaces_anybody,
        nothing_is_too_much,
    ],
)
def test_a_listener_that_is_too_kind_is_noticed(fault, monkeypatch):
    target = Strangers()
    for data in callers():
        target(bytes((chosen("psk"),)) + data)
    target.forget()
    fault(monkeypatch)
    with pytest.raises((AssertionError, StopIteration)):
        for data in callers():
            target(bytes((chosen("psk"),)) + data)


def test_an_internal_error_is_noticed(monkeypatch):
    def receive(self, *arguments):
        raise KeyError("a fault of ours")

    monkeypatch.setattr(HandshakeDriver, "receive", receive)
    for target in (Handshaking(), Structured()):
        with pytest.raises(AssertionError):
            target(bytes((chosen("psk"), 0, 0)) + production(0, 0))
            target(bytes((chosen("psk"), 0, 0, 0)))


def test_a_handshake_that_comes_to_something_else_is_noticed(monkeypatch):
    target = Handshaking()
    whole = production(0, 0, more=True) + production(0, 1)
    for variant in ("psk", "psk13", "cid"):
        target(bytes((chosen(variant), 0, 1)) + whole)
        assert target.subject is not None and target.subject.connection.handshake_complete
    monkeypatch.setattr(target.subject.course, "outcome", ())
    with pytest.raises(AssertionError):
        target(bytes((chosen("cid"), 0, 1)) + whole)


def test_a_timer_that_stays_due_is_noticed(monkeypatch):
    moment = Moment("psk", CLIENT, 0)
    monkeypatch.setattr(Timers, "take_due", lambda self, now: [])
    with pytest.raises(AssertionError, match="due still"):
        moment.let_time_pass()


def test_what_is_sealed_with_the_right_keys_is_read():
    for variant in ("psk", "psk13", "cid", "cid13"):
        target = Structured()
        last = len(course(variant, SERVER).datagrams)
        target(bytes((chosen(variant), last, 1, 6, 23, 4)) + b"data")
        subject = target.subject
        assert subject is not None
        check(subject.connection)
        assert not subject.connection.counters.records_forged
        assert subject.connection.statistics.records_received == 1


# -- the grammar, and histories -----------------------------------------------------------------


def test_a_branch_is_news_once_for_all_and_once_for_each_kind_of_subject():
    told = []
    atheris = SimpleNamespace(_reserve_counter=count(100).__next__, _trace_branch=told.append)
    kinds = iter(("client", "client", "server"))

    def run(data):
        for branch in data:
            atheris._trace_branch(branch)

    tracer = Tracer(atheris, run, lambda: next(kinds))
    tracer(b"\1\2\2")
    assert sorted(told)[:2] == [1, 2] and len(told) == 4
    tracer(b"\2\1")
    assert len(told) == 4
    tracer(b"\2\3")
    assert told.count(3) == 1 and len(told) == 7
    assert all(number in (1, 2, 3) or 100 <= number < 100 + BY_KIND for number in told)


def test_any_bytes_are_a_datagram():
    found = course("cid13", CLIENT)
    view = View(found.datagrams, found.messages, b"12345678", 3, 3, (1, 2))
    for first in range(256):
        for second in range(0, 256, 5):
            data = bytes((first, second)) + bytes(range(40))
            assert isinstance(datagram(Plan(data), view), bytes)
            content_type, body = payload(Plan(data), view)
            assert 0 <= content_type < 256 and len(body) <= 1 << 14


def test_a_history_is_read_as_it_was_written(tmp_path):
    history = [b"", b"one", bytes(300)]
    write_history(tmp_path / "history", history)
    assert read_history(tmp_path / "history") == history


class Dawdling(Target[Subject]):
    """An input that begins with 1 takes its time, once or always."""

    def __init__(self, *, always: bool) -> None:
        super().__init__()
        self.always = always
        self.left = 1

    def choose(self, plan):
        return ()

    def make(self, key):
        return Subject()

    def meet(self, subject, plan):
        if plan.byte() and (self.always or self.left):
            self.left -= 1
            sum(range(6_000_000))


def test_an_input_that_always_takes_long_is_a_finding_and_one_that_did_once_is_not():
    target = Dawdling(always=False)
    target(b"\1")
    assert target.slow_once == 1
    with pytest.raises(AssertionError, match="takes"):
        Dawdling(always=True)(b"\1")
