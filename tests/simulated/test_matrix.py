"""A share of all handshakes against all ways of a hostile network; ``matrix.py`` has the whole."""

from __future__ import annotations

import pytest

from tests.simulated.matrix import KINDS, share

PARTS = 25


@pytest.mark.parametrize("kind", KINDS)
def test_a_share_of_the_matrix(kind):
    ran = 0
    for case in share(kind, 0, PARTS):
        ran += 1
        try:
            case.run()
        except AssertionError as error:
            raise AssertionError(f"{case.name}: {error}") from error
    assert ran
