"""The gateway in front of a plain server: peers speak DTLS, and the server plain UDP.

Each peer has a plain socket of its own, so the server sees an address for each. The socket belongs
to the association and not to the peer's address, which may change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiodtls import events
from aiodtls.cli.output import Output
from aiodtls.cli.proxy.counters import Counters
from aiodtls.cli.proxy.dtls import send_batch
from aiodtls.cli.proxy.header import header_of
from aiodtls.cli.proxy.idle import IdleWatch
from aiodtls.cli.proxy.plain import MAX_WAITING, Opener, Room, Train, connected
from aiodtls.endpoint import DTLSEndpoint


class Upstream(asyncio.DatagramProtocol):
    """One peer, and the socket on which the server sees it. It is opened for the first datagram.

    Args:
        endpoint: The peer.
        counters: Those of the gateway.
        open_socket: Opens a transport with this protocol. Raises OSError.
    """

    __slots__ = (
        "_counters",
        "_endpoint",
        "_header",
        "_is_active",
        "_is_opening",
        "_open_socket",
        "_room",
        "_train",
        "_transport",
        "_waiting",
    )

    def __init__(
        self,
        endpoint: DTLSEndpoint,
        counters: Counters,
        open_socket: Callable[[asyncio.DatagramProtocol], None],
    ) -> None:
        self._endpoint = endpoint
        self._counters = counters
        self._open_socket = open_socket
        self._transport: Any = None
        self._train: Train | None = None
        self._room = Room()
        self._is_opening = False
        self._waiting: list[bytes] = []
        # What comes before each datagram.
        self._header = b""
        self._is_active = True

    def put_before_each(self, header: bytes) -> None:
        """Each datagram to the server begins with these bytes from now on."""
        self._header = header

    def to_server(self, data: bytes) -> None:
        """Forwards what the peer has sent. HOT PATH."""
        self._is_active = True
        if self._header:
            data = self._header + data
        train = self._train
        if train is None:
            self._hold(data)
        elif train.send(data):
            self._counters.count_to_plain()
        else:
            self._counters.drop("no_room")

    def _hold(self, data: bytes) -> None:
        """The socket is not open yet."""
        if len(self._waiting) >= MAX_WAITING:
            self._counters.drop("no_room")
            return
        self._waiting.append(data)
        if not self._is_opening:
            self._is_opening = True
            try:
                self._open_socket(self)
            except OSError as error:
                self.connection_lost(error)

    def take_activity(self) -> bool:
        is_active, self._is_active = self._is_active, False
        return is_active

    def end_idle(self) -> None:
        self._counters.count_idle()
        self._endpoint.close()

    def close(self) -> None:
        """The association has ended."""
        if self._transport is not None:
            self._transport.close()
            self._transport = self._train = None

    # -- asyncio.DatagramProtocol, and the batching transport's --------------------------------

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._train = Train(transport, self._room)
        waiting, self._waiting = self._waiting, []
        for data in waiting:
            if self._train.send(data):
                self._counters.count_to_plain()

    def batch_received(self, batch: bytes, size: int, addr: Any, in_callback: bool = False) -> None:
        self._is_active = True
        send_batch(self._endpoint, batch, size, self._counters)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.batch_received(data, len(data), addr)

    def pause_writing(self) -> None:
        self._room.run_out()

    def resume_writing(self) -> None:
        self._room.come_back()

    def error_received(self, exc: Exception) -> None:
        self._counters.drop("refused")

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket could not be opened, or has failed. The next datagram opens another."""
        self._transport = self._train = None
        self._is_opening = False
        if self._waiting:
            self._counters.drop("no_socket", len(self._waiting))
            self._waiting.clear()


class TerminatingGateway:
    """Forwards between the peers of a DTLS server and a plain server.

    Args:
        counters: What is counted.
        watch: Ends peers that are silent.
        output: Says what happens.
        server: The address family and the address of the plain server.
        max_peers: The most peers at a time.
        with_header: Whether each datagram to the server begins with a PROXY protocol header.
        is_verified: Whether certificates of peers are checked, which the header tells.
    """

    def __init__(
        self,
        counters: Counters,
        watch: IdleWatch,
        output: Output,
        *,
        server: tuple[int, Any],
        max_peers: int,
        with_header: bool = False,
        is_verified: bool = True,
    ) -> None:
        self._server = server
        self._counters = counters
        self._watch = watch
        self._output = output
        self._max_peers = max_peers
        self._with_header = with_header
        self._is_verified = is_verified
        self._opener = Opener()
        self._upstreams: dict[DTLSEndpoint, Upstream] = {}

    def on_data(self, endpoint: DTLSEndpoint, data: bytes) -> None:
        """Forwards what a peer has sent. HOT PATH."""
        upstream = self._upstreams.get(endpoint) or self._begin(endpoint)
        if upstream is None:
            self._counters.drop("too_many_peers")
        else:
            upstream.to_server(data)

    def on_event(self, endpoint: DTLSEndpoint | None, event: events.Event) -> None:
        if endpoint is not None:
            if isinstance(event, events.HandshakeCompleted):
                self._begin(endpoint)
            elif isinstance(event, events.AddressChanged):
                self._has_moved(endpoint)
            elif isinstance(event, events.Closed):
                self._end(endpoint, event)
        if isinstance(event, events.HandshakeFailed):
            self._output.on_event(endpoint, event)

    def _begin(self, endpoint: DTLSEndpoint) -> Upstream | None:
        """A peer has connected. None if there are too many.

        Its first data may come before we are told that its handshake is complete.
        """
        known = self._upstreams.get(endpoint)
        if known is not None:
            return known
        if len(self._upstreams) >= self._max_peers:
            endpoint.close()
            return None
        upstream = Upstream(endpoint, self._counters, self._open)
        if self._with_header:
            upstream.put_before_each(header_of(endpoint, is_verified=self._is_verified))
        self._upstreams[endpoint] = upstream
        self._watch.add(upstream)
        self._counters.peer_came()
        return upstream

    def _open(self, protocol: asyncio.DatagramProtocol) -> None:
        self._opener.open(protocol, connected(*self._server))

    def _has_moved(self, endpoint: DTLSEndpoint) -> None:
        upstream = self._upstreams.get(endpoint)
        if upstream is not None and self._with_header:
            upstream.put_before_each(header_of(endpoint, is_verified=self._is_verified))

    def _end(self, endpoint: DTLSEndpoint, event: events.Closed) -> None:
        upstream = self._upstreams.pop(endpoint, None)
        if upstream is not None:
            self._watch.discard(upstream)
            upstream.close()
            self._counters.peer_went()
