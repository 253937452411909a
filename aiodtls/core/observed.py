"""Parts of a connection that tell an observer what happens: for traces.

A connection that is observed is made with these parts instead of the plain ones, and with a closed
fast path. So one that is not observed pays nothing. An observer is told types, numbers, sizes and
lengths. It never gets plaintext, keys, identities, tickets or cookies.

docs/guides/trace.md lists the names and fields of what is told.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, TypeAlias

from aiodtls.core.config import DTLSConfig
from aiodtls.core.cookies import ValidatedHello
from aiodtls.core.errors import DecodeError, alert_name, failure_reason
from aiodtls.core.events import (
    AddressChanged,
    Closed,
    Confirmed,
    Event,
    FlightReceived,
    FlightSent,
    HandshakeCompleted,
    HandshakeFailed,
    KeyLimitReached,
    PathMTUChanged,
    PeerUnresponsive,
    Question,
    SessionReceived,
)
from aiodtls.core.outbox import Outbox
from aiodtls.core.peer_text import shown
from aiodtls.core.record.connection_ids import ConnectionIds
from aiodtls.core.record.epochs import RecordReader, RecordWriter
from aiodtls.core.record.layer import RecordLayer
from aiodtls.core.registry import AlertLevel, ContentType, HandshakeType
from aiodtls.core.reliability.acks import parse_ack
from aiodtls.core.reliability.flight import message_name
from aiodtls.core.reliability.reassembly import Coverage
from aiodtls.core.reliability.timers import Timer, Timers
from aiodtls.core.reliability.transmitter import Transmitter
from aiodtls.core.statistics import Counters
from aiodtls.core.wire.fragments import parse_fragments
from aiodtls.core.wire.records import (
    EPOCH_SHIFT,
    HANDSHAKE,
    SEQUENCE_NUMBER_MASK,
    Record,
    parse_alert,
)

Fields: TypeAlias = dict[str, Any]
# Gets a name such as "record_sent", and its fields. It must neither raise nor call the connection.
Observer: TypeAlias = Callable[[str, Mapping[str, Any]], None]
# Chooses the observer of a connection: its config, our role, and the peer's address.
Observe: TypeAlias = Callable[[DTLSConfig, str, Hashable], Observer | None]

# The newest protected records that no datagram has carried yet.
MAX_WAITING = 256
# Messages of which a part has come or gone, and the ranges of one. Anybody can send fragments.
MAX_BEGUN = 16
MAX_RANGES = 64
# How many acknowledged records are named.
MAX_NAMED = 32
ALERT, ACK = int(ContentType.alert), int(ContentType.ack)
# Which counter says why a record was dropped.
DROPPED = {
    "records_replayed": "replayed",
    "records_forged": "not_authentic",
    "records_discarded": "discarded",
    "records_too_early": "too_early",
}


def _type_name(content_type: int) -> str:
    known = content_type in ContentType.__members__.values()
    return ContentType(content_type).name if known else f"type {content_type}"


def _described(content_type: int, number: int, payload: bytes) -> Fields:
    """What is told of a record. It may be forged, so what does not parse is left out."""
    told: Fields = {
        "type": _type_name(content_type),
        "epoch": number >> EPOCH_SHIFT,
        "sequence_number": number & SEQUENCE_NUMBER_MASK,
        "payload_length": len(payload),
    }
    try:
        if content_type == HANDSHAKE:
            told["fragments"] = [
                {
                    "message": message_name(fragment.msg_type),
                    "message_seq": fragment.message_seq,
                    "offset": fragment.offset,
                    "length": len(fragment.data),
                    "message_length": fragment.length,
                }
                for fragment in parse_fragments(payload)
            ]
        elif content_type == ALERT:
            level, description = parse_alert(payload)
            told["level"] = "warning" if level == AlertLevel.warning else "fatal"
            told["description"] = alert_name(description)
        elif content_type == ACK:
            numbers = parse_ack(payload)
            told["acknowledged"] = [
                [number >> EPOCH_SHIFT, number & SEQUENCE_NUMBER_MASK]
                for number in numbers[-MAX_NAMED:]
            ]
    except DecodeError:
        pass
    return told


class _Messages:
    """Finds out when the last part of a handshake message comes, or goes, for the first time."""

    __slots__ = ("_begun", "_whole")

    def __init__(self) -> None:
        self._begun: dict[int, Coverage] = {}
        # The newest message_seqs of which all was seen.
        self._whole: dict[int, None] = {}

    def completed(self, fragments: Iterable[Fields]) -> list[Fields]:
        """The messages that these fragments complete."""
        found = []
        for fragment in fragments:
            seq, length = fragment["message_seq"], fragment["message_length"]
            if seq in self._whole:
                continue
            coverage = self._begun.get(seq)
            if coverage is None or coverage.length != length:
                coverage = self._begun[seq] = Coverage(length)
            coverage.add(fragment["offset"], fragment["offset"] + fragment["length"])
            if coverage.complete:
                self._whole[seq] = None
                found.append({"message": fragment["message"], "message_seq": seq, "length": length})
            if coverage.complete or len(coverage.ranges) > MAX_RANGES:
                del self._begun[seq]
        for seen in (self._begun, self._whole):
            while len(seen) > MAX_BEGUN:
                del seen[next(iter(seen))]
        return found


class ObservedRecordLayer(RecordLayer):
    """Tells of each record and datagram, of complete messages, and of changes of keys and ids."""

    __slots__ = ("_arrived", "_gone", "_observe", "_own_ids", "_seen", "_waiting")

    is_observed = True

    def __init__(
        self,
        observe: Observer,
        counters: Counters,
        hello: ValidatedHello | None,
        cids: ConnectionIds,
    ) -> None:
        super().__init__(counters, hello.record_number if hello else 0, cids)
        self._observe = observe
        self._seen, self._own_ids = counters, cids
        self._arrived, self._gone = _Messages(), _Messages()
        # Records that were protected, with what is told of them, until a datagram carries them.
        self._waiting: dict[bytes, Fields] = {}
        if hello is not None:
            # A listener has taken it, and has validated the address by its cookie.
            told = {
                "message": HandshakeType.client_hello.name,
                "message_seq": hello.message_seq,
                "address_validated": True,
            }
            observe("message_received", told)

    def protect(self, epoch: int, content_type: int, plaintext: bytes) -> bytes:
        number = self.next_number(epoch)
        record = super().protect(epoch, content_type, plaintext)
        told = _described(content_type, number, plaintext)
        self._waiting[record] = told
        if len(self._waiting) > MAX_WAITING:
            del self._waiting[next(iter(self._waiting))]
        self._tell("sent", told, self._gone)
        return record

    def records_in(self, datagram: bytes) -> list[Fields]:
        """What was told of the records of a datagram that is sent now. A repeat has none."""
        found: list[Fields] = []
        position = 0
        while position < len(datagram):
            waiting = self._waiting
            record = next((r for r in waiting if datagram.startswith(r, position)), None)
            if record is None:
                return found
            found.append(self._waiting.pop(record))
            position += len(record)
        return found

    def receive(self, datagram: bytes, now: float | None = None) -> list[Record]:
        before, id_before = self._dropped(), next(iter(self._own_ids), b"")
        records = super().receive(datagram, now)
        told = [_described(*record) for record in records]
        self._observe(
            "datagram_received", {"length": len(datagram), "records": [_brief(t) for t in told]}
        )
        for each in told:
            self._tell("received", each, self._arrived)
        for name, count in self._dropped().items():
            if count > before[name]:
                dropped = {"reason": DROPPED[name], "records": count - before[name]}
                self._observe("record_dropped", dropped)
        own_id = next(iter(self._own_ids), b"")
        if own_id != id_before and id_before:
            self._observe("connection_id_updated", {"owner": "local", "new": own_id.hex()})
        return records

    def install_read(self, epoch: int, reader: RecordReader) -> list[Record]:
        reopened = super().install_read(epoch, reader)
        self._observe("key_updated", {"direction": "received", "epoch": epoch})
        for record in reopened:
            # It came before its keys.
            self._tell("received", {**_described(*record), "waited": True}, self._arrived)
        return reopened

    def install_write(self, epoch: int, writer: RecordWriter) -> None:
        super().install_write(epoch, writer)
        self._observe("key_updated", {"direction": "sent", "epoch": epoch})

    def use_peer_cid(self, cid: bytes) -> None:
        super().use_peer_cid(cid)
        self._observe("connection_id_updated", {"owner": "remote", "new": cid.hex()})

    def _tell(self, direction: str, told: Fields, messages: _Messages) -> None:
        self._observe(f"record_{direction}", told)
        for message in messages.completed(told.get("fragments", ())):
            self._observe(f"message_{direction}", message)
        if "description" in told:
            alert = {name: told[name] for name in ("level", "description", "epoch")}
            self._observe(f"alert_{direction}", alert)
        if "acknowledged" in told:
            ack = {name: told[name] for name in ("acknowledged", "epoch")}
            self._observe(f"ack_{direction}", ack)

    def _dropped(self) -> dict[str, int]:
        return {name: getattr(self._seen, name) for name in DROPPED}


def _brief(told: Fields) -> Fields:
    """What identifies a record at both peers."""
    return {name: told[name] for name in ("type", "epoch", "sequence_number")}


class ObservedOutbox(Outbox):
    """Tells of each datagram that its owner takes."""

    __slots__ = ("_observe", "_observed_layer", "_peer")

    def __init__(self, observe: Observer, layer: RecordLayer, transmitter: Transmitter) -> None:
        super().__init__(layer, transmitter)
        assert isinstance(layer, ObservedRecordLayer)
        self._observe, self._observed_layer = observe, layer
        self._peer: Hashable = None

    def take(self) -> list[tuple[bytes, Hashable]]:
        taken = super().take()
        for datagram, address in taken:
            records = self._observed_layer.records_in(datagram)
            told: Fields = {"length": len(datagram), "records": [_brief(r) for r in records]}
            if address != self._peer:
                told["to"] = _address(address)
                self._peer = address
            self._observe("datagram_sent", told)
        return taken


class ObservedTimers(Timers):
    """Tells when a timer is set to another time, stopped, or due. ``at`` is in seconds."""

    __slots__ = ("_observe",)

    def __init__(self, observe: Observer) -> None:
        super().__init__()
        self._observe = observe

    def set(self, timer: Timer, at: float) -> None:
        if self.get(timer) != at:
            self._tell(timer, "set", at=at)
        super().set(timer, at)

    def cancel(self, timer: Timer) -> None:
        if self.get(timer) is not None:
            self._tell(timer, "cancelled")
        super().cancel(timer)

    def take_due(self, now: float) -> list[Timer]:
        due = super().take_due(now)
        for timer in due:
            self._tell(timer, "expired")
        return due

    def _tell(self, timer: Timer, what: str, **more: float) -> None:
        self._observe("timer_updated", {"timer": timer.name, "event_type": what, **more})


class ObservedEvents(list[Event]):
    """The queue of a connection's events, which tells of those that say what happened."""

    def __init__(self, observe: Observer) -> None:
        super().__init__()
        self._observe = observe

    def append(self, event: Event) -> None:
        super().append(event)
        found = _of_event(event)
        if found is not None:
            self._observe(*found)

    def __iadd__(self, events: Iterable[Event]) -> ObservedEvents:  # type: ignore[override,misc]
        for event in events:
            self.append(event)
        return self


def _of_event(event: Event) -> tuple[str, Fields] | None:
    """The name and the fields of an event; None if the parts have told of it, or nobody needs it.

    The text of an error may contain an identity, so only its reason is told.
    """
    match event:
        case FlightSent(messages, sizes, resend):
            name = "flight_resent" if resend else "flight_sent"
            fields = {"messages": list(messages), "datagram_lengths": list(sizes)}
            return name, fields | ({"resend": resend} if resend else {})
        case FlightReceived(messages, sizes, repeat):
            name = "flight_repeated" if repeat else "flight_received"
            fields = {"messages": list(messages), "datagram_lengths": list(sizes)}
            return name, fields | ({"repeat": repeat} if repeat else {})
        case HandshakeCompleted(version, suite):
            return "handshake_completed", {"version": version, "cipher_suite": suite}
        case HandshakeFailed(_, _, stage, reason):
            return "handshake_failed", {"stage": stage, "reason": reason}
        case Closed(error):
            return "association_closed", {"reason": failure_reason(error)}
        case AddressChanged(old, new):
            return "path_updated", {"old": _address(old), "new": _address(new)}
        case PathMTUChanged(size):
            return "mtu_updated", {"max_datagram_length": size}
        case KeyLimitReached(direction, exhausted):
            return "key_limit_reached", {"direction": direction, "exhausted": exhausted}
        case PeerUnresponsive(resends):
            return "peer_unresponsive", {"resends": resends}
        case Confirmed():
            return "handshake_confirmed", {}
        case SessionReceived():
            return "session_received", {}
        case Question():
            return "question_asked", {"question": type(event).__name__}
    return None


def _address(address: object) -> str:
    if isinstance(address, tuple):
        return shown(" ".join(map(str, address[:2])))
    return shown(str(address))
