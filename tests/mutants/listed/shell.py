"""What waits for a socket, and the timers of associations and listeners under asyncio."""

from __future__ import annotations

from tests.mutants.mutant import of

QUEUE = "test_send_queue.py"
BLOCKED = "faults/test_blocked_sockets.py"
TIMERS = "test_shell_timers.py"

MUTANTS = [
    *of(
        "net/borrowed.py",
        "test_borrowed.py",
        (
            "borrowed-transport-told-twice",
            "transport=: one connection_lost",
            "        protocol, self._protocol = self._protocol, None\n",
            "        protocol = self._protocol\n",
        ),
    ),
    *of(
        "core/reliability/transmitter.py",
        "core/test_transmitter.py",
        (
            "handshake-datagrams-as-large-as-others",
            "handshake_pmtu",
            "        return min(self.max_datagram_size, self._max_handshake_datagram)\n",
            "        return self.max_datagram_size\n",
        ),
        (
            "handshake-datagrams-above-pmtu",
            "handshake_pmtu",
            "        return min(self.max_datagram_size, self._max_handshake_datagram)\n",
            "        return self._max_handshake_datagram\n",
        ),
    ),
    *of(
        "channel.py",
        "test_on_data.py",
        (
            "end-before-its-last-data",
            "on_data: Closed comes after the last message",
            "            if callback is not None and callback.waiting:\n",
            "            if False:\n",
        ),
        (
            "data-after-the-end",
            "on_data: no calls after close or abort",
            "        if self._callback is not None:\n            self._callback.waiting.clear()\n",
            "        pass\n",
        ),
        (
            "data-both-ways",
            "on_data: recv raises",
            "        if self._callback is not None:\n            raise _no_receivers()\n",
            "",
        ),
    ),
    *of(
        "protocol.py",
        "test_on_data.py",
        (
            "nested-calls",
            "on_data: calls are not nested",
            "        if self._is_calling:\n            return\n",
            "",
        ),
    ),
    *of(
        "testing.py",
        "test_testing.py",
        (
            "mtu-of-a-simulated-link",
            "a path drops what is too large",
            "        if self._mtu is not None and size + HEADERS > self._mtu:\n",
            "        if False:\n",
        ),
        (
            "old-address-of-a-client-that-moved",
            "a NAT forgets",
            "if not self._closing and target in (None, self._address):",
            "if not self._closing:",
        ),
        (
            "virtual-time-without-a-block",
            "nothing would end it",
            "        if self._virtual_time:\n            raise",
            "        if False:\n            raise",
            "test_virtual_time.py",
        ),
    ),
    *of(
        "net/send_queue.py",
        QUEUE,
        (
            "send-queue-bounds",
            "bound on output",
            "        while line.cost > line.limit:\n",
            "        while False:\n",
        ),
        (
            "control-is-bounded",
            "bound on output",
            "if priority is Priority.control and line.cost >= line.limit:",
            "if False:",
        ),
        (
            "data-is-not-dropped",
            "bound on output",
            "if priority is Priority.control and line.cost >= line.limit:",
            "if line.cost >= line.limit:",
        ),
        (
            "networks-of-handshakes-take-turns",
            "bound on output",
            "line, key = self._handshakes, self._network_of(addr)",
            "line, key = self._handshakes, None",
        ),
        (
            "networks-of-answers-take-turns",
            "bound on output",
            "hash((self._salt, self._network_of(addr))) % ANSWER_TURNS",
            "None",
        ),
        (
            "answers-have-a-bounded-number-of-turns",
            "bound on output",
            "hash((self._salt, self._network_of(addr))) % ANSWER_TURNS",
            "self._network_of(addr)",
        ),
        (
            "associations-take-turns",
            "bound on output",
            "            line, key = self._data, addr\n",
            "            line, key = self._data, None\n",
        ),
        (
            "turns-go-round",
            "bound on output",
            "        if count:\n            self.turns.move_to_end(key)\n",
            "",
        ),
        (
            "lines-share-by-weight",
            "bound on output",
            "        self.served += cost / self.weight\n",
            "",
        ),
        (
            "an-empty-line-saves-nothing-up",
            "bound on output",
            "        self.served = max(self.served, clock)\n",
            "        pass\n",
        ),
        (
            "the-largest-turn-loses",
            "bound on output",
            "key = max(self.turns, key=lambda key: self.turns[key].cost)",
            "key = next(iter(self.turns))",
        ),
        (
            "the-older-are-dropped",
            "bound on output",
            "entry = self.entries.popleft()\n",
            "entry = self.entries.pop()\n",
        ),
        (
            "overhead-of-a-datagram",
            "bound on output",
            " + DATAGRAM_OVERHEAD * len(datagrams)",
            " + 0 * len(datagrams)",
        ),
        (
            "dropped-while-it-is-sent",
            "bound on output",
            "        if not waiting.datagrams:\n            # Dropped meanwhile.\n"
            "            return\n",
            "",
        ),
    ),
    *of(
        "net/batching.py",
        BLOCKED,
        (
            "flush-is-bounded",
            "bound on output",
            "self._flush_timer = self._loop.call_later(FLUSH_TIME, self.abort)",
            "pass",
        ),
        (
            "only-data-pauses",
            "bound on output",
            "if not self._paused and self._queue.data_size > self._high:",
            "if not self._paused and self._queue.size > self._high:",
        ),
        (
            "a-turn-ends",
            "bound on output",
            "while at < min(len(datagrams), max(MAX_SEGMENTS, alone_until)):",
            "while at < len(datagrams):",
        ),
    ),
    *of(
        "protocol.py",
        BLOCKED,
        (
            "paused-transports-are-spared",
            "bound on output",
            "        if self.is_paused and self.transport is not None:\n",
            "        if False:\n",
        ),
        (
            "held-back-until-paused-again",
            "bound on output",
            "while self._held_back and not self.is_paused:",
            "while self._held_back:",
        ),
        (
            "flush-of-a-plain-transport-is-bounded",
            "bound on output",
            "                self._flush_timer = self._loop.call_later(FLUSH_TIME, transport.abort)\n",
            "                pass\n",
        ),
        (
            "write-limit-is-heeded",
            "bound on output",
            "            set_limits(high=config.write_limit)\n",
            "            pass\n",
        ),
        (
            "output-limit-of-the-config",
            "bound on output",
            "            self.batching.limit_output(*bounds)\n",
            "            pass\n",
        ),
    ),
    *of(
        "transport.py",
        BLOCKED,
        (
            "drop-in-that-does-not-heed-the-pause",
            "bound on output",
            "        if self.is_full:\n",
            "        if False:\n",
        ),
    ),
    *of(
        "channel.py",
        TIMERS,
        (
            "an-earlier-timeout-replaces-a-later",
            "timers",
            "            if self._due <= at:\n                return\n            timer.cancel()\n",
            "            return\n",
        ),
        (
            "the-later-of-two-timers-is-cancelled",
            "timers",
            "            if self._due <= at:\n                return\n            timer.cancel()\n",
            "            if self._due <= at:\n                return\n",
        ),
        (
            "no-timer-where-nothing-is-due",
            "timers",
            "            if timer is not None:\n                timer.cancel()\n"
            "                self._timer = None\n            return\n",
            "            return\n",
        ),
        (
            "a-timer-that-is-due-is-gone",
            "timers",
            "        self._timer = None\n        self.connection.handle_timeout",
            "        self.connection.handle_timeout",
        ),
        (
            "an-end-cancels-the-timer",
            "timers",
            "        self._schedule(None)\n",
            "",
        ),
        (
            "a-timeout-is-drained",
            "timers",
            "handle_timeout(self.loop.time())\n        self.carrier.drain()\n",
            "handle_timeout(self.loop.time())\n",
        ),
    ),
    *of(
        "protocol.py",
        TIMERS,
        (
            "a-listener-timer-stays",
            "timers",
            "            if at is not None and self._due <= at:\n                self._timer = timer\n"
            "                return\n",
            "",
        ),
        (
            "a-listener-timer-is-made-earlier",
            "timers",
            "            if at is not None and self._due <= at:\n",
            "            if at is not None:\n",
        ),
        (
            "no-listener-timer-without-a-transport",
            "timers",
            "listener.next_timeout() if self.transport is not None else None",
            "listener.next_timeout()",
        ),
        (
            "a-listener-timeout-is-handled",
            "timers",
            "        self._listener.handle_timeout(self._now())\n",
            "",
        ),
    ),
    *of(
        "net/distant_timer.py",
        "test_distant_timer.py",
        (
            "a-cancelled-distant-timer",
            "timers",
            "            self._loop.remove_reader(self._file)\n        self._close()\n",
            "            pass\n",
        ),
        (
            "distant-timers-of-other-clocks",
            "timers",
            "_LIBC is not None and is_plain and at - time",
            "_LIBC is not None and at - time",
        ),
        (
            "a-distant-timer-without-a-file-descriptor",
            "timers",
            "        with contextlib.suppress(OSError):\n",
            "        with contextlib.suppress(KeyError):\n",
        ),
        (
            "distant-timers-cost-nothing",
            "nothing slower than noise",
            "    if _LIBC is not None and is_plain",
            "    if _LIBC is None and is_plain",
        ),
    ),
    *of(
        "protocol.py",
        "test_distant_timer.py",
        (
            "a-forked-child-leaves-the-timer",
            "timers",
            "self.transport = self.batching = self._timer = None",
            "self.transport = self.batching = None",
        ),
    ),
]
