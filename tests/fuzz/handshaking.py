"""Whatever a stranger may send at any moment of a handshake, and time that passes meanwhile."""

from __future__ import annotations

from tests.fuzz.asking import answer
from tests.fuzz.courses import course, outcome
from tests.fuzz.grammar import datagram
from tests.fuzz.long_lived import Key, Target
from tests.fuzz.moments import Moment
from tests.fuzz.plan import Plan
from tests.harness import CLIENT, SERVER

MAX_DATAGRAMS = 3


class Handshaking(Target[Moment]):
    """Of a client or a server in any variant; real datagrams of the peer are among the choices.

    If the handshake completes it is the peer's, and comes to what it comes to undisturbed.
    """

    def choose(self, plan: Plan) -> Key:
        variant, moment = plan.variant(), plan.byte()
        side = (CLIENT, SERVER)[plan.byte() & 1]
        return variant, side, moment % course(variant, side).moments

    def make(self, key: Key) -> Moment:
        return Moment(*key)

    def meet(self, subject: Moment, plan: Plan) -> None:
        for _ in range(MAX_DATAGRAMS):
            if plan.is_over:
                break
            subject.receive(datagram(plan, subject.view))
            then = plan.byte()
            if then & 1:
                subject.let_time_pass()
            if then & 2:
                answer(subject.connection, subject.now)
        subject.check()
        connection = subject.connection
        if connection.handshake_complete and not connection.closed:
            agreed = outcome(connection)
            assert agreed == subject.course.outcome, f"{agreed}, not {subject.course.outcome}"
