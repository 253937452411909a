"""Counters, and the public snapshot of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from operator import add, attrgetter


class Counts(Mapping[str, int]):
    """Counts by name, read-only. They can be added and subtracted."""

    __slots__ = ("_counts",)

    def __init__(self, counts: Mapping[str, int] | None = None) -> None:
        self._counts = dict(counts or {})

    def __getitem__(self, name: str) -> int:
        return self._counts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._counts)

    def __len__(self) -> int:
        return len(self._counts)

    def __hash__(self) -> int:
        return hash(frozenset(self._counts.items()))

    def __repr__(self) -> str:
        return repr(self._counts)

    def __add__(self, other: Mapping[str, int]) -> Counts:
        if not other:
            return self
        names = dict.fromkeys((*self, *other))
        return Counts({name: self.get(name, 0) + other.get(name, 0) for name in names})

    def __sub__(self, other: Mapping[str, int]) -> Counts:
        """What was counted since ``other``. Names without a difference are left out."""
        differences = {name: self[name] - other.get(name, 0) for name in self}
        return Counts({name: count for name, count in differences.items() if count})


NONE = Counts()


@dataclass(frozen=True, slots=True)
class Statistics:
    """A snapshot of the counters of one association, or their sums over a server. They only grow.

    Datagrams are UDP payloads, records are DTLS records, bytes are application data.
    """

    datagrams_sent: int = 0
    datagrams_received: int = 0
    records_sent: int = 0
    """application data records protected"""
    records_received: int = 0
    """application data records opened and delivered"""
    bytes_sent: int = 0
    bytes_received: int = 0
    flights_resent: int = 0
    """handshake flights sent again, for whatever reason"""
    records_replayed: int = 0
    """records dropped by the replay window"""
    records_forged: int = 0
    """records that did not open under the keys of their epoch"""
    records_discarded: int = 0
    """records and fragments dropped for any other reason: malformed, unexpected, unknown epoch"""
    records_too_early: int = 0
    """protected records that came before they could be read and found the buffer full"""
    messages_dropped: int = 0
    """received messages dropped because the receive queue was full"""
    hellos_answered: int = 0
    """ClientHellos answered statelessly (a listener's)"""
    hellos_refused: int = 0
    """ClientHellos refused because of ``max_half_open`` or ``max_associations``"""
    handshakes_evicted: int = 0
    """half-open handshakes that a full table replaced by a new one (a listener's)"""
    associations_evicted: int = 0
    """silent associations that a full table replaced by a new one (a listener's)"""
    handshakes_completed: int = 0
    handshakes_failed: int = 0
    """handshakes that began and failed; ``failures`` counts refused hellos too"""
    addresses_changed: int = 0
    """how often the association moved to a new address of the peer"""
    path_checks_failed: int = 0
    """return routability checks of a new address that failed"""
    verifications_refused: int = 0
    """handshakes ended because too many certificate chains of the peer's network wait"""
    transport_errors: int = 0
    """errors of the transport about this peer; a listener's: about addresses without a peer"""
    failures: Mapping[str, int] = NONE
    """failed handshakes and refused ClientHellos, by reason (a listener's)"""
    datagrams_dropped: int = 0
    """datagrams dropped because too much waited for the socket (a socket's)"""

    def __add__(self, other: Statistics) -> Statistics:
        return Statistics(*map(add, _all_counters(self), _all_counters(other)))


COUNTER_NAMES = tuple(item.name for item in fields(Statistics))
_all_counters = attrgetter(*COUNTER_NAMES)


class Counters:
    """The mutable counters behind a :class:`Statistics` snapshot."""

    __slots__ = COUNTER_NAMES

    def __init__(self) -> None:
        self.datagrams_sent = self.datagrams_received = 0
        self.records_sent = self.records_received = 0
        self.bytes_sent = self.bytes_received = 0
        self.flights_resent = 0
        self.records_replayed = self.records_forged = 0
        self.records_discarded = self.records_too_early = 0
        self.messages_dropped = 0
        self.hellos_answered = self.hellos_refused = 0
        self.handshakes_evicted = self.associations_evicted = 0
        self.handshakes_completed = self.handshakes_failed = 0
        self.addresses_changed = self.path_checks_failed = 0
        self.verifications_refused = self.transport_errors = 0
        self.datagrams_dropped = 0
        # Made when first needed, so that an association without failures stays light.
        self.failures: Counts = NONE

    # Events that occur for each record of data are counted in place (HOT PATH), all others by
    # these.

    def count_discarded(self) -> None:
        self.records_discarded += 1

    def count_replayed(self) -> None:
        self.records_replayed += 1

    def count_forged(self) -> None:
        self.records_forged += 1

    def count_too_early(self) -> None:
        self.records_too_early += 1

    def count_dropped(self, messages: int = 1) -> None:
        self.messages_dropped += messages

    def count_data(self, size: int) -> None:
        """Counts one received message."""
        self.records_received += 1
        self.bytes_received += size

    def count_data_batch(self, datagrams: int, messages: int, size: int) -> None:
        """Counts a batch of datagrams that carried ``size`` bytes of messages."""
        self.datagrams_received += datagrams
        self.records_received += messages
        self.bytes_received += size

    def count_data_sent(self, records: int, size: int) -> None:
        """Counts sent records with ``size`` bytes of data in all. Their datagrams are counted
        separately.
        """
        self.records_sent += records
        self.bytes_sent += size

    def count_verification_refused(self) -> None:
        self.verifications_refused += 1

    def count_sent(self, datagrams: int) -> None:
        self.datagrams_sent += datagrams

    def count_received(self) -> None:
        """Counts one received datagram."""
        self.datagrams_received += 1

    def count_resent(self) -> None:
        """Counts one resent flight."""
        self.flights_resent += 1

    def count_hello_answered(self) -> None:
        self.hellos_answered += 1

    def count_hello_refused(self) -> None:
        self.hellos_refused += 1

    def count_handshake_evicted(self) -> None:
        self.handshakes_evicted += 1

    def count_association_evicted(self) -> None:
        self.associations_evicted += 1

    def count_completed(self) -> None:
        """Counts one completed handshake."""
        self.handshakes_completed += 1

    def count_transport_error(self) -> None:
        """Counts one error of the transport."""
        self.transport_errors += 1

    def count_failed(self, reason: str) -> None:
        """Counts one failed handshake."""
        self.handshakes_failed += 1
        self.count_failure(reason)

    def count_failure(self, reason: str) -> None:
        """Counts a reason for which a handshake failed, or a hello was refused."""
        self.failures += Counts({reason: 1})

    def count_address_changed(self) -> None:
        self.addresses_changed += 1

    def count_path_check_failed(self) -> None:
        self.path_checks_failed += 1

    def snapshot(self) -> Statistics:
        return Statistics(*_all_counters(self))
