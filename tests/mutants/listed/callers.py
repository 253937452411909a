"""What callers give: types, ranges and messages."""

from __future__ import annotations

from tests.mutants.mutant import of

CHECKS = "core/test_checks.py test_arguments.py"

MUTANTS = [
    *of(
        "core/checks.py",
        CHECKS,
        (
            "true-is-no-number",
            "api.md: every value is checked, by type too",
            "isinstance(value, int) and not isinstance(value, bool)",
            "isinstance(value, int)",
        ),
        (
            "not-a-number",
            "a timeout is a finite number",
            "math.isfinite(value) if isinstance(value, float) else _is_int(value)",
            "isinstance(value, float) or _is_int(value)",
        ),
        (
            "text-is-no-sequence",
            "a sequence of names is no text",
            "isinstance(value, kind) and not isinstance(value, TEXT)",
            "isinstance(value, kind)",
        ),
        (
            "one-message-for-several",
            "send_many takes several messages",
            "if isinstance(several, TEXT) or not isinstance(several, Iterable):",
            "if not isinstance(several, Iterable):",
        ),
        (
            "empty-message",
            "an empty message is refused",
            "if not (content := bytes(data)):",
            "if (content := bytes(data)) is None:",
        ),
        (
            "handlers-are-async",
            "a handler is an async function",
            "callable(value) and _is_async(value) in allowed",
            "callable(value)",
        ),
    ),
    *of(
        "sending.py",
        "test_arguments.py",
        (
            "empty-message-on-the-fast-path",
            "an empty message is refused",
            "        if not size:\n",
            "        if size < 0:\n",
        ),
    ),
    *of(
        "core/held_hellos.py",
        "core/test_held_hellos.py",
        (
            "held-hellos-are-bounded",
            "design.md: bytes kept of strangers are bounded",
            "while self._bytes > limit:",
            "while False:",
        ),
        (
            "one-held-hello-for-each-address",
            "one hello for each address",
            "        self.take(address)\n        datagram",
            "        datagram",
        ),
    ),
    *of(
        "core/listener.py",
        "core/test_held_hellos.py test_protocol.py",
        (
            "a-held-hello-begins-the-handshake",
            "accept takes the hello that waits",
            "        if hello is not None:\n            connection.receive_datagram(hello, peer, now)\n",
            "",
        ),
    ),
    *of(
        "protocol.py",
        "test_protocol.py",
        (
            "nothing-begins-after-close",
            "a closed protocol takes no new associations",
            '        if self._is_closed:\n            raise DTLSError("the protocol',
            '        if False:\n            raise DTLSError("the protocol',
        ),
    ),
    *of(
        "client.py",
        "test_arguments.py",
        (
            "port-at-the-call",
            "a port is checked at the call",
            "        sockets.check_port(port)\n",
            "        pass\n",
        ),
    ),
]
