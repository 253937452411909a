"""Every input that the fuzzers found worth keeping, again; and that the targets reach anything."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.connections import VARIANTS, Talk
from tests.fuzz.targets import CORPUS, TARGETS


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
def test_some_inputs_that_nobody_chose(name):
    rng = random.Random(name)
    for size in range(120):
        TARGETS[name](rng.randbytes(size))


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_handshakes_that_are_disturbed_complete_undisturbed(variant):
    talk = Talk(variant)
    talk.run()
    talk.check()
    assert talk.client.handshake_complete and talk.server.handshake_complete
