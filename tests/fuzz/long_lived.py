"""Targets that keep what they are let loose on, from input to input.

An object that many inputs have met is what the network leaves behind: slow growth and states that
no single input reaches show in it. What it has met since it was made or put back is its history:
the inputs that, given again in this order to a fresh process, end in the same state.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Generic, TypeVar

from tests.fuzz.plan import Plan

Key = tuple[Any, ...]
# CPU seconds that one input may take.
LONGEST = 0.05


class Subject:
    """``history`` is what it has met. ``is_spent`` asks for ``renew`` after the input."""

    __slots__ = ("history", "is_spent")

    def __init__(self) -> None:
        self.history: list[bytes] = []
        self.is_spent = False

    def renew(self) -> None:
        """As it was at first; the history begins anew."""
        self.history.clear()
        self.is_spent = False


S = TypeVar("S", bound=Subject)


class Target(ABC, Generic[S]):
    """Called with one input after another; AssertionError is a finding."""

    def __init__(self) -> None:
        self._subjects: dict[Key, S] = {}
        self.subject: S | None = None
        self.key: Key = ()
        # CPU seconds of the last input, and how often one was slow that was not slow again.
        self.took = 0.0
        self.slow_once = 0

    @abstractmethod
    def choose(self, plan: Plan) -> Key:
        """What the input is for; as many subjects as there are keys are kept."""

    @abstractmethod
    def make(self, key: Key) -> S:
        """A subject that has met nothing."""

    @abstractmethod
    def meet(self, subject: S, plan: Plan) -> None:
        """Lets the input happen, and checks what must hold."""

    def __call__(self, data: bytes) -> None:
        plan = Plan(data)
        key = self.choose(plan)
        self.key = key
        subject = self._subjects.get(key)
        if subject is None:
            subject = self._subjects[key] = self.make(key)
        self.subject = subject
        subject.history.append(data)
        began = time.thread_time()
        self.meet(subject, plan)
        self.took = time.thread_time() - began
        if self.took > LONGEST:
            self._meet_again(key)
        if subject.is_spent:
            subject.renew()

    def _meet_again(self, key: Key) -> None:
        """A slow input may have been unlucky: its history tells, from the beginning."""
        history = list(self._subjects[key].history)
        for _ in range(3):
            subject = self.make(key)
            for data in history:
                plan = Plan(data)
                self.choose(plan)
                began = time.thread_time()
                self.meet(subject, plan)
                self.took = time.thread_time() - began
            if self.took <= LONGEST:
                self.slow_once += 1
                return
        raise AssertionError(f"an input of {len(history[-1])} bytes takes {self.took:.3f} s")

    def forget(self) -> None:
        """Fresh subjects from here on."""
        self._subjects.clear()
        self.subject = None


def write_history(path: Path, history: list[bytes]) -> None:
    """Each input behind its length in four bytes."""
    path.write_bytes(b"".join(len(data).to_bytes(4, "big") + data for data in history))


def read_history(path: Path) -> list[bytes]:
    data, history = path.read_bytes(), []
    while data:
        end = 4 + int.from_bytes(data[:4], "big")
        history.append(data[4:end])
        data = data[end:]
    return history
