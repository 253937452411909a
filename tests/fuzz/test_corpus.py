"""Every input that the fuzzers found worth keeping, again; and that the targets reach anything."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.asking import ASKING
from tests.fuzz.connections import TARGETS as OF_CONNECTIONS
from tests.fuzz.courses import OTHER, Talk, course, create
from tests.fuzz.mutation import changed
from tests.fuzz.plan import VARIANTS
from tests.fuzz.primitives import known_by_heart
from tests.fuzz.targets import CORPUS, TARGETS
from tests.harness import CLIENT, SERVER


@pytest.fixture(autouse=True, scope="module")
def by_heart():
    with known_by_heart():
        yield
    for target in OF_CONNECTIONS.values():
        target.forget()
    course.cache_clear()


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_every_input_of_the_corpus_again(name):
    inputs = sorted((CORPUS / name).iterdir())
    assert len(inputs) > 10
    for path in inputs:
        try:
            TARGETS[name](path.read_bytes())
        except Exception as error:
            raise AssertionError(f"{name}, input {path.name}") from error


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_some_random_inputs(name):
    rng = random.Random(name)
    for size in range(120):
        TARGETS[name](rng.randbytes(size))
    if name in OF_CONNECTIONS:
        data = b""
        for _ in range(200):
            data = changed(data, rng)[:400]
            TARGETS[name](data)


@pytest.mark.parametrize("variant", VARIANTS + ASKING)
def test_the_handshakes_that_are_disturbed_complete_undisturbed(variant):
    talk = Talk(variant)
    talk.run()
    talk.check()
    assert talk.client.handshake_complete and talk.server.handshake_complete


@pytest.mark.parametrize("variant", VARIANTS + ASKING)
@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_what_a_side_received_once_brings_another_as_far(variant, side):
    found = course(variant, side)
    assert not create(variant, side).handshake_complete
    connection = found.reach(len(found.datagrams))
    assert (b"" in found.datagrams) == (
        variant in ASKING and (side == SERVER or "psk" not in variant)
    )
    assert connection.handshake_complete and connection.role == side
    # And so with keys that the other side has too.
    talk = Talk(variant)
    talk.run()
    talk.side(OTHER[side]).send(b"for either", talk.now)
    ((data, _),) = talk.side(OTHER[side]).datagrams_to_send()
    connection.receive_datagram(data, OTHER[side], talk.now)
    assert connection.read() == b"for either"
