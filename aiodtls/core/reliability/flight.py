"""Flights: handshake messages are cut into fragments and packed into datagrams.

A flight keeps whole messages, each with its epoch. They are fragmented again at each transmission,
for the datagram size of that moment (RFC 6347 section 4.2.3). A resend has the same message_seq,
epoch and keys. Only the record numbers are new.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiodtls.core.frozen import frozen
from aiodtls.core.record.layer import RecordLayer
from aiodtls.core.registry import ContentType, HandshakeType
from aiodtls.core.reliability.delivery import Delivery, Part
from aiodtls.core.wire.fragments import FRAGMENT_HEADER_LENGTH, encode_fragment
from aiodtls.core.wire.records import HANDSHAKE, HEADER_LENGTH, MAX_PLAINTEXT_LENGTH

# If less room than this is left in a datagram, no further record is begun.
MIN_FRAGMENT_LENGTH = 16
# Datagram sizes for a path that seems to drop larger ones: IPv6's minimum MTU, the size that every
# IPv4 host accepts, and the minimum PMTU, each without the longest IP and UDP headers.
SIZE_LADDER = (1232, 548, 208)
RESENDS_AT_FULL_SIZE = 1


# Type names. A lookup in the enum takes longer.
_NAMES: dict[int | None, str] = {
    None: ContentType.change_cipher_spec.name,
    **{msg_type: msg_type.name for msg_type in HandshakeType},
}


def message_name(msg_type: int) -> str:
    """The name of a type of messages in the registry, or its number."""
    return _NAMES.get(msg_type) or f"type {msg_type}"


@frozen
class OutgoingMessage:
    """A handshake message to send, or a ChangeCipherSpec if ``msg_type`` is None.

    ``whole`` is the message encoded as one fragment, if that was done already.
    """

    epoch: int
    msg_type: HandshakeType | None
    message_seq: int
    body: bytes
    whole: bytes = b""


Flight = Sequence[OutgoingMessage]


def size_after_refusal(limit: int, refused: int | None, fits: int | None) -> int:
    """The largest datagram to send next, after one of ``refused`` bytes was too big.

    ``limit`` was the limit so far. ``fits`` is the path's limit as far as the transport knows. If
    ``fits`` does not explain the refusal, the result is the next smaller size. A datagram above
    ``limit`` was refused before the limit fell, so it changes nothing.
    """
    size = limit if refused is None else refused
    if fits is not None and fits < size:
        return min(limit, max(fits, SIZE_LADDER[-1]))
    if size > limit:
        return limit
    return next((step for step in SIZE_LADDER if step < size), limit)


def datagram_size(max_datagram_size: int, resends: int) -> int:
    """The datagram size after so many resends. It falls from the second unanswered one on (RFC 6347
    section 4.1.1.1).

    After the smallest size it starts over with the full one. If the network loses datagrams at
    random, many small ones are the least likely to arrive all.
    """
    step = resends - RESENDS_AT_FULL_SIZE
    if step <= 0:
        return max_datagram_size
    rungs = (*SIZE_LADDER, max_datagram_size)
    return min(max_datagram_size, rungs[(step - 1) % len(rungs)])


@frozen
class Datagram:
    """A packed datagram, and how many records it has."""

    data: bytes
    records: int


def pack_flight(
    flight: Flight, packer: Packer, wanted: Callable[[int], list[tuple[int, int]]] | None
) -> list[Datagram]:
    """Packs the flight into datagrams. ``wanted`` names the parts of each message to send; None
    means all.
    """
    for message in flight:
        if message.msg_type is None:
            packer.add_record(message.epoch, ContentType.change_cipher_spec, message.body)
            packer.names.append(_NAMES[None])
            continue
        length = len(message.body)
        parts = wanted(message.message_seq) if wanted else [(0, length)]
        for start, end in parts:
            if end - start < length or not packer.add_whole(message):
                packer.add_part(message, message.msg_type, start, end)
        if parts:
            packer.names.append(_NAMES[message.msg_type])
    return packer.finish()


class Packer:
    """Fills one datagram after another. A record is protected when it is complete.

    Datagrams have at most ``size`` bytes, and there are as few as possible. With ``individually``
    each record has its own datagram. A protected record has at most ``record_limit`` bytes of
    plaintext. In epoch 0 a record carries one fragment: several are legal, but some peers cannot
    read them. ``delivery`` is told which record carries what, if ACKs may come. ``names`` are the
    names of the messages in the datagram, whole or in part.
    """

    __slots__ = (
        "_datagram",
        "_datagrams",
        "_delivery",
        "_epoch",
        "_individually",
        "_layer",
        "_overheads",
        "_parts",
        "_parts_alone",
        "_payload",
        "_record_limit",
        "_records",
        "_size",
        "names",
    )

    def __init__(
        self,
        layer: RecordLayer,
        size: int,
        individually: bool,
        delivery: Delivery | None,
        record_limit: int = MAX_PLAINTEXT_LENGTH,
        parts_alone: bool = False,
    ) -> None:
        self._layer = layer
        # By epoch: how much longer a record is than its plaintext.
        self._overheads: dict[int, int] = {}
        self._record_limit = record_limit
        self._size = size
        self._individually = individually
        self._parts_alone = individually or parts_alone
        self._delivery = delivery
        self._datagrams: list[Datagram] = []
        self._datagram = b""
        self._records = 0
        self._payload = b""
        self._parts: list[Part] = []
        self._epoch = 0
        self.names: list[str] = []

    def add_record(self, epoch: int, content_type: ContentType, payload: bytes) -> None:
        self._end_record()
        if self._record_room(epoch) < len(payload):
            self._end_datagram()
        self._put(epoch, content_type, payload)

    def add_whole(self, message: OutgoingMessage) -> bool:
        """Adds a message as one plaintext record, as most fit. Returns False if it must be
        fragmented.
        """
        whole = message.whole
        if not whole or message.epoch or self._payload:
            return False
        room = self._size - len(self._datagram) - HEADER_LENGTH
        if len(whole) > min(room, MAX_PLAINTEXT_LENGTH):
            return False
        self._put_fragments(0, whole, [(message.message_seq, 0, len(message.body))])
        return True

    def add_part(
        self, message: OutgoingMessage, msg_type: HandshakeType, start: int, end: int
    ) -> None:
        """Adds the bytes from ``start`` to ``end`` of a message, as fragments."""
        epoch, message_seq, body = message.epoch, message.message_seq, message.body
        while True:
            room = self._fragment_room(epoch)
            if room < end - start and room < MIN_FRAGMENT_LENGTH:
                # Another record may fit, if the peer's record size limit ended this one.
                if self._payload:
                    self._end_record()
                else:
                    self._end_datagram()
                continue
            stop = min(end, start + room)
            fragment = encode_fragment(msg_type, len(body), message_seq, start, body[start:stop])
            part = message_seq, start, stop
            if epoch == 0 or self._parts_alone:
                self._put_fragments(epoch, fragment, [part])
            else:
                self._payload += fragment
                self._parts.append(part)
                self._epoch = epoch
            if stop == end:
                return
            start = stop

    def finish(self) -> list[Datagram]:
        self._end_record()
        self._end_datagram()
        return self._datagrams

    def _fragment_room(self, epoch: int) -> int:
        """How many bytes of a fragment fit, in the open record if there is one."""
        if self._payload and self._epoch != epoch:
            self._end_record()
        limit = self._record_limit if epoch else MAX_PLAINTEXT_LENGTH
        room = min(self._record_room(epoch), limit)
        return room - len(self._payload) - FRAGMENT_HEADER_LENGTH

    def _record_room(self, epoch: int) -> int:
        """How many bytes of plaintext fit into one more record of the datagram."""
        overhead = self._overheads.get(epoch)
        if overhead is None:
            overhead = self._overheads[epoch] = self._layer.overhead(epoch)
        return self._size - len(self._datagram) - overhead

    def _end_record(self) -> None:
        if self._payload:
            payload, self._payload = self._payload, b""
            parts, self._parts = self._parts, []
            self._put_fragments(self._epoch, payload, parts)

    def _put_fragments(self, epoch: int, payload: bytes, parts: list[Part]) -> None:
        if self._delivery is not None:
            self._delivery.carried(self._layer.next_number(epoch), parts)
        self._put(epoch, HANDSHAKE, payload)

    def _put(self, epoch: int, content_type: int, payload: bytes) -> None:
        self._datagram += self._layer.protect(epoch, content_type, payload)
        self._records += 1
        if self._individually:
            self._end_datagram()

    def _end_datagram(self) -> None:
        if self._datagram:
            self._datagrams.append(Datagram(self._datagram, self._records))
            self._datagram = b""
            self._records = 0
