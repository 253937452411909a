"""The client of coaps://: an association for each host, port and config, dialled anew if lost."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any, NamedTuple

from aiocoap import DELETE, FETCH, GET, PUT, Context, Message, error, iPATCH
from aiocoap.credentials import CredentialsMissingError
from aiocoap.messagemanager import MessageManager
from aiocoap.numbers import ACK, COAPS_PORT, CON, RST
from aiocoap.util import hostportsplit

import aiodtls
from aiodtls import DTLSConfig, DTLSEndpoint, DTLSError, HandshakeTimeout
from aiodtls.contrib.aiocoap.configs import ClientConfigs, default_config
from aiodtls.contrib.aiocoap.identities import Claims, claims_of
from aiodtls.contrib.aiocoap.messages import (
    AssociationError,
    AssociationTimeout,
    CoapsMessages,
    attach,
)
from aiodtls.contrib.aiocoap.observations import ObserveNumbers
from aiodtls.contrib.aiocoap.remotes import CoapsRemote, ServerRemote, host_and_port
from aiodtls.events import Closed, Event

# A confirmable message is sent for the third time 6 s to 9 s after the first.
SENDS_UNTIL_REDIAL = 3
# MAX_TRANSMIT_WAIT: nobody waits longer for a reply to a confirmable message (RFC 7252 section
# 4.8.2).
LONGEST_EXCHANGE = 93.0
# Requests that may be sent twice (RFC 7252 section 5.1, RFC 8132).
IDEMPOTENT = frozenset({GET, PUT, DELETE, FETCH, iPATCH})


async def add_client(
    context: Context, *, config: DTLSConfig | None = None, claims: Claims = claims_of
) -> None:
    """Lets a context send requests to coaps:// URIs.

    Which config a request uses is looked up in ``context.client_credentials``, by its URI. An entry
    may be a :class:`DTLSConfig`, or of aiocoap's kinds ``dtls`` (a PSK) and ``tlscert`` (a file of
    CA certificates). Requests with the same host, port and entry share an association.

    Args:
        context: as ``create_client_context()`` or ``create_server_context()`` of
            ``aiocoap.Context`` makes it.
        config: for requests whose URI has no entry. For entries of aiocoap's kinds it is the config
            with their PSK or trust. By default it fits small devices: see the guide.
        claims: computes ``remote.authenticated_claims`` from the endpoint.

    Requests raise :class:`AssociationError` if the handshake fails or the association is lost.
    """
    base = config if config is not None else default_config()

    async def make(manager: MessageManager) -> ClientMessages:
        return ClientMessages(manager, context.log, base, claims)

    await attach(context, make)


class Target(NamedTuple):
    """Whom to dial, and with what."""

    host: str
    port: int
    config: DTLSConfig

    @property
    def key(self) -> tuple[str, int, int]:
        """Configs may have no hash. Each target keeps its config, so no other gets its number."""
        return self.host, self.port, id(self.config)


class Unacknowledged(NamedTuple):
    """The confirmable message that was sent last, and when. Each peer has one at a time."""

    message: Message
    at: float


class ClientRemote(CoapsRemote):
    """A server that we have dialled, over one association after the other.

    When confirmable messages stay unanswered the server is dialled anew, and what is pending
    continues over the new association. That helps if the server has restarted, or if our address
    has changed and the server has given us no connection id (RFC 9146): it does not know us any
    more then.
    """

    def __init__(self, target: Target, messages: ClientMessages, claims: Claims) -> None:
        super().__init__(claims)
        self.target = target
        self._messages = messages
        self._sessions = aiodtls.SessionCache()
        self._endpoint: DTLSEndpoint | None = None
        self._redialling: asyncio.Task[None] | None = None
        self._unacknowledged: Unacknowledged | None = None
        # Confirmable messages sent since the server was heard, in this association.
        self._unanswered = 0
        self._was_heard = False
        # The requests that were sent and have no response yet, and observations.
        self._requests: dict[bytes, Message] = {}
        self._numbers = ObserveNumbers()

    @property
    def endpoint(self) -> DTLSEndpoint:
        assert self._endpoint is not None, "a request gets its remote after the handshake"
        return self._endpoint

    @property
    def hostinfo(self) -> str:
        return host_and_port(self.target.host, self.target.port)

    # -- associations -------------------------------------------------------------------------

    async def dial(self) -> None:
        """Opens an association, in the place of an earlier one.

        Raises AssociationError, ResolutionError.
        """
        host, port, config = self.target
        try:
            endpoint = await aiodtls.connect(
                host,
                port,
                config=config,
                session=self._sessions,
                on_data=self._take,
                on_event=self._hear,
            )
        except HandshakeTimeout as late:
            raise AssociationTimeout(f"{self.uri_base}: {late}") from late
        except socket.gaierror as unknown:
            raise error.ResolutionError(f"{self.uri_base}: {unknown}") from unknown
        except (DTLSError, OSError) as failure:
            raise AssociationError(f"{self.uri_base}: {failure}") from failure
        self._use(endpoint)

    def _use(self, endpoint: DTLSEndpoint) -> None:
        if endpoint is self._endpoint:
            return
        earlier, self._endpoint = self._endpoint, endpoint
        self._unanswered, self._was_heard = 0, False
        if earlier is not None:
            earlier.close()
            self._continue_requests()

    def _redial(self) -> None:
        if self._redialling is None:
            self._redialling = asyncio.ensure_future(self._dial_anew())

    async def _dial_anew(self) -> None:
        try:
            await self.dial()
        except error.NetworkError as failure:
            self._lose(failure)
        finally:
            self._redialling = None

    def _lose(self, failure: Exception) -> None:
        """Nobody is there any more: all requests fail, and the next one dials."""
        self._messages.forget(self)
        self.endpoint.close()
        self._messages.manager.dispatch_error(failure, self)

    def _hear(self, endpoint: DTLSEndpoint, event: Event) -> None:
        if not isinstance(event, Closed) or endpoint is not self._endpoint:
            return
        if self._messages.is_shut_down or getattr(event.error, "reason", None) == "local":
            return
        if self._redialling is not None:
            # What becomes of the requests is known soon.
            return
        # An association in which nothing came is no reason to dial the same server again.
        if self._was_heard and any(self._is_pending(token) for token in self._requests):
            self._redial()
        else:
            failure = AssociationError(f"{self.uri_base}: {event.error}")
            failure.__cause__ = event.error
            self._lose(failure)

    async def close(self) -> None:
        """Ends the association."""
        if self._redialling is not None:
            self._redialling.cancel()
        self.endpoint.close()
        await self.endpoint.wait_closed()

    # -- messages -----------------------------------------------------------------------------

    def send(self, message: Message) -> None:
        """Sends a message, or sends it again."""
        if not self._messages.transmit(message, self.endpoint):
            return
        if message.code.is_request():
            self._requests = {t: m for t, m in self._requests.items() if self._is_pending(t)}
            self._numbers.keep(self._is_pending)
            self._requests[message.token] = message
        if message.mtype == CON:
            self._unacknowledged = Unacknowledged(message, asyncio.get_running_loop().time())
            self._unanswered += 1
            if self._unanswered >= SENDS_UNTIL_REDIAL:
                self._redial()

    def _take(self, endpoint: DTLSEndpoint, data: bytes) -> None:
        is_silent = self._unanswered >= SENDS_UNTIL_REDIAL
        if self._redialling is not None and is_silent and endpoint is self._endpoint:
            # The server has not forgotten this association.
            self._redialling.cancel()
        # Data may come before the task that dials goes on.
        self._use(endpoint)
        self._unanswered, self._was_heard = 0, True
        message = self._messages.parse(data, self)
        if message is None:
            return
        waiting = self._unacknowledged
        if message.mtype in (ACK, RST) and waiting and message.mid == waiting.message.mid:
            self._unacknowledged = None
        number, token = message.opt.observe, message.token
        if number is not None and message.code.is_response() and self._is_pending(token):
            message.opt.observe = self._numbers.shown(token, number)
        self._messages.manager.dispatch_message(message)

    def _is_pending(self, token: bytes) -> bool:
        return (token, self) in self._messages.manager.token_manager.outgoing_requests

    def _continue_requests(self) -> None:
        """The server knows nothing of what was sent in the earlier association, or does no longer.

        A request that is idempotent is sent again: one whose response has not come, and an
        observation. Others fail, because the server may have acted on them.
        """
        self._numbers.restart()
        waiting, self._unacknowledged = self._unacknowledged, None
        tokens = self._messages.manager.token_manager
        for (_, remote), (_, stop) in list(tokens.incoming_requests.items()):
            if remote is self:
                stop()
        if waiting and asyncio.get_running_loop().time() - waiting.at < LONGEST_EXCHANGE:
            if waiting.message.code in IDEMPOTENT:
                self.send(waiting.message)
            else:
                self._messages.give_up(waiting.message)
        for token, message in list(self._requests.items()):
            if self._is_pending(token) and not (waiting and message is waiting.message):
                self._request_again(token, message)

    def _request_again(self, token: bytes, message: Message) -> None:
        manager = self._messages.manager
        pipe = manager.token_manager.outgoing_requests[token, self]

        def fail(failure: Exception) -> None:
            if self._is_pending(token):
                pipe.add_exception(failure)

        if message.code in IDEMPOTENT:
            again = message.copy(mid=None)
            manager.send_message(again, lambda: fail(error.MessageError()))
        else:
            fail(AssociationError(f"{self.uri_base}: the association was lost before the response"))


class ClientMessages(CoapsMessages):
    """The transport of a context that requests coaps:// URIs."""

    def __init__(
        self, manager: MessageManager, log: logging.Logger, config: DTLSConfig, claims: Claims
    ) -> None:
        super().__init__(manager, log)
        self._config = config
        self._configs = ClientConfigs(config)
        self._claims = claims
        self._remotes: dict[tuple[str, int, int], ClientRemote] = {}
        self._dialling: dict[tuple[str, int, int], asyncio.Task[ClientRemote]] = {}

    async def recognize_remote(self, remote: Any) -> bool:
        """Whether a message goes to a server that we have dialled."""
        return isinstance(remote, ClientRemote) and self._remotes.get(remote.target.key) is remote

    async def determine_remote(self, message: Message) -> ClientRemote | None:
        """The server that a request is for, once there is an association; None for another
        scheme.
        """
        if message.requested_scheme != "coaps" or isinstance(message.remote, ServerRemote):
            return None
        if self.is_shut_down:
            raise error.LibraryShutdown
        target = self._target_of(message)
        remote = self._remotes.get(target.key) or await self._dial(target)
        limit = message.remote.maximum_block_size_exp
        if limit < remote.maximum_block_size_exp:
            remote.maximum_block_size_exp = limit
        return remote

    def _target_of(self, message: Message) -> Target:
        authority = message.unresolved_remote
        if authority:
            host, port = hostportsplit(authority)
        else:
            host, port = message.opt.uri_host, message.opt.uri_port
        if not host:
            raise ValueError("the request has neither a host in its URI nor a remote")
        try:
            entry = self.manager.client_credentials.credentials_from_request(message)
        except CredentialsMissingError:
            return Target(host, port or COAPS_PORT, self._config)
        return Target(host, port or COAPS_PORT, self._configs.of(entry))

    async def _dial(self, target: Target) -> ClientRemote:
        """Requests that come while the handshake runs wait for the same one."""
        task = self._dialling.get(target.key)
        if task is None:
            task = asyncio.ensure_future(self._open(target))
            self._dialling[target.key] = task
        return await asyncio.shield(task)

    async def _open(self, target: Target) -> ClientRemote:
        remote = ClientRemote(target, self, self._claims)
        try:
            await remote.dial()
            self._remotes[target.key] = remote
        finally:
            del self._dialling[target.key]
        return remote

    def forget(self, remote: ClientRemote) -> None:
        """The next request dials again."""
        if self._remotes.get(remote.target.key) is remote:
            del self._remotes[remote.target.key]

    def send(self, message: Message) -> None:
        """Sends a message to its remote."""
        if not self.is_shut_down:
            message.remote.send(message)

    async def shutdown(self) -> None:
        """Ends all associations."""
        self.leave_manager()
        dialling = list(self._dialling.values())
        for task in dialling:
            task.cancel()
        await asyncio.gather(*dialling, return_exceptions=True)
        remotes, self._remotes = self._remotes, {}
        await asyncio.gather(*(remote.close() for remote in remotes.values()))
