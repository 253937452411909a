"""Takes the place of aiocoap's own transports for coaps://, in the whole process.

Programs that make their contexts themselves, or leave it to a library, need no change then. aiocoap
has no registration of transports, so the classes that its ``Context`` imports are replaced.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator
from typing import Any

import aiocoap.defaults
from aiocoap.credentials import CredentialsMap
from aiocoap.messagemanager import MessageManager
from aiocoap.numbers import COAP_PORT, COAPS_PORT
from aiocoap.transports import tinydtls, tinydtls_server

from aiodtls import DTLSConfig
from aiodtls.contrib.aiocoap.client import ClientMessages
from aiodtls.contrib.aiocoap.configs import default_config
from aiodtls.contrib.aiocoap.identities import Claims, claims_of, psks_of
from aiodtls.contrib.aiocoap.server import ServerMessages


def install(
    *,
    client_config: DTLSConfig | None = None,
    server_config: DTLSConfig | None = None,
    claims: Claims = claims_of,
) -> Callable[[], None]:
    """Lets all contexts that are made from now on use aiodtls for coaps://.

    A client context has the transport by default. A server context has it if aiocoap's environment
    variable ``AIOCOAP_DTLSSERVER_ENABLED`` is set, or if ``tinydtls_server`` is among its
    transports. It serves at the port of ``bind`` plus one, as aiocoap has it; the port 0 stands for
    any free one.

    Args:
        client_config: as for ``add_client``.
        server_config: as for ``add_server``.
        claims: computes ``remote.authenticated_claims`` from the endpoint.

    Returns:
        A function that undoes it, for contexts that are made after the call.
    """

    class Client:
        @classmethod
        async def create_client_transport_endpoint(
            cls, ctx: MessageManager, log: logging.Logger, loop: Any
        ) -> ClientMessages:
            return ClientMessages(ctx, log, client_config or default_config(), claims)

    class Server:
        @classmethod
        async def create_server(
            cls,
            bind: tuple[str | None, int | None] | None,
            ctx: MessageManager,
            log: logging.Logger,
            loop: Any,
            server_credentials: CredentialsMap,
        ) -> ServerMessages:
            messages = ServerMessages(ctx, log, claims)
            config = server_config or default_config(psk=psks_of(server_credentials))
            await messages.listen(_beside(bind), config)
            return messages

    undo = [
        _replace(tinydtls, "MessageInterfaceTinyDTLS", Client),
        _replace(tinydtls_server, "MessageInterfaceTinyDTLSServer", Server),
        _replace(aiocoap.defaults, "dtls_missing_modules", _nothing_missing),
    ]

    def uninstall() -> None:
        while undo:
            undo.pop()()

    return uninstall


@contextlib.contextmanager
def installed(
    *,
    client_config: DTLSConfig | None = None,
    server_config: DTLSConfig | None = None,
    claims: Claims = claims_of,
) -> Iterator[None]:
    """``install`` for contexts that are made within ``with installed():``."""
    uninstall = install(client_config=client_config, server_config=server_config, claims=claims)
    try:
        yield
    finally:
        uninstall()


def _beside(bind: tuple[str | None, int | None] | None) -> tuple[str | None, int | None]:
    """Where coaps:// is served if coap:// is served there."""
    host, port = bind or (None, None)
    return host, port + COAPS_PORT - COAP_PORT if port else port


def _nothing_missing() -> list[str]:
    return []


def _replace(module: Any, name: str, value: object) -> Callable[[], None]:
    """Replaces a name of a module. Returns what puts the original back."""
    restore = functools.partial(setattr, module, name, getattr(module, name))
    setattr(module, name, value)
    return restore
