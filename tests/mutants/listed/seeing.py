"""What an operator is told: lines, events and counters."""

from __future__ import annotations

from tests.mutants.mutant import of

REPORTS = "test_reports.py"

MUTANTS = [
    *of(
        "reports.py",
        REPORTS,
        (
            "reports-of-failures-are-limited",
            "at most 100 a second after a proved cookie, and 10 before it",
            "if len(reported) < (reported.maxlen or 0) or now >= reported[0] + 1.0:",
            "if True:",
        ),
        (
            "left-out-reports-are-counted",
            "a line says how many were left out",
            "        self._left_out += 1\n",
            "        self._left_out = 1\n",
        ),
    ),
    *of(
        "core/listener.py",
        REPORTS,
        (
            "repeated-hellos-are-reported-once",
            "a device that repeats its hello is one device",
            "        if name in self._reported_hellos:\n            return\n",
            "",
        ),
        (
            "reports-that-wait-are-bounded",
            "strangers grow no memory",
            "        if len(self._events) < MAX_REPORTS:\n",
            "        if True:\n",
        ),
        (
            "refused-hellos-are-reported",
            "a refused hello is seen even when no association came to be",
            "            self._report_refusal(addr, hello, error, proved=False)\n",
            "",
        ),
    ),
    *of(
        "protocol.py",
        REPORTS,
        (
            "what-failed-at-once-is-reported",
            "an event also where no channel came to be",
            "                self._take_last_events(connection)\n",
            "                pass\n",
        ),
    ),
    *of(
        "core/handshake/advice.py",
        REPORTS,
        (
            "an-unknown-identity-is-told-from-a-timeout",
            "the operator finds the reason",
            "if not is_client and identity is not None and not negotiated.psk_check:",
            "if False:",
        ),
    ),
    *of(
        "core/statistics.py",
        "core/test_statistics.py",
        (
            "data-counts-in-the-sums",
            "sums are kept as they happen",
            "        method(counters.total, *args, **kwargs)  # type: ignore[arg-type]\n",
            "",
        ),
        (
            "a-value-at-a-bound-counts-below-it",
            "Histogram(bounds, counts, sum)",
            "bisect_left(self._bounds, seconds)",
            "bisect_left(self._bounds, seconds + 1e-9)",
        ),
    ),
    *of(
        "core/reliability/outgoing_flight.py",
        "core/test_statistics.py",
        (
            "a-resent-flight-tells-no-round-trip",
            "RTT: which of two flights was answered is unknown",
            "return now - self._sent_at if self.flight and self._once else None",
            "return now - self._sent_at if self.flight else None",
        ),
    ),
    *of(
        "core/connection.py",
        "core/test_statistics.py",
        (
            "the-fast-path-counts-in-the-sums",
            "sums are kept as they happen",
            "                total.lone_received += 1\n",
            "",
        ),
    ),
    *of(
        "contrib/prometheus.py",
        "test_prometheus.py",
        (
            "buckets-include-the-smaller-ones",
            "Prometheus: le",
            "        below += count\n",
            "        below = count\n",
        ),
        (
            "removed-servers-are-remembered",
            "counters never go back",
            "        self._past[name] = self._past.get(name, Statistics()) + source.statistics\n",
            "",
        ),
    ),
    *of(
        "core/reliability/incoming_flight.py",
        "core/test_incoming_flight.py",
        (
            "noted-datagrams-are-bounded",
            "strangers grow no memory",
            "        if len(sizes) < MOST_DATAGRAMS:\n",
            "        if True:\n",
        ),
        (
            "repeats-are-noted-apart",
            "FlightReceived: the datagrams of this flight",
            "        sizes = self._repeated_sizes if is_repeat else self._sizes\n",
            "        sizes = self._sizes\n",
        ),
    ),
    *of(
        "channel.py",
        REPORTS,
        (
            "no-line-is-made-for-nobody",
            "when DEBUG is off no string is built",
            "        if reports.is_detailed():\n            reports.detail(self.loop",
            "        if True:\n            reports.detail(self.loop",
        ),
    ),
    *of(
        "log.py",
        "test_log.py",
        (
            "kinds-of-lines-are-limited-apart",
            "who connects does not hide who is refused",
            "        key = line, network_of(peer)\n",
            "        key = LINES_LEFT_OUT, network_of(peer)\n",
        ),
    ),
    *of(
        "core/connection.py",
        "core/test_observed.py",
        (
            "observed-data-is-received-one-by-one",
            "a trace misses no record",
            "            and not self._layer.is_observed\n        )\n        self._sends_fast",
            "        )\n        self._sends_fast",
        ),
        (
            "observed-data-is-sent-one-by-one",
            "a trace misses no record",
            "self.handshake_complete and not self.closed and not self._layer.is_observed",
            "self.handshake_complete and not self.closed",
        ),
    ),
    *of(
        "core/observed.py",
        "core/test_observed.py",
        (
            "begun-messages-are-bounded-in-a-trace",
            "anybody can send fragments",
            "            while len(seen) > MAX_BEGUN:\n",
            "            while False:\n",
        ),
        (
            "a-message-is-traced-once",
            "a resend is no new message",
            "                self._whole[seq] = None\n",
            "",
        ),
    ),
    *of(
        "trace.py",
        "test_trace.py",
        (
            "traces-stay-within-their-limit",
            "a trace fills no disk",
            "        if self._used + size <= limit:\n",
            "        if True:\n",
        ),
        (
            "events-that-wait-are-bounded",
            "a slow disk takes no memory",
            "            is_late = len(self._waiting) >= MAX_WAITING\n",
            "            is_late = False\n",
        ),
        (
            "a-forked-child-leaves-traces-alone",
            "the files are the parent's",
            "        self._waiting, self._is_void = [], True\n",
            "",
        ),
    ),
]
