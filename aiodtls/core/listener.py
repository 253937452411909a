"""Listener: validates addresses by cookies before it keeps state, and routes datagrams to
connections.

There is one for each socket. An address has at most two connections, the live one and a shadow. A
client that lost its state begins again from the same port. The old association lives until the new
handshake has authenticated the client (RFC 6347 section 4.2.8).
"""

from __future__ import annotations

import os
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from aiodtls.core.checks import checked
from aiodtls.core.clock import wall_clock
from aiodtls.core.config import DTLSConfig
from aiodtls.core.connection import ConnectionOptions, DTLSConnection
from aiodtls.core.cookie_keys import CookieKeys
from aiodtls.core.cookies import Cookies, ValidatedHello
from aiodtls.core.errors import (
    AlertError,
    DecodeError,
    DTLSError,
    EndpointClosed,
    SimultaneousOpen,
    about_peer,
)
from aiodtls.core.events import Event, HandshakeFailed, Stage
from aiodtls.core.fragment_memory import FragmentMemory
from aiodtls.core.handshake.negotiate import choose_version
from aiodtls.core.handshake.retry import check_retry, make_retry_request
from aiodtls.core.held_hellos import HeldHellos
from aiodtls.core.hello_pool import HelloPool
from aiodtls.core.id_layout import IdLayout
from aiodtls.core.idle_memory import IdleMemory
from aiodtls.core.limits import Limits
from aiodtls.core.observed import Observe
from aiodtls.core.outbox import Address
from aiodtls.core.refusals import Refusal, RefusalTable
from aiodtls.core.registry import (
    AlertDescription,
    AlertLevel,
    ContentType,
    HandshakeType,
    ProtocolVersion,
)
from aiodtls.core.reliability.timers import SLACK
from aiodtls.core.routes import Routes
from aiodtls.core.sessions import Session
from aiodtls.core.shared_secrets import SECRET_LENGTH
from aiodtls.core.statistics import Gauges, Statistics, Sums
from aiodtls.core.tables import Tables
from aiodtls.core.wire.extensions13 import Cookie
from aiodtls.core.wire.fragments import Fragment, encode_whole, parse_fragment
from aiodtls.core.wire.messages import ClientHello, HelloVerifyRequest, encode_body, parse_body
from aiodtls.core.wire.records import (
    CLIENT_HELLO,
    EPOCH_SHIFT,
    FIXED_BITS,
    FIXED_MASK,
    HANDSHAKE,
    HEADER,
    DTLSv1_2,
    Record,
    begins_client_hello,
    connection_id,
    encode_alert,
    encode_record,
    first_connection_id,
    split_datagram,
)

# From how many associations on they free memory while they are idle.
FREE_MEMORY_FROM = 64
# Records of hellos that are looked at in one datagram from a stranger. A client that cuts its hello
# fills a datagram with each part.
MAX_HELLO_RECORDS = 4
# Ended associations that are kept for peers which may still ask; the oldest are forgotten first.
MAX_LINGERING = 4096
# Refused hellos that are remembered, so that a repeat is not reported again, and reports that wait.
MAX_REPORTED = 256
MAX_REPORTS = 1024
_HELLO_BEGINS = bytes((CLIENT_HELLO,))
# Why a hello is refused before it is known whether there is anything in common.
HELLO_REASONS = frozenset(
    {"not_accepting", "hello_too_long", "table_full", "invalid_cookie", "missing_extension"}
    | {"illegal_parameter", "decode_error"}
)


@dataclass(frozen=True, slots=True, eq=False)
class PeerConnected(Event):
    """A peer's handshake is complete, and its association is the live one of its address."""

    connection: DTLSConnection = field(repr=False)
    replaced: DTLSConnection | None = field(default=None, repr=False)


class Listener:
    """``config`` is for new handshakes and may be replaced; None accepts none.

    ``wall_clock`` gives seconds since 1970, for cookies, tickets and certificates. With
    ``holds_hellos`` nobody comes in unasked: the hellos of strangers draw no answer and wait for
    ``accept``. ``datagram_size`` tells what a ``pmtu`` comes to in UDP payload here; None leaves
    that to the connections. ``observe`` chooses the observers of connections, as in their options.
    ``accepting`` tells whether new peers are taken. ``id_layout`` makes the connection ids; without
    one they are random. ``on_stray(datagram, address, connection id)`` may take a datagram that
    belongs to nobody here, and returns whether it has. The id is empty, or was made with the secret
    of the layout.
    """

    @checked
    def __init__(
        self,
        config: DTLSConfig | None,
        *,
        random: Callable[[int], bytes] = os.urandom,
        wall_clock: Callable[[], float] = wall_clock,
        holds_hellos: bool = False,
        datagram_size: Callable[[int], int] | None = None,
        id_layout: IdLayout | None = None,
        observe: Observe | None = None,
        on_stray: Callable[[bytes, Address, bytes], bool] | None = None,
    ) -> None:
        if config is not None:
            config.check_server()
        self.config = config
        self.accepting: bool = True
        self.holds_hellos = holds_hellos
        self.datagram_size = datagram_size
        self._observe = observe
        self._on_stray = on_stray
        self._random, self._wall_clock = random, wall_clock
        self._cookies = Cookies(_cookie_keys(config, random))
        self._routes = Routes(config, random, id_layout)
        # The only connection of an address; None if there are two or none.
        self.live_connection: Callable[[Address], DTLSConnection | None] = self._routes.only
        self._held_hellos = HeldHellos()
        self._pool = HelloPool()
        self._fragments: FragmentMemory[DTLSConnection] = FragmentMemory()
        self._refusals = RefusalTable()
        # Connections that changed since the last call of ``ready``. They add themselves.
        self._touched: set[DTLSConnection] = set()
        self._tables = Tables()
        # Closed connections, the earliest end first, which is about the order in which they expire.
        self._lingering: OrderedDict[DTLSConnection, None] = OrderedDict()
        # Those of them that still have a timer.
        self._resending: set[DTLSConnection] = set()
        self._idle_memory = IdleMemory()
        # When the ticket keys change; None until a peer may have got a ticket.
        self._turn_keys_at: float | None = None
        self._out: list[tuple[bytes, Address]] = []
        self._events: deque[Event] = deque()
        # Address, client random and reason of refused hellos, the oldest first.
        self._reported_hellos: dict[tuple[Address, bytes, str], None] = {}
        # The newest export generation of each association that was adopted here.
        self._generations: dict[bytes, int] = {}
        self._sums = Sums()

    def stop_accepting(self) -> None:
        """Refuses new peers from now on."""
        self.accepting = False

    def accept_again(self) -> None:
        """Takes new peers again."""
        self.accepting = True

    def release(self) -> None:
        """The socket is gone. Drops the functions that may hold whoever owns this."""
        self.datagram_size = self._on_stray = None

    # -- receiving --------------------------------------------------------------------------

    def receive_datagram(
        self, data: bytes, addr: Address, now: float, local: Address = None
    ) -> None:
        """Processes one UDP payload from ``addr``. Never raises for what the network did.

        ``local`` is our address that it came to, if the socket has several.
        """
        cid = first_connection_id(data, self._routes.cid_length)
        named = self._routes.by_id(cid)
        if named is not None:
            self._receive_named(named, data, addr, now, local)
            return
        if cid and self._routes.is_junk(cid):
            # Most of what strangers send to a server with a layout costs one hash.
            self._sums.count_received()
            self._sums.count_discarded()
            return
        on_stray = self._on_stray
        if on_stray is not None and self._is_stray(cid, addr) and on_stray(data, addr, cid):
            return
        live = self.live_connection(addr)
        if live is not None and not begins_client_hello(data) and addr not in self._refusals:
            live.receive_datagram(data, addr, now, local)
            return
        self._sums.count_received()
        records, whole = split_datagram(data, self._routes.cid_length)
        if not whole:
            self._sums.count_discarded()
        answers, hellos = len(self._out), 0
        for record in records:
            if _is_hello(record):
                hellos += 1
                if hellos > MAX_HELLO_RECORDS or len(self._out) > answers:
                    self._sums.count_discarded()
                else:
                    self._receive_hello_record(record, addr, now)
            else:
                self._route(record, addr, now, local)

    def _is_stray(self, cid: bytes, addr: Address) -> bool:
        """Whether a datagram may belong to an association elsewhere, junk ids apart."""
        if cid:
            return self._routes.has_layout
        return not self._routes.at(addr) and addr not in self._refusals

    def _receive_named(
        self, connection: DTLSConnection, data: bytes, addr: Address, now: float, local: Address
    ) -> None:
        """Gives a datagram to the connection that its connection id names. The peer's address may
        change.
        """
        before = connection.peer
        connection.receive_datagram(data, addr, now, local)
        if connection.peer != before:
            self._routes.move(connection, before)

    def _route(self, record: Record, addr: Address, now: float, local: Address) -> None:
        """Routes one record that is no ClientHello. Epoch 0 belongs to the newest handshake, a
        protected record to the connection that opens it.
        """
        content_type, number, _ = record
        live, shadow = self._routes.live(addr), self._routes.shadow(addr)
        if number >> EPOCH_SHIFT == 0 and content_type & FIXED_MASK != FIXED_BITS:
            target = shadow or live
        else:
            raw = encode_record(record)
            named = self._routes.by_id(connection_id(record, self._routes.cid_length))
            candidates = [c for c in (named, shadow, live) if c is not None]
            target = next((c for c in candidates if c.opens(raw)), None)
            # The newest handshake may still be waiting for the keys of this record.
            target = target or next((c for c in candidates if c.keeps_early(raw)), None)
        if target is None:
            self._sums.count_discarded()
            refusal = self._refusals.get(addr)
            if refusal is not None and refusal.is_asked_for_by(record):
                self._repeat_refusal(refusal, addr, now)
        else:
            target.receive_datagram(encode_record(record), addr, now, local)

    def _repeat_refusal(self, refusal: Refusal, addr: Address, now: float) -> None:
        """The peer goes on with a handshake that ended here: it has not heard the alert."""
        datagram = refusal.repeat(now)
        if datagram is not None:
            self._out.append((datagram, addr))

    def transport_error(
        self,
        error: Exception,
        addr: Address,
        now: float,
        *,
        size: int | None = None,
        fits: int | None = None,
    ) -> None:
        """Reports an error to the associations at ``addr``. Errors of stateless answers are
        ignored.

        ``size`` and ``fits`` are those of ``DTLSConnection.transport_error``.
        """
        there = self._routes.at(addr)
        if not there:
            self._sums.count_transport_error()
        for connection in there:
            connection.transport_error(error, now, size=size, fits=fits)

    def handle_timeout(self, now: float) -> None:
        """Drops closed connections that are not needed any more, and lets idle ones free memory.

        An association that becomes busy allocates the memory again in a few microseconds.
        """
        if self._has_many:
            for connection in self._idle_memory.take_turns(now):
                self._tables.look(connection, now)
        if self._turn_keys_at is not None and now >= self._turn_keys_at:
            self._turn_keys(now)
        for connection in list(self._resending):
            self._resend_after_close(connection, now)
        while self._lingering:
            oldest = next(iter(self._lingering))
            if oldest.lingers_until > now:
                return
            self._unmap(oldest)

    @property
    def _has_many(self) -> bool:
        """Whether it is worth while to look at all associations from time to time."""
        most = FREE_MEMORY_FROM
        if self.config is not None:
            # In a small table too it is to be known who has been silent.
            most = min(most, self.config.max_associations // 2)
        return len(self._routes) >= most

    def next_timeout(self) -> float | None:
        """When to call ``handle_timeout``; None if the listener itself waits for nothing."""
        forget_at = next(iter(self._lingering)).lingers_until if self._lingering else None
        resends = (connection.next_timeout() for connection in self._resending)
        free_at = self._idle_memory.next_turn() if self._has_many else None
        times = (forget_at, free_at, self._turn_keys_at, *resends)
        return min((at for at in times if at is not None), default=None)

    def _resend_after_close(self, connection: DTLSConnection, now: float) -> None:
        """Handles the timer of a closed connection. Its owner does not do so any more."""
        due = connection.next_timeout()
        if due is not None and due <= now + SLACK:
            connection.handle_timeout(now)
        if connection.next_timeout() is None:
            self._resending.discard(connection)

    def _turn_keys(self, now: float) -> None:
        """Drops old ticket keys. Without new handshakes nothing else would."""
        assert self.config is not None
        keys, wall_time = self.config.live_ticket_keys, self._wall_clock()
        keys.advance(wall_time, now)
        self._turn_keys_at = now + keys.next_change(wall_time)

    # -- hellos -----------------------------------------------------------------------------

    def _receive_hello_record(self, record: Record, addr: Address, now: float) -> None:
        waiting = self._routes.live(addr)
        if waiting is not None and waiting.awaits_hello:
            waiting.receive_datagram(encode_record(record), addr, now)
            return
        try:
            # No client puts more than one fragment of its hello into a record.
            fragment = parse_fragment(record[2])
        except DecodeError:
            self._sums.count_discarded()
            return
        if len(fragment.data) == fragment.length:
            self._receive_hello(fragment.data, fragment.message_seq, record[1], addr, now)
        else:
            self._pool_part(fragment, record[1], addr, now)

    def _pool_part(self, fragment: Fragment, number: int, addr: Address, now: float) -> None:
        """Adds a fragment of a ClientHello, which may complete it."""
        limits = self.config.limits if self.config is not None else Limits()
        found = self._pool.add(fragment, number, addr, now, limits)
        if not found:
            self._sums.count_discarded()
        elif not isinstance(found, bool):
            message, highest = found
            self._receive_hello(message.body, message.message_seq, highest, addr, now)

    def _receive_hello(
        self, body: bytes, message_seq: int, record_number: int, addr: Address, now: float
    ) -> None:
        """Processes a complete ClientHello: a repeat, one with our cookie, or a first one."""
        try:
            hello = parse_body(ClientHello, body)
        except DecodeError:
            self._sums.count_discarded()
            return
        assert isinstance(hello, ClientHello)
        live, shadow = self._routes.live(addr), self._routes.shadow(addr)
        for known in (shadow, live):
            if known is not None and known.role == "server" and known.client_random == hello.random:
                known.hello_repeated(message_seq, now)
                return
        refusal = self._refusals.get(addr)
        if refusal is not None and refusal.client_random == hello.random:
            self._repeat_refusal(refusal, addr, now)
            return
        if self.config is None or not self.accepting:
            self._refuse_hello(addr, hello, "we accept no new peers", "not_accepting")
            return
        if self.holds_hellos:
            limit = self.config.limits.hello_pool_bytes
            if not self._held_hellos.keep(addr, body, message_seq, record_number, limit):
                message = "the hello is longer than a record, too long to wait for accept()"
                self._refuse_hello(addr, hello, message, "hello_too_long")
            return
        dialling = live is not None and live.role == "client" and not live.handshake_complete
        if dialling and live is not None and live.client_random > hello.random:
            # Both sides connected. Our handshake goes on; the peer ends its own when it receives
            # our hello.
            return
        wall_time = self._wall_clock()
        validated = self._validate(hello, body, message_seq, record_number, addr, wall_time)
        if validated is None:
            return
        self.config.live_ticket_keys.advance(wall_time, now)
        if dialling and live is not None:
            live.fail(
                SimultaneousOpen("the peer connected at the same time, and keeps the client role")
            )
            self._unmap(live)
        self._accept(validated, addr, now)

    def _validate(
        self,
        hello: ClientHello,
        body: bytes,
        message_seq: int,
        record_number: int,
        addr: Address,
        wall_time: float,
    ) -> ValidatedHello | None:
        """Checks the cookie. Without a valid one, requests it in the way of the version to be
        chosen.
        """
        assert self.config is not None
        if not _speaks13(self.config, hello):
            if self._cookies.check(addr, hello, wall_time):
                proof = hello.cookie
                return ValidatedHello(hello, body, message_seq, record_number, cookie=proof)
            answer = encode_body(HelloVerifyRequest(self._cookies.make(addr, hello, wall_time)))
            # Record and message say DTLS 1.0 (RFC 6347 section 4.2.1), so that a client that
            # supports nothing newer understands the refusal that follows.
            self._answer_hello(
                HandshakeType.hello_verify_request, answer, message_seq, record_number, addr
            )
            return None
        try:
            cookie = hello.extensions.find(Cookie)
            if cookie is not None:
                retry = check_retry(self._cookies, addr, hello, cookie, wall_time)
                proof = cookie.cookie
                return ValidatedHello(hello, body, message_seq, record_number, retry, proof)
            answer = make_retry_request(self._cookies, self.config, addr, hello, body, wall_time)
        except AlertError as error:
            alert = encode_alert(AlertLevel.fatal, error.description)
            self._sums.count_named("alerts_sent", error.description.name)
            self._answer(ContentType.alert, DTLSv1_2, alert, record_number, addr)
            self._report_refusal(addr, hello, error, proved=False)
            return None
        self._answer_hello(HandshakeType.server_hello, answer, message_seq, record_number, addr)
        return None

    def _refuse_hello(
        self, addr: Address, hello: ClientHello, message: str, reason: str, *, proved: bool = False
    ) -> None:
        """Nothing is wrong with the hello, and it draws no answer."""
        self._sums.count_hello_refused()
        error = AlertError(AlertDescription.internal_error, message, reason=reason)
        self._report_refusal(addr, hello, error, proved=proved)

    def _report_refusal(
        self, addr: Address, hello: ClientHello, refused: AlertError, *, proved: bool
    ) -> None:
        """A hello was refused, and no association came to be. Its repeats are not reported."""
        error = about_peer(refused.error, addr)
        name = addr, hello.random, error.reason
        if name in self._reported_hellos:
            return
        self._reported_hellos[name] = None
        if len(self._reported_hellos) > MAX_REPORTED:
            del self._reported_hellos[next(iter(self._reported_hellos))]
        self._sums.count_named("failures", error.reason)
        stage: Stage = "hello" if error.reason in HELLO_REASONS else "negotiation"
        if len(self._events) < MAX_REPORTS:
            self._events.append(HandshakeFailed(addr, error, stage, error.reason, proved))

    def _answer_hello(
        self,
        msg_type: HandshakeType,
        body: bytes,
        message_seq: int,
        record_number: int,
        addr: Address,
    ) -> None:
        """Sends a stateless answer, with the record sequence number of the hello (RFC 6347
        section 4.2.1).
        """
        fragment = encode_whole(msg_type, message_seq, body)
        oldest = msg_type is HandshakeType.hello_verify_request
        version = ProtocolVersion.DTLSv1_0 if oldest else DTLSv1_2
        self._answer(ContentType.handshake, version, fragment, record_number, addr)
        self._sums.count_hello_answered()

    def _answer(
        self, content_type: ContentType, version: int, body: bytes, number: int, addr: Address
    ) -> None:
        header = HEADER.pack(content_type, version, number, len(body))
        self._out.append((header + body, addr))

    def _accept(self, hello: ValidatedHello, addr: Address, now: float) -> None:
        config = self.config
        assert config is not None
        room = self._tables.room_for(config, addr, now)
        if room is False:
            message = "no room: the table is full, and nobody gives way to this peer"
            self._refuse_hello(addr, hello.hello, message, "table_full", proved=True)
            return
        if room is not True:
            self._evict(room)
        self._cookies.started(hello.cookie, now)
        connection = DTLSConnection.server(
            config,
            addr,
            now,
            hello=hello,
            **self._options(config, addr, self._routes.default_length),
        )
        self._adopt(connection, now)
        self._tables.begin(connection, config, now)
        self._handshake_begins(now)

    def _evict(self, connection: DTLSConnection) -> None:
        """Its place goes to a newcomer."""
        if connection.handshake_complete:
            self._sums.count_association_evicted()
        else:
            self._sums.count_handshake_evicted()
        connection.evict()
        self._settle(connection)

    def _handshake_begins(self, now: float) -> None:
        """A server's: its ticket keys are to change in time."""
        if self._turn_keys_at is None:
            self._turn_keys(now)

    def _options(self, config: DTLSConfig, peer: Address, cid_length: int) -> ConnectionOptions:
        """The options that all connections of this socket share. ``cid_length`` is the default
        length.
        """
        return {
            "random": self._random,
            "wall_clock": self._wall_clock,
            "own_ids": self._routes.new_ids(config, peer, cid_length),
            "touched": self._touched,
            "sums": self._sums,
            "observe": self._observe,
            "max_datagram_size": self.datagram_size and self.datagram_size(config.pmtu),
        }

    def _adopt(self, connection: DTLSConnection, now: float) -> None:
        """Adds a new connection at its address: as the live one, or as the shadow of the live
        one.
        """
        self._refusals.forget(connection.peer)
        if self.datagram_size is not None:
            connection.max_datagram_size = self.datagram_size(connection.config.pmtu)
        live = self._routes.live(connection.peer)
        if live is not None and live.closed:
            self._unmap(live)
        elif live is not None and self._tables.is_half_open(live):
            # Its client has probably started over. Resends would only confuse the new attempt.
            live.stop_resending()
        stale = self._routes.add(connection)
        if stale is not None:
            self._replace(stale)

    # -- requests of the owner --------------------------------------------------------------

    def check_update(self, config: DTLSConfig) -> None:
        """Raises :class:`ConfigError` if ``update_config`` would raise it."""
        config.check_server()
        if self.config is not None:
            self._routes.check_length(config, self.config)

    @checked
    def update_config(self, config: DTLSConfig, now: float) -> None:
        """Uses ``config`` for new handshakes.

        Ticket keys, cookie keys and a session store that it names take effect. If it names none,
        the earlier ones stay.

        Raises:
            ConfigError: the config is not one for a server, or has another length of connection
                ids, without which no datagram of the socket could be read.
        """
        self.check_update(config)
        self.config = config.succeeding(self.config) if self.config is not None else config
        if config.cookie_keys is not None:
            self._cookies.use_keys(config.cookie_keys)
        if self._turn_keys_at is not None:
            self._turn_keys(now)

    @checked
    def dial(
        self,
        peer: Address,
        now: float,
        *,
        config: DTLSConfig | None = None,
        server_hostname: str | None = None,
        session: Session | None = None,
    ) -> DTLSConnection:
        """Begins a client's handshake from this socket.

        Raises:
            ConfigError: the config has no way to authenticate the server.
            DTLSError: the address has an association.
        """
        chosen = config or self.config
        if chosen is None:
            raise DTLSError("a config is needed to connect")
        self._check_free(peer)
        connection = DTLSConnection.client(
            chosen,
            peer,
            now,
            server_hostname=server_hostname,
            session=session,
            **self._options(chosen, peer, 0),
        )
        self._adopt(connection, now)
        self._place(connection, now)
        return connection

    @checked
    def accept(self, peer: Address, now: float) -> DTLSConnection:
        """A server's handshake with a peer whose address is known to be good: no cookie.

        It begins with the hello that ``holds_hellos`` has kept, or waits for one. Raises
        :class:`DTLSError` where the address has an association.
        """
        if self.config is None:
            raise DTLSError("a config is needed to accept a peer")
        self._check_free(peer)
        connection = DTLSConnection.server(
            self.config,
            peer,
            now,
            **self._options(self.config, peer, self._routes.default_length),
        )
        self._adopt(connection, now)
        self._tables.begin_awaited(connection)
        self._handshake_begins(now)
        hello = self._held_hellos.take(peer)
        if hello is not None:
            connection.receive_datagram(hello, peer, now)
        return connection

    @checked
    def adopt(
        self, state: bytes, key: bytes, now: float, *, config: DTLSConfig | None = None
    ) -> DTLSConnection:
        """Continues an association from a state that ``export_state`` made, once for each state.

        Raises:
            ValueError: the state was not sealed with ``key``.
            DTLSError: this state or a newer one was adopted here before, or the address has an
                association.
        """
        chosen = config or self.config
        if chosen is None:
            raise DTLSError("a config is needed to adopt an association")
        connection = DTLSConnection.adopt(
            chosen,
            state,
            key,
            now,
            random=self._random,
            wall_clock=self._wall_clock,
            new_ids=self._routes.adopted_ids,
            touched=self._touched,
            sums=self._sums,
            observe=self._observe,
        )
        identity, generation = connection.export_id
        if generation <= self._generations.get(identity, 0):
            self._touched.discard(connection)
            raise DTLSError("this state or a newer one was adopted before")
        self._check_free(connection.peer)
        connection.own_ids.claim()
        self._generations[identity] = generation
        self._routes.add(connection)
        self._place(connection, now)
        if connection.role == "server":
            self._events.append(PeerConnected(connection))
        return connection

    def remove(self, connection: DTLSConnection) -> None:
        """The owner no longer needs the connection. A closed one may stay for a while to answer its
        peer.
        """
        if not connection.closed:
            connection.abort()
        self._settle(connection)

    # -- to be drained after any of these ---------------------------------------------------

    def ready(self) -> Iterable[DTLSConnection]:
        """Removes and returns the connections that changed or ended since the last call. Drain
        them.
        """
        touched = list(self._touched)
        self._touched.clear()
        for connection in touched:
            self._settle(connection)
        if self._fragments.total:
            self._bound_fragments()
            touched += self._touched.difference(touched)
            self._touched.clear()
        return touched

    def datagrams_to_send(self) -> list[tuple[bytes, Address]]:
        """Removes and returns the stateless answers."""
        out, self._out = self._out, []
        self._sums.count_sent(len(out))
        return out

    def next_event(self) -> Event | None:
        """Removes and returns the oldest event, or None."""
        return self._events.popleft() if self._events else None

    # -- properties -------------------------------------------------------------------------

    @property
    def connections(self) -> list[DTLSConnection]:
        """All connections that have an address here, closed ones that are still kept included."""
        return list(self._routes)

    @property
    def statistics(self) -> Statistics:
        """The sums of the listener and all connections, ended ones included, kept as they count."""
        return self._sums.snapshot()

    @property
    def half_open_peers(self) -> list[Address]:
        """The addresses whose handshakes are in flight."""
        return [c.peer for c in self._routes if self._tables.is_half_open(c)]

    @property
    def gauges(self) -> Gauges:
        """How many connections there are now."""
        return Gauges(
            associations=self._tables.associations,
            half_open=self._tables.half_open,
            lingering=len(self._lingering),
            hellos_waiting=len(self._held_hellos),
        )

    # -- internal ---------------------------------------------------------------------------

    def _check_free(self, addr: Address) -> None:
        live = self._routes.live(addr)
        if live is not None and not live.closed:
            raise DTLSError("the address has an association already")

    def _settle(self, connection: DTLSConnection) -> None:
        """Handles a connection that changed: its handshake may be complete, or it may have
        ended.
        """
        held = 0 if connection.closed else connection.fragment_bytes
        if held or connection in self._fragments:
            network = connection.config.limits.network_of(connection.peer)
            self._fragments.set(connection, network, held)
        if connection.handshake_complete and self._tables.is_half_open(connection):
            self._place(connection, connection.completed_at)
            # The owner is told of a peer that has left already, because there may be data from it.
            self._promote(connection)
        if connection.closed:
            self._tables.discard(connection)
            self._idle_memory.discard(connection)
            if connection not in self._routes:
                return
            if connection.refusal is not None:
                self._refusals.keep(connection.peer, connection.refusal)
            if connection.lingers_until == float("-inf"):
                self._unmap(connection)
            else:
                if connection not in self._lingering:
                    self._lingering[connection] = None
                    # Hardly any of their peers ask, and there may be thousands.
                    connection.free_memory(connection.completed_at)
                if connection.next_timeout() is not None:
                    self._resending.add(connection)
                if len(self._lingering) > MAX_LINGERING:
                    self._sums.count_lingering_evicted()
                    self._unmap(next(iter(self._lingering)))

    def _place(self, connection: DTLSConnection, now: float) -> None:
        """It is an association, or a handshake that we began."""
        self._tables.place(connection)
        self._idle_memory.add(connection, now)

    def _bound_fragments(self) -> None:
        """The largest holders give up their incomplete messages if all together have too much."""
        limits = self.config.limits if self.config is not None else Limits()
        while self._fragments.total > limits.total_fragment_bytes:
            connection = self._fragments.largest()
            connection.drop_fragments()
            self._sums.count_discarded()
            self._settle(connection)

    def _promote(self, connection: DTLSConnection) -> None:
        """A server's handshake is complete: makes its connection the live one of its address."""
        replaced = self._routes.promote(connection)
        if replaced is not None:
            self._replace(replaced)
        self._events.append(PeerConnected(connection, replaced))

    def _replace(self, connection: DTLSConnection) -> None:
        """Ends a connection silently, because a newer one of its address replaces it."""
        connection.fail(EndpointClosed("replaced"))
        self._unmap(connection)

    def _unmap(self, connection: DTLSConnection) -> None:
        """Removes a connection. Its shadow then becomes the live one."""
        self._tables.discard(connection)
        self._idle_memory.discard(connection)
        self._lingering.pop(connection, None)
        self._resending.discard(connection)
        if connection in self._routes:
            self._routes.remove(connection)


def _speaks13(config: DTLSConfig, hello: ClientHello) -> bool:
    """Whether DTLS 1.3 will be chosen. A hello without a common version is refused after its
    cookie.
    """
    try:
        return choose_version(config, hello) is ProtocolVersion.DTLSv1_3
    except AlertError:
        return False


def _is_hello(record: Record) -> bool:
    """Whether it is a plaintext record that begins with a fragment of a ClientHello."""
    content_type, number, body = record
    return content_type == HANDSHAKE and not number >> EPOCH_SHIFT and body[:1] == _HELLO_BEGINS


def _cookie_keys(config: DTLSConfig | None, random: Callable[[int], bytes]) -> CookieKeys:
    """The keys of the config, or new ones."""
    named = config.cookie_keys if config is not None else None
    return named or CookieKeys(random(SECRET_LENGTH))
