"""What is chosen from the other side's offer: versions, suites, PSKs, credentials."""

from __future__ import annotations

from tests.mutants.mutant import of

MUTANTS = [
    *of(
        "core/handshake/negotiate.py",
        "core/test_negotiate.py",
        (
            "a-group-for-ecdhe",
            "RFC 8422 4",
            "        if exchange.uses_ecdhe and group is None:\n            continue\n",
            "",
        ),
        (
            "psks-of-those-who-need-certificates",
            "psk_satisfies_client_auth",
            "        if exchange.uses_psk and not config.serves_psk:\n            continue\n",
            "",
        ),
        (
            "no-group-without-ecdhe",
            "RFC 8422 4",
            "group if exchange.uses_ecdhe else None)",
            "group)",
        ),
        (
            "dtls-12-that-was-not-offered",
            "RFC 5246 7.4.1.3",
            "reply.server_version != ProtocolVersion.DTLSv1_2 or not config.speaks12",
            "reply.server_version != ProtocolVersion.DTLSv1_2",
        ),
        (
            "a-suite-of-dtls-13-in-dtls-12",
            "RFC 5246 7.4.1.3",
            "suite is None or suite not in config.suites or suite.key_exchange is None",
            "suite is None or suite not in config.suites",
        ),
    ),
    *of(
        "core/handshake/negotiate13.py",
        "core/test_negotiate.py",
        (
            "an-echoed-session-id",
            "RFC 8446 4.1.4",
            "    if retry.session_id != offer.hello.session_id:\n",
            "    if True:\n",
        ),
        (
            "a-suite-of-dtls-12-in-dtls-13",
            "RFC 8446 4.1.3",
            "suite is None or suite not in config.suites or suite.key_exchange is not None",
            "suite is None or suite not in config.suites",
        ),
        (
            "modes-without-psks",
            "RFC 8446 4.2.9",
            "    if psk and ExtensionType.psk_key_exchange_modes not in extensions:\n",
            "    if ExtensionType.psk_key_exchange_modes not in extensions:\n",
        ),
        (
            "the-server-chooses-a-suite-of-dtls-13",
            "RFC 8446 4.1.1",
            "if s.key_exchange is None and s.code in hello.cipher_suites]",
            "if s.code in hello.cipher_suites]",
        ),
        (
            "the-server-chooses-an-offered-suite",
            "RFC 8446 4.1.1",
            "if s.key_exchange is None and s.code in hello.cipher_suites]",
            "if s.key_exchange is None]",
        ),
        (
            "few-hidden-identities",
            "RFC 8446 E.6",
            "range(min(len(psks.identities), MAX_PSKS))",
            "range(MAX_PSKS)",
        ),
        (
            "a-ticket-of-dtls-12",
            "RFC 8446 4.2.11",
            'SUITES[session.suite].hash_name if session.version == "1.3" else None',
            "SUITES[session.suite].hash_name",
        ),
        (
            "the-hash-of-a-ticket",
            "RFC 8446 4.2.11",
            "    if session is not None:\n        return SUITES[session.suite]",
            "    if False:\n        return SUITES[session.suite]",
        ),
        (
            "the-hash-of-a-psk-to-be-asked-for",
            "RFC 8446 4.2.11",
            "    if config.psk_function is not None:\n        return _hash_of_binder(binder)\n",
            "",
        ),
        (
            "the-length-of-a-binder",
            "RFC 8446 4.2.11",
            "for name, length in HASH_LENGTHS.items() if length == len(binder))",
            "for name, length in HASH_LENGTHS.items())",
        ),
    ),
    *of(
        "core/handshake/psks.py",
        "core/test_negotiate.py",
        (
            "one-known-psk-changes-no-order",
            "prefer_psk",
            "    if len(known) < 2:\n",
            "    if len(known) < 1:\n",
        ),
        (
            "the-order-of-two-known-psks",
            "prefer_psk",
            "    if len(known) < 2:\n",
            "    if len(known) < 3:\n",
        ),
        (
            "a-psk-of-another-context",
            "RFC 9258 3",
            "return derived if derived.identity == imported.encode() else None",
            "return derived",
        ),
    ),
    *of(
        "core/handshake/offer13.py",
        "core/test_negotiate.py",
        (
            "a-session-of-dtls-12-is-no-psk",
            "RFC 8446 4.2.11",
            '    if session is not None and session.version == "1.2":\n',
            "    if False:\n",
        ),
        (
            "a-session-of-dtls-13-is-a-psk",
            "RFC 8446 4.2.11",
            "        psks = (OfferedPsk.resumption(session, session.ticket), *psks)\n",
            "        pass\n",
        ),
    ),
    *of(
        "core/handshake/credential_choice.py",
        "core/test_negotiate.py",
        (
            "the-kind-of-key-of-a-suite",
            "RFC 8422 2",
            "        if credentials.key_exchange is not suite.key_exchange:\n            continue\n",
            "",
        ),
        (
            "a-curve-that-the-client-takes",
            "RFC 8422 5.1",
            "        if not supported_groups.takes_curve(hello, credentials):\n            continue\n",
            "",
        ),
        (
            "no-list-of-schemes",
            "RFC 5246 7.4.1.4.1",
            "    if peer_schemes is None:\n        return None\n",
            "    if peer_schemes is None:\n        peer_schemes = config.schemes\n",
        ),
        (
            "no-credentials-at-all",
            "anonymous_fallback",
            "    if config.credential_list and not config.anonymous_fallback:\n",
            "    if not config.anonymous_fallback:\n",
        ),
        (
            "our-kind-of-key",
            "anonymous_fallback",
            '        check_anonymous(config, "the server accepts no certificate with our kind of key")\n',
            "        return None\n",
        ),
        (
            "types-of-a-server-without-certificates",
            "RFC 7250 4.2",
            "    if config.credential_list and not usable:\n",
            "    if not usable:\n",
        ),
    ),
]
