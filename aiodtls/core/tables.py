"""Who has a place in a listener's tables, and who loses it where they are full.

A place is cheap to take: one datagram begins a handshake, and a handshake makes an association that
may be silent for good. So places are shared by network (``Limits.ipv4_prefix``), and a full table
takes one back from the network that has most of them. Nothing here walks over all peers because of
a datagram.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from aiodtls.core.config import DTLSConfig
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.outbox import Address
from aiodtls.core.shares import Shares

# A network with so many times fewer places than the largest is let into a full table though nobody
# gives way, until the table is twice as large.
SMALL_SHARE = 8
# A host of the largest network with so many times fewer places than the largest host takes one of
# that host's. If a whole /24 attacks, each of its hosts has four of a thousand places. A factor of
# one would let them take places from each other in turn, each time for the price of a handshake.
SMALL_SHARE_OF_HOST = 3
# Associations that are looked at for one that has been silent.
MAX_LOOKS = 16


class HalfOpenTable:
    """Handshakes of peers that came in by themselves, and those that the owner waits for.

    The latter take no place and are never evicted. Places are shared by network, and within the
    network that has most of them by host.
    """

    __slots__ = ("_awaited", "_candidates", "_hosts", "_networks", "_taken")

    def __init__(self) -> None:
        self._awaited: set[DTLSConnection] = set()
        # The network and the host of each that takes a place.
        self._taken: dict[DTLSConnection, tuple[Hashable, Hashable]] = {}
        self._networks: Shares[Hashable] = Shares()
        self._hosts: dict[Hashable, Shares[Hashable]] = {}
        # Those of each network, and of each host of a network, whose peers' second flight had not
        # begun when they were last seen. The oldest is first, each has its begin.
        self._candidates: dict[Hashable, OrderedDict[DTLSConnection, float]] = {}

    def __len__(self) -> int:
        """All, those that take no place included."""
        return len(self._taken) + len(self._awaited)

    def __contains__(self, connection: DTLSConnection) -> bool:
        return connection in self._taken or connection in self._awaited

    def add(
        self, connection: DTLSConnection, network: Hashable, host: Hashable, now: float
    ) -> None:
        """A peer that came in, from a proved address."""
        self._taken[connection] = network, host
        self._networks.change(network, 1)
        self._hosts.setdefault(network, Shares()).change(host, 1)
        for group in (network, (network, host)):
            self._candidates.setdefault(group, OrderedDict())[connection] = now

    def add_awaited(self, connection: DTLSConnection) -> None:
        """One that the owner waits for."""
        self._awaited.add(connection)

    def discard(self, connection: DTLSConnection) -> None:
        self._awaited.discard(connection)
        if connection not in self._taken:
            return
        self._no_candidate(connection)
        network, host = self._taken.pop(connection)
        self._networks.change(network, -1)
        hosts = self._hosts[network]
        hosts.change(host, -1)
        if not hosts:
            del self._hosts[network]

    def _no_candidate(self, connection: DTLSConnection) -> None:
        network, host = self._taken[connection]
        for group in (network, (network, host)):
            candidates = self._candidates.get(group)
            if candidates is not None:
                candidates.pop(connection, None)
                if not candidates:
                    del self._candidates[group]

    @property
    def taken(self) -> int:
        """Places that are taken."""
        return len(self._taken)

    def victim(self, network: Hashable, host: Hashable, older_than: float) -> DTLSConnection | None:
        """The handshake that gives its place to a newcomer; None for none.

        It is of the network with most places: the oldest that was begun before ``older_than`` and
        whose peer's second flight has not begun. A newcomer of that network gets the place of the
        host with most places in it, if that has many times more than its own, and else none.
        """
        if not self._networks:
            return None
        largest = self._networks.largest()
        group: Hashable = largest
        if self._networks[network] >= self._networks[largest]:
            group = self._crowded_host(network, host)
        while group is not None and (candidates := self._candidates.get(group)):
            connection, began = next(iter(candidates.items()))
            if not connection.answer_has_begun:
                return connection if began < older_than else None
            self._no_candidate(connection)
        return None

    def _crowded_host(self, network: Hashable, host: Hashable) -> Hashable:
        """The group of the host with most places, where ``host`` has many times fewer."""
        hosts = self._hosts[network]
        largest = hosts.largest()
        is_small = (hosts[host] + 1) * SMALL_SHARE_OF_HOST <= hosts[largest]
        return (network, largest) if is_small else None

    def may_overflow(self, network: Hashable, host: Hashable, limit: int) -> bool:
        """Whether a newcomer is let in beyond ``limit`` where nobody gives way.

        Else one network, or one host, would shut all others out by handshakes that it goes on with
        and does not end.
        """
        if self.taken >= 2 * limit:
            return False
        largest = self._networks.largest()
        if self._networks[network] >= self._networks[largest]:
            return self._crowded_host(network, host) is not None
        return (self._networks[network] + 1) * SMALL_SHARE <= self._networks[largest]


class _Place:
    """An association's, and since when its peer has been silent, as far as was looked."""

    __slots__ = ("network", "newest_number", "silent_since")

    def __init__(self, network: Hashable, newest_number: int, now: float) -> None:
        self.network = network
        self.newest_number = newest_number
        self.silent_since = now

    def heard(self, newest_number: int, now: float) -> None:
        self.newest_number, self.silent_since = newest_number, now


class _Silence:
    """Associations in the order of ``silent_since``, those without an identity apart."""

    __slots__ = ("_anonymous", "_proved")

    def __init__(self) -> None:
        self._anonymous: OrderedDict[DTLSConnection, _Place] = OrderedDict()
        self._proved: OrderedDict[DTLSConnection, _Place] = OrderedDict()

    def _of(self, connection: DTLSConnection) -> OrderedDict[DTLSConnection, _Place]:
        return self._proved if connection.peer_is_identified else self._anonymous

    def add(self, connection: DTLSConnection, place: _Place) -> None:
        self._of(connection)[connection] = place

    def heard(self, connection: DTLSConnection) -> None:
        self._of(connection).move_to_end(connection)

    def discard(self, connection: DTLSConnection) -> bool:
        """Whether none is left."""
        self._anonymous.pop(connection, None)
        self._proved.pop(connection, None)
        return not (self._anonymous or self._proved)

    def longest(self) -> list[tuple[DTLSConnection, _Place]]:
        """The longest silent without an identity, then the longest silent with one."""
        orders = (self._anonymous, self._proved)
        return [next(iter(order.items())) for order in orders if order]


class AssociationTable:
    """All associations but those in the half-open table and those that have ended.

    Received data goes past the listener (HOT PATH), so nothing is noted when it comes. ``look``
    notices that the newest record number has moved, and so does the search for a victim.
    """

    __slots__ = ("_by_network", "_everywhere", "_places", "_shares")

    def __init__(self) -> None:
        # None for an association that is never evicted.
        self._places: dict[DTLSConnection, _Place | None] = {}
        self._by_network: dict[Hashable, _Silence] = {}
        self._everywhere = _Silence()
        self._shares: Shares[Hashable] = Shares()

    def __len__(self) -> int:
        return len(self._places)

    def add(self, connection: DTLSConnection, network: Hashable) -> None:
        """A peer that came in and has completed its handshake."""
        place = _Place(network, connection.newest_number, connection.completed_at)
        self._places[connection] = place
        self._shares.change(place.network, 1)
        self._by_network.setdefault(place.network, _Silence()).add(connection, place)
        self._everywhere.add(connection, place)

    def add_own(self, connection: DTLSConnection) -> None:
        """One that the owner has dialled."""
        self._places[connection] = None

    def discard(self, connection: DTLSConnection) -> None:
        place = self._places.pop(connection, None)
        if place is not None:
            self._shares.change(place.network, -1)
            self._everywhere.discard(connection)
            if self._by_network[place.network].discard(connection):
                del self._by_network[place.network]

    def look(self, connection: DTLSConnection, now: float) -> None:
        """Notes whether its peer was heard since the last look."""
        place = self._places.get(connection)
        if place is not None:
            self._has_spoken(connection, place, now)

    def _has_spoken(self, connection: DTLSConnection, place: _Place, now: float) -> bool:
        if connection.newest_number == place.newest_number:
            return False
        place.heard(connection.newest_number, now)
        self._by_network[place.network].heard(connection)
        self._everywhere.heard(connection)
        return True

    def victim(self, silent_since: float, now: float) -> DTLSConnection | None:
        """The association that gives its place to a newcomer: silent since then, or longer.

        Of the network with most places the longest silent, peers without an identity first; where
        that network has none, the longest silent of all.
        """
        if not self._shares:
            return None
        largest = self._by_network[self._shares.largest()]
        for silence in (largest, self._everywhere):
            for _ in range(MAX_LOOKS):
                oldest = [
                    (connection, place)
                    for connection, place in silence.longest()
                    if place.silent_since <= silent_since
                ]
                if not oldest:
                    break
                connection, place = oldest[0]
                if not self._has_spoken(connection, place, now):
                    return connection
        return None


class Tables:
    """All connections of a listener that have not ended, each in one of the two tables."""

    __slots__ = ("_associations", "_half_open")

    def __init__(self) -> None:
        self._half_open = HalfOpenTable()
        self._associations = AssociationTable()

    @property
    def associations(self) -> int:
        """How many associations there are, and handshakes that the owner has dialled."""
        return len(self._associations)

    @property
    def half_open(self) -> int:
        """How many handshakes of servers there are."""
        return len(self._half_open)

    def begin(self, connection: DTLSConnection, config: DTLSConfig, now: float) -> None:
        """The handshake of a peer that came in, for which ``room_for`` had a place."""
        peer = connection.peer
        self._half_open.add(connection, config.limits.network_of(peer), _host_of(peer), now)

    def begin_awaited(self, connection: DTLSConnection) -> None:
        """A server's handshake that the owner waits for."""
        self._half_open.add_awaited(connection)

    def is_half_open(self, connection: DTLSConnection) -> bool:
        """Whether it is a server's handshake."""
        return connection in self._half_open

    def place(self, connection: DTLSConnection) -> None:
        """An association, or a client's handshake. What we dialled is never evicted."""
        self._half_open.discard(connection)
        if connection.role == "client":
            self._associations.add_own(connection)
        else:
            network = connection.config.limits.network_of(connection.peer)
            self._associations.add(connection, network)

    def discard(self, connection: DTLSConnection) -> None:
        """It has ended; whatever it still lingers for counts for nothing."""
        self._half_open.discard(connection)
        self._associations.discard(connection)

    def look(self, connection: DTLSConnection, now: float) -> None:
        """Notes whether its peer was heard since the last look."""
        self._associations.look(connection, now)

    def room_for(self, config: DTLSConfig, peer: Address, now: float) -> DTLSConnection | bool:
        """Whether a newcomer has a place, or who is to be evicted for it."""
        half_open, associations = self._half_open, self._associations
        is_full = len(half_open) + len(associations) >= config.max_associations
        if not is_full and half_open.taken < config.max_half_open:
            return True
        where = config.limits.network_of(peer), _host_of(peer)
        older_than = now - 2 * config.retransmit_initial
        if half_open.taken >= config.max_half_open:
            victim = half_open.victim(*where, older_than)
            if victim is not None:
                return victim
            if not half_open.may_overflow(*where, config.max_half_open):
                return False
        if not is_full:
            return True
        victim = associations.victim(now - config.limits.eviction_silence, now)
        return victim or half_open.victim(*where, older_than) or False


def _host_of(peer: Address) -> Hashable:
    """Its address without the port."""
    return peer[0] if isinstance(peer, tuple) and peer else peer
