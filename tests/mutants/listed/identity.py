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
            "issuer = shown(chain[-1].issuer.rfc4514_string())",
            "issuer = chain[-1].issuer.rfc4514_string()",
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
