"""CoAP messages over associations: what client and server have in common.

aiocoap has no registration of transports. What its ``Context`` does for its own ones is done here
by the same public names: a ``TokenManager``, a ``MessageManager``, and under them ours.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from aiocoap import Context, Message, error, interfaces
from aiocoap.messagemanager import MessageManager
from aiocoap.tokenmanager import TokenManager

from aiodtls import BufferFull, DTLSEndpoint, EndpointClosed, MessageTooLarge
from aiodtls.contrib.aiocoap.remotes import CoapsRemote

# Version 1, RST without a token, and no code (RFC 7252 section 3).
RESET = b"\x70\x00"

Messages_co = TypeVar("Messages_co", bound="CoapsMessages", covariant=True)


class AssociationError(error.NetworkError):
    """A request fails because there is no association with the peer, or no longer. Its
    ``__cause__`` is what aiodtls has raised.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self._reason = reason

    def __str__(self) -> str:
        return self._reason

    def extra_help(self, hints: Any = None) -> str:
        """What aiocoap's programs print below the error."""
        return "The error is about DTLS; its text says what to do."


class AssociationTimeout(AssociationError, error.TimeoutError):
    """The peer has not answered the handshake in time."""


async def attach(
    context: Context, make: Callable[[MessageManager], Awaitable[Messages_co]]
) -> Messages_co:
    """Gives a context one more transport, before those that would take coaps:// themselves."""
    tokens = TokenManager(context)
    manager = MessageManager(tokens)
    messages = await make(manager)
    manager.message_interface = messages
    tokens.token_interface = manager
    transports = context.request_interfaces
    # OSCORE stands before all of them: it chooses one for what it has protected.
    places = (i for i, transport in enumerate(transports) if isinstance(transport, TokenManager))
    first = next(places, len(transports))
    transports.insert(first, tokens)
    return messages


class CoapsMessages(interfaces.MessageInterface):
    """Sends and receives CoAP messages, one in each record."""

    def __init__(self, manager: MessageManager, log: logging.Logger) -> None:
        self.manager = manager
        self._log = log
        self.is_shut_down: bool = False

    def leave_manager(self) -> None:
        """Lets a context be freed while somebody holds a message of its."""
        self.is_shut_down = True
        del self.manager

    def receive(self, data: bytes, remote: CoapsRemote) -> None:
        """Takes a message of a peer."""
        message = self.parse(data, remote)
        if message is not None:
            self.manager.dispatch_message(message)

    def parse(self, data: bytes, remote: CoapsRemote) -> Message | None:
        """A message of the peer; None for what is none."""
        try:
            return Message.decode(data, remote=remote)
        except (error.UnparsableMessage, ValueError):
            # A ValueError is text in an option that is not UTF-8.
            self._log.warning("Ignoring unparsable message from %s", remote.hostinfo)
            return None

    def transmit(self, message: Message, endpoint: DTLSEndpoint) -> bool:
        """Sends a message as one record. What cannot be sent now counts as lost: CoAP repeats
        what matters.

        Returns False if it can never be sent.
        """
        try:
            endpoint.send_nowait(message.encode(), split=False)
        except BufferFull:
            self._log.info("No room in the write buffer, message lost: %s", message)
        except EndpointClosed:
            # The owner of the endpoint hears of that by an event.
            self._log.debug("The association has ended, message lost: %s", message)
        except MessageTooLarge as too_large:
            self._log.error("%s: %s; use smaller blocks", message, too_large)
            self.give_up(message)
            return False
        return True

    def give_up(self, message: Message) -> None:
        """Ends the exchange of a confirmable message, as if the peer had reset it."""
        asyncio.get_running_loop().call_soon(self._reset, message.mid, message.remote)

    def _reset(self, message_id: int, remote: CoapsRemote) -> None:
        if not self.is_shut_down:
            self.receive(RESET + message_id.to_bytes(2), remote)
