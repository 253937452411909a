"""Who the peer is: names, what is said of them, and PSKs."""

from __future__ import annotations

from tests.mutants.mutant import of

MUTANTS = [
    *of(
        "core/crypto/names.py",
        "core/test_names.py",
        (
            "address-as-a-name",
            "RFC 9525 6.5",
            "    if isinstance(wanted, x509.IPAddress):\n        return wanted.value in [\n"
            "            _canonical(name.value) for name in names if isinstance(name, x509.IPAddress)\n"
            "        ]\n",
            "    if isinstance(wanted, x509.IPAddress):\n"
            "        return str(wanted.value) in [str(name.value) for name in names]\n",
        ),
        (
            "trailing-dot-of-a-certificate",
            "RFC 9525 6.3",
            "patterns = {name.value.lower() for",
            'patterns = {name.value.lower().removesuffix(".") for',
        ),
        (
            "number-at-the-end-of-a-name",
            "RFC 9525 4.1",
            "        or _NUMBER.fullmatch(labels[-1])\n",
            "",
        ),
        (
            "characters-of-a-host-name",
            "RFC 9525 6.3",
            "        or not all(_LABEL.fullmatch(label) for label in labels)\n",
            "",
        ),
        (
            "length-of-a-host-name",
            "RFC 1035 2.3.4",
            "        length > MAX_NAME_LENGTH\n        or not all",
            "        not all",
        ),
        (
            "names-in-an-error",
            "bound on output",
            'listed = shown(", ".join(str(name.value) for name in names[:MAX_NAMES_SHOWN]))',
            'listed = ", ".join(str(name.value) for name in names)',
        ),
    ),
    *of(
        "core/crypto/chains.py",
        "core/test_peer_text.py",
        (
            "issuer-in-an-error",
            "CWE-117",
            "issuer = shown(last.issuer.rfc4514_string())",
            "issuer = last.issuer.rfc4514_string()",
        ),
    ),
    *of(
        "core/crypto/trust.py",
        "core/test_certificate_authorities.py",
        (
            "names-of-authorities",
            "RFC 8446 4.2.4",
            "return names if sum(_NAME_HEADER + len(name) for name in names) <= limit else ()",
            "return names",
        ),
    ),
    *of(
        "core/wire/extensions.py",
        "core/test_peer_text.py",
        (
            "control-characters-in-a-server-name",
            "CWE-117",
            "not (host_name := name.decode()).isprintable()",
            "not (host_name := name.decode())",
        ),
    ),
    *of(
        "core/pre_shared_keys.py",
        "core/test_pre_shared_keys.py core/test_psks.py",
        (
            "short-psk",
            "RFC 9257 6",
            "    if len(key) < LEAST_SAFE_KEY_LENGTH:\n",
            "    if False:\n",
        ),
        (
            "imported-psk-in-dtls12",
            "RFC 9258 4",
            "        return self.context is None\n",
            "        return True\n",
        ),
        (
            "empty-identity-in-dtls13",
            "RFC 8446 4.2.11",
            "        return bool(self.identity) and self.hash.lower() == hash_name\n",
            "        return self.hash.lower() == hash_name\n",
        ),
        (
            "hash-of-a-psk-without-a-suite",
            "RFC 8446 4.2.11",
            "        return bool(self.identity) and self.hash.lower() == hash_name\n",
            "        return bool(self.identity)\n",
        ),
    ),
    *of(
        "core/handshake/authenticate.py",
        "core/test_trust_functions.py",
        (
            "function-that-says-nothing",
            "docs/configuration.md",
            "    if answer is not True:\n",
            "    if not answer:\n",
        ),
        (
            "name-after-a-function",
            "RFC 9525 6",
            "        trust.check_accepted(chain, peer_role=peer_role,"
            " server_hostname=hs.server_hostname)\n",
            "        pass\n",
        ),
        (
            "role-in-a-trust-context",
            "docs/configuration.md",
            '"client" if peer_role == "server" else "server"',
            "peer_role",
        ),
    ),
    *of(
        "core/crypto/trust.py",
        "core/test_trust_functions.py",
        (
            "name-of-a-client-after-a-function",
            "RFC 9525 6",
            '        if not self._checks_name or peer_role != "server":\n',
            "        if not self._checks_name:\n",
        ),
        (
            "size-of-a-leaf-after-a-function",
            "bound on work",
            "        check_size(leaf)\n",
            "",
        ),
        (
            "parameters-of-a-trust-function",
            "docs/configuration.md",
            "        _check_parameters(function)\n",
            "",
        ),
    ),
    *of(
        "core/handshake/authenticate.py",
        "core/test_psks.py",
        (
            "imported-psk-found-in-dtls12",
            "RFC 9258 4",
            'if isinstance(found, PSK) and hs.negotiated.version == "1.2" and not'
            " found.serves_dtls12:",
            "if False:",
        ),
    ),
    *of(
        "core/config.py",
        "core/test_psks.py faults/test_hidden_identities.py",
        (
            "psk-satisfies-client-auth",
            "client_auth",
            'self.client_auth != "required" or self.psk_satisfies_client_auth',
            "True",
        ),
        (
            "prefer-psk-only",
            "RFC 8446 E.6",
            '(not self.credential_list or self.prefer_psk == "only")',
            "not self.credential_list",
        ),
    ),
    *of(
        "core/handshake/resumption.py",
        "core/test_psks.py",
        (
            "session-of-a-psk-and-client-auth",
            "client_auth",
            "        if not config.serves_psk:\n",
            "        if False:\n",
        ),
    ),
    *of(
        "core/handshake/negotiate.py",
        "core/test_psks.py",
        (
            "psk-suite-and-client-auth",
            "client_auth",
            "        if exchange.uses_psk and not config.serves_psk:\n",
            "        if False:\n",
        ),
    ),
    *of(
        "core/handshake/negotiate13.py",
        "core/test_psks.py faults/test_hidden_identities.py",
        (
            "suite-of-a-hidden-identity",
            "RFC 8446 E.6",
            "        if hidden:\n",
            "        if False:\n",
        ),
        (
            "order-of-hidden-identities",
            "RFC 8446 E.6",
            "for index in order if hidden else preference(config, psks.identities):",
            "for index in preference(config, psks.identities):",
            "faults/test_hidden_identities.py core/test_negotiate13.py",
        ),
        (
            "suite-of-a-refused-psk",
            "client_auth",
            "    if not config.serves_psk:\n        return None\n    if config.psk_function",
            "    if config.psk_function",
        ),
    ),
    *of(
        "core/handshake/server13.py",
        "faults/test_hidden_identities.py core/test_psks.py",
        (
            "hidden-identity-falls-back",
            "RFC 8446 E.6",
            "        if found is None and config.hides_identities:\n",
            "        if False:\n",
        ),
        (
            "questions-about-hidden-identities",
            "RFC 8446 E.6",
            "            if psk.session is not None or not hs.config.hides_identities:\n"
            "                break\n",
            "            break\n",
        ),
        (
            "psk-and-client-auth",
            "client_auth",
            "    if not hs.config.serves_psk:\n        return None\n    return (yield",
            "    return (yield",
        ),
    ),
    *of(
        "core/connection.py",
        "core/test_deferred_trust.py",
        (
            "peer-without-a-certificate-is-held",
            "docs/configuration.md",
            "            held=any(\n",
            "            held=bool(negotiated.peer_chain)\n            and any(\n",
        ),
        (
            "rejected-data-is-dropped",
            "docs/configuration.md",
            "        self._inbox.clear()\n        self._leave(",
            "        self._leave(",
        ),
        (
            "rejection-is-told-again",
            "RFC 9147 5.10",
            "            self._alerts.send_farewell(addr)\n",
            "            self._alerts.send_close_notify(addr)\n",
        ),
    ),
    *of(
        "log.py",
        "test_log.py",
        (
            "lines-in-total",
            "bound on output",
            "if not (source.has_token(now) and total.has_token(now)):",
            "if not source.has_token(now):",
        ),
        (
            "lines-of-one-network",
            "bound on output",
            "if not (source.has_token(now) and total.has_token(now)):",
            "if not total.has_token(now):",
        ),
        (
            "networks-that-are-counted",
            "bound on memory",
            "        if len(self._sources) > MAX_SOURCES:\n",
            "        if False:\n",
        ),
    ),
]
