"""What is asked of peers whose address is not proved."""

from __future__ import annotations

from tests.mutants.mutant import of

MUTANTS = [
    *of(
        "core/cookies.py",
        "core/test_cookies.py faults/test_hellos.py",
        (
            "cookie-under-an-older-secret",
            "RFC 9147 5.1",
            "        return any(fits) and",
            "        return fits[0] and",
        ),
        (
            "age-of-a-cookie-12",
            "RFC 6347 4.2.1",
            "        if not -MAX_SKEW <= age <= LIFETIME:\n            return False\n",
            "",
        ),
        (
            "time-in-a-cookie-12",
            "RFC 6347 4.2.1",
            "        seconds, hello.client_version, len(name)",
            "        0, hello.client_version, len(name)",
        ),
        (
            "starts-of-a-cookie-12",
            "RFC 6347 4.2.1",
            "        return any(fits) and self._may_start(cookie)\n",
            "        return any(fits)\n",
        ),
        (
            "starts-of-a-cookie-13",
            "RFC 9147 5.1",
            "        if not any(fits) or not self._may_start(cookie):\n",
            "        if not any(fits):\n",
        ),
        (
            "starts-of-a-cookie-before",
            "RFC 9147 5.1",
            "            self._earlier_starts = self._starts if is_next else {}\n",
            "            self._earlier_starts = {}\n",
        ),
        (
            "bound-of-the-started",
            "F3",
            "        if len(self._starts) > MAX_STARTED:\n            del self._starts[next(iter(self._starts))]\n",
            "",
        ),
        (
            "mac-of-a-cookie",
            "RFC 9147 5.1",
            "        if not any(fits) or not self._may_start(cookie):\n            return None\n",
            "",
        ),
        (
            "age-of-a-cookie",
            "RFC 9147 5.1",
            "        if not -MAX_SKEW <= wall_time - made <= LIFETIME:\n            return None\n",
            "",
        ),
        (
            "address-in-a-cookie-13",
            "RFC 9147 11",
            '    name = repr(address).encode()\n    head = b"Hello',
            '    name = b""\n    head = b"Hello',
        ),
        (
            "address-in-a-cookie-12",
            "RFC 6347 4.2.1",
            "    name = repr(address).encode()\n    session_id, suites",
            '    name = b""\n    session_id, suites',
        ),
        (
            "parameters-in-a-cookie",
            "RFC 6347 4.2.1",
            "head, name, hello.random, session_id, encoded_suites, methods\n",
            "head, name, session_id, methods\n",
        ),
        (
            "cookie-of-the-other-version",
            "RFC 9147 5.1",
            'head = b"HelloRetryRequest" + _LENGTH13',
            "head = _LENGTH13",
        ),
    ),
    *of(
        "core/handshake/retry.py",
        "core/test_cookies.py faults/test_hellos.py core/test_negotiate13.py core/test_deviations.py",
        (
            "hello-leads-nowhere",
            "RFC 9147 5.1",
            "    check_client_hello13(hello)\n    suite = choose",
            "    suite = choose",
            "core/test_retry.py",
        ),
        (
            "cookie-is-ours",
            "RFC 9147 5.1",
            "        raise AlertError(AlertDescription.illegal_parameter, message)\n    suite = SUITES",
            "        sealed = SealedHello(bytes(32), 0x1301, NO_GROUP)\n    suite = SUITES",
            "core/test_retry.py",
        ),
        (
            "hello-we-asked-for-suite",
            "RFC 8446 4.1.2",
            "    if suite.code not in hello.cipher_suites or (\n",
            "    if (\n",
            "core/test_retry.py",
        ),
    ),
    *of(
        "core/listener.py",
        "core/test_listener.py faults/test_hellos.py",
        (
            "no-state-without-a-cookie-12",
            "RFC 6347 4.2.1",
            "            if self._cookies.check(addr, hello, wall_time):\n",
            "            if hello.cookie or self._cookies.check(addr, hello, wall_time):\n",
        ),
        (
            "no-state-without-a-cookie-13",
            "RFC 9147 5.1",
            "            if cookie is not None:\n                retry",
            "            if cookie is None:\n"
            "                return ValidatedHello(hello, body, message_seq, record_number)\n"
            "            if cookie is not None:\n                retry",
        ),
        (
            "answer-has-the-hellos-number",
            "RFC 6347 4.2.1",
            "self._answer(ContentType.handshake, version, fragment, record_number, addr)",
            "self._answer(ContentType.handshake, version, fragment, 0, addr)",
        ),
        (
            "repeated-hello-makes-no-second-state",
            "RFC 6347 4.2.4",
            'if known is not None and known.role == "server" and known.client_random =='
            " hello.random:",
            "if False:",
        ),
        (
            "old-association-lives-on",
            "RFC 6347 4.2.8",
            "        if live is not None and live.closed:\n            self._unmap(live)\n",
            "        if live is not None:\n            self._unmap(live)\n",
        ),
        (
            "state-is-adopted-once",
            "RFC 9147 4.5.1",
            "        if generation <= self._generations.get(identity, 0):\n",
            "        if False:\n",
            "core/test_handover.py core/test_leases.py",
        ),
    ),
    *of(
        "core/leases.py",
        "core/test_lease_numbers.py",
        (
            "lease-of-the-peers-keys-before",
            "RFC 9147 4.5.1",
            "layer.next_received + records\n        if",
            "layer.newest_number + 1 + records\n        if",
        ),
        (
            "adopters-leave-out-too-many-numbers",
            "RFC 9147 4.2.2",
            "if layer.newest_reader.is_dtls13 and skipped + end - next_number >= MAX_SKIPPED_13:",
            "if False:",
        ),
        (
            "adopters-numbers-are-not-counted-together",
            "RFC 9147 4.2.2",
            "            skipped + next_number - first,\n",
            "            next_number - first,\n",
        ),
        (
            "any-ack-shows-that-the-peer-has-followed",
            "RFC 9147 4.2.2",
            "if self.skipped and any(self._resumed_at <= n < self.writer.next_number for n in numbers):",
            "if self.skipped:",
        ),
        (
            "part-of-a-message-is-not-exported",
            "RFC 9147 7.1",
            "            fragments=self._driver.fragments,\n",
            "",
        ),
        (
            "key-update-of-an-adopter-waits-for-its-timer",
            "RFC 9147 4.5.1",
            "        if self._transmitter.has_datagrams:\n            self._collect()\n"
            "        if self._layer.alarmed:",
            "        if self._layer.alarmed:",
        ),
    ),
    *of(
        "core/hello_pool.py",
        "core/test_hello_pool.py core/test_long_hellos.py faults/test_hellos.py",
        (
            "pool-is-bounded",
            "RFC 9147 11",
            "if self._slots[oldest].expires > now and len(self._slots) < POOL_SLOTS:",
            "if True:",
            "core/test_hello_pool.py",
        ),
        (
            "parts-of-two-hellos",
            "RFC 9147 5.5",
            "        if slot.is_contradicted(fragment):\n",
            "        if False:\n",
            "core/test_hello_pool.py",
        ),
        (
            "part-expires",
            "RFC 9147 11",
            "        if slot is None or slot.expires <= now:\n",
            "        if slot is None:\n",
            "core/test_hello_pool.py",
        ),
    ),
    *of(
        "core/routes.py",
        "core/test_listener.py core/test_path_validation.py",
        (
            "another-peer-at-an-address",
            "RFC 9147 5.11",
            "            and _identity(before) != _identity(connection)\n",
            "            and False\n",
        ),
        (
            "no-shadow-is-promoted-twice",
            "RFC 6347 4.2.8",
            "        if self._shadows.get(addr) is not connection:\n            return None\n",
            "        if addr not in self._shadows:\n            return None\n",
            "core/test_listener.py faults/test_hellos.py simulated/test_reboots.py",
        ),
    ),
    *of(
        "core/handshake/retry.py",
        "core/test_cookies.py faults/test_hellos.py core/test_negotiate13.py core/test_deviations.py",
        (
            "hello-we-asked-for-share",
            "RFC 8446 4.1.2",
            "group is not None and key_share.accept(hello, group) is None\n    ):",
            "False\n    ):",
            "core/test_retry.py",
        ),
    ),
    *of(
        "core/tables.py",
        "core/test_tables.py",
        (
            "half-open-are-bounded",
            "RFC 9147 11",
            "        if half_open.taken >= config.max_half_open:\n",
            "        if False:\n",
        ),
        (
            "associations-are-bounded",
            "RFC 9147 11",
            "        if not is_full:\n            return True\n        victim",
            "        if True:\n            return True\n        victim",
        ),
        (
            "the-largest-network-is-refused",
            "bound on tables",
            "            group = self._crowded_host(network, host)\n",
            "            pass\n",
        ),
        (
            "a-handshake-has-its-time",
            "bound on tables",
            "return connection if began < older_than else None",
            "return connection",
        ),
        (
            "a-begun-answer-is-not-evicted",
            "bound on tables",
            "            if not connection.answer_has_begun:\n",
            "            if True:\n",
        ),
        (
            "begun-answers-shut-nobody-out",
            "bound on tables",
            "return (self._networks[network] + 1) * SMALL_SHARE <= self._networks[largest]",
            "return False",
        ),
        (
            "overflow-is-for-small-networks",
            "bound on tables",
            "return (self._networks[network] + 1) * SMALL_SHARE <= self._networks[largest]",
            "return True",
        ),
        (
            "a-host-shuts-its-neighbours-out",
            "bound on tables",
            "return (network, largest) if is_small else None",
            "return None",
        ),
        (
            "neighbours-do-not-churn",
            "bound on tables",
            "is_small = (hosts[host] + 1) * SMALL_SHARE_OF_HOST <= hosts[largest]",
            "is_small = hosts[host] < hosts[largest]",
        ),
        (
            "overflow-is-bounded",
            "bound on tables",
            "        if self.taken >= 2 * limit:\n            return False\n",
            "",
        ),
        (
            "silence-is-seen-by-the-record-number",
            "bound on tables",
            "        if connection.newest_number == place.newest_number:\n"
            "            return False\n",
            "        return False\n",
        ),
        (
            "only-the-silent-are-evicted",
            "bound on tables",
            "                    if place.silent_since <= silent_since\n",
            "",
        ),
        (
            "who-spoke-is-not-the-longest-silent",
            "bound on tables",
            "        self._by_network[place.network].heard(connection)\n",
            "",
        ),
        (
            "anonymous-peers-go-first",
            "bound on tables",
            "orders = (self._anonymous, self._proved)",
            "orders = (self._proved, self._anonymous)",
        ),
        (
            "largest-network-first",
            "bound on tables",
            "for silence in (largest, self._everywhere):",
            "for silence in (self._everywhere,):",
        ),
        (
            "a-busy-largest-network-protects-nobody",
            "bound on tables",
            "for silence in (largest, self._everywhere):",
            "for silence in (largest,):",
        ),
        (
            "what-we-dialled-stays",
            "bound on tables",
            '        if connection.role == "client":\n            self._associations.add_own',
            "        if False:\n            self._associations.add_own",
        ),
        (
            "the-ended-count-for-nothing",
            "bound on tables",
            "        self._half_open.discard(connection)\n"
            "        self._associations.discard(connection)\n",
            "        self._half_open.discard(connection)\n",
        ),
        (
            "awaited-handshakes-take-no-place",
            "bound on tables",
            "        return len(self._taken)\n",
            "        return len(self)\n",
        ),
    ),
    *of(
        "core/listener.py",
        "core/test_tables.py",
        (
            "lingering-is-bounded",
            "bound on tables",
            "                if len(self._lingering) > MAX_LINGERING:\n",
            "                if False:\n",
        ),
        (
            "the-listener-looks-for-silence",
            "bound on tables",
            "                self._tables.look(connection, now)\n",
            "                pass\n",
        ),
    ),
    *of(
        "core/listener.py",
        "core/test_free_memory.py",
        (
            "idle-associations-free-memory",
            "bound on memory",
            "        self._idle_memory.add(connection, now)\n",
            "",
        ),
        (
            "lingering-associations-keep-no-cipher",
            "bound on memory",
            "                    connection.free_memory(connection.completed_at)\n",
            "",
        ),
    ),
    *of(
        "core/handshake/post.py",
        "core/test_free_memory.py",
        (
            "an-unanswered-resend-leaves-no-cipher",
            "bound on memory",
            "            self._layer.writer.free_memory()\n",
            "",
        ),
    ),
    *of(
        "core/idle_memory.py",
        "core/test_idle_memory.py",
        (
            "few-free-memory-at-once",
            "20 ms of the loop",
            "            while order and len(due) < AT_ONCE:\n",
            "            while order:\n",
        ),
        (
            "memory-is-freed-soon-after-the-handshake",
            "bound on memory",
            "        self._first[connection] = now + FIRST_TURN\n",
            "        self._first[connection] = now + EVERY\n",
        ),
        (
            "each-association-frees-memory-again",
            "bound on memory",
            "            self._later[connection] = now + EVERY\n",
            "            pass\n",
        ),
    ),
    *of(
        "core/connection.py",
        "core/test_tables.py",
        (
            "the-evicted-are-told",
            "bound on tables",
            "            if not self.closed:\n                self._send_close_notify()\n"
            "            reason",
            "            reason",
        ),
    ),
    *of(
        "core/shares.py",
        "core/test_shares.py",
        (
            "old-amounts-are-not-the-largest",
            "bound on tables",
            "            if self._amounts.get(key) == -amount:\n                return key\n",
            "            return key\n",
        ),
        (
            "changes-leave-nothing-behind",
            "bound on tables",
            "        if len(self._heap) > max(MIN_REBUILD, 2 * len(self._amounts)):\n",
            "        if False:\n",
        ),
    ),
]
