"""``aiodtls proxy``: DTLS on one side, plain UDP on the other."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import gc
import signal
from collections.abc import Callable
from typing import Any

from aiodtls.cli.options import config
from aiodtls.cli.output import Output, show_address
from aiodtls.cli.proxy.bound import Bound, bound_on_peers
from aiodtls.cli.proxy.counters import Counters
from aiodtls.cli.proxy.idle import IdleWatch
from aiodtls.cli.proxy.metrics import serve_metrics
from aiodtls.cli.proxy.originating import PlainSocket
from aiodtls.cli.proxy.terminating import TerminatingGateway
from aiodtls.client import connect
from aiodtls.core.config import DTLSConfig
from aiodtls.core.errors import ConfigError
from aiodtls.core.sessions import SessionCache
from aiodtls.endpoint import DTLSEndpoint
from aiodtls.net import sockets as udp
from aiodtls.net.transports import open_transport
from aiodtls.server import activated_sockets, serve

# In a drain a peer that is silent for so many seconds has its answers, and is closed.
QUIET = 2.0
# Objects that live as long as their peers, so looking for garbage among them often is in vain.
GC_THRESHOLDS = (100_000, 50, 100)


async def run(options: argparse.Namespace, output: Output) -> int:
    """Forwards until SIGTERM, which lets peers finish."""
    passed = activated_sockets()
    if not passed and options.listen is None:
        raise ConfigError("proxy needs --listen, or sockets that a service manager passes on")
    bound = bound_on_peers(options.max_peers)
    counters = Counters(output)
    watch = IdleWatch(options.idle_timeout or None)
    side = _originate if options.client else _terminate
    stop = _Stop()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        await side(options, output, passed, bound, counters, watch, stop)
    finally:
        watch.stop()
        counters.stop()
    output.tell("stopped", f"stopped after {counters.peers_total:,} peers", **counters.as_dict())
    return 0


class _Stop:
    """SIGTERM: the first begins to drain, the second ends at once."""

    def __init__(self) -> None:
        self.draining = asyncio.Event()
        self.at_once = asyncio.Event()
        on_signal("SIGTERM", self._ask)

    def _ask(self) -> None:
        (self.at_once if self.draining.is_set() else self.draining).set()

    async def drain(self, watch: IdleWatch, timeout: float) -> None:
        """Returns when all peers have ended, when time is up, or when asked again."""
        watch.set_timeout(QUIET)
        ends = [
            asyncio.ensure_future(watch.wait_empty()),
            asyncio.ensure_future(self.at_once.wait()),
        ]
        try:
            await asyncio.wait(ends, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()


def on_signal(name: str, callback: Callable[[], object]) -> None:
    """Calls back at a signal, where the platform and the event loop have such."""
    number = getattr(signal, name, None)
    if number is not None:
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(number, callback)


async def _terminate(
    options: argparse.Namespace,
    output: Output,
    passed: list[Any],
    bound: Bound,
    counters: Counters,
    watch: IdleWatch,
    stop: _Stop,
) -> None:
    """Peers speak DTLS, and the server plain UDP."""
    gateway = TerminatingGateway(
        counters,
        watch,
        output,
        server=(await udp.resolve(*options.upstream))[0],
        max_peers=bound.peers,
        with_header=options.proxy_protocol,
        is_verified=not options.insecure,
    )
    where = {"sockets": passed} if passed else _address(options.listen)
    # Each of the sockets may have all the peers.
    load = functools.partial(config, options, max_associations=bound.peers)
    server = serve(None, **where, config=load(), on_event=gateway.on_event, on_data=gateway.on_data)
    async with server:
        if options.prometheus:
            serve_metrics(options.prometheus, counters, server)
        on_signal("SIGHUP", lambda: _reload(output, load, server.update_config))
        _say_serving(output, [sock.getsockname() for sock in server.sockets], options, bound)
        await stop.draining.wait()
        output.tell("draining", "draining: no new peers are accepted")
        server.close(close_endpoints=False)
        await stop.drain(watch, options.drain_timeout)


async def _originate(
    options: argparse.Namespace,
    output: Output,
    passed: list[Any],
    bound: Bound,
    counters: Counters,
    watch: IdleWatch,
    stop: _Stop,
) -> None:
    """Clients speak plain UDP, and the server DTLS."""
    host, port = options.upstream
    live = {"config": config(options)}
    name = options.server_hostname
    live["config"].check_client(name if name is not None else host)
    sessions = SessionCache()

    def dial(on_data: Any, on_event: Any) -> DTLSEndpoint:
        return connect(
            host,
            port,
            config=live["config"],
            server_hostname=name,
            session=sessions,
            on_event=on_event,
            on_data=on_data,
        )

    def take(chosen: DTLSConfig) -> None:
        live["config"] = chosen

    if passed:
        udp.check_all_datagram(passed)
    bound_sockets = [udp.prepare(sock) for sock in passed] or udp.bind_all(
        await udp.resolve(options.listen[0] or None, options.listen[1], passive=True)
    )
    protocols = []
    try:
        for sock in bound_sockets:
            protocol = PlainSocket(dial, counters, watch, output, bound.peers)
            await open_transport(protocol, sock)
            protocols.append(protocol)
        if options.prometheus:
            serve_metrics(options.prometheus, counters, None)
        on_signal("SIGHUP", lambda: _reload(output, lambda: config(options), take))
        _say_serving(output, [sock.getsockname() for sock in bound_sockets], options, bound)
        await stop.draining.wait()
        output.tell("draining", "draining: no new clients are served")
        for protocol in protocols:
            protocol.stop_accepting()
        await stop.drain(watch, options.drain_timeout)
    finally:
        for protocol in protocols:
            await protocol.close()
        for sock in bound_sockets[len(protocols) :]:
            sock.close()


def _address(listen: tuple[str, int]) -> dict[str, Any]:
    return {"host": listen[0] or None, "port": listen[1]}


def _reload(
    output: Output, load: Callable[[], DTLSConfig], use: Callable[[DTLSConfig], object]
) -> None:
    """Reads all files again, for handshakes from now on. What cannot be used changes nothing."""
    try:
        use(load())
    except (OSError, ValueError) as error:
        output.tell("not_reloaded", f"not reloaded, all stays as it was: {error}", error=str(error))
    else:
        output.tell("reloaded", "reloaded")


def _say_serving(
    output: Output, addresses: list[Any], options: argparse.Namespace, bound: Bound
) -> None:
    shown = " and ".join(map(show_address, addresses))
    upstream = show_address(options.upstream)
    plain, secure = (shown, upstream) if options.client else (upstream, shown)
    output.tell(
        "serving",
        f"serving on {shown}: DTLS at {secure}, plain UDP at {plain}; {bound}",
        addresses=addresses,
        upstream=upstream,
        max_peers=bound.peers,
        files=bound.files,
        ports=bound.ports,
    )
