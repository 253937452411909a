"""The contents of an association's exported state, and its binary layout.

It has everything that is needed to understand the peer's next record and to send ours: keys and
numbers, the replay window, message_seq values, and the peer's identity. Each part of a connection
makes a snapshot of itself and restores itself from one. ``sealed_state.py`` seals the bytes.

The layout begins with its version. Vectors have a length prefix, as on the wire.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace
from struct import Struct
from typing import Literal

from aiodtls.core.crypto.suites import SUITES
from aiodtls.core.errors import DecodeError
from aiodtls.core.frozen import frozen_kw_only
from aiodtls.core.handshake.connection_id_updates import IdState
from aiodtls.core.handshake.post import PostSnapshot, Waiting
from aiodtls.core.negotiated import Negotiated
from aiodtls.core.outbox import Address
from aiodtls.core.record.layer import RecordNumbers
from aiodtls.core.record.protection13 import OldKeys
from aiodtls.core.record.traffic import TrafficSecrets
from aiodtls.core.registry import (
    CertificateType,
    HandshakeType,
    KeyUpdateRequest,
    NamedGroup,
    SRTPProtectionProfile,
    Version,
)
from aiodtls.core.reliability.flight import Flight, OutgoingMessage
from aiodtls.core.reliability.outgoing_flight import LastFlight
from aiodtls.core.reliability.timers import Timer
from aiodtls.core.sessions import Session
from aiodtls.core.wire.codec import Reader, Writer
from aiodtls.core.wire.fragments import Fragment, parse_fragments

LAYOUT = 4
# Next record numbers, protected and plaintext; the highest number of the window; the largest
# plaintext; how many of our numbers were skipped; how many records are in doubt; record_limit;
# max_datagram_size; the next message_seq values.
_NUMBERS = Struct("!QQqIQIIIII")
_TIME = Struct("!d")
_EPOCHS = Struct("!QQ")
_ROLES: tuple[Literal["client", "server"], ...] = ("client", "server")
_VERSIONS: tuple[Version, ...] = ("1.2", "1.3")
# Encodes None in a field for a number.
_ABSENT = 0xFFFF
# The timers in the order of the layout. New ones are appended.
_TIMERS = (
    Timer.key_update,
    Timer.new_session_ticket,
    Timer.new_connection_id,
    Timer.request_connection_id,
)


@frozen_kw_only
class ExportedState:
    """The contents of one export. ``peer`` and ``local`` are socket addresses.

    ``doubtful`` is how many of the peer's next records an exporter with a lease may have received.
    """

    role: Literal["client", "server"]
    peer: Address
    local: Address
    confirmed: bool
    held: bool
    negotiated: Negotiated
    numbers: RecordNumbers
    traffic: TrafficSecrets | None = field(repr=False)
    old_keys: OldKeys | None = field(repr=False)
    doubtful: int
    record_limit: int
    max_datagram_size: int
    next_seq: int
    next_receive_seq: int
    post: PostSnapshot = field(repr=False)
    own_ids: tuple[bytes, ...]
    last_flight: LastFlight | None = field(repr=False)
    unread: tuple[bytes, ...] = field(repr=False)
    # What has come of the peer's next handshake messages, each fragment with its epoch.
    fragments: tuple[tuple[int, Fragment], ...] = field(default=(), repr=False)


def encode(state: ExportedState) -> bytes:
    """Encodes a state. Raises ValueError for an address that is not a socket address."""
    writer = Writer().u8(LAYOUT).u8(_ROLES.index(state.role))
    writer.u8(_bits(state.confirmed, state.held, state.traffic, state.old_keys, state.last_flight))
    _write_address(writer, state.peer)
    _write_address(writer, state.local)
    _write_negotiated(writer, state.negotiated)
    numbers = state.numbers
    highest, bitmap = numbers.window
    writer.raw(
        _NUMBERS.pack(
            numbers.next_number,
            numbers.next_plaintext_number,
            highest,
            numbers.max_plaintext,
            numbers.skipped,
            state.doubtful,
            state.record_limit,
            state.max_datagram_size,
            state.next_seq,
            state.next_receive_seq,
        )
    )
    _write_int(writer, bitmap)
    if state.traffic is not None:
        writer.vector(state.traffic.own, 1).vector(state.traffic.peer, 1)
        writer.raw(_EPOCHS.pack(state.traffic.read_epoch, state.traffic.write_epoch))
    if state.old_keys is not None:
        _write_old_keys(writer, state.old_keys)
    _write_post(writer, state.post)
    writer.vectors(state.own_ids, 1, 2)
    if state.last_flight is not None:
        _write_flight(writer, state.last_flight.messages)
        writer.u16(len(state.last_flight.watched))
        for message_seq, length in state.last_flight.watched.items():
            writer.uint(message_seq, 4).uint(length, 4)
    _write_fragments(writer, state.fragments)
    return writer.vectors(state.unread, 2, 4).finish()


def parse(data: bytes) -> ExportedState:
    """Decodes a state. Raises ValueError for anything that ``encode`` did not make."""
    reader = Reader(data)
    try:
        if (layout := reader.u8()) != LAYOUT:
            raise ValueError(f"a state of layout {layout}, not {LAYOUT}")
        state = _parse(reader)
        reader.finish()
    except (DecodeError, LookupError) as error:
        raise ValueError(f"these bytes are not the state of an association: {error}") from None
    return state


def _parse(reader: Reader) -> ExportedState:
    role = _ROLES[reader.u8()]
    confirmed, held, has_traffic, has_old_keys, has_flight = _read_bits(reader, 5)
    peer, local = _read_address(reader), _read_address(reader)
    negotiated = _read_negotiated(reader)
    numbers = _NUMBERS.unpack(reader.take(_NUMBERS.size))
    next_number, next_plaintext_number, highest, max_plaintext, skipped, doubtful, *limits = numbers
    window = highest, _read_int(reader)
    traffic = old_keys = last_flight = None
    if has_traffic:
        secrets = reader.vector(1), reader.vector(1)
        traffic = TrafficSecrets(*secrets, *_EPOCHS.unpack(reader.take(_EPOCHS.size)))
    if has_old_keys:
        old_keys = _read_old_keys(reader)
    post = _read_post(reader)
    own_ids = reader.vectors(1, 2)
    if has_flight:
        messages = _read_flight(reader)
        watched = {reader.uint(4): reader.uint(4) for _ in range(reader.u16())}
        last_flight = LastFlight(messages, watched)
    fragments = _read_fragments(reader)
    return ExportedState(
        role=role,
        peer=peer,
        local=local,
        confirmed=confirmed,
        held=held,
        negotiated=negotiated,
        numbers=RecordNumbers(next_number, next_plaintext_number, window, max_plaintext, skipped),
        traffic=traffic,
        old_keys=old_keys,
        doubtful=doubtful,
        record_limit=limits[0],
        max_datagram_size=limits[1],
        next_seq=limits[2],
        next_receive_seq=limits[3],
        post=post,
        own_ids=own_ids,
        last_flight=last_flight,
        unread=reader.vectors(2, 4),
        fragments=fragments,
    )


def _write_negotiated(writer: Writer, negotiated: Negotiated) -> None:
    assert negotiated.suite is not None and negotiated.version is not None
    writer.u8(_VERSIONS.index(negotiated.version)).u16(negotiated.suite.code)
    writer.u8(
        _bits(
            negotiated.extended_master_secret,
            negotiated.resumed,
            negotiated.rrc,
            negotiated.session,
        )
    )
    for code in (negotiated.group, negotiated.srtp_profile):
        writer.u16(_ABSENT if code is None else int(code))
    writer.u8(negotiated.own_certificate_type).u8(negotiated.peer_certificate_type)
    writer.raw(_TIME.pack(negotiated.authenticated_at))
    name = negotiated.server_hostname
    for optional in (
        name.encode() if name is not None else None,
        negotiated.psk_identity,
        negotiated.psk_identity_hint,
        negotiated.alpn_protocol,
    ):
        _write_optional(writer, optional)
    for short in (
        *(negotiated.client_random, negotiated.server_random, negotiated.psk_check),
        *(negotiated.master_secret, negotiated.exporter_secret, negotiated.resumption_secret),
        *(negotiated.own_cid, negotiated.peer_cid),
    ):
        writer.vector(short, 1)
    writer.vector(negotiated.ocsp_response, 3)
    writer.vectors(negotiated.certificate_timestamps, 2, 3)
    writer.vectors(negotiated.peer_chain, 3, 3)
    if negotiated.session is not None:
        writer.vector(negotiated.session.to_bytes(), 3)


def _read_negotiated(reader: Reader) -> Negotiated:
    negotiated = Negotiated(version=_VERSIONS[reader.u8()], suite=SUITES[reader.u16()])
    ems, resumed, rrc, has_session = _read_bits(reader, 4)
    group, profile = reader.u16(), reader.u16()
    certificate_types = CertificateType(reader.u8()), CertificateType(reader.u8())
    (authenticated_at,) = _TIME.unpack(reader.take(_TIME.size))
    name, psk_identity, hint, alpn = (_read_optional(reader) for _ in range(4))
    client_random, server_random, psk_check = (reader.vector(1) for _ in range(3))
    master, exporter, resumption, own_cid, peer_cid = (reader.vector(1) for _ in range(5))
    return replace(
        negotiated,
        extended_master_secret=ems,
        resumed=resumed,
        rrc=rrc,
        group=NamedGroup(group) if group != _ABSENT else None,
        srtp_profile=SRTPProtectionProfile(profile) if profile != _ABSENT else None,
        own_certificate_type=certificate_types[0],
        peer_certificate_type=certificate_types[1],
        authenticated_at=authenticated_at,
        server_hostname=name.decode() if name is not None else None,
        psk_identity=psk_identity,
        psk_identity_hint=hint,
        alpn_protocol=alpn,
        client_random=client_random,
        server_random=server_random,
        psk_check=psk_check,
        master_secret=master,
        exporter_secret=exporter,
        resumption_secret=resumption,
        own_cid=own_cid,
        peer_cid=peer_cid,
        ocsp_response=reader.vector(3),
        certificate_timestamps=reader.vectors(2, 3),
        peer_chain=reader.vectors(3, 3),
        session=Session.from_bytes(reader.vector(3)) if has_session else None,
    )


def _write_old_keys(writer: Writer, old: OldKeys) -> None:
    highest, bitmap = old.window
    writer.uint(old.epoch, 8).vector(old.key, 1).vector(old.iv, 1).vector(old.sn_key, 1)
    writer.uint(highest + 1, 8)
    _write_int(writer, bitmap)


def _read_old_keys(reader: Reader) -> OldKeys:
    epoch, key, iv, sn_key = reader.uint(8), reader.vector(1), reader.vector(1), reader.vector(1)
    return OldKeys(epoch, key, iv, sn_key, (reader.uint(8) - 1, _read_int(reader)))


def _write_post(writer: Writer, post: PostSnapshot) -> None:
    writer.u8(len(post.flights))
    for timer, flight in post.flights:
        writer.u8(_TIMERS.index(timer)).u8(timer in post.stopped)
        _write_flight(writer, flight)
    writer.u16(len(post.waiting))
    for timer, msg_type, body in post.waiting:
        writer.u8(_TIMERS.index(timer)).u8(msg_type).vector(body, 3)
    writer.u16(_ABSENT if post.wanted is None else post.wanted)
    ids = post.ids
    writer.vectors(ids.spares, 1, 2).u8(_bits(ids.is_known, ids.asked, ids.renews))
    writer.u16(_ABSENT if ids.owed is None else ids.owed).u16(ids.wanted)


def _read_post(reader: Reader) -> PostSnapshot:
    flights, stopped = [], []
    for _ in range(reader.u8()):
        timer, has_stopped = _TIMERS[reader.u8()], reader.u8()
        flights.append((timer, _read_flight(reader)))
        stopped += [timer] * has_stopped
    waiting: tuple[Waiting, ...] = tuple(
        (_TIMERS[reader.u8()], HandshakeType(reader.u8()), reader.vector(3))
        for _ in range(reader.u16())
    )
    wanted = reader.u16()
    spares = reader.vectors(1, 2)
    is_known, asked, renews = _read_bits(reader, 3)
    owed, ids_wanted = reader.u16(), reader.u16()
    ids = IdState(spares, is_known, asked, None if owed == _ABSENT else owed, renews, ids_wanted)
    request = None if wanted == _ABSENT else KeyUpdateRequest(wanted)
    return PostSnapshot(tuple(flights), tuple(stopped), waiting, request, ids)


def _write_flight(writer: Writer, flight: Flight) -> None:
    writer.u16(len(flight))
    for message in flight:
        writer.uint(message.epoch, 8).u16(_ABSENT if message.msg_type is None else message.msg_type)
        writer.uint(message.message_seq, 4).vector(message.body, 3)


def _read_flight(reader: Reader) -> Flight:
    return tuple(_read_message(reader) for _ in range(reader.u16()))


def _read_message(reader: Reader) -> OutgoingMessage:
    epoch, code = reader.uint(8), reader.u16()
    msg_type = None if code == _ABSENT else HandshakeType(code)
    return OutgoingMessage(epoch, msg_type, reader.uint(4), reader.vector(3))


def _write_fragments(writer: Writer, fragments: Sequence[tuple[int, Fragment]]) -> None:
    writer.u16(len(fragments))
    for epoch, fragment in fragments:
        writer.uint(epoch, 8).vector(fragment.encode(), 3)


def _read_fragments(reader: Reader) -> tuple[tuple[int, Fragment], ...]:
    found = []
    for _ in range(reader.u16()):
        epoch = reader.uint(8)
        found += [(epoch, fragment) for fragment in parse_fragments(reader.vector(3))]
    return tuple(found)


def _write_address(writer: Writer, address: Address) -> None:
    """Writes None, a number, a string, bytes, or a tuple of these, as socket addresses have
    them.
    """
    if address is None:
        writer.u8(0)
    elif isinstance(address, int):
        writer.u8(1).raw(address.to_bytes(8, "big", signed=True))
    elif isinstance(address, str):
        writer.u8(2).vector(address.encode("utf-8", "surrogateescape"), 2)
    elif isinstance(address, bytes):
        writer.u8(3).vector(address, 2)
    elif isinstance(address, tuple):
        writer.u8(4).u8(len(address))
        for item in address:
            _write_address(writer, item)
    else:
        raise ValueError(f"only socket addresses can be exported, not: {address!r}")


def _read_address(reader: Reader) -> Address:
    kind = reader.u8()
    if kind == 0:
        return None
    if kind == 1:
        return int.from_bytes(reader.take(8), "big", signed=True)
    if kind == 4:
        return tuple(_read_address(reader) for _ in range(reader.u8()))
    data = reader.vector(2)
    return data.decode("utf-8", "surrogateescape") if kind == 2 else data


def _write_optional(writer: Writer, data: bytes | None) -> None:
    writer.u8(data is not None).vector(data or b"", 2)


def _read_optional(reader: Reader) -> bytes | None:
    present, data = reader.u8(), reader.vector(2)
    return data if present else None


def _write_int(writer: Writer, number: int) -> None:
    """Writes a number of any size, such as the bitmap of a replay window."""
    writer.vector(number.to_bytes((number.bit_length() + 7) // 8, "big"), 2)


def _read_int(reader: Reader) -> int:
    return int.from_bytes(reader.vector(2), "big")


def _bits(*flags: object) -> int:
    """A bit for each flag that is true."""
    return sum((flag is not None and flag is not False) << at for at, flag in enumerate(flags))


def _read_bits(reader: Reader, count: int) -> list[bool]:
    bits = reader.u8()
    return [bool(bits >> at & 1) for at in range(count)]
