"""Clients that come back again and again, to servers that restart and change their ticket keys.

``python -m tests.simulated.ticket_rotation [RESUMPTIONS]`` runs it at length. Half a minute of the
calendar passes between two visits, half of the clients speak DTLS 1.2, by ticket or session id, and
half DTLS 1.3.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import sys

from aiodtls import DTLSConfig, MemorySessionStore, Session, TicketKeys
from aiodtls.core import ticket_keys
from tests.harness import Pair
from tests.simulated.variants import configs

START = datetime.datetime(2033, 1, 1, tzinfo=datetime.UTC)
SINCE = START.timestamp()
BETWEEN_VISITS = 30.0
# Of the keys, which are derived from the secret anew in each.
PERIOD = 3600.0
VISITS_PER_RESTART = 50
VISITS_PER_SECRET = 200
KINDS = ["ticket", "id", "ticket13"]


class World:
    """One client of each kind, and all servers' configurations from one secret to the next."""

    def __init__(self) -> None:
        # What the sessions go by, in seconds since 1970.
        self.now = START.timestamp()
        self.visits = self.resumed = self.refused = self.restarts = 0
        self.key_ids: set[bytes] = set()
        self._sessions: dict[str, Session | None] = dict.fromkeys(KINDS)
        # What outlives a restart, as a database would.
        self._store = MemorySessionStore()
        self._restart()

    def run(self, resumptions: int) -> None:
        while self.resumed + self.refused < resumptions:
            self._visit(KINDS[self.visits % len(KINDS)])

    def _restart(self) -> None:
        number = self.visits // VISITS_PER_SECRET
        # The older ones are kept for the seven days that a ticket lives.
        secrets = [_secret(n) for n in range(number, -1, -1)]
        self._ticket_keys = TicketKeys(*secrets, since=SINCE, period=PERIOD)
        self.restarts += 1

    def _configs(self, kind: str) -> tuple[DTLSConfig, DTLSConfig]:
        client, server = configs("certificate13" if kind == "ticket13" else "certificate")
        if kind == "id":
            client = dataclasses.replace(client, session_tickets=0)
        kept = {"ticket_keys": self._ticket_keys, "session_store": self._store}
        return client, dataclasses.replace(server, **kept)

    def _visit(self, kind: str) -> None:
        if self.visits % VISITS_PER_RESTART == 0:
            self._restart()
        session = self._sessions[kind]
        pair = Pair(*self._configs(kind), session=session, wall_time=self.now)
        assert pair.run() and pair.connected
        pair.idle(0.2)
        if session is not None:
            both = pair.client.resumed and pair.server.resumed
            self.resumed += both
            self.refused += not both
        found = pair.client.session
        assert found is not None
        self.key_ids.add(found.ticket[: ticket_keys.INDEX_LENGTH])
        # As a client keeps it between two runs.
        self._sessions[kind] = Session.from_bytes(found.to_bytes())
        self.visits += 1
        self.now += BETWEEN_VISITS


def _secret(number: int) -> bytes:
    return hashlib.sha256(b"secret %d" % number).digest()


def main() -> None:
    world = World()
    world.run(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
    print(
        f"{world.resumed} resumed, {world.refused} refused, {len(world.key_ids)} ticket keys, "
        f"{world.restarts} restarts"
    )


if __name__ == "__main__":
    main()
