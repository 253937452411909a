"""Who is believed: certificates, raw keys, fingerprints and names."""

from __future__ import annotations

from tests.mutants.mutant import of

CREDENTIALS = "core/test_credentials.py core/test_chains.py"

MUTANTS = [
    *of(
        "core/crypto/certificates.py",
        CREDENTIALS,
        (
            "expired",
            "RFC 5280 6.1.3",
            "    if now > certificate.not_valid_after_utc:\n",
            "    if False:\n",
        ),
        (
            "not-valid-yet",
            "RFC 5280 6.1.3",
            "    elif now < certificate.not_valid_before_utc:\n",
            "    elif False:\n",
        ),
        (
            "digital-signature",
            "RFC 5280 4.2.1.3",
            "if usage is not None and not usage.digital_signature:",
            "if False:",
        ),
        (
            "extended-key-usage",
            "RFC 5280 4.2.1.12",
            "if not allows_role(extension(leaf, x509.ExtendedKeyUsage), peer_role):",
            "if False:",
        ),
        (
            "role-of-an-extended-key-usage",
            "RFC 5280 4.2.1.12",
            "wanted = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH",
            "wanted = ExtendedKeyUsageOID.SERVER_AUTH",
        ),
        (
            "name-of-a-server",
            "RFC 9525 6",
            "if server_hostname is not None and matches(names, server_hostname):",
            "if server_hostname is not None:",
        ),
        (
            "no-name-given",
            "RFC 9525 6",
            "if server_hostname is not None and matches(names, server_hostname):",
            "if server_hostname is None or matches(names, server_hostname):",
        ),
        (
            "wildcard-of-a-registry",
            "RFC 9525 6.3",
            'return wanted.value in patterns or ("." in parent and f"*.{parent}" in patterns)',
            'return wanted.value in patterns or f"*.{parent}" in patterns',
        ),
        (
            "long-chain",
            "RFC 5280 6.1",
            "    if len(chain) > MAX_CHAIN_LENGTH:\n",
            "    if False:\n",
        ),
        (
            "weak-or-long-rsa-key",
            "RFC 9325 4.5",
            "    if not MINIMUM_RSA_BITS <= bits <= MAXIMUM_RSA_BITS:\n",
            "    if bits > MAXIMUM_RSA_BITS:\n",
        ),
        (
            "longest-rsa-key",
            "bound on work",
            "    if not MINIMUM_RSA_BITS <= bits <= MAXIMUM_RSA_BITS:\n",
            "    if bits < MINIMUM_RSA_BITS:\n",
        ),
        (
            "rsa-exponent",
            "bound on work",
            "    if exponent_bits > MAXIMUM_EXPONENT_BITS:\n",
            "    if False:\n",
        ),
        (
            "kinds-of-keys",
            "bound on work",
            "        if certificate.public_key_algorithm_oid not in _KEY_ALGORITHMS:\n",
            "        if False:\n",
        ),
    ),
    *of(
        "core/crypto/chains.py",
        "core/test_chains.py core/test_credentials.py",
        (
            "size-of-a-certificate",
            "bound on work",
            "    if size > MAX_CERTIFICATE_SIZE:\n",
            "    if False:\n",
        ),
        (
            "signature-checks",
            "bound on work",
            "        if search.checks > MAX_SIGNATURE_CHECKS:\n",
            "        if False:\n",
        ),
        (
            "names-and-constraints",
            "bound on work",
            "        elif comparisons > MAX_NAME_CHECKS:\n",
            "        elif False:\n",
        ),
        (
            "self-signed-copies",
            "bound on work",
            "useful = [issuer for issuer in issuers if issuer not in useless]",
            "useful = issuers",
        ),
        (
            "key-cert-sign",
            "RFC 5280 4.2.1.3",
            "    if usage is not None and not usage.key_cert_sign:\n",
            "    if False:\n",
        ),
        (
            "usage-of-a-ca",
            "RFC 5280 4.2.1.12",
            "        if not allows_role(usage, role):\n",
            "        if False:\n",
        ),
        (
            "basic-constraints",
            "RFC 5280 4.2.1.9",
            "        .require_present(x509.BasicConstraints, agnostic, None)\n",
            "",
        ),
    ),
    *of(
        "core/crypto/trust.py",
        CREDENTIALS,
        (
            "raw-key-is-expected",
            "RFC 7250 4.4",
            "        if not known:\n",
            "        if False:\n",
            "core/test_raw_public_keys.py",
        ),
        (
            "fingerprint",
            "RFC 8122 6.2",
            "        if not any(fingerprint_of(name, leaf) == digest for name, digest in self._pins):\n",
            "        if False:\n",
        ),
        (
            "dates-of-a-pin",
            "RFC 5280 6.1.3",
            "        check_dates(leaf, wall_time)\n        # A pinned",
            "        # A pinned",
        ),
        (
            "not-marked-as-a-ca",
            "a message that says why",
            "not_a_ca is not None and not_a_ca not in self._cas",
            "False",
            "test_messages.py",
        ),
        (
            "name-of-a-pin",
            "RFC 9525 6",
            '        if peer_role == "server" and subject_names(leaf):\n',
            "        if False:\n",
        ),
        (
            "pin-issues-nothing",
            "RFC 5280 4.2.1.9",
            "        if self._anchors is None:\n            raise refusal(",
            "        if self._anchors is None:\n            return\n        if False:\n            raise refusal(",
        ),
        (
            "chain",
            "RFC 5280 6.1",
            "        self._anchors.check(chain, peer_role, wall_time)\n",
            "",
        ),
        (
            "usage-of-a-leaf",
            "RFC 5280 4.2.1.3",
            "        check_usage(leaf, peer_role)\n",
            "",
        ),
        (
            "name-in-a-chain",
            "RFC 9525 6",
            '        if peer_role == "server":\n            check_name(leaf, server_hostname)\n\n\n',
            "\n\n",
        ),
        (
            "keys-before-signatures",
            "bound on work",
            "        check_keys(chain, CertificateType.X509)\n",
            "",
        ),
        (
            "no-certificate",
            "RFC 5246 7.4.2",
            "    if not chain:\n        raise refusal(AlertDescription.bad_certificate",
            "    if False:\n        raise refusal(AlertDescription.bad_certificate",
        ),
    ),
]
