"""Faults that one datagram, one certificate or one broken socket was enough for."""

from __future__ import annotations

from tests.mutants.mutant import of

MUTANTS = [
    *of(
        "core/wire/extension_blocks.py",
        "core/test_places.py",
        (
            "extension-in-the-wrong-message",
            "RFC 8446 4.2",
            "        if code in PLACES and place not in PLACES[code]:\n",
            "        if False:\n",
        ),
        (
            "extension-twice",
            "RFC 8446 4.2",
            "        if code in extensions:\n            raise DecodeError",
            "        if False:\n            raise DecodeError",
            "faults/test_parsers.py",
        ),
    ),
    *of(
        "core/handshake/post.py",
        "core/test_post.py core/test_lost_messages.py",
        (
            "stopped-message-stays",
            "RFC 9147 5.8.4",
            "            self._resend_from = max(self._resend_from, last_resend"
            " + self._config.retransmit_max)\n",
            "            self._forget(timer)\n",
        ),
        (
            "resends-after-a-message-stopped",
            "RFC 9147 5.8.4",
            "            or now < self._resend_from\n",
            "",
        ),
        (
            "only-a-newest-record-resends",
            "RFC 9147 5.8.4",
            "            or self._layer.newest_number <= self._heard_number\n",
            "",
        ),
        (
            "stopped-message-is-resent",
            "RFC 9147 5.8.4",
            "            flight.count_late_resend()\n"
            "            self._transmitter.transmit(flight, flight.backoff.resends, now)\n",
            "            flight.count_late_resend()\n",
        ),
    ),
    *of(
        "core/connection.py",
        "faults/test_sockets.py core/test_connection.py",
        (
            "only-a-closed-port-ends-a-dial",
            "errors of sockets",
            'elif self.role == "client" and code == errno.ECONNREFUSED:',
            'elif self.role == "client":',
        ),
        (
            "alert-before-a-closed-port",
            "errors of sockets",
            "            self._end(caused_by(refused, error) if refused is not None else error)\n",
            "            self._end(error)\n",
            "core/test_refusals.py",
        ),
        (
            "last-flight-has-a-limit",
            "max_retransmits=None",
            "            self._timers.set(Timer.handshake, now + self.config.handshake_timeout)\n"
            "        if self.role",
            "            pass\n        if self.role",
        ),
        (
            "limit-of-the-last-flight-ends-with-its-ack",
            "max_retransmits=None",
            "        self.confirmed = True\n        self._timers.cancel(Timer.handshake)\n",
            "        self.confirmed = True\n",
        ),
    ),
    *of(
        "core/config.py",
        "core/test_config.py",
        (
            "some-limit-ends-a-handshake",
            "max_retransmits=None",
            "if self.handshake_timeout is None and self.max_retransmits is None:",
            "if False:",
        ),
        (
            "servers-need-a-handshake-timeout",
            "max_retransmits=None",
            "        if self.handshake_timeout is None:\n            # While a server",
            "        if False:\n            # While a server",
        ),
    ),
    *of(
        "net/sockets.py",
        "test_sockets.py",
        (
            "port-out-of-range",
            "addresses",
            "    if not lowest <= port <= MAX_PORT:\n",
            "    if port < lowest:\n",
        ),
        (
            "ipv4-to-a-socket-of-ipv6",
            "addresses",
            "    if ipv4 is not None and not takes_ipv4:\n",
            "    if False:\n",
        ),
        (
            "ipv6-to-a-socket-of-ipv4",
            "addresses",
            "        if ipv4 is None:\n            raise ValueError(",
            "        if False:\n            raise ValueError(",
        ),
        (
            "two-scopes",
            "addresses",
            "    if given and found[3] and given != found[3]:\n",
            "    if False:\n",
        ),
        (
            "scope-of-a-global-address",
            "addresses",
            "    if not ip.is_link_local:\n        return 0\n",
            "",
        ),
    ),
    *of(
        "verification.py",
        "faults/test_verification.py",
        (
            "queue-is-bounded",
            "bound on work",
            "            if self._count >= MAX_WAITING:\n",
            "            if False:\n",
        ),
        (
            "largest-network-gives-way",
            "bound on work",
            "if len(self._waiting.get(verification.network, ())) >= len(largest):",
            "if True:",
        ),
        (
            "networks-take-turns",
            "bound on work",
            "        if of_network:\n            self._waiting[network] = of_network\n",
            "        if of_network:\n            self._waiting[network] = of_network\n"
            "            self._waiting.move_to_end(network, last=False)\n",
        ),
        (
            "share-of-a-core",
            "bound on work",
            "until = self._paid_until - BURST if self._waiting else idle_until",
            "until = 0.0 if self._waiting else idle_until",
        ),
    ),
    *of(
        "core/networks.py",
        "core/test_networks.py",
        (
            "network-of-an-address",
            "bound on work",
            "int(address) >> (address.max_prefixlen - prefix)",
            "int(address)",
        ),
        (
            "mapped-ipv4-address",
            "bound on work",
            "        address = address.ipv4_mapped or address\n",
            "        pass\n",
        ),
    ),
    *of(
        "core/handshake/authenticate.py",
        "core/test_chains.py",
        (
            "only-true-accepts-a-chain",
            "bound on work",
            "    if answer is True:\n        return None\n",
            "    if answer:\n        return None\n",
        ),
    ),
    *of(
        "core/refusals.py",
        "core/test_refusals.py",
        (
            "refusal-is-repeated-thrice",
            "RFC 9147 5.10",
            "        if self._repeats >= MAX_REPEATS or now < self._not_before:\n",
            "        if now < self._not_before:\n",
        ),
        (
            "refusal-is-repeated-slowly",
            "RFC 9147 5.10",
            "        if self._repeats >= MAX_REPEATS or now < self._not_before:\n",
            "        if self._repeats >= MAX_REPEATS:\n",
        ),
        (
            "new-hello-asks-for-no-refusal",
            "RFC 9147 5.10",
            "return bool(self.client_random) and random == self.client_random",
            "return True",
        ),
        (
            "refusals-are-few",
            "RFC 9147 5.10",
            "        if len(self._by_address) > MAX_REFUSALS:\n",
            "        if False:\n",
        ),
    ),
    *of(
        "core/listener.py",
        "core/test_refusals.py",
        (
            "new-handshake-forgets-the-refusal",
            "RFC 9147 5.10",
            "        self._refusals.forget(connection.peer)\n",
            "",
        ),
        (
            "refusal-beside-a-live-association",
            "RFC 9147 5.10",
            "not begins_client_hello(data) and addr not in self._refusals:",
            "not begins_client_hello(data):",
        ),
        (
            "repeated-hello-draws-the-refusal",
            "RFC 9147 5.10",
            "if refusal is not None and refusal.client_random == hello.random:",
            "if False:",
        ),
    ),
    *of(
        "core/connection.py",
        "core/test_refusals.py",
        (
            "alert-in-the-clear-is-refuted",
            "RFC 9147 4.5.2",
            "        if driver.receive(payload, number, now):\n            self._refute_alert()\n",
            "        driver.receive(payload, number, now)\n",
        ),
        (
            "alert-in-the-clear-without-a-flight",
            "RFC 9147 4.5.2",
            "if self.hint is not None or not self._outgoing.flight:",
            "if self.hint is not None:",
        ),
        (
            "alert-in-the-clear-is-doubted-once",
            "RFC 9147 4.5.2",
            "if self.hint is not None or not self._outgoing.flight:",
            "if not self._outgoing.flight:",
        ),
    ),
    *of(
        "core/refusals.py",
        "core/test_refusals.py",
        (
            "alert-in-the-clear-brings-a-resend",
            "RFC 9147 4.5.2",
            "        if self._has_resent:\n",
            "        if True:\n",
        ),
        (
            "alert-in-the-clear-waits-for-our-answer",
            "RFC 9147 4.5.2",
            "        if not self._driver.is_asking:\n",
            "        if True:\n",
        ),
    ),
]
