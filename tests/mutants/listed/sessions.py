"""What is kept of a handshake, and when it is taken up again."""

from __future__ import annotations

from tests.mutants.mutant import of

RESUMPTION = "simulated/test_resumption.py"

MUTANTS = [
    *of(
        "core/sessions.py",
        RESUMPTION,
        (
            "seven-days",
            "RFC 8446 4.6.1",
            "MAX_LIFETIME = 7 * 24 * 3600",
            "MAX_LIFETIME = 8 * 24 * 3600",
            "core/test_sessions.py",
        ),
        (
            "session-is-over",
            "RFC 8446 4.6.1",
            "return self.issued_at - 60 <= wall_time < ends",
            "return self.issued_at - 60 <= wall_time",
            "core/test_hellos.py simulated/test_resumption.py",
        ),
        (
            "session-of-the-future",
            "RFC 8446 4.6.1",
            "return self.issued_at - 60 <= wall_time < ends",
            "return wall_time < ends",
            "core/test_sessions.py",
        ),
        (
            "lifetime-counts-from-the-proof",
            "RFC 8446 4.6.1",
            "ends = min(self.issued_at + self.lifetime, self.authenticated_at + MAX_LIFETIME)",
            "ends = self.issued_at + self.lifetime",
            "core/test_hellos.py core/test_sessions.py",
        ),
        (
            "store-is-bounded",
            "RFC 5246 F.1.4",
            "        self._sessions[session_id] = session\n"
            "        while len(self._sessions) > self._limit:\n",
            "        self._sessions[session_id] = session\n        while False:\n",
            "core/test_sessions.py simulated/test_resumption.py",
        ),
        (
            "ticket-is-used-once",
            "RFC 8446 C.4",
            "            kept.pop()\n",
            "            pass\n",
            "core/test_sessions.py simulated/test_resumption.py test_resumption.py",
        ),
        (
            "format-of-a-session",
            "RFC 5077 4",
            "            if reader.u8() != FORMAT:\n",
            "            if reader.u8() == 255:\n",
            "core/test_sessions.py",
        ),
        (
            "nothing-behind-a-session",
            "RFC 5077 4",
            "            reader.finish()\n",
            "",
            "core/test_sessions.py simulated/test_resumption.py",
        ),
    ),
    *of(
        "core/ticket_keys.py",
        "core/test_ticket_keys.py",
        (
            "old-ticket-keys-are-forgotten",
            "RFC 9325 3.4",
            "for index, key in self.keys.items() if index >= oldest}",
            "for index, key in self.keys.items()}",
        ),
        (
            "keys-of-long-ago-are-not-made",
            "RFC 9325 3.4",
            "            if self._index >= oldest:\n",
            "            if True:\n",
        ),
        (
            "the-state-moves-on",
            "RFC 9325 3.4",
            '            self._state = hmac.digest(self._state, NEXT_LABEL, "sha256")\n',
            "",
        ),
        (
            "a-wall-clock-that-runs-away",
            "RFC 9325 3.4",
            "        return wall_time if abs(wall_time - expected) <= self._period else expected\n",
            "        return wall_time\n",
        ),
        (
            "the-wall-clock-alone",
            "RFC 9325 3.4",
            "        if self._anchor is None:\n            self.advance(at)\n",
            "        self.advance(at)\n",
        ),
        (
            "steps-of-the-ratchet",
            "F3",
            "        if steps > MAX_STEPS:\n",
            "        if False:\n",
        ),
        (
            "steps-at-once",
            "F3",
            "        if turns and present <= self._present + MAX_STEPS:\n",
            "        if turns and present <= self._present + 50 * MAX_STEPS:\n",
        ),
        (
            "the-key-of-the-next-period",
            "RFC 5077 5.5",
            "            ratchet.turn(oldest, present + 1)\n",
            "            ratchet.turn(oldest, present)\n",
        ),
        (
            "ticket-key-period",
            "RFC 5077 5.5",
            "        if not 60 <= period <= MAX_LIFETIME:\n",
            "        if False:\n",
        ),
        (
            "old-secret-makes-no-ticket",
            "RFC 5077 5.5",
            "        key = self._ratchets[0].keys[self._present]\n",
            "        key = self._ratchets[-1].keys[self._present]\n",
        ),
        (
            "old-session-in-a-ticket",
            "RFC 8446 4.6.1",
            "        return session if session is not None and session.is_alive_at(at) else None\n",
            "        return session\n",
        ),
    ),
    *of(
        "core/shared_secrets.py",
        "core/test_ticket_keys.py core/test_cookies.py",
        (
            "shared-secret",
            "RFC 5077 5.5",
            "        if len(secret) < SECRET_LENGTH or not any(secret):\n",
            "        if len(secret) < SECRET_LENGTH:\n",
        ),
    ),
    *of(
        "core/listener.py",
        "core/test_listener.py core/test_ticket_keys.py",
        (
            "keys-turn-while-nobody-comes",
            "RFC 9325 3.4",
            "            self._turn_keys(now)\n        while",
            "            self._turn_keys_at = None\n        while",
        ),
        (
            "ticket-keys-live-on",
            "RFC 5077 5.5",
            "        self.config = config.succeeding(self.config) if self.config is not None else config\n",
            "        self.config = config\n",
        ),
        (
            "length-of-ids-stays",
            "RFC 9146 3",
            "            self._routes.check_length(config, self.config)\n",
            "            pass\n",
        ),
    ),
    *of(
        "core/handshake/resumption.py",
        RESUMPTION,
        (
            "lifetime-of-a-renewed-session",
            "RFC 8446 4.6.1",
            "lifetime=min(lifetime, rest),",
            "lifetime=lifetime,",
            "core/test_hellos.py simulated/test_resumption.py",
        ),
        (
            "a-renewed-session-proves-nothing-anew",
            "RFC 8446 4.6.1",
            "authenticated_at = negotiated.authenticated_at or now",
            "authenticated_at = now",
        ),
        (
            "session-of-another-name",
            "RFC 6066 3",
            "if session.server_hostname != server_hostname or not session.is_alive_at(wall_time):",
            "if not session.is_alive_at(wall_time):",
            "core/test_resumption.py",
        ),
        (
            "old-session-is-offered",
            "RFC 8446 4.6.1",
            "if session.server_hostname != server_hostname or not session.is_alive_at(wall_time):",
            "if session.server_hostname != server_hostname:",
            "core/test_hellos.py",
        ),
        (
            "suite-is-still-configured",
            "RFC 8446 4.6.1",
            "return suite if suite in config.suites and suite.version == session.version else None",
            "return suite",
            "core/test_resumption.py",
        ),
        (
            "session-of-another-psk-is-offered",
            "RFC 8446 2.2",
            '    if psk is None or (session.version == "1.2" and not psk.serves_dtls12):\n'
            "        return False\n"
            "    return hmac.compare_digest(psk_check(psk.key), session.psk_check)\n",
            "    return True\n",
            "core/test_resumption.py",
        ),
        (
            "psk-is-still-the-same",
            "RFC 8446 2.2",
            "        return psk is not None and hmac.compare_digest("
            "psk_check(psk.key), session.psk_check)\n"
            "    if not config.credential_list:",
            "        return True\n    if not config.credential_list:",
        ),
        (
            "client-is-still-trusted",
            "RFC 8446 2.2",
            "return still and (yield from is_still_trusted(hs, session))",
            "return still",
            "core/test_resumption.py",
        ),
        (
            "client-is-still-asked",
            "RFC 8446 2.2",
            '        still = config.client_auth != "none"\n',
            "        still = True\n",
            "core/test_resumption.py",
        ),
        (
            "client-without-a-certificate",
            "RFC 8446 2.2",
            '    return config.client_auth != "required"\n',
            "    return True\n",
            "core/test_resumption.py",
        ),
    ),
    *of(
        "core/handshake/resume12.py",
        RESUMPTION,
        (
            "server-is-still-trusted-12",
            "RFC 5246 F.1.4",
            '        yield from check_trust(hs, session.peer_chain, "server")\n',
            "        pass\n",
        ),
        (
            "finished-of-a-resuming-server",
            "RFC 5246 7.4.9",
            "    check_finished(hs, suite, master, SERVER_LABEL, finished)\n",
            "",
            "core/test_resumption.py",
        ),
        (
            "finished-of-a-resuming-client",
            "RFC 5246 7.4.9",
            "    check_finished(hs, suite, master, CLIENT_LABEL, finished)\n",
            "",
            "core/test_resumption.py",
        ),
        (
            "session-of-13-in-12",
            "RFC 5246 7.4.1.2",
            'if session is None or session.version != "1.2" or'
            " session.suite not in hello.cipher_suites:",
            "if session is None or session.suite not in hello.cipher_suites:",
            "core/test_sessions.py",
        ),
        (
            "suite-of-a-session-is-offered",
            "RFC 5246 7.4.1.2",
            'if session is None or session.version != "1.2" or'
            " session.suite not in hello.cipher_suites:",
            'if session is None or session.version != "1.2":',
            "core/test_resumption.py",
        ),
        (
            "ticket-without-extended-master-secret",
            "RFC 7627 5.3",
            "if not message.ticket or not hs.negotiated.extended_master_secret:",
            "if not message.ticket:",
            "core/test_resumption.py",
        ),
    ),
    *of(
        "core/handshake/server13.py",
        RESUMPTION,
        (
            "session-needs-a-share",
            "RFC 8446 4.2.9",
            'welcome = dhe and session.version == "1.3" and (yield from is_accepted(',
            'welcome = session.version == "1.3" and (yield from is_accepted(',
            "core/test_sessions.py",
        ),
        (
            "session-of-12-in-13",
            "RFC 8446 4.2.11",
            'welcome = dhe and session.version == "1.3" and (yield from is_accepted(',
            "welcome = dhe and (yield from is_accepted(",
            "core/test_sessions.py",
        ),
    ),
    *of(
        "core/handshake/client13.py",
        RESUMPTION,
        (
            "server-is-still-trusted-13",
            "RFC 8446 2.2",
            "    elif hs.negotiated.peer_chain:\n",
            "    elif False:\n",
        ),
    ),
    *of(
        "core/handshake/extensions/extended_master_secret.py",
        RESUMPTION,
        (
            "resumption-without-extended-master-secret",
            "RFC 7627 5.3",
            "    if not is_in(hello.extensions):\n",
            "    if False:\n",
            "core/test_deviations.py",
        ),
    ),
    *of(
        "core/handshake/resume12.py",
        RESUMPTION,
        (
            "resumed-with-another-suite",
            "RFC 5246 7.4.1.3",
            "if reply.cipher_suite != session.suite or not extended_master_secret.is_in(reply.extensions):",
            "if not extended_master_secret.is_in(reply.extensions):",
            "core/test_deviations.py",
        ),
        (
            "resumed-without-extended-master-secret",
            "RFC 7627 5.3",
            "if reply.cipher_suite != session.suite or not extended_master_secret.is_in(reply.extensions):",
            "if reply.cipher_suite != session.suite:",
            "core/test_deviations.py",
        ),
        (
            "session-without-extended-master-secret",
            "RFC 7627 5.3",
            "return hs.config.session_tickets > 0 and extended_master_secret.is_in(hello.extensions)",
            "return hs.config.session_tickets > 0",
            "core/test_resumption.py",
        ),
    ),
    *of(
        "core/handshake/resumption.py",
        RESUMPTION,
        (
            "name-is-the-same",
            "RFC 6066 3",
            "    if not server_name.may_resume(session, hello):\n",
            "    if False:\n",
            "core/test_resumption.py",
        ),
        (
            "protocol-is-the-same",
            "RFC 7301 3.1",
            "if not alpn.may_resume(config, session, hello) or suite_of(config, session) is None:",
            "if suite_of(config, session) is None:",
        ),
    ),
]
