"""One attack beside honest clients: starts the processes, and judges what they saw."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import multiprocessing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from tests.adversary import attackers, honest, network, server
from tests.adversary.attacks import Attack
from tests.adversary.honest import CLIENTS, PATIENCE, Seen
from tests.adversary.machine import Directory
from tests.adversary.material import Material
from tests.adversary.server import Measured

MIB = 1 << 20
# The bars.
IN_TIME = 0.99
LONGEST_ECHO = 0.25
MOST_MEMORY = 64 * MIB
LONGEST_CLOSE = 2.0
# Kinds of lines are limited one by one, each to 20 lines and 5 more in a second. Peers can cause
# about ten of them.
LOG_BURST, LOG_RATE = 200, 50
# A process that does not answer for so long, beside what it was asked for, has died.
SILENCE = 60.0

_processes = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Result:
    """What became of the honest clients and of the server during one attack."""

    attack: Attack
    place: str
    seen: Seen
    measured: Measured
    datagrams: int
    kbit: float

    @property
    def in_time(self) -> float:
        """The share of honest handshakes that were done in time."""
        done = sum(seconds <= PATIENCE for seconds in self.seen.handshakes)
        return done / len(self.seen.handshakes) if self.seen.handshakes else 0.0

    @property
    def longest_echo(self) -> float:
        return max(self.seen.echoes, default=math.inf)

    @property
    def missed(self) -> list[str]:
        """The bars that were missed, in words."""
        measured, found = self.measured, []
        if self.in_time < IN_TIME:
            found.append(f"{self.in_time:.1%} of honest handshakes within {PATIENCE:g} s")
        if self.longest_echo > LONGEST_ECHO:
            late = sum(seconds > LONGEST_ECHO for seconds in self.seen.echoes)
            of = len(self.seen.echoes)
            found.append(f"{late} of {of} echoes over {LONGEST_ECHO * 1000:g} ms or lost")
        if measured.memory > MOST_MEMORY:
            found.append(f"{measured.memory / MIB:.0f} MiB more memory")
        if measured.close > LONGEST_CLOSE:
            found.append(f"closing took {measured.close:.1f} s")
        if measured.log_lines > LOG_BURST + LOG_RATE * measured.seconds:
            found.append(f"{measured.log_lines} lines logged")
        counter, least = self.attack.shows
        rate = measured.counters.get(counter, 0) / measured.seconds
        if rate < least:
            found.append(f"the attack did not arrive: {counter} grew by {rate:.0f}/s, not {least}")
        return found


@contextlib.contextmanager
def _process(function: Callable[..., None], *arguments: Any) -> Iterator[Connection]:
    """A process that gets the far end of a pipe as its last argument; ended here in any case."""
    near, far = _processes.Pipe()
    process = _processes.Process(target=function, args=(*arguments, far), daemon=True)
    process.start()
    far.close()
    try:
        yield near
    finally:
        near.close()
        process.terminate()
        process.join()
        process.close()


def _answer(pipe: Connection, within: float = SILENCE) -> Any:
    if not pipe.poll(within):
        raise TimeoutError(f"a process has not answered for {within:g} s")
    return pipe.recv()


def run(attack: Attack, place: str, material: Material, seconds: float, seed: int) -> Result:
    """One attack for so long. ``place`` is "other" or "same": the network of the attackers."""
    prefix = network.HONEST_NETWORK if place == "same" else network.OTHER_NETWORK
    config = dataclasses.replace(material.server, **attack.server)
    directory = Directory(CLIENTS)
    with contextlib.ExitStack() as stack:
        serving = stack.enter_context(_process(server.serve, config, attack.kbit))
        network.join(_answer(serving))
        serving.send("joined")
        _answer(serving)
        clients = stack.enter_context(
            _process(honest.run, material.honest, directory, seconds, seed)
        )
        _answer(clients)
        attacking = stack.enter_context(
            _process(attackers.run, attack.sends, prefix, directory, seed, material)
        )
        _answer(attacking)
        serving.send("measure")
        _answer(serving)
        attacking.send("attack")
        clients.send("talk")
        seen = _answer(clients, seconds + SILENCE)
        # The attack goes on while the server closes.
        serving.send("close")
        measured = _answer(serving)
        attacking.send("stop")
        datagrams, size = _answer(attacking)
    return Result(attack, place, seen, measured, datagrams, size * 8 / 1000 / measured.seconds)
