"""The verification thread: fairness, a full queue, its share of a core, and every way to end."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import types
from collections.abc import Callable
from typing import Any

import pytest

import aiodtls
from aiodtls import DTLSConfig, Trust, verification
from aiodtls.core.events import VerificationRequested
from aiodtls.endpoint import DTLSEndpoint
from aiodtls.verification import (
    BURST,
    CORE_SHARE,
    MAX_WAITING,
    Verification,
    VerificationQueue,
    VerificationRefused,
)
from tests.pki import PKI

VERSIONS = ["1.2", "1.3"]
THREAD = "aiodtls verification"


class Question:
    """Takes until ``gate`` is open; remembers the order in which it was verified."""

    def __init__(self, name: str, order: list[str], gate: threading.Event | None = None) -> None:
        self.name, self.order, self.gate = name, order, gate

    def verify(self) -> bool:
        if self.gate is not None:
            assert self.gate.wait(30)
        self.order.append(self.name)
        return True


class Asked:
    """Several verifications in one queue of its own, and the verdicts as they come."""

    def __init__(self) -> None:
        self.queue = VerificationQueue()
        self.loop = asyncio.get_running_loop()
        self.order: list[str] = []
        self.verdicts: dict[str, Any] = {}
        self.gate = threading.Event()
        self.made: dict[str, Verification] = {}

    def add(self, name: str, network: str, *, blocks: bool = False) -> bool:
        question: Any = Question(name, self.order, self.gate if blocks else None)
        self.made[name] = Verification(self.queue, question, network, self.loop, self._done)
        return self.queue.add(self.made[name])

    def _done(self, asked: Verification, question: Any, verdict: Any) -> None:
        self.verdicts[question.name] = verdict

    async def block(self) -> None:
        """The thread is busy from here on."""
        assert self.add("first", "first", blocks=True)
        while self.queue._waiting:
            await asyncio.sleep(0.001)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                await asyncio.sleep(0.001)


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == THREAD]


async def no_thread_is_left() -> None:
    async with asyncio.timeout(30):
        while threads():
            await asyncio.sleep(0.01)


# -- the queue --------------------------------------------------------------------------------


async def test_networks_take_turns():
    asked = Asked()
    await asked.block()
    for number in range(3):
        assert asked.add(f"a{number}", "a")
    assert asked.add("b0", "b")
    assert asked.add("c0", "c")
    assert asked.add("b1", "b")
    asked.gate.set()
    await asked.until(lambda: len(asked.verdicts) == 7)
    assert asked.order == ["first", "a0", "b0", "c0", "a1", "b1", "a2"]
    assert set(asked.verdicts.values()) == {True}
    await no_thread_is_left()


async def test_a_full_queue_refuses_the_newcomer_of_the_largest_network():
    asked = Asked()
    await asked.block()
    for number in range(MAX_WAITING - 1):
        assert asked.add(f"flood{number}", "flood")
    assert asked.add("honest0", "honest")
    assert not asked.add("one too many", "flood")
    # One of another network takes the place of the newest of the flood.
    assert asked.add("honest1", "honest")
    newest = f"flood{MAX_WAITING - 2}"
    await asked.until(lambda: newest in asked.verdicts)
    assert isinstance(asked.verdicts[newest], VerificationRefused)
    assert "wait for verification" in str(asked.verdicts[newest].error)
    asked.gate.set()
    await asked.until(lambda: len(asked.verdicts) == MAX_WAITING + 2)
    assert asked.order[:3] == ["first", "flood0", "honest0"]
    assert newest not in asked.order and len(asked.order) == MAX_WAITING + 1


async def test_networks_of_one_chain_each_fill_the_queue_and_then_newcomers_wait_outside():
    asked = Asked()
    await asked.block()
    assert all(asked.add(str(number), f"n{number}") for number in range(MAX_WAITING))
    assert not asked.add("n0 again", "n0")
    assert asked.add("another", "another")
    asked.gate.set()
    await asked.until(lambda: len(asked.verdicts) == MAX_WAITING + 2)


async def test_cancelled_ones_leave_the_queue_at_once():
    asked = Asked()
    await asked.block()
    for number in range(MAX_WAITING):
        assert asked.add(f"a{number}", "a")
    for number in range(MAX_WAITING):
        asked.made[f"a{number}"].cancel()
    assert not asked.queue._waiting and not asked.queue._count
    # The one that is being verified is nobody's any more either; cancelling twice does no harm.
    asked.made["first"].cancel()
    asked.made["a0"].cancel()
    assert asked.add("b", "b")
    asked.gate.set()
    await asked.until(lambda: "b" in asked.verdicts)
    assert asked.order == ["first", "b"] and asked.verdicts == {"b": True}
    await no_thread_is_left()


async def test_what_a_question_raises_is_its_verdict():
    asked = Asked()
    question: Any = types.SimpleNamespace(name="raises", verify=lambda: 1 / 0)
    asked.queue.add(Verification(asked.queue, question, "a", asked.loop, asked._done))
    await asked.until(lambda: asked.verdicts)
    assert isinstance(asked.verdicts["raises"], ZeroDivisionError)


async def test_the_thread_takes_no_more_than_its_share_of_a_core(monkeypatch):
    """On a clock of its own: each verification takes 20 ms, and the rests add up to the share."""
    cost, now = 0.02, [1000.0]
    used = [0.0]

    def thread_time() -> float:
        used[0] += cost / 2
        return used[0]

    clock = types.SimpleNamespace(monotonic=lambda: now[0], thread_time=thread_time)
    monkeypatch.setattr(verification, "time", clock)
    asked = Asked()

    def wait(timeout: float) -> bool:
        now[0] += timeout
        return False

    monkeypatch.setattr(asked.queue._changed, "wait", wait)
    verified = []

    def verify(number: int) -> bool:
        now[0] += cost
        used[0] += cost / 2
        verified.append(now[0])
        return True

    gate = threading.Event()
    questions: list[Any] = [
        types.SimpleNamespace(name=str(n), verify=lambda n=n: gate.wait(30) and verify(n))
        for n in range(200)
    ]
    for question in questions:
        assert asked.queue.add(Verification(asked.queue, question, "a", asked.loop, asked._done))
    gate.set()
    await asked.until(lambda: len(asked.verdicts) == 200)
    elapsed = verified[-1] - verified[0]
    assert 200 * cost <= (elapsed + BURST + 2 * cost) * CORE_SHARE * 1.05
    assert 200 * cost >= elapsed * CORE_SHARE * 0.95


async def test_without_a_thread_chains_are_refused(monkeypatch):
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    asked = Asked()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        assert not asked.add("refused", "a")
    assert asked.add("verified", "a")
    await asked.until(lambda: asked.verdicts)
    assert asked.order == ["verified"]


async def test_a_fork_leaves_the_child_a_queue_that_works():
    asked = Asked()
    await asked.block()
    asked.add("waiting", "a")
    asked.queue.reset()
    assert asked.queue._thread is None and not asked.queue._waiting
    assert asked.add("new", "a")
    await asked.until(lambda: "new" in asked.verdicts)
    asked.gate.set()


# -- under associations -----------------------------------------------------------------------


class Verified:
    """Where each question was verified; with a gate it waits for that."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, gate: threading.Event | None = None):
        self.threads: list[str] = []
        self.begun = threading.Event()
        original = VerificationRequested.verify

        def verify(question: VerificationRequested) -> Any:
            self.threads.append(threading.current_thread().name)
            self.begun.set()
            if gate is not None:
                assert gate.wait(30)
            return original(question)

        monkeypatch.setattr(VerificationRequested, "verify", verify)


def configs(pki: PKI, version: str) -> tuple[DTLSConfig, DTLSConfig]:
    both = {
        "versions": [version],
        "credentials": pki.leaf().credentials,
        "trust": pki.trust,
    }
    return DTLSConfig(**both), DTLSConfig(**both, client_auth="required")


async def echo(endpoint: DTLSEndpoint) -> None:
    async for data in endpoint:
        await endpoint.send(data)


@pytest.mark.parametrize("version", VERSIONS)
def test_both_sides_and_resumptions_are_verified_in_the_thread(pki, version, run_loop, monkeypatch):
    verified = Verified(monkeypatch)
    client, server = configs(pki, version)

    async def main() -> None:
        async with aiodtls.serve(echo, "127.0.0.1", 0, config=server) as listening:
            session = None
            for resumed in (False, True):
                async with aiodtls.connect(
                    *listening.sockname[:2],
                    config=client,
                    server_hostname="localhost",
                    session=session,
                ) as endpoint:
                    await endpoint.send(b"hello")
                    assert await endpoint.recv() == b"hello"
                    assert endpoint.resumed == resumed
                    session = endpoint.session
            assert listening.statistics.verifications_refused == 0
        await no_thread_is_left()

    run_loop(main)
    assert verified.threads == [THREAD] * 4


@pytest.mark.parametrize("version", VERSIONS)
async def test_an_association_that_ends_meanwhile_leaves_nothing(pki, version, monkeypatch):
    gate = threading.Event()
    verified = Verified(monkeypatch, gate)
    client, server = configs(pki, version)
    async with aiodtls.serve(echo, "127.0.0.1", 0, config=server) as listening:
        connecting = asyncio.ensure_future(
            aiodtls.connect(*listening.sockname[:2], config=client, server_hostname="localhost")
        )
        while not verified.begun.is_set():
            await asyncio.sleep(0.001)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        gate.set()
        await no_thread_is_left()


def test_a_loop_that_ends_meanwhile_leaves_nothing(pki, run_loop, monkeypatch):
    gate = threading.Event()
    verified = Verified(monkeypatch, gate)
    client, server = configs(pki, "1.3")

    async def main() -> None:
        listening = await aiodtls.serve(echo, "127.0.0.1", 0, config=server)
        connecting = asyncio.ensure_future(
            aiodtls.connect(*listening.sockname[:2], config=client, server_hostname="localhost")
        )
        while not verified.begun.is_set():
            await asyncio.sleep(0.001)
        connecting.cancel()
        await listening.__aexit__(None, None, None)

    run_loop(main)
    gate.set()
    asyncio.run(no_thread_is_left())


async def test_a_full_queue_ends_the_handshake_and_is_counted(pki, monkeypatch):
    monkeypatch.setattr(verification._queue, "add", lambda asked: False)
    client, server = configs(pki, "1.3")
    client = DTLSConfig(versions=["1.3"], credentials=client.credentials, trust=Trust.insecure())
    async with aiodtls.serve(echo, "127.0.0.1", 0, config=server) as listening:
        endpoint = await aiodtls.connect(*listening.sockname[:2], config=client)
        with pytest.raises(aiodtls.EndpointClosed, match="internal_error"):
            await endpoint.recv()
        assert listening.statistics.verifications_refused == 1
        assert listening.statistics.handshakes_failed == 1


@pytest.mark.parametrize("waiting", [0, 200])
def test_an_interpreter_ends_without_waiting_for_the_thread(waiting):
    """With chains in the queue, and a loop that nobody closed."""
    program = f"""
import asyncio, time
from aiodtls import verification
class Question:
    def verify(self):
        time.sleep(0.05)
        return True
async def main():
    loop, queue = asyncio.get_running_loop(), verification._queue
    for number in range({waiting} + 1):
        asked = verification.Verification(queue, Question(), number, loop, lambda *of: print(of))
        assert queue.add(asked)
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
print("end", flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr
    # Those that waited were dropped: 200 of them would have taken ten seconds.
    assert "Error" not in done.stderr
