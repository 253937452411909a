"""What several modules of the core's tests share."""

from __future__ import annotations

import pytest

from aiodtls.core.handshake import script
from aiodtls.core.handshake.script import Expect


@pytest.fixture
def steps(monkeypatch):
    """What the scripts waited for and what they got, by the runner that did."""
    taken: list[tuple[object, str]] = []
    resume = script.ScriptRunner.resume

    def recording(self, value):
        waiting = getattr(self, "waiting", None)
        if isinstance(waiting, Expect) and hasattr(value, "msg_type"):
            kinds = sorted(waiting.kinds, key=lambda kind: not script._is_of_kind(value, kind))
            taken.append((self, "|".join(kind.__name__ for kind in kinds)))
        resume(self, value)

    monkeypatch.setattr(script.ScriptRunner, "resume", recording)
    return taken
