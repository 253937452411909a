"""Counters of associations, their running sums, and the public snapshots of both.

Each association has :class:`Counters`. Each listener has :class:`Sums`, to which the counters of
all its associations add as they count. So a snapshot of the sums costs the same for one association
as for 100,000.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import wraps
from operator import add, attrgetter, sub
from typing import Any, Concatenate, ParamSpec, TypeVar

# The upper bounds in seconds: handshakes, and round trips.
HANDSHAKE_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
RTT_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


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
class Histogram:
    """How many measured values there were of each size. Histograms of the same bounds can be added
    and subtracted.

    Attributes:
        bounds: The upper bounds, ascending; a value equal to a bound counts below it.
        counts: How many values are below each bound and above the one before; last, how many are
            above all bounds.
        sum: The sum of all values.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self.counts)

    def __add__(self, other: Histogram) -> Histogram:
        self._check(other)
        return Histogram(
            self.bounds, tuple(map(add, self.counts, other.counts)), self.sum + other.sum
        )

    def __sub__(self, other: Histogram) -> Histogram:
        self._check(other)
        return Histogram(
            self.bounds, tuple(map(sub, self.counts, other.counts)), self.sum - other.sum
        )

    def _check(self, other: Histogram) -> None:
        if other.bounds != self.bounds:
            raise ValueError("the histograms have different bounds")


def _empty(bounds: tuple[float, ...]) -> Histogram:
    return Histogram(bounds, (0,) * (len(bounds) + 1), 0.0)


NO_HANDSHAKES, NO_ROUND_TRIPS = _empty(HANDSHAKE_BOUNDS), _empty(RTT_BOUNDS)


@dataclass(frozen=True, slots=True)
class Statistics:
    """A snapshot of the counters of one association, or of the sums of a socket or a server.

    They only grow. Snapshots can be added and subtracted. Datagrams are UDP payloads, records are
    DTLS records, bytes are application data. docs/reference/statistics.md explains each.
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
    """ClientHellos answered statelessly (a socket's)"""
    hellos_refused: int = 0
    """ClientHellos that drew no answer, because there was no room or no new peers are accepted (a
    socket's)"""
    handshakes_evicted: int = 0
    """half-open handshakes that a full table replaced by a new one (a socket's)"""
    associations_evicted: int = 0
    """silent associations that a full table replaced by a new one (a socket's)"""
    handshakes_completed: int = 0
    """full and resumed ones"""
    handshakes_failed: int = 0
    """handshakes that began and failed; ``failures`` counts refused hellos too"""
    addresses_changed: int = 0
    """how often the association moved to a new address of the peer"""
    path_checks_failed: int = 0
    """return routability checks of a new address that failed"""
    verifications_refused: int = 0
    """handshakes ended because too many certificate chains of the peer's network wait"""
    transport_errors: int = 0
    """errors of the transport about this peer; a socket's: about addresses without a peer too"""
    datagrams_dropped: int = 0
    """datagrams dropped because too much waited for the socket (a socket's)"""
    handshakes_resumed: int = 0
    """of ``handshakes_completed``, those that resumed a session"""
    acks_sent: int = 0
    acks_received: int = 0
    """ACKs of DTLS 1.3"""
    key_updates_sent: int = 0
    key_updates_received: int = 0
    """how often the keys of one direction were replaced (DTLS 1.3)"""
    wire_bytes_sent: int = 0
    wire_bytes_received: int = 0
    """bytes of UDP payload (a socket's)"""
    kernel_drops: int = 0
    """received datagrams that the system dropped for want of room in its buffer (a socket's, on
    Linux)"""
    failures: Mapping[str, int] = NONE
    """failed handshakes and refused ClientHellos, by reason"""
    alerts_sent: Mapping[str, int] = NONE
    alerts_received: Mapping[str, int] = NONE
    """alerts, by their names in the IANA registry"""
    evictions: Mapping[str, int] = NONE
    """what had to give way in a full table: "half_open", "silent" and "lingering" (a socket's)"""
    handshake_seconds: Histogram = NO_HANDSHAKES
    """how long complete handshakes took; a server's, from the ClientHello with a cookie on (a
    socket's)"""
    rtt_seconds: Histogram = NO_ROUND_TRIPS
    """from a flight that was sent once to the first message of its answer (a socket's)"""

    @property
    def handshakes_full(self) -> int:
        """Complete handshakes that resumed no session."""
        return self.handshakes_completed - self.handshakes_resumed

    def __add__(self, other: Statistics) -> Statistics:
        return Statistics(*map(add, _all_fields(self), _all_fields(other)))

    def __sub__(self, other: Statistics) -> Statistics:
        """What was counted since ``other``, an earlier snapshot."""
        return Statistics(*map(sub, _all_fields(self), _all_fields(other)))


_all_fields = attrgetter(*(item.name for item in fields(Statistics)))


@dataclass(frozen=True, slots=True)
class Gauges:
    """What a listener, a socket or a server has now. They can be added."""

    associations: int = 0
    """associations, and handshakes that we began ourselves"""
    half_open: int = 0
    """handshakes that peers began, from a proved address on"""
    lingering: int = 0
    """ended associations that are kept for a peer that may have missed the end"""
    parked: int = 0
    """associations that are put aside; always 0, as nothing parks any yet"""
    hellos_waiting: int = 0
    """ClientHellos that wait for ``accept``"""
    output_bytes: int = 0
    """bytes of UDP payload that wait for the socket"""
    input_bytes: int = 0
    """memory of received datagrams that wait in the system's buffer, in bytes (Linux)"""

    def __add__(self, other: Gauges) -> Gauges:
        return Gauges(*map(add, _all_gauges(self), _all_gauges(other)))


_all_gauges = attrgetter(*(item.name for item in fields(Gauges)))

# The numbers of one association, and those of a socket alone. ``lone`` ones are records that are
# the only one in their datagram, on the fast path: both a record and a datagram.
_OF_ASSOCIATIONS = (
    *("datagrams_sent", "datagrams_received", "records_sent", "records_received"),
    *("lone_sent", "lone_received", "bytes_sent", "bytes_received", "flights_resent"),
    *("records_replayed", "records_forged", "records_discarded", "records_too_early"),
    *("messages_dropped", "handshakes_completed", "handshakes_failed", "handshakes_resumed"),
    *("addresses_changed", "path_checks_failed", "verifications_refused", "transport_errors"),
    *("acks_sent", "acks_received", "key_updates_sent", "key_updates_received"),
)
_OF_SOCKETS = ("hellos_answered", "hellos_refused", "handshakes_evicted", "associations_evicted")


_P = ParamSpec("_P")
_C = TypeVar("_C", bound="Counters")


def _in_total_too(
    method: Callable[Concatenate[_C, _P], None],
) -> Callable[Concatenate[_C, _P], None]:
    """Lets a method of :class:`Counters` count in the sums of the listener too."""

    @wraps(method)
    def count(counters: _C, /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        method(counters, *args, **kwargs)
        method(counters.total, *args, **kwargs)  # type: ignore[arg-type]

    return count


class Counters:
    """The counters of one association. ``total`` counts everything too."""

    __slots__ = (*_OF_ASSOCIATIONS, "named", "total")

    datagrams_sent: int
    datagrams_received: int
    records_sent: int
    records_received: int
    bytes_sent: int
    bytes_received: int
    records_replayed: int
    records_forged: int
    records_discarded: int
    records_too_early: int
    handshakes_completed: int
    handshakes_failed: int
    handshakes_resumed: int
    addresses_changed: int
    path_checks_failed: int
    verifications_refused: int
    transport_errors: int
    acks_sent: int
    acks_received: int
    key_updates_sent: int
    key_updates_received: int

    def __init__(self, total: Sums | None = None) -> None:
        self.total: Sums = total if total is not None else _NOBODYS
        self.datagrams_sent = self.datagrams_received = 0
        self.records_sent = self.records_received = 0
        self.lone_sent = self.lone_received = 0
        self.bytes_sent = self.bytes_received = 0
        self.flights_resent: int = 0
        self.records_replayed = self.records_forged = 0
        self.records_discarded = self.records_too_early = 0
        self.messages_dropped: int = 0
        self.handshakes_completed = self.handshakes_failed = self.handshakes_resumed = 0
        self.addresses_changed = self.path_checks_failed = 0
        self.verifications_refused = self.transport_errors = 0
        self.acks_sent = self.acks_received = 0
        self.key_updates_sent = self.key_updates_received = 0
        # The mappings of the snapshot, by their names. Made when first needed.
        self.named: dict[str, dict[str, int]] | None = None

    # What happens for each record of data on the fast path is counted in place (HOT PATH),
    # everything else by these.

    @_in_total_too
    def count_discarded(self) -> None:
        self.records_discarded += 1

    @_in_total_too
    def count_replayed(self) -> None:
        self.records_replayed += 1

    @_in_total_too
    def count_forged(self) -> None:
        self.records_forged += 1

    @_in_total_too
    def count_too_early(self) -> None:
        self.records_too_early += 1

    @_in_total_too
    def count_dropped(self, messages: int = 1) -> None:
        self.messages_dropped += messages

    @_in_total_too
    def count_data(self, size: int) -> None:
        """Counts one received message."""
        self.records_received += 1
        self.bytes_received += size

    def count_data_batch(self, datagrams: int, messages: int, size: int) -> None:
        """Counts a batch of datagrams that carried ``size`` bytes of messages. HOT PATH."""
        total = self.total
        self.datagrams_received += datagrams
        self.records_received += messages
        self.bytes_received += size
        total.datagrams_received += datagrams
        total.records_received += messages
        total.bytes_received += size

    def count_data_sent(self, records: int, size: int) -> None:
        """Counts sent records with ``size`` bytes of data in all. Their datagrams are counted
        separately. HOT PATH.
        """
        total = self.total
        self.records_sent += records
        self.bytes_sent += size
        total.records_sent += records
        total.bytes_sent += size

    @_in_total_too
    def count_verification_refused(self) -> None:
        self.verifications_refused += 1

    @_in_total_too
    def count_sent(self, datagrams: int) -> None:
        self.datagrams_sent += datagrams

    @_in_total_too
    def count_received(self) -> None:
        """Counts one received datagram."""
        self.datagrams_received += 1

    @_in_total_too
    def count_resent(self) -> None:
        """Counts one resent flight."""
        self.flights_resent += 1

    def count_completed(self, seconds: float, *, resumed: bool) -> None:
        """Counts one complete handshake, which took so long."""
        self._count_completed(resumed)
        self.total.handshake_seconds.add(seconds)

    @_in_total_too
    def _count_completed(self, resumed: bool) -> None:
        self.handshakes_completed += 1
        self.handshakes_resumed += resumed

    def count_round_trip(self, seconds: float) -> None:
        self.total.rtt_seconds.add(seconds)

    @_in_total_too
    def count_transport_error(self) -> None:
        """Counts one error of the transport."""
        self.transport_errors += 1

    @_in_total_too
    def count_failed(self, reason: str) -> None:
        """Counts one failed handshake."""
        self.handshakes_failed += 1
        self._count_name("failures", reason)

    @_in_total_too
    def count_address_changed(self) -> None:
        self.addresses_changed += 1

    @_in_total_too
    def count_path_check_failed(self) -> None:
        self.path_checks_failed += 1

    @_in_total_too
    def count_ack_sent(self) -> None:
        self.acks_sent += 1

    @_in_total_too
    def count_ack_received(self) -> None:
        self.acks_received += 1

    @_in_total_too
    def count_key_update_sent(self) -> None:
        self.key_updates_sent += 1

    @_in_total_too
    def count_key_update_received(self) -> None:
        self.key_updates_received += 1

    @_in_total_too
    def count_named(self, mapping: str, name: str) -> None:
        """Counts a name in one of the mappings: failures, alerts_sent, alerts_received."""
        self._count_name(mapping, name)

    def _count_name(self, mapping: str, name: str) -> None:
        if self.named is None:
            self.named = {}
        counts = self.named.setdefault(mapping, {})
        counts[name] = counts.get(name, 0) + 1

    def snapshot(self) -> Statistics:
        return Statistics(**self._values())

    def _values(self) -> dict[str, Any]:
        values: dict[str, Any] = dict(zip(_OF_ASSOCIATIONS, _of_associations(self), strict=True))
        for direction in ("sent", "received"):
            lone = values.pop(f"lone_{direction}")
            values[f"datagrams_{direction}"] += lone
            values[f"records_{direction}"] += lone
        for mapping, counts in (self.named or {}).items():
            values[mapping] = Counts(counts)
        return values


_of_associations = attrgetter(*_OF_ASSOCIATIONS)
_of_sockets = attrgetter(*_OF_SOCKETS)


class Timings:
    """A histogram that grows."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def snapshot(self) -> Histogram:
        return Histogram(self._bounds, tuple(self._counts), self._sum)


class Sums(Counters):
    """The sums of a listener: of all its associations, ended ones included, and its own."""

    __slots__ = (*_OF_SOCKETS, "handshake_seconds", "rtt_seconds")

    hellos_answered: int
    hellos_refused: int
    handshakes_evicted: int
    associations_evicted: int

    def __init__(self) -> None:
        super().__init__()
        self.hellos_answered = self.hellos_refused = 0
        self.handshakes_evicted = self.associations_evicted = 0
        self.handshake_seconds: Timings = Timings(HANDSHAKE_BOUNDS)
        self.rtt_seconds: Timings = Timings(RTT_BOUNDS)

    def count_hello_answered(self) -> None:
        self.hellos_answered += 1

    def count_hello_refused(self) -> None:
        self.hellos_refused += 1

    def count_handshake_evicted(self) -> None:
        self.handshakes_evicted += 1
        self.count_named("evictions", "half_open")

    def count_association_evicted(self) -> None:
        self.associations_evicted += 1
        self.count_named("evictions", "silent")

    def count_lingering_evicted(self) -> None:
        self.count_named("evictions", "lingering")

    def _values(self) -> dict[str, Any]:
        return {
            **super()._values(),
            **dict(zip(_OF_SOCKETS, _of_sockets(self), strict=True)),
            "handshake_seconds": self.handshake_seconds.snapshot(),
            "rtt_seconds": self.rtt_seconds.snapshot(),
        }


# The total of connections that belong to no listener, and of the sums themselves. It is not read.
_NOBODYS: Sums = object.__new__(Sums)
_NOBODYS.__init__()  # type: ignore[misc]
