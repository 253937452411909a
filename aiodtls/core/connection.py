"""DTLSConnection: one association, sans-IO.

Bytes, time and answers go in through methods; what is to be sent, told or asked waits until the
owner drains it. Nothing the network does raises out of here.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from typing import NoReturn

from aiodtls.core import handover, key_limits, paths, renewal, timeouts
from aiodtls.core.association import APPLICATION_DATA, NO_END, Address
from aiodtls.core.config import DTLSConfig
from aiodtls.core.cookies import ValidatedHello
from aiodtls.core.errors import (
    DTLSError,
    EndpointClosed,
    HandshakeError,
    LeaseExhausted,
    MessageTooLarge,
)
from aiodtls.core.events import (
    Event,
    PathMTUChanged,
)
from aiodtls.core.lease import CONTROL_RESERVE
from aiodtls.core.record.connection_ids import ConnectionIds
from aiodtls.core.registry import AlertDescription, AlertLevel, ContentType
from aiodtls.core.sessions import Session
from aiodtls.core.short_way import ShortWay
from aiodtls.core.statistics import Statistics
from aiodtls.core.wire.records import EPOCH_SHIFT, Record

ROUTABILITY = int(ContentType.return_routability_check)


class DTLSConnection(ShortWay):
    """One association with one peer; see docs/architecture.md for the duties of its owner.

    ``failure`` is why it ended, once ``closed``. ``max_payload`` is the most that one ``send``
    takes, in bytes.
    """

    __slots__ = ()

    @classmethod
    def client(
        cls,
        config: DTLSConfig,
        peer: Address,
        now: float,
        *,
        server_hostname: str | None = None,
        session: Session | None = None,
        random: Callable[[int], bytes] = os.urandom,
        own_ids: ConnectionIds | None = None,
        touched: set[DTLSConnection] | None = None,
        max_datagram_size: int | None = None,
    ) -> DTLSConnection:
        """A client; its ClientHello is ready at once. ``session`` is offered where it fits.

        ``own_ids`` and ``max_datagram_size`` are as of :meth:`server`.

        Raises :class:`ConfigError` where the config leaves no way to know the server.
        """
        config.check_client(server_hostname)
        connection = cls(
            "client",
            config,
            peer,
            now,
            random=random,
            own_ids=own_ids,
            touched=touched,
            max_datagram_size=max_datagram_size,
        )
        connection.begin(now, server_hostname=server_hostname, session=session)
        return connection

    @classmethod
    def server(
        cls,
        config: DTLSConfig,
        peer: Address,
        now: float,
        *,
        hello: ValidatedHello | None = None,
        random: Callable[[int], bytes] = os.urandom,
        own_ids: ConnectionIds | None = None,
        touched: set[DTLSConnection] | None = None,
        max_datagram_size: int | None = None,
    ) -> DTLSConnection:
        """A server; without ``hello`` the address is taken as proved. Raises ConfigError.

        ``own_ids`` is where a listener keeps the connection ids of all associations. Without
        ``max_datagram_size`` the address family is taken for the one with the longer header.
        """
        config.check_server()
        connection = cls(
            "server",
            config,
            peer,
            now,
            random=random,
            hello=hello,
            own_ids=own_ids,
            touched=touched,
            max_datagram_size=max_datagram_size,
        )
        connection.begin(now, hello=hello)
        return connection

    @classmethod
    def adopt(
        cls,
        config: DTLSConfig,
        state: bytes,
        key: bytes,
        now: float,
        *,
        peer: Address = None,
        random: Callable[[int], bytes] = os.urandom,
        new_ids: Callable[[int], ConnectionIds] = ConnectionIds,
        touched: set[DTLSConnection] | None = None,
    ) -> DTLSConnection:
        """The association that ``export_state`` put into ``state``, in the same role.

        ``peer`` is where it is now, unless that is what the state says. Nobody here knows whether
        another has adopted it too: that is the owner's to refuse, by ``lineage``. ``new_ids`` is
        given the length of its connection ids. Raises ValueError for what was not sealed with
        ``key``.
        """
        exported = handover.unseal(state, key)
        role, address = handover.role_of(exported), handover.peer_of(exported)
        connection = cls(
            role,
            config,
            address if peer is None else peer,
            now,
            random=random,
            own_ids=handover.ids_of(exported, new_ids),
            touched=touched,
        )
        connection.lineage = handover.lineage_of(state)
        handover.restore(connection, exported, now)
        return connection

    # -- bytes and time in ----------------------------------------------------------------

    def receive_datagram(self, data: bytes, addr: Address, now: float) -> None:
        """One UDP payload, at most 65,535 bytes. Never raises for what the network did.

        ``addr`` is where it came from; without connection ids it decides nothing here.
        """
        self._touched.add(self)
        if addr != self.peer and self.own_ids.expected and self.handshake_complete:
            self._receive_from_elsewhere(data, addr, now)
            return
        messages: list[bytes] = []
        if self.receive_run(data, len(data), messages, now):
            self._inbox += messages
            return
        self.counters.datagrams_received += 1
        if self.closed:
            self._receive_after_close(data, now)
            return
        self._post.records_come(now)
        self._receive_records(self._layer.receive(data), data, addr, now)
        if self._leases is not None:
            renewal.review(self)
        if self._in_doubt:
            renewal.end_doubt(self)

    def _receive_from_elsewhere(self, data: bytes, addr: Address, now: float) -> None:
        """A datagram for this association, not from where the peer is known to be."""
        self.counters.datagrams_received += 1
        if self.closed:
            self._receive_after_close(data, now)
            return
        self._post.records_come(now)
        newest, own_cid = self._layer.newest_number, self.own_cid
        records = self._layer.receive(data)
        has_new_id = own_cid != self.own_cid
        self._receive_records(records, data, addr, now)
        authentic = any(number >> EPOCH_SHIFT for _, number, _ in records)
        if authentic and not self.closed and addr not in (None, self.peer):
            is_newest = self._layer.newest_number > newest
            paths.came_from_elsewhere(
                self, addr, len(data), now, is_newest=is_newest, has_new_id=has_new_id
            )
        if self._leases is not None:
            renewal.review(self)

    def _receive_records(
        self, records: list[Record], data: bytes, addr: Address, now: float
    ) -> None:
        """What one datagram held and the record layer has let through."""
        for record in records:
            content_type, number, payload = record
            if content_type == APPLICATION_DATA:
                if (
                    self.handshake_complete
                    and self._least_data_number <= number < self._data_end
                    and len(payload) <= self._layer.max_plaintext
                ):
                    self._deliver(payload)
                    continue
                if self._first_data_number <= number < self._least_data_number:
                    renewal.doubtful_data(self, now)
                    continue
            elif content_type == ROUTABILITY and self.negotiated.rrc and number >> EPOCH_SHIFT:
                if self.handshake_complete:
                    paths.receive(self, payload, addr, len(data), now)
                continue
            self._guarded(now, self._receive_record, record, now)
            if self.closed:
                return
        self._post.peer_heard(now)
        if self._transmitter.datagrams:
            self._drain_driver()
        if self._layer.alarmed:
            key_limits.forgery_alarm(self, now)
        if self._layer.kept_early:
            self._layer.kept_early = False
            self._driver.records_wait_for_keys(now)

    def handle_timeout(self, now: float) -> None:
        """Time has passed ``next_timeout()``; calling too early does no harm."""
        self._touched.add(self)
        for timer in self._timers.take_due(now):
            timeouts.due(self, timer, now)
        self._drain_driver()
        renewal.review(self)

    def transport_error(self, error: OSError, now: float) -> None:
        """What the socket reported: a datagram too big, or an ICMP error about the peer.

        Too big: the flight in the air is cut smaller at once. Anything else ends a client's
        unfinished handshake, and nothing more than that: ICMP is easily forged.
        """
        self._touched.add(self)
        if self.closed or self.handshake_complete:
            return
        if error.errno == errno.EMSGSIZE:
            self._driver.too_big(now)
            self._drain_driver()
        elif self.role == "client":
            self._end(error)

    def answer(self, question: Event, value: object, now: float) -> None:
        """The owner's answer to a :class:`Question`; a late or unknown one is ignored."""
        self._touched.add(self)
        if not self.closed:
            self._guarded(now, self._driver.answer, question, value, now)

    # -- the owner's wishes ---------------------------------------------------------------

    def send(self, data: bytes, now: float) -> None:
        """One record of application data, in a datagram of its own.

        Raises :class:`MessageTooLarge` past ``max_payload``, :class:`LeaseExhausted` past
        ``room``, :class:`HandshakeError` before the handshake is complete, and what ``failure``
        holds after the end.
        """
        if not self.handshake_complete or self.closed:
            self._refuse_call()
        if len(data) > self.max_payload:
            raise MessageTooLarge(len(data), self.max_payload)
        if not self.room:
            raise LeaseExhausted
        writer = self._layer.writer
        self._out.append((writer.protect(APPLICATION_DATA, data), self.peer))
        counters = self.counters
        counters.records_sent += 1
        counters.bytes_sent += len(data)
        self._touched.add(self)
        if writer.next_number >= writer.alarm:
            key_limits.sealing_alarm(self, now)

    def update_keys(self, now: float) -> None:
        """New keys for both directions by KeyUpdate (RFC 8446 section 4.6.3).

        Raises :class:`DTLSError` in DTLS 1.2, which has none, and else what ``send`` raises.
        """
        if not self.handshake_complete or self.closed:
            self._refuse_call()
        if not self._is_dtls13:
            raise DTLSError("DTLS 1.2 cannot update its keys")
        self._touched.add(self)
        self._post.update_keys(now)
        self._drain_driver()
        renewal.review(self)

    def change_connection_ids(self, now: float) -> None:
        """Other connection ids both ways, for a new path (RFC 9147 section 9).

        To be called on the new path, before anything is sent there: our records then bear the next
        of the peer's spare ids, where it has given any. The peer takes a spare one when it sees us
        there, and is given one to go on to where it has none. Raises :class:`DTLSError` in
        DTLS 1.2, whose ids never change, and else what ``send`` raises. A peer that does not know
        the messages may end the association.
        """
        if not self.handshake_complete or self.closed:
            self._refuse_call()
        if not self._is_dtls13:
            raise DTLSError("the connection ids of DTLS 1.2 never change")
        self._touched.add(self)
        paths.use_spare_id(self)
        self._post.path_changed(now, peer_keeps_id=not self._post.ids.has_given_spares)
        self._drain_driver()

    def _refuse_call(self) -> NoReturn:
        if self.failure is None:
            raise HandshakeError("the handshake is not complete")
        raise self.failure.with_traceback(None)

    def accept_peer(self, now: float) -> None:
        """With ``Trust.deferred()``: the peer is the right one, what it sent may be read."""
        self._touched.add(self)
        self._held = False

    def export_state(
        self,
        key: bytes,
        now: float = 0.0,
        *,
        lease: int | None = None,
        unread: Sequence[bytes] = (),
        local: Address = None,
    ) -> bytes:
        """The association, sealed with ``key`` (32 bytes), for ``adopt`` elsewhere.

        It ends here, and to the peer the adopter is the same as we were; ``unread`` is data that
        was read and given to nobody, and goes along, before what waits. With a ``lease`` it goes
        on for so many records each way, and is for an adopter once we are gone: see
        ``export_stored``. ``local`` is the socket's address, for an adopter that wants the same.

        Raises :class:`DTLSError` during a handshake, while the peer owes an acknowledgement, and
        while it is in the midst of a message; ValueError for a bad key or lease.
        """
        return handover.export(self, key, now, lease, unread, local)

    def export_stored(self, state: bytes, now: float) -> None:
        """This export, made with a lease, lies where an adopter would find it, and no older one.

        Only now its lease is in force, and what ``ExportNeeded`` told of goes on. Raises ValueError
        where it is no export of this association, or an older one than the last stored.
        """
        self._touched.add(self)
        renewal.stored(self, state, now)

    @property
    def most_room(self) -> int:
        """What ``room`` can be at the most, right after an export."""
        leases = self._leases
        return NO_END if leases is None else leases.granted.records - CONTROL_RESERVE

    @property
    def room(self) -> int:
        """How many records ``send`` may still take; a lease ends sooner than the numbers do."""
        writer = self._layer.writer
        return max(0, writer.lease_end - CONTROL_RESERVE - writer.next_number)

    def close(self, now: float) -> None:
        """Ends the association with a close_notify; idempotent."""
        if not self.closed:
            self._send_alert(AlertLevel.warning, AlertDescription.close_notify)
            self._end(EndpointClosed("local"))

    def abort(self, error: DTLSError | None = None) -> None:
        """Ends it and sends nothing, not even what waits to be sent."""
        self._out.clear()
        if not self.closed:
            self._end(error or EndpointClosed("local"))
        self._retransmission.forget()

    def fail(self, error: DTLSError) -> None:
        """Ends it in silence for a reason the owner knows."""
        if not self.closed:
            self._end(error)
        self._retransmission.forget()

    def hello_repeated(self, message_seq: int, now: float) -> None:
        """The listener saw this connection's whole ClientHello again."""
        if not self.closed:
            self._touched.add(self)
            self._driver.hello_repeated(message_seq, now)
            self._drain_driver()

    def stop_resending(self) -> None:
        """Of a handshake that may have been given up: it goes on only where its peer does."""
        self._driver.stop_resending()

    # -- to drain after any of these ------------------------------------------------------

    def datagrams_to_send(self) -> list[tuple[bytes, Address]]:
        out, self._out = self._out, []
        self.counters.datagrams_sent += len(out)
        return out

    def next_timeout(self) -> float | None:
        """Absolute seconds, on the clock of ``now``; None where nothing is waited for."""
        return self._timers.next()

    def next_event(self) -> Event | None:
        return self._events.pop(0) if self._events else None

    @property
    def has_events(self) -> bool:
        return bool(self._events)

    def read(self) -> bytes | None:
        """The data of one record; None where none waits, or ``accept_peer`` is awaited."""
        return self._inbox.pop(0) if self._inbox and not self._held else None

    # -- what is known --------------------------------------------------------------------

    @property
    def statistics(self) -> Statistics:
        return self.counters.snapshot()

    @property
    def max_datagram_size(self) -> int:
        """Bytes of UDP payload. Setting it changes ``max_payload`` and flights from now on."""
        return self._transmitter.max_datagram_size

    @max_datagram_size.setter
    def max_datagram_size(self, size: int) -> None:
        if size != self._transmitter.max_datagram_size:
            self._transmitter.max_datagram_size = size
            self._update_max_payload()
            if self.handshake_complete:
                self._events.append(PathMTUChanged(size))
            self._touched.add(self)

    @property
    def retransmit_initial(self) -> float:
        """Seconds. Setting it rescales the timers that run."""
        return self._retransmission.backoff.initial

    @retransmit_initial.setter
    def retransmit_initial(self, seconds: float) -> None:
        self._driver.rescale(seconds)
        self._post.rescale(seconds)
        self._touched.add(self)

    @property
    def awaits_hello(self) -> bool:
        """A server that takes the first ClientHello itself, without a listener's cookie."""
        return self.role == "server" and not self.client_random and not self.closed

    def opens(self, record: bytes) -> bool:
        """Whether one protected record is this connection's; a trial that counts nothing."""
        return self._layer.opens(record)

    def keeps_early(self, record: bytes) -> bool:
        """Whether one protected record may be this connection's once it has the keys."""
        return self._layer.keeps_early(record)
