"""What single extensions offer, accept and reply."""

from __future__ import annotations

from tests.mutants.mutant import of

EXTENSIONS = "core/test_extensions.py"
FOLDER = "core/handshake/extensions"

MUTANTS = [
    *of(
        f"{FOLDER}/supported_groups.py",
        EXTENSIONS,
        (
            "a-group-of-both",
            "RFC 8422 4",
            "(group for group in config.named_groups12 if group in groups.groups)",
            "(group for group in config.named_groups12)",
        ),
        (
            "groups-for-suites-that-need-them",
            "RFC 8422 4",
            "    if groups and (config.speaks13 or uses_ecdhe12(config)):\n",
            "    if groups:\n",
        ),
        (
            "groups-for-one-suite-that-needs-them",
            "RFC 8422 4",
            "    return any(s.key_exchange is not None and s.key_exchange.uses_ecdhe",
            "    return all(s.key_exchange is not None and s.key_exchange.uses_ecdhe",
        ),
        (
            "the-curve-of-a-key",
            "RFC 8422 5.1",
            "credentials.curve is None or credentials.curve in groups.groups",
            "credentials.curve is None or bool(groups.groups)",
        ),
    ),
    *of(
        f"{FOLDER}/alpn.py",
        EXTENSIONS,
        (
            "a-protocol-of-both",
            "RFC 7301 3.2",
            "        if protocol in offered.protocols:\n",
            "        if protocol:\n",
        ),
        (
            "a-client-without-alpn",
            "RFC 7301 3.1",
            "    if offered is None or not config.alpn:\n",
            "    if not config.alpn:\n",
        ),
        (
            "a-server-without-alpn",
            "RFC 7301 3.1",
            "    if offered is None or not config.alpn:\n",
            "    if offered is None:\n",
        ),
        (
            "an-alpn-function-chooses-an-offered-name",
            "RFC 7301 3.1",
            "    if chosen is not None and chosen not in names:\n",
            "    if False:\n",
        ),
    ),
    *of(
        f"{FOLDER}/record_size_limit.py",
        EXTENSIONS,
        (
            "a-limit-is-answered-to-a-limit",
            "RFC 8449 4",
            "    if RecordSizeLimit.type not in hello.extensions:\n",
            "    if False:\n",
        ),
        (
            "a-peer-without-a-limit",
            "RFC 8449 4",
            "        hs.keys.limit_records(MAX_PLAINTEXT_LENGTH, MAX_PLAINTEXT_LENGTH)\n",
            "        hs.keys.limit_records(64, 64)\n",
        ),
        (
            "the-limit-of-the-newest-version",
            "RFC 8449 4",
            "is_dtls13=config.version_list[0] is ProtocolVersion.DTLSv1_3",
            "is_dtls13=False",
        ),
    ),
    *of(
        f"{FOLDER}/ec_point_formats.py",
        EXTENSIONS,
        (
            "points-are-answered-to-points",
            "RFC 8422 5.2",
            "    if group is not None and hello.extensions.find(ECPointFormats):\n",
            "    if group is not None:\n",
        ),
        (
            "points-are-answered-for-a-group",
            "RFC 8422 5.2",
            "    if group is not None and hello.extensions.find(ECPointFormats):\n",
            "    if hello.extensions.find(ECPointFormats):\n",
        ),
    ),
    *of(
        f"{FOLDER}/certificate_types.py",
        EXTENSIONS,
        (
            "x509-alone-is-not-named",
            "RFC 7250 4.1",
            "    if shown and shown != _X509_ALONE:\n",
            "    if shown:\n",
        ),
        (
            "a-client-type-is-answered-where-it-is-asked-for",
            "RFC 7250 4.2",
            "    if asked is not None and hello.extensions.find(ClientCertificateTypes):\n",
            "    if asked is not None:\n",
        ),
        (
            "a-server-type-is-answered-where-it-is-asked-for",
            "RFC 7250 4.2",
            "    if credentials is not None and hello.extensions.find(ServerCertificateTypes):\n",
            "    if credentials is not None:\n",
        ),
    ),
    *of(
        f"{FOLDER}/certificate_authorities.py",
        EXTENSIONS,
        (
            "no-issuers-of-raw-keys",
            "RFC 7250 4.2",
            "    if asked is not CertificateType.X509:\n        return ()\n",
            "",
        ),
        (
            "no-issuers-without-certificates",
            "RFC 8446 4.2.4",
            "    if authorities and config.offers_certificates:\n",
            "    if authorities:\n",
        ),
    ),
    *of(
        f"{FOLDER}/certificate_status.py",
        "core/test_certificate_status.py",
        (
            "a-response-that-was-not-asked-for",
            "RFC 6066 8",
            "    if credentials is None or StatusRequest.type not in hello.extensions:\n",
            "    if credentials is None:\n",
        ),
    ),
    *of(
        f"{FOLDER}/connection_id.py",
        EXTENSIONS,
        (
            "routability-is-answered-where-it-is-asked-for",
            "RFC 9853 3",
            "hs.config.checks_routability and ReturnRoutability.type in hello.extensions",
            "hs.config.checks_routability",
            "core/test_extensions.py",
        ),
        (
            "routability-that-is-off",
            "RFC 9853 3",
            "hs.config.checks_routability and ReturnRoutability.type in hello.extensions",
            "ReturnRoutability.type in hello.extensions",
        ),
        (
            "an-id-that-is-not-answered",
            "RFC 9146 3",
            "        hs.own_ids.clear()\n",
            "",
        ),
    ),
    *of(
        f"{FOLDER}/psk_key_exchange_modes.py",
        EXTENSIONS,
        (
            "a-mode-without-forward-secrecy",
            "RFC 8446 4.2.9",
            "    if has_own_psk and not config.require_forward_secrecy:\n",
            "    if has_own_psk:\n",
        ),
        (
            "tickets-are-resumed-with-a-group",
            "RFC 8446 4.2.9",
            "    if has_own_psk and not config.require_forward_secrecy:\n",
            "    if not config.require_forward_secrecy:\n",
        ),
    ),
    *of(
        f"{FOLDER}/server_name.py",
        EXTENSIONS,
        (
            "no-name-with-strict-names",
            "RFC 6066 3",
            '    if name is None or hs.config.server_name_policy == "any":\n',
            '    if hs.config.server_name_policy == "any":\n',
        ),
        (
            "addresses-are-no-names",
            "RFC 6066 3",
            "    return name.value if isinstance(name, DNSName) else None\n",
            "    return str(name.value)\n",
        ),
    ),
    *of(
        f"{FOLDER}/signature_algorithms.py",
        EXTENSIONS,
        (
            "schemes-for-certificates",
            "RFC 8446 4.2.3",
            "peer.find(SignatureAlgorithmsCert) or peer.find(SignatureAlgorithms)",
            "peer.find(SignatureAlgorithms)",
        ),
        (
            "schemes-for-certificates-by-default",
            "RFC 8446 4.2.3",
            "peer.find(SignatureAlgorithmsCert) or peer.find(SignatureAlgorithms)",
            "peer.find(SignatureAlgorithmsCert)",
        ),
    ),
    *of(
        f"{FOLDER}/session_ticket.py",
        EXTENSIONS,
        (
            "tickets-of-dtls-12",
            "RFC 5077 3.2",
            "if config.speaks12 and config.session_tickets else []",
            "if config.session_tickets else []",
        ),
    ),
]
