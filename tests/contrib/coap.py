"""aiocoap's contexts over our transports, and a site, for the tests of the adapter."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiocoap
from aiocoap import Context, Message, resource
from aiocoap.numbers import TransportTuning

import aiodtls
from aiodtls import DTLSConfig
from aiodtls.contrib import aiocoap as coaps

# Contexts need some transport; this one binds no port.
OTHERS = ["simple6"]


class Hasty(TransportTuning):
    """A second of CoAP's time takes 50 ms."""

    ACK_TIMEOUT = 0.1
    EMPTY_ACK_DELAY = 0.005


class Echo(resource.Resource):
    """Gives back what it is given, in blocks if need be; GET tells who asks."""

    def __init__(self) -> None:
        super().__init__()
        self.posts = 0

    async def render_get(self, request: Message) -> Message:
        return Message(payload=repr(request.remote.authenticated_claims).encode())

    async def render_put(self, request: Message) -> Message:
        return Message(code=aiocoap.CONTENT, payload=request.payload)

    async def render_post(self, request: Message) -> Message:
        self.posts += 1
        return Message(code=aiocoap.CHANGED)


class Counter(resource.ObservableResource):
    """A number that observers are told of."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.observers = 0

    async def render_get(self, request: Message) -> Message:
        return Message(payload=b"%d" % self.number, transport_tuning=Hasty)

    def update_observation_count(self, number: int) -> None:
        self.observers = number

    def count(self) -> None:
        self.number += 1
        self.updated_state()


class Reverse(resource.Resource):
    """Asks the client in its turn, over the association that the request came by."""

    context: Context

    async def render_get(self, request: Message) -> Message:
        back = Message(code=aiocoap.GET, uri_path=["who"])
        back.remote = request.remote
        reply = await self.context.request(back).response
        return Message(payload=b"the client says " + reply.payload)


class Site(resource.Site):
    """What the tests ask for."""

    def __init__(self) -> None:
        super().__init__()
        self.echo, self.counter, self.reverse = Echo(), Counter(), Reverse()
        self.add_resource(["echo"], self.echo)
        self.add_resource(["counter"], self.counter)
        self.add_resource(["reverse"], self.reverse)


@dataclass
class Serving:
    """A context that serves coaps://, its site and its server."""

    context: Context
    site: Site
    server: aiodtls.DTLSServer

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.server.sockname[:2]
        return host, port


@contextlib.asynccontextmanager
async def serving(config: DTLSConfig | None = None, **credentials: Any) -> AsyncIterator[Serving]:
    """A server at 127.0.0.1; ``credentials`` are for aiocoap's ``server_credentials``."""
    site = Site()
    context = await Context.create_server_context(site, transports=OTHERS)
    context.server_credentials.load_from_dict({f":{k}": v for k, v in credentials.items()})
    site.reverse.context = context
    try:
        server = await coaps.add_server(context, ("127.0.0.1", 0), config=config)
        yield Serving(context, site, server)
    finally:
        await context.shutdown()


class Client:
    """Requests of one context to one address."""

    def __init__(self, context: Context, address: Any) -> None:
        self.context = context
        self.base = f"coaps://{address[0]}:{address[1]}"

    def message(self, code: Any, path: str, payload: bytes = b"", **options: Any) -> Message:
        tuning = options.pop("tuning", Hasty)
        uri = f"{self.base}/{path}"
        return Message(code=code, uri=uri, payload=payload, transport_tuning=tuning, **options)

    async def get(self, path: str = "echo") -> Message:
        return await self.context.request(self.message(aiocoap.GET, path)).response

    async def put(self, payload: bytes, path: str = "echo") -> Message:
        return await self.context.request(self.message(aiocoap.PUT, path, payload)).response

    async def post(self, path: str = "echo") -> Message:
        return await self.context.request(self.message(aiocoap.POST, path)).response

    def observe(self, path: str = "counter") -> Any:
        return self.context.request(self.message(aiocoap.GET, path, observe=0))


@contextlib.asynccontextmanager
async def client(
    address: Any, config: DTLSConfig | None = None, **entry: Any
) -> AsyncIterator[Client]:
    """A client; ``entry`` is for aiocoap's ``client_credentials``."""
    context = await Context.create_client_context(transports=OTHERS)
    try:
        await coaps.add_client(context, config=config)
        requests = Client(context, address)
        if entry:
            context.client_credentials.load_from_dict({f"{requests.base}/*": entry})
        yield requests
    finally:
        await context.shutdown()
