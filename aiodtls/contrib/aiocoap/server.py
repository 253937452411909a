"""The server of coaps://."""

from __future__ import annotations

import logging
from typing import Any

from aiocoap import Context, Message
from aiocoap.messagemanager import MessageManager
from aiocoap.numbers import COAPS_PORT

import aiodtls
from aiodtls import DTLSConfig, DTLSEndpoint, DTLSServer
from aiodtls.contrib.aiocoap.configs import default_config
from aiodtls.contrib.aiocoap.identities import Claims, claims_of, psks_of
from aiodtls.contrib.aiocoap.messages import AssociationError, CoapsMessages, attach
from aiodtls.contrib.aiocoap.remotes import ServerRemote
from aiodtls.events import Closed, Event


async def add_server(
    context: Context,
    bind: tuple[str | None, int | None] = (None, None),
    *,
    config: DTLSConfig | None = None,
    claims: Claims = claims_of,
) -> DTLSServer:
    """Lets a context serve its site at coaps:// URIs too.

    Args:
        context: as ``aiocoap.Context.create_server_context()`` makes it. ``context.shutdown()``
            closes the server.
        bind: address and port. The address None stands for all addresses, the port None for 5684,
            and the port 0 for any free one.
        config: of the server. By default it fits small devices, and the PSKs are those in
            ``context.server_credentials``: see ``psks_of``.
        claims: computes ``request.remote.authenticated_claims`` from the endpoint.

    Returns:
        The server, for ``update_config``, ``statistics``, ``sockname`` and so on.

    Raises:
        ConfigError: the config cannot serve.
        OSError: the address is in use or not ours.
    """
    if config is None:
        config = default_config(psk=psks_of(context.server_credentials))
    chosen = config

    async def make(manager: MessageManager) -> ServerMessages:
        messages = ServerMessages(manager, context.log, claims)
        await messages.listen(bind, chosen)
        return messages

    return (await attach(context, make)).server


class ServerMessages(CoapsMessages):
    """The transport of a context that serves coaps:// URIs."""

    server: DTLSServer

    def __init__(self, manager: MessageManager, log: logging.Logger, claims: Claims) -> None:
        super().__init__(manager, log)
        self._claims = claims
        self._remotes: dict[DTLSEndpoint, ServerRemote] = {}

    async def listen(self, bind: tuple[str | None, int | None], config: DTLSConfig) -> None:
        """Binds the sockets."""
        host, port = bind
        self.server = await aiodtls.serve(
            None,
            host,
            COAPS_PORT if port is None else port,
            config=config,
            on_data=self._take,
            on_event=self._hear,
        )

    def _take(self, endpoint: DTLSEndpoint, data: bytes) -> None:
        remote = self._remotes.get(endpoint)
        if remote is None:
            remote = self._remotes[endpoint] = ServerRemote(endpoint, self._claims)
        self.receive(data, remote)

    def _hear(self, endpoint: DTLSEndpoint | None, event: Event) -> None:
        if not isinstance(event, Closed) or endpoint is None:
            return
        remote = self._remotes.pop(endpoint, None)
        if remote is not None and not self.is_shut_down:
            failure = AssociationError(f"{remote.uri_base}: {event.error}")
            failure.__cause__ = event.error
            self.manager.dispatch_error(failure, remote)

    async def recognize_remote(self, remote: Any) -> bool:
        """Whether a message goes to a peer that has connected to us."""
        return isinstance(remote, ServerRemote) and self._remotes.get(remote.endpoint) is remote

    async def determine_remote(self, message: Message) -> None:
        """A server dials nobody.

        Raises AssociationError for a message to a peer that has left.
        """
        if isinstance(message.remote, ServerRemote):
            raise AssociationError(f"{message.remote.uri_base}: the peer has ended the association")

    def send(self, message: Message) -> None:
        """Sends a message to its remote."""
        if not self.is_shut_down:
            self.transmit(message, message.remote.endpoint)

    async def shutdown(self) -> None:
        """Ends all associations, and closes the sockets."""
        self.leave_manager()
        self._remotes.clear()
        self.server.close()
        await self.server.wait_closed()
