"""From our errors to the names that the runner expects on standard error.

One row for each way to fail that a test provokes: what the message of our exception says, and the
runner's name. What has no row is shown as itself, and matches nothing. Where the runner has finer
names than we have errors, ErrorMap in config.json says which of ours stands for which of its own.
"""

from __future__ import annotations

from aiodtls.core.errors import CertificateError, HandshakeTimeout, PeerAlert

ROWS: tuple[tuple[str, str], ...] = (
    ("more bytes than max_certificate_length", "EXCESSIVE_MESSAGE_SIZE"),
    ("keys were updated too often", "TOO_MANY_KEY_UPDATES"),
    ("lacks a PSK that the first offers", "PSK_IDENTITY_NOT_FOUND"),
    ("accepts none of our certificate types", "UNKNOWN_CERTIFICATE_TYPE"),
    ("an alert has two bytes", "BAD_ALERT"),
    ("versions", "NO_SUPPORTED_VERSIONS_ENABLED"),
    ("accepts no issuer of our credentials", "NO_MATCHING_ISSUER"),
    ("the server accepts no certificate", "UNKNOWN_CERTIFICATE_TYPE"),
    ("the server takes no signature scheme of our keys", "NO_COMMON_SIGNATURE_ALGORITHMS"),
    ("the function for the OCSP response raised", "OCSP_CB_ERROR"),
    ("an alert of level", "UNKNOWN_ALERT_TYPE"),
    ("a record is too long", "DATA_LENGTH_TOO_LONG"),
    ("a record of unknown type 0", "DECRYPTION_FAILED_OR_BAD_RECORD_MAC"),
    ("a record of unknown type", "UNEXPECTED_MESSAGE"),
    ("the numbers of binders and PSKs differ", "PSK_IDENTITY_BINDER_COUNT_MISMATCH"),
    (" is not allowed in ", "UNEXPECTED_EXTENSION"),
    ("the peer's message: ", "DECODE_ERROR"),
    (" was expected, the peer sent ", "UNEXPECTED_MESSAGE"),
    (" after the handshake", "UNEXPECTED_MESSAGE"),
    ("a handshake message under old keys follows a change of keys", "UNEXPECTED_MESSAGE"),
    ("the peer's Finished does not verify", "DIGEST_CHECK_FAILED"),
    ("the server answers with HelloVerifyRequest", "UNSUPPORTED_PROTOCOL"),
    ("no cipher suite in common", "NO_SHARED_CIPHER"),
    ("no group in common", "NO_SHARED_CIPHER"),
    ("no signature scheme of the client fits our keys", "NO_COMMON_SIGNATURE_ALGORITHMS"),
    ("no version in common", "UNSUPPORTED_PROTOCOL"),
    ("the server changed the version after HelloVerifyRequest", "INVALID_MESSAGE"),
    ("downgrade attack: the server saw a lower version than we offered", "TLS13_DOWNGRADE"),
    ("ClientHello: legacy fields with forbidden values", "DECODE_ERROR"),
    ("the application refuses: bad_certificate_status_response", "OCSP_CB_ERROR"),
    ("the server chose a PSK that was not offered", "PSK_IDENTITY_NOT_FOUND"),
    ("ServerHello without key_share", "MISSING_KEY_SHARE"),
    ("the server chose none of our PSKs", "MISSING_EXTENSION"),
    ("the client's binder does not verify", "DIGEST_CHECK_FAILED"),
    ("pre_shared_key is not the last extension", "PRE_SHARED_KEY_MUST_BE_LAST"),
    ("no PSK of the client is known", "PSK_IDENTITY_NOT_FOUND"),
    ("the client offers no PSK", "MISSING_EXTENSION"),
    ("no PSK key exchange mode in common", "NO_SUPPORTED_PSK_MODE"),
    ("the server chose cipher suite ", "WRONG_CIPHER_RETURNED"),
    ("the server chose version ", "UNSUPPORTED_PROTOCOL"),
    ("the client speaks at most version ", "UNSUPPORTED_PROTOCOL"),
    ("the server answers extension ", "UNEXPECTED_EXTENSION"),
    ("a session id in DTLS 1.3", "DECODE_ERROR"),
    ("no message_seq is left for a handshake message", "overflow"),
    ("ALPN: the server chose a name that was not offered", "INVALID_ALPN_PROTOCOL"),
    ("ALPN: the function chose a name that was not offered", "INVALID_ALPN_PROTOCOL"),
    ("the ALPN function accepts none", "NO_APPLICATION_PROTOCOL"),
    ("no ALPN protocol in common", "NO_APPLICATION_PROTOCOL"),
    ("use_srtp: the server's choice was not offered", "BAD_SRTP_PROTECTION_PROFILE_LIST"),
)

# OpenSSL's two families of names for alerts received: those of SSL 3.0, and those of TLS.
SSLV3_ALERTS = {
    "unexpected_message",
    "bad_record_mac",
    "handshake_failure",
    "bad_certificate",
    "unsupported_certificate",
    "certificate_revoked",
    "certificate_expired",
    "certificate_unknown",
    "illegal_parameter",
}


def name_of(error: BaseException) -> str:
    """What to print for the end of a connection: a name with colons, and our own words."""
    alert = error if isinstance(error, PeerAlert) else error.__cause__
    if isinstance(alert, PeerAlert):
        family = "SSLV3" if alert.description in SSLV3_ALERTS else "TLSV1"
        return f":{family}_ALERT_{alert.description.upper()}: {error}"
    if isinstance(error, HandshakeTimeout) or "not acknowledge our last flight" in str(error):
        return f":READ_TIMEOUT_EXPIRED: {error}"
    text = str(error)
    for words, name in ROWS:
        if words in text:
            return f":{name}: {text}"
    if isinstance(error, CertificateError):
        return f":CERTIFICATE_VERIFY_FAILED: {text}"
    return f"{type(error).__name__}: {text}"
