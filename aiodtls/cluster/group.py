"""WorkerGroup and run(): the supervisor of processes that share a port."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import socket
import sys
import time
from collections.abc import Generator, Sequence
from types import TracebackType
from typing import Any, Self

from aiodtls import log
from aiodtls.cluster import steering
from aiodtls.cluster.link import Link
from aiodtls.cluster.worker import Settings
from aiodtls.core import checks
from aiodtls.core.clock import wall_clock
from aiodtls.core.errors import ConfigError, DTLSError
from aiodtls.core.id_layout import IdLayout
from aiodtls.core.shared_secrets import SECRET_LENGTH
from aiodtls.core.statistics import Gauges, Statistics

# Seconds until a worker that ended by itself is started again: doubled each time, up to the second
# number, and from the beginning if it has lived for longer than the third.
FIRST_PAUSE, LAST_PAUSE, LONG_LIFE = 0.1, 10.0, 30.0
# Runs a worker with the module search path of its supervisor.
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "from aiodtls.cluster.child import main; main()"
)


@checks.checked
def run(
    main: str,
    *,
    workers: int | None = None,
    host: str | None = None,
    port: int = 0,
    node: bytes = b"",
    secrets: Sequence[bytes] = (),
    data: bytes = b"",
    start_timeout: float = 30.0,
    close_timeout: float = 10.0,
) -> WorkerGroup:
    """A group of processes on one port: ``await`` it, or enter it with ``async with``.

    Each process imports ``main``, makes its own config, and awaits ``main(worker)``, which calls
    ``serve(handler, config=config, worker=worker)``. A process that dies is started again. Linux
    only.

    Args:
        main: The async function that each process runs, as "package.module:function".
        workers: How many processes; None is one for each core.
        host: As of ``serve``: None binds IPv4 and IPv6.
        port: The port; 0 takes a free one.
        node: The name of this host in connection ids; see :class:`IdLayout`.
        secrets: Shared by all hosts behind one name, the newest first, 32 bytes or more each. They
            protect connection ids, cookies and tickets. Without one the supervisor draws one.
        data: Bytes for ``worker.data``. They pass by no file and no command line, so they may hold
            private keys.
        start_timeout: In seconds: how long a process may take until it serves.
        close_timeout: In seconds: how long a process may take to end, before it is killed.

    Raises:
        ConfigError: A value is out of range.
    """
    count = workers if workers is not None else os.cpu_count() or 1
    if ":" not in main:
        raise ConfigError(f"main is 'package.module:function', not {main!r}")
    for name, value in (("start_timeout", start_timeout), ("close_timeout", close_timeout)):
        checks.at_least(0.0, name, value)
    return WorkerGroup(
        main, (host, port), _layouts(node, count, secrets), data, start_timeout, close_timeout
    )


def _layouts(node: bytes, count: int, given: Sequence[bytes]) -> dict[str, Any]:
    """What the settings of all workers have in common. Raises :class:`ConfigError`."""
    shared = tuple(map(bytes, given)) or (secrets.token_bytes(SECRET_LENGTH),)
    IdLayout(node, 0, count, *shared)
    began = None if given else wall_clock()
    group = secrets.token_bytes(16)
    return {"node": node, "slots": count, "secrets": shared, "began": began, "group": group}


class WorkerGroup:
    """Processes that share a port. :func:`run` makes it.

    This process holds their sockets. Their number is the same while the group lives.
    """

    def __init__(
        self,
        main: str,
        where: tuple[str | None, int],
        common: dict[str, Any],
        data: bytes,
        start_timeout: float,
        close_timeout: float,
    ) -> None:
        self._main, self._data = main, data
        self._where = where
        self._common = common
        self._start_timeout, self._close_timeout = start_timeout, close_timeout
        self._sockets: list[list[socket.socket]] = []
        # The process of each slot that reads its sockets.
        self._present: list[_Process] = []
        self._processes: set[_Process] = set()
        self._watchers: set[asyncio.Task[None]] = set()
        # What processes have counted that have ended.
        self._past = Statistics()
        self._is_started = self._is_closing = False
        self._closed = asyncio.Event()
        self._reloading = asyncio.Lock()

    def __repr__(self) -> str:
        state = "closed" if self._closed.is_set() else "open"
        return f"<WorkerGroup of {self._common['slots']}, {self._main}, {state}>"

    # -- opening ------------------------------------------------------------------------------

    def __await__(self) -> Generator[Any, None, Self]:
        return self._start().__await__()

    async def _start(self) -> Self:
        if self._is_started:
            raise RuntimeError("a group is awaited once")
        self._is_started = True
        slots = self._common["slots"]
        self._sockets = await steering.bind(*self._where, slots)
        try:
            starting = [self._spawn(slot, generation=0) for slot in range(slots)]
            results = await asyncio.gather(*starting, return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException):
                    raise result
            self._present = [each for each in results if isinstance(each, _Process)]
        except BaseException:
            self.close()
            await self.wait_closed()
            raise
        return self

    async def __aenter__(self) -> Self:
        if not self._is_started:
            await self
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        await self.wait_closed()

    async def _spawn(
        self, slot: int, generation: int, predecessor: _Process | None = None
    ) -> _Process:
        """Starts a process, and returns when it serves. Raises :class:`DTLSError`."""
        common = {"main": self._main, "slot": slot, "generation": generation, "data": self._data}
        descriptors = tuple(sock.fileno() for sock in self._sockets[slot])
        process = await _Process.start(
            {**common, **self._common, "sockets": descriptors}, predecessor
        )
        self._processes.add(process)
        watcher = asyncio.create_task(self._watch(process))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)
        await process.wait_ready(self._start_timeout)
        return process

    async def _watch(self, process: _Process) -> None:
        """Waits for the end of a process. Its slot gets another one, if it was not told to end."""
        status = await process.wait()
        self._processes.discard(process)
        self._past += process.statistics
        slot = process.settings.slot
        if self._is_closing or process.is_leaving or process not in self._present:
            return
        log.say(log.server, log.WORKER_ENDED, slot, status)
        others = (each for each in self._processes if each.settings.slot == slot)
        before = next(others, None)
        if before is not None:
            # It had not handed everything over, and goes on.
            before.stays()
            self._present[slot] = before
            return
        await self._start_again(process)

    async def _start_again(self, process: _Process) -> None:
        """Gives the slot of a process that has ended to a new one. It may take several attempts."""
        slot = process.settings.slot
        pause = FIRST_PAUSE if process.age > LONG_LIFE else process.pause
        while not self._is_closing:
            await asyncio.sleep(pause)
            try:
                successor = await self._spawn(slot, process.settings.generation + 1)
            except (DTLSError, OSError) as error:
                log.say(log.server, log.WORKER_FAILED, slot, error)
                pause = min(2 * pause, LAST_PAUSE)
                continue
            successor.pause = min(2 * pause, LAST_PAUSE)
            self._present[slot] = successor
            return

    # -- what is known ------------------------------------------------------------------------

    @property
    def sockname(self) -> Any:
        """The address of the first socket."""
        return self.socknames[0]

    @property
    def socknames(self) -> tuple[Any, ...]:
        """The addresses, one of each family."""
        if not self._sockets:
            raise DTLSError("the group has no socket: await it first")
        return tuple(sock.getsockname() for sock in self._sockets[0])

    @property
    def pids(self) -> tuple[int, ...]:
        """The process of each slot."""
        return tuple(process.pid for process in self._present)

    async def statistics(self) -> Statistics:
        """The sums over all workers, ended ones included. A killed one's last counts are lost."""
        await self._ask_all()
        return sum((process.statistics for process in self._processes), self._past)

    async def gauges(self) -> Gauges:
        """What there is now in all workers together."""
        await self._ask_all()
        return sum((process.gauges for process in self._processes), Gauges())

    async def _ask_all(self) -> None:
        await asyncio.gather(*(process.ask() for process in self._processes))

    # -- another program, or another config -----------------------------------------------------

    async def reload(self, *, data: bytes | None = None, timeout: float | None = None) -> None:
        """Replaces all processes by new ones, which import ``main`` afresh. Nothing is lost.

        The old ones finish their handshakes and hand their associations over. One whose successor
        fails goes on as before.

        Args:
            data: For ``worker.data`` of the new ones; None is what there was.
            timeout: In seconds. Then what the old ones still have is closed.

        Raises:
            DTLSError: A successor has failed, or the group is closed.
        """
        if not self._present or self._is_closing:
            raise DTLSError("the group has not been awaited yet, or is closed")
        async with self._reloading:
            if data is not None:
                self._data = data
            slots = range(len(self._present))
            results = await asyncio.gather(
                *(self._replace(slot, timeout) for slot in slots), return_exceptions=True
            )
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _replace(self, slot: int, timeout: float | None) -> None:
        process = self._present[slot]
        process.leaves()
        try:
            successor = await self._spawn(slot, process.settings.generation + 1, process)
        except BaseException:
            process.stays()
            if process.has_ended and not self._is_closing:
                watcher = asyncio.create_task(self._start_again(process))
                self._watchers.add(watcher)
                watcher.add_done_callback(self._watchers.discard)
            raise
        self._present[slot] = successor
        try:
            async with asyncio.timeout(timeout):
                await process.wait_ended()
        except TimeoutError:
            process.tell_to("close")
            try:
                async with asyncio.timeout(self._close_timeout):
                    await process.wait_ended()
            except TimeoutError:
                process.kill()
                await process.wait_ended()

    # -- the end ------------------------------------------------------------------------------

    async def drain(self, timeout: float | None = None) -> None:
        """Takes no new peers, and ends each worker when its last peer has gone.

        Args:
            timeout: In seconds. Then the group is closed.
        """
        for process in self._processes:
            process.tell_to("drain")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self._watchers:
                    await asyncio.wait(self._watchers)
        self.close()
        await self.wait_closed()

    def close(self) -> None:
        """Ends the workers: each closes its server, and is killed if that takes too long."""
        self._is_closing = True
        for process in self._processes:
            process.tell_to("close")

    async def wait_closed(self) -> None:
        """Returns when all workers have ended."""
        if self._watchers and self._is_closing:
            _, late = await asyncio.wait(self._watchers, timeout=self._close_timeout)
            if late:
                for process in self._processes:
                    process.kill()
                await asyncio.wait(late)
        if self._is_closing:
            steering.close(self._sockets)
            self._closed.set()
        await self._closed.wait()

    async def serve_forever(self) -> None:
        """Runs until the group is closed. Closes it when cancelled."""
        if not self._is_started:
            await self
        try:
            await self._closed.wait()
        except asyncio.CancelledError:
            self.close()
            await self.wait_closed()
            raise


class _Process:
    """One worker, as the supervisor sees it."""

    def __init__(
        self,
        settings: Settings,
        child: asyncio.subprocess.Process,
        link: Link,
        successors: socket.socket,
    ) -> None:
        self.settings = settings
        self._child, self._link = child, link
        # Takes a socket for each successor.
        self._successors = successors
        self._began = time.monotonic()
        # Whether it was told to end.
        self.is_leaving = False
        # Seconds to wait before the next one is started, if this one ends by itself.
        self.pause = FIRST_PAUSE
        self.statistics, self.gauges = Statistics(), Gauges()
        self._ended = asyncio.Event()
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asking: list[asyncio.Future[None]] = []
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, options: dict[str, Any], predecessor: _Process | None) -> Self:
        """Starts a process. ``options`` are those of :class:`Settings`."""
        with contextlib.ExitStack() as undo, contextlib.ExitStack() as of_the_child:
            ours, theirs = socket.socketpair()
            successors, theirs_too = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            for sock in (ours, successors):
                undo.callback(sock.close)
            for sock in (theirs, theirs_too):
                of_the_child.callback(sock.close)
            passed = [theirs.fileno(), theirs_too.fileno(), *options["sockets"]]
            before = None
            if predecessor is not None:
                before = of_the_child.enter_context(predecessor.introduce())
                passed.append(before.fileno())
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", _BOOT, json.dumps(sys.path), str(theirs.fileno())),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=passed,
            )
            link = await Link.open(ours)
            undo.pop_all()
            settings = Settings(
                **options,
                successors=theirs_too.fileno(),
                predecessor=before.fileno() if before is not None else None,
            )
        link.send("settings", settings)
        return cls(settings, child, link, successors)

    def introduce(self) -> socket.socket:
        """A socket for the process that is to take over from this one, which gets the other end."""
        ours, theirs = socket.socketpair()
        with theirs, contextlib.suppress(OSError):
            # If it has ended, the other end is closed, which the successor sees.
            socket.send_fds(self._successors, [b"s"], [theirs.fileno()])
        return ours

    def leaves(self) -> None:
        """It is told to end."""
        self.is_leaving = True

    def stays(self) -> None:
        """It goes on, as its successor could not take over."""
        self.is_leaving = False

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def age(self) -> float:
        return time.monotonic() - self._began

    async def wait_ready(self, timeout: float) -> None:
        """Raises :class:`DTLSError` if it does not serve in time, and kills it then."""
        slot = self.settings.slot
        try:
            async with asyncio.timeout(timeout):
                await asyncio.shield(self._ready)
        except TimeoutError:
            self.is_leaving = True
            self.kill()
            raise DTLSError(f"worker {slot} does not serve after {timeout} s") from None
        except BaseException:
            self.is_leaving = True
            self.kill()
            raise

    async def wait(self) -> int:
        """The exit status, when it has ended and all that it said has come."""
        status = await self._child.wait()
        await self._listening
        self._link.close()
        self._successors.close()
        self._ended.set()
        return status

    @property
    def has_ended(self) -> bool:
        return self._ended.is_set()

    async def wait_ended(self) -> None:
        """Returns when ``wait`` has returned."""
        await self._ended.wait()

    async def ask(self) -> None:
        """Brings ``statistics`` and ``gauges`` up to date, if it lives."""
        if self._listening.done():
            return
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asking.append(answered)
        self._link.send("report")
        await answered

    def tell_to(self, what: str) -> None:
        """To "close" or to "drain"."""
        self.is_leaving = True
        self._link.send(what)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._child.kill()

    async def _listen(self) -> None:
        while (message := await self._link.receive()) is not None:
            kind, *values = message
            if kind == "ready":
                self._is_ready(None)
            elif kind == "failed":
                self._is_ready(f"worker {self.settings.slot} failed: {values[0]}")
            elif kind in ("report", "ended"):
                self.statistics, self.gauges = values
                self._answer_all()
        self.gauges = Gauges()
        self._answer_all()
        self._is_ready(f"worker {self.settings.slot} ended before it served")

    def _is_ready(self, failure: str | None) -> None:
        if self._ready.done():
            return
        if failure is None:
            self._ready.set_result(None)
        else:
            self._ready.set_exception(DTLSError(failure))
            # It may be that nobody waits any more.
            self._ready.exception()

    def _answer_all(self) -> None:
        asking, self._asking = self._asking, []
        for answered in asking:
            if not answered.done():
                answered.set_result(None)
