"""Lets BoringSSL's conformance runner drive a DTLSConnection.

The runner speaks over TCP in frames that carry datagrams and its commands about clock, MTU and
timers; the connection lives on the runner's clock. See deviations.md for where to find the rest.
"""

from __future__ import annotations

import socket
from struct import Struct

from aiodtls.core.errors import ConfigError, EndpointClosed
from aiodtls.core.events import CertificateReceived, FlightSent, SessionReceived, SignatureRequested
from aiodtls.core.registry import AlertLevel, KeyUpdateRequest
from aiodtls.core.sessions import Session
from tests.bogo import policies, trace
from tests.bogo.configs import ServerState, make_config
from tests.bogo.expectations import Failed, check_handshake
from tests.bogo.flags import Flags, parse
from tests.bogo.names import name_of

policies.install()
trace.install()

U32 = Struct("!I")
U64 = Struct("!Q")
NO_TIMER = (1 << 64) - 1
NANOSECONDS = 10**9
INITIAL_WRITE = b"hello"
DECOMPRESSION_FAILURE = 30


def run_test(arguments: list[str]) -> None:
    """One invocation of the shim. Raises :class:`Failed` or :class:`Unimplemented`."""
    first = parse(arguments, "on-initial-")
    server = ServerState()
    session = None
    for connection in range(1 + first.numbers.get("resume-count", 0)):
        flags = parse(arguments, "on-resume-") if connection else first
        flags.is_resumption = connection > 0
        if "renew-ticket" in flags:
            server.change_secret()
        with connect(flags) as stream:
            exchange = Exchange(stream, flags, server, session)
            exchange.run()
        session = exchange.session or session


def connect(flags: Flags) -> socket.socket:
    host = "::1" if "ipv6" in flags else "127.0.0.1"
    stream = socket.create_connection((host, flags.numbers["port"]))
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream.sendall(flags.numbers["shim-id"].to_bytes(8, "little"))
    return stream


class Exchange:
    """One connection with the runner, on the runner's clock."""

    def __init__(
        self, stream: socket.socket, flags: Flags, server: ServerState, session: Session | None
    ) -> None:
        self.stream = stream
        self.input = stream.makefile("rb")
        self.flags = flags
        self.server = server
        self.offered = session
        self.stored_before = server.session_store.stored
        self.clock = 0
        trace.lines.clear()
        self.used: list[int] = []
        self.greeted = False
        # The newest that the server gave us.
        self.session: Session | None = None
        # Flights sent for the first time, as the names of their messages.
        self.flights: list[tuple[str, ...]] = []
        try:
            config = make_config(flags, server, self.used)
        except ConfigError as error:
            raise Failed(name_of(error)) from None
        if flags.is_server:
            self.connection = trace.TracedConnection.server(config, None, self.now)
        else:
            # Trust in this shim looks at no name; the flag decides what is asked for.
            hostname = flags.texts.get("host-name")
            self.connection = trace.TracedConnection.client(
                config, None, self.now, server_hostname=hostname, session=session
            )

    @property
    def now(self) -> float:
        return self.clock / NANOSECONDS

    def run(self) -> None:
        """Until the runner's close_notify. Raises :class:`Failed`."""
        try:
            self.drain()
            while not self.connection.closed and self.take_frame():
                self.drain()
        except ConnectionError:
            # The runner has seen enough; what it thinks of it, it says itself.
            raise Failed("the runner hung up") from None
        finally:
            self.finish()
        self.check_end()

    def take_frame(self) -> bool:
        """Does what the next frame says; False at the end of the stream."""
        opcode = self.input.read(1)
        if opcode == b"P":
            (length,) = U32.unpack(self.input.read(4))
            self.connection.receive_datagram(self.input.read(length), None, self.now)
        elif opcode == b"T":
            (nanoseconds,) = U64.unpack(self.input.read(8))
            self.stream.sendall(b"t")
            self.clock += nanoseconds
            self.fire_timers()
        elif opcode == b"M":
            (self.connection.max_datagram_size,) = U32.unpack(self.input.read(4))
        elif opcode == b"U":
            (milliseconds,) = U32.unpack(self.input.read(4))
            self.connection.retransmit_initial = milliseconds / 1000
        elif opcode == b"E":
            (nanoseconds,) = U64.unpack(self.input.read(8))
            self.check_timer(nanoseconds)
        elif opcode:
            raise Failed(f"unknown frame {opcode!r}")
        return bool(opcode)

    def fire_timers(self) -> None:
        due = self.connection.next_timeout()
        if due is not None and due <= self.now + 0.015:
            self.connection.handle_timeout(self.now)

    def check_timer(self, nanoseconds: int) -> None:
        due = self.connection.next_timeout()
        if due is not None and due >= policies.NEVER:
            # The runner knows no limit of a whole handshake.
            due = None
        wanted = None if nanoseconds == NO_TIMER else nanoseconds // 1000
        found = None if due is None else round(max(0, due - self.now) * 1_000_000)
        if found != wanted:
            raise Failed(f"the next timer is due in {found} us, the runner expects {wanted}")

    def check_retry(self) -> None:
        """A HelloRetryRequest is a flight of its own, and makes a ClientHello one more."""
        hello = "server_hello" if self.flags.is_server else "client_hello"
        retried = self.flights.count((hello,)) > (not self.flags.is_server)
        retried = retried and self.connection.version == "1.3"
        for flag, wanted in (("expect-hrr", True), ("expect-no-hrr", False)):
            if flag in self.flags and retried != wanted:
                raise Failed(f"{hello} went out alone: {self.flights}")

    def check_session(self) -> None:
        """What DTLS 1.2 leaves on each side at the end of the handshake."""
        flags, session = self.flags, self.session
        stored = self.server.session_store.stored > self.stored_before
        if not flags.is_resumption and "expect-session-id" in flags and not stored:
            raise Failed("no session was stored under an id")
        if not flags.is_resumption and "expect-no-session-id" in flags and stored:
            raise Failed("a session was stored under an id")
        resumed = self.connection.negotiated.resumed
        if resumed and self.connection.version == "1.2" and not flags.is_server:
            assert session is not None and self.offered is not None
            renewed = session.ticket != self.offered.ticket
            if renewed != ("expect-ticket-renewal" in flags):
                raise Failed(f"the ticket was {'' if renewed else 'not '}renewed")

    def drain(self) -> None:
        """Answers, sends and reads until there is nothing left to do."""
        connection = self.connection
        while (event := connection.next_event()) is not None:
            if isinstance(event, CertificateReceived):
                (trust,) = connection.config.trusts
                assert trust.function is not None
                connection.answer(event, trust.function(event.chain, event.context), self.now)
            elif isinstance(event, SignatureRequested):
                self.clock += self.flags.numbers["private-key-delay-ms"] * 10**6
                self.fire_timers()
                self.flush()
                signature = event.function(event.scheme, event.data)
                connection.answer(event, signature, self.now)
            elif isinstance(event, SessionReceived):
                self.session = event.session
            elif isinstance(event, FlightSent) and not event.resend:
                self.flights.append(event.messages)
        self.flush()
        if connection.handshake_complete and not self.greeted:
            self.greeted = True
            check_handshake(connection, self.flags, self.used)
            self.check_session()
            self.check_retry()
            self.greet()
        while (data := connection.read()) is not None:
            if not connection.closed:
                self.send(bytes(byte ^ 0xFF for byte in data))
                self.update_keys()
        self.flush()

    def greet(self) -> None:
        """What the shim sends before it has read anything."""
        flags, connection = self.flags, self.connection
        length = flags.numbers.get("export-keying-material")
        if length:
            context = flags.texts.get("export-context", "").encode()
            material = connection.export_keying_material(
                flags.texts.get("export-label", ""),
                length,
                context if "use-export-context" in flags else None,
            )
            self.send(material)
        if "shim-writes-first" in flags:
            self.send(INITIAL_WRITE)
        if "send-alert" in flags:
            # No owner of a connection has a use for an alert of their choice: hence the back door.
            connection._alerts.send(AlertLevel.fatal, DECOMPRESSION_FAILURE, connection.peer)  # type: ignore[arg-type]
            connection.fail(EndpointClosed("close_notify"))
        self.update_keys()

    def update_keys(self) -> None:
        """Before each read, where the test wants it; the peer need not do the same."""
        post = self.connection._post
        if "key-update-before-read" in self.flags:
            wish = KeyUpdateRequest.update_not_requested
            self.connection._guarded(self.now, post._want, wish, self.now)

    def send(self, data: bytes) -> None:
        """The runner's MTU binds handshake messages alone."""
        connection = self.connection
        size, connection.max_datagram_size = connection.max_datagram_size, 65535
        connection.send(data, self.now)
        connection.max_datagram_size = size

    def flush(self) -> None:
        for datagram, _ in self.connection.datagrams_to_send():
            self.stream.sendall(b"P" + U32.pack(len(datagram)) + datagram)

    def check_end(self) -> None:
        failure = self.connection.failure
        hint = self.connection.alert_hint
        if hint is not None:
            # Nothing more can come to contradict it: the end of the stream stands for the wait.
            raise Failed(name_of(hint))
        if failure is None:
            if self.connection.handshake_complete:
                # The test may have made its own close_notify unreadable.
                self.check_whole()
                return
            raise Failed("the runner hung up")
        if not (isinstance(failure, EndpointClosed) and failure.reason == "close_notify"):
            raise Failed(name_of(failure))
        self.check_whole()

    def check_whole(self) -> None:
        """What can be said only at the end of an association."""
        if "expect-no-session" in self.flags and self.session is not None:
            raise Failed("the server gave a session")
        expected = self.flags.texts.get("expect-msg-callback")
        if expected is not None:
            trace.check(expected)

    def finish(self) -> None:
        """Sends what is left, and lets the runner end first."""
        try:
            self.flush()
            self.stream.shutdown(socket.SHUT_WR)
            while self.input.read(65536):
                pass
        except OSError:
            # The runner was faster.
            return
