"""Questions that are answered late, on a network that loses, doubles and reorders."""

from __future__ import annotations

import dataclasses
import random

import pytest

from aiodtls.core.events import CertificateReceived, PSKRequested, Question, SignatureRequested
from tests.harness import CLIENT, SERVER, Link, Pair
from tests.test_hooks import configs, finds, psk_configs, signs


def answer_to(question: Question) -> object:
    if isinstance(question, PSKRequested):
        return finds(question.identity, question.context)
    if isinstance(question, SignatureRequested):
        return signs(question.scheme, question.data)
    assert isinstance(question, CertificateReceived)
    return question.function(question.chain, question.context)


def run(pair: Pair, rng: random.Random, slowest: float) -> bool:
    """Answers each question up to ``slowest`` seconds after it was asked."""
    waiting: list[tuple[float, str, Question]] = []
    seen: set[int] = set()

    def collect() -> bool:
        for side in (CLIENT, SERVER):
            for event in pair.events[side]:
                if isinstance(event, Question) and id(event) not in seen:
                    seen.add(id(event))
                    waiting.append((pair.now + rng.uniform(0, slowest), side, event))
        return pair.decided or bool(waiting)

    while pair.run(collect, limit=130) and not pair.decided:
        at, side, question = min(waiting, key=lambda one: one[0])
        waiting.remove((at, side, question))
        if at > pair.now:
            pair.run(lambda: False, limit=at - pair.now)
        pair.now = max(pair.now, at)
        connection = pair.client if side == CLIENT else pair.server
        connection.answer(question, answer_to(question), pair.now)
        pair.flush()
    return pair.decided


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("make", [configs, psk_configs])
@pytest.mark.parametrize(("loss", "slowest"), [(0.0, 8.0), (0.2, 0.1), (0.2, 3.0)])
@pytest.mark.parametrize("cookie", [True, False])
def test_late_answers_lose_no_handshake(version, make, loss, slowest, cookie):
    for seed in range(10):
        link = Link(loss=loss, duplicate=loss, reorder=loss, seed=seed)
        both = [
            dataclasses.replace(config, retransmit_max=4.0, handshake_timeout=120)
            for config in make(version, lambda function: function)
        ]
        pair = Pair(*both, link, cookie=cookie)
        assert run(pair, random.Random(seed), slowest), "undecided"
        assert pair.connected, pair.client.failure
        if not loss:
            pair.exchange()


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_each_datagram_lost_beside_late_answers(version):
    lost = 0
    while True:
        counter = iter(range(10_000))

        def fate(
            sender: str, number: int, data: bytes, counter=counter, lost=lost
        ) -> list[tuple[float, bytes]] | None:
            return [] if next(counter) == lost else None

        pair = Pair(*configs(version, lambda function: function), Link(filter=fate), cookie=False)
        assert run(pair, random.Random(lost), 2.0) and pair.connected
        pair.idle(5)
        pair.link.filter = None
        pair.exchange()
        if next(counter) <= lost:
            return
        lost += 1
