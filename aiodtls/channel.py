"""One association under asyncio: its timer, its queues, waiting receivers, and its questions.

The protocol drives a channel. The user's :class:`DTLSEndpoint` refers to the channel, and not the
other way round, so that an endpoint that the user has dropped is noticed.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import weakref
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiodtls import log, reports
from aiodtls.carrier import Carrier
from aiodtls.core.config import DTLSConfig
from aiodtls.core.connection import DTLSConnection
from aiodtls.core.errors import EndpointClosed, EndReason, HandshakeError
from aiodtls.core.events import (
    AddressChanged,
    CertificateReceived,
    Closed,
    Confirmed,
    Event,
    ExportNeeded,
    HandshakeCompleted,
    HandshakeFailed,
    PSKRequested,
    Question,
    SessionReceived,
    SessionRevoked,
    SessionStoreFailed,
    SignatureRequested,
    StoreAwaited,
    VerificationRequested,
)
from aiodtls.data_callback import DataCallback
from aiodtls.net.eager_future import EagerFuture, reject, resolve
from aiodtls.sending import Sending
from aiodtls.verification import Verdict, Verification, VerificationRefused, verify

if TYPE_CHECKING:
    from aiodtls.core.sessions import Session

# Seconds for which a handshake waits for the session store.
STORE_TIMEOUT = 3.0
# They go on when the channel has ended.
_deletions: set[asyncio.Task[None]] = set()


class Channel(Sending):
    """An association under asyncio. ``carrier`` sends its datagrams.

    ``on_waiting`` is called when data begins to wait, and at the end.
    """

    __slots__ = (
        "__weakref__",
        "_callback",
        "_due",
        "_endpoint",
        "_given",
        "_kept",
        "_on_event",
        "_questions",
        "_receivers",
        "_timer",
        "closed",
        "confirmed",
        "handshake",
        "inbox",
        "is_claimed",
        "on_revoked",
        "on_session",
        "on_waiting",
    )

    def __init__(self, carrier: Carrier, connection: DTLSConnection) -> None:
        super().__init__(carrier, connection)
        # Called with the user's endpoint and an event.
        self._on_event: Callable[[Any, Event], object] | None = None
        # Takes the sessions of a client.
        self.on_session: Callable[[Session], None] | None = None
        # Told when none of them may be resumed any more.
        self.on_revoked: Callable[[], None] | None = None
        self.on_waiting: Callable[[Channel], None] | None = None
        self.handshake: asyncio.Future[None] = self.loop.create_future()
        self.confirmed: asyncio.Future[None] = self.loop.create_future()
        self.closed: asyncio.Future[None] = self.loop.create_future()
        # Whether the user has the endpoint, or is waiting for it.
        self.is_claimed: bool = False
        self._endpoint: weakref.ref[Any] | None = None
        # The endpoint of a peer that the user has not been given yet, or need not keep.
        self._kept: Any = None
        self.inbox: deque[bytes] = deque()
        # Takes all data, in the place of the inbox.
        self._callback: DataCallback | None = None
        self._receivers: list[EagerFuture] = []
        # The message of each receiver that was woken but has not run since.
        self._given: dict[EagerFuture, bytes] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        if connection.handshake_complete:
            # Adopted: another process completed the handshake.
            resolve(self.handshake)
        if connection.confirmed:
            resolve(self.confirmed)
        self._questions: set[asyncio.Task[None] | Verification] = set()

    @property
    def config(self) -> DTLSConfig:
        return self.connection.config

    def report_to(self, on_event: Callable[[Any, Event], object] | None) -> None:
        """Calls ``on_event`` with the user's endpoint and each event from now on."""
        self._on_event = on_event

    @property
    def endpoint(self) -> Any:
        """The user's endpoint, while it exists; else None."""
        return self._endpoint() if self._endpoint is not None else None

    def belongs_to(self, endpoint: Any) -> None:
        """The user's endpoint, which this keeps weakly."""
        self._endpoint = weakref.ref(endpoint)

    def claim(self) -> None:
        """The user has the endpoint now, and must close it."""
        self.is_claimed = True
        self._kept = None

    def tell_of_data(self, on_waiting: Callable[[Channel], None]) -> None:
        """Calls ``on_waiting`` when data begins to wait, and at once if some waits already."""
        self.on_waiting = on_waiting
        if self.has_data:
            on_waiting(self)

    def deliver_to(self, on_data: Callable[[Any, bytes], object]) -> None:
        """Calls ``on_data`` with the user's endpoint and each message, beginning with those that
        wait. Nothing can be received then.
        """
        self._callback = callback = DataCallback(on_data)
        callback.add(self.inbox)
        self.inbox.clear()
        receivers, self._receivers = self._receivers, []
        for receiver in receivers:
            reject(receiver, _no_receivers())
        if callback.waiting:
            self.carrier.data_waits(self)
            self.carrier.drain()

    def call_on_data(self) -> None:
        """Calls the user's function with the messages that wait, and reports the end after them."""
        callback = self._callback
        if callback is None:
            return
        endpoint = self.endpoint
        if endpoint is None:
            # The user has dropped it, and the association ends.
            callback.waiting.clear()
        error = callback.call(endpoint)
        if error is not None:
            logger, peer = log.of(self.connection.role), self.connection.peer
            if isinstance(error, EndpointClosed):
                log.about(self.loop, logger, log.DATA_ENDED, peer, error)
            else:
                log.about(self.loop, logger, log.DATA_RAISED, peer, error=error)
            self.close()
        if self.connection.closed and not callback.waiting:
            closed = callback.take_closed()
            if closed is not None:
                self._handle(closed)
            self._kept = None

    def keep_endpoint(self) -> None:
        """Keeps the user's endpoint until the association has ended."""
        self._kept = self.endpoint

    def keep_sessions(self, keep: Callable[[Session], None], revoke: Callable[[], None]) -> None:
        """Calls ``keep`` with each session of a client, and ``revoke`` when they are invalid."""
        self.on_session = keep
        self.on_revoked = revoke

    # -- called by the protocol ---------------------------------------------------------------

    def drain(self) -> None:
        """Handles everything that the connection reports. The protocol takes its datagrams."""
        connection = self.connection
        if connection.closed:
            self.forget_pending()
        self._schedule(connection.next_timeout())
        messages = []
        while (data := connection.read()) is not None:
            messages.append(data)
        if messages:
            self.deliver(messages)
        while (event := connection.next_event()) is not None:
            self._handle(event)
        if connection.closed:
            self._end()

    def _schedule(self, at: float | None) -> None:
        """Sets a timer, only while something is pending. If it fires early, nothing happens."""
        timer = self._timer
        if at is None:
            if timer is not None:
                timer.cancel()
                self._timer = None
            return
        if timer is not None:
            if self._due <= at:
                return
            timer.cancel()
        self._timer = self.loop.call_at(at, self._timeout)
        # A handle of uvloop does not tell its time if that has passed.
        self._due = at

    def _timeout(self) -> None:
        self._timer = None
        self.connection.handle_timeout(self.loop.time())
        self.carrier.drain()

    def _handle(self, event: Event) -> None:
        if reports.is_detailed():
            reports.detail(self.loop, self.connection, event)
        if isinstance(event, StoreAwaited) and event.operation == "delete":
            self._delete(event)
            return
        if isinstance(event, Question):
            self._ask(event)
            return
        if isinstance(event, HandshakeCompleted):
            resolve(self.handshake)
            reports.connected(self.loop, self.connection)
        elif isinstance(event, HandshakeFailed):
            reports.failed(self.loop, event, began=True)
            if not self.carrier.admits(event):
                return
        elif isinstance(event, Closed):
            callback = self._callback
            if callback is not None and callback.waiting:
                callback.hold_back(event)
                return
            reports.ended(self.loop, self.connection, event.error)
        elif isinstance(event, Confirmed):
            resolve(self.confirmed)
        elif isinstance(event, AddressChanged):
            self.carrier.address_changed(self, event.old)
        elif isinstance(event, ExportNeeded):
            self.carrier.export_needed(self)
        elif isinstance(event, SessionReceived) and self.on_session is not None:
            self.on_session(event.session)
        elif isinstance(event, SessionRevoked) and self.on_revoked is not None:
            self.on_revoked()
        elif isinstance(event, SessionStoreFailed):
            self._log(log.server, log.STORE_FAILED, event.operation, event.error)
        self.emit(event)

    def emit(self, event: Event) -> None:
        """Calls the user's function. Its exceptions are logged."""
        if self._on_event is None:
            return
        endpoint = self.endpoint
        if endpoint is None:
            endpoint = self._kept = self.carrier.endpoint_of(self)
        try:
            self._on_event(endpoint, event)
        except Exception as error:
            logger = log.of(self.connection.role)
            self._log(logger, log.CALLBACK_RAISED, type(event).__name__, error)

    def _log(
        self, logger: logging.Logger, line: log.Line, name: str, error: Exception | None
    ) -> None:
        """Logs what a function of the user did for this peer."""
        log.about(self.loop, logger, line, self.connection.peer, name, error=error)

    def _end(self) -> None:
        self._schedule(None)
        for asked in self._questions:
            asked.cancel()
        error = self.connection.failure
        assert error is not None
        reject(self.handshake, error)
        reject(self.confirmed, error)
        receivers, self._receivers = self._receivers, []
        for receiver in receivers:
            reject(receiver, error)
        self.send_no_more(error)
        if self.on_waiting is not None:
            self.on_waiting(self)
        if self._callback is not None and not self._callback.waiting:
            self._kept = None

    # -- questions ----------------------------------------------------------------------------

    def _ask(self, question: Question) -> None:
        """Calls the user's function. A coroutine becomes a task of this channel."""
        if isinstance(question, VerificationRequested):
            self._verify(question)
            return
        try:
            value = self._call(question)
        except Exception as error:
            self._complain(question, log.QUESTION_RAISED, error)
            value = error
        if inspect.isawaitable(value):
            task = asyncio.ensure_future(self._await_answer(question, value), loop=self.loop)
            self._questions.add(task)
            task.add_done_callback(self._questions.discard)
        else:
            self.connection.answer(question, value, self.loop.time())

    def _call(self, question: Question) -> Any:
        if isinstance(question, PSKRequested):
            function = self.config.psk_function
            assert function is not None
            return function(question.identity, question.context)
        if isinstance(question, SignatureRequested):
            return question.function(question.scheme, question.data)
        if isinstance(question, StoreAwaited):
            return asyncio.wait_for(_result_of(question), STORE_TIMEOUT)
        assert isinstance(question, CertificateReceived)
        return question.function(question.chain, question.context)

    async def _await_answer(self, question: Question, value: Awaitable[Any]) -> None:
        try:
            answer = await value
        except asyncio.CancelledError:
            if self.connection.closed:
                raise
            # The function cancelled itself, or something that it awaited was cancelled.
            self._complain(question, log.QUESTION_CANCELLED, None)
            answer = HandshakeError("cancelled")
        except Exception as error:
            self._complain(question, log.QUESTION_RAISED, error)
            answer = error
        self.connection.answer(question, answer, self.loop.time())
        self.carrier.drain()

    def _complain(self, question: Question, line: log.Line, error: Exception | None) -> None:
        """Of a store's failure the core tells, for a plain and an async store alike."""
        if not isinstance(question, StoreAwaited):
            self._log(log.handshake, line, type(question).__name__, error)

    def _delete(self, question: StoreAwaited) -> None:
        """From the store; the association has ended, and its channel does so now."""
        task = asyncio.ensure_future(self._await_deletion(question), loop=self.loop)
        _deletions.add(task)
        task.add_done_callback(_deletions.discard)

    async def _await_deletion(self, question: StoreAwaited) -> None:
        try:
            await asyncio.wait_for(_result_of(question), STORE_TIMEOUT)
        except Exception as error:
            self._log(log.server, log.STORE_FAILED, question.operation, error)

    def _verify(self, question: VerificationRequested) -> None:
        """Has the chain verified. The verdict comes from another thread through the loop, or at
        once.
        """
        network = self.config.limits.network_of(self.connection.peer)
        asked = verify(question, network, self.loop, self._verified)
        if isinstance(asked, Verification):
            self._questions.add(asked)
        else:
            self._use_verdict(question, asked)

    def _verified(
        self, asked: Verification, question: VerificationRequested, verdict: Verdict
    ) -> None:
        self._questions.discard(asked)
        self._use_verdict(question, verdict)
        self.carrier.drain()

    def _use_verdict(self, question: VerificationRequested, verdict: Verdict) -> None:
        if isinstance(verdict, VerificationRefused):
            self.connection.counters.count_verification_refused()
        self.connection.answer(question, verdict, self.loop.time())

    # -- receiving ----------------------------------------------------------------------------

    def deliver(self, messages: list[bytes], at_once: bool = False) -> None:
        """Gives messages of one wake-up to waiting receivers, then to the queue while it has room.

        With ``at_once``, in a callback of the loop that has nothing else to do for this
        association, a single waiting receiver runs before this returns. HOT PATH.
        """
        if self._callback is not None:
            self._callback.add(messages)
            self.carrier.data_waits(self)
            return
        receivers = self._receivers
        if at_once and len(receivers) == 1 and not self._given:
            receiver = receivers.pop(0)
            if not receiver.done():
                if len(messages) > 1:
                    self._keep(messages[1:])
                receiver.resolve(messages[0])
                return
        given = 0
        while receivers and given < len(messages):
            receiver = receivers.pop(0)
            if not receiver.done():
                self._give(receiver, messages[given])
                given += 1
        if given < len(messages):
            self._keep(messages[given:])

    def _give(self, receiver: EagerFuture, message: bytes) -> None:
        """Wakes a receiver. It runs in a later iteration of the loop."""
        self._given[receiver] = message
        receiver.set_result(message)

    def _keep(self, messages: list[bytes]) -> None:
        inbox = self.inbox
        room = max(0, self.config.recv_queue - len(inbox))
        if len(messages) > room:
            self.connection.counters.count_dropped(len(messages) - room)
            del messages[room:]
        begins = bool(messages) and not inbox
        inbox.extend(messages)
        if begins and self.on_waiting is not None:
            self.on_waiting(self)

    def _call_no_more(self) -> None:
        """We end the association: ``on_data`` is not called any more."""
        if self._callback is not None:
            self._callback.waiting.clear()

    @property
    def has_data(self) -> bool:
        return bool(self.inbox)

    async def recv(self) -> bytes:
        if self.inbox:
            return self.inbox.popleft()
        self._check_receiving()
        receiver = EagerFuture(loop=self.loop)
        self._receivers.append(receiver)
        try:
            data: bytes = await receiver
        except BaseException:
            if receiver in self._given:
                self._return(receiver)
            elif receiver in self._receivers:
                self._receivers.remove(receiver)
            raise
        if receiver.is_void:
            # The message was exported before we could run.
            self.check_open()
        # It may have been replaced by an earlier message since.
        return self._given.pop(receiver, data) if self._given else data

    def _return(self, receiver: EagerFuture) -> None:
        """The receiver was cancelled with its message. Later receivers get earlier messages, so
        order is kept.
        """
        given = self._given
        waiting = list(given)
        behind = waiting[waiting.index(receiver) + 1 :]
        data = given.pop(receiver)
        for other in behind:
            given[other], data = data, given[other]
        while self._receivers:
            following = self._receivers.pop(0)
            if not following.done():
                self._give(following, data)
                return
        self.inbox.appendleft(data)

    def take(self, limit: int) -> list[bytes]:
        """Removes and returns up to ``limit`` of the waiting messages."""
        inbox = self.inbox
        return [inbox.popleft() for _ in range(min(limit, len(inbox)))]

    def recv_nowait(self) -> bytes | None:
        """Removes and returns the oldest message, or None. Raises what ended the association."""
        if self.inbox:
            return self.inbox.popleft()
        self._check_receiving()
        return None

    def _check_receiving(self) -> None:
        """Raises what ended the association, or that its data goes to ``on_data``."""
        if self._callback is not None:
            raise _no_receivers()
        if self.connection.closed or not self.connection.handshake_complete:
            self.check_open()

    # -- the end ------------------------------------------------------------------------------

    def released(self) -> None:
        """The association has ended, and so have its own resources in the transport."""
        resolve(self.closed)

    def transport_info(self, name: str, default: Any = None) -> Any:
        """What the transport knows by this name. Some transports have only ``sendto``."""
        get = getattr(self.carrier.transport, "get_extra_info", None)
        return get(name, default) if get is not None else default

    def export_state(self, key: bytes, *, lease: int | None = None) -> bytes:
        """Exports the association with its unread data. Without a lease it ends here."""
        self.flush()
        local = self.transport_info("sockname")
        waiting = self.inbox if self._callback is None else self._callback.waiting
        unread = (*self._given.values(), *waiting)
        state = self.connection.export_state(
            key, self.loop.time(), lease=lease, unread=unread, local=local
        )
        if lease is None:
            waiting.clear()
            for receiver in self._given:
                receiver.withdraw()
            self._given.clear()
        self.carrier.drain()
        return state

    def export_stored(self, state: bytes) -> None:
        # Coalesced messages were admitted under the keys and the lease that end now.
        self.flush()
        self.connection.export_stored(state, self.loop.time())
        self.carrier.drain()
        self.room_again()

    def update_keys(self) -> None:
        self.connection.update_keys(self.loop.time())
        self.carrier.drain()

    def close(self) -> None:
        self._call_no_more()
        self.flush()
        self.connection.close(self.loop.time())
        self.carrier.drain()

    def reject_peer(self, description: str) -> None:
        self.connection.reject_peer(self.loop.time(), description)
        self._call_no_more()
        self.carrier.drain()

    def abort(self, reason: EndReason = "local") -> None:
        self._call_no_more()
        self.forget_pending()
        self.connection.abort(EndpointClosed(reason))
        self.carrier.drain()


def _no_receivers() -> RuntimeError:
    return RuntimeError("on_data gets the data of this endpoint: there is none to receive")


async def _result_of(question: StoreAwaited) -> object:
    return await question.result
