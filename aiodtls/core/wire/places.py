"""Which messages may carry which extension: RFC 8446 section 4.2, and the equivalent for DTLS 1.2.

Only the parser of extension blocks uses this table. An extension that is not in the table is
unknown to us; it is kept as bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from aiodtls.core.registry import ExtensionType


class Place(IntEnum):
    """The messages that carry extensions. A ServerHello of each version has its own member."""

    CLIENT_HELLO = 1
    SERVER_HELLO_12 = 2
    SERVER_HELLO_13 = 3
    HELLO_RETRY_REQUEST = 4
    ENCRYPTED_EXTENSIONS = 5
    # The extensions of a certificate entry in DTLS 1.3.
    CERTIFICATE = 6
    CERTIFICATE_REQUEST = 7
    NEW_SESSION_TICKET = 8


_CH = Place.CLIENT_HELLO
_SH12 = Place.SERVER_HELLO_12
_SH13 = Place.SERVER_HELLO_13
_HRR = Place.HELLO_RETRY_REQUEST
_EE = Place.ENCRYPTED_EXTENSIONS
_CT = Place.CERTIFICATE
_CR = Place.CERTIFICATE_REQUEST

PLACES: Mapping[int, frozenset[Place]] = {
    code: frozenset(places)
    for code, places in {
        ExtensionType.server_name: (_CH, _SH12, _EE),
        ExtensionType.status_request: (_CH, _SH12, _CR, _CT),
        # DTLS 1.2 does not allow it in a ServerHello (RFC 8422 section 5.1.1), but some servers
        # send it.
        ExtensionType.supported_groups: (_CH, _SH12, _EE),
        ExtensionType.ec_point_formats: (_CH, _SH12),
        ExtensionType.signature_algorithms: (_CH, _CR),
        ExtensionType.use_srtp: (_CH, _SH12, _EE),
        ExtensionType.application_layer_protocol_negotiation: (_CH, _SH12, _EE),
        ExtensionType.signed_certificate_timestamp: (_CH, _SH12, _CR, _CT),
        ExtensionType.client_certificate_type: (_CH, _SH12, _EE),
        ExtensionType.server_certificate_type: (_CH, _SH12, _EE),
        ExtensionType.extended_master_secret: (_CH, _SH12),
        ExtensionType.record_size_limit: (_CH, _SH12, _EE),
        ExtensionType.session_ticket: (_CH, _SH12),
        ExtensionType.pre_shared_key: (_CH, _SH13),
        ExtensionType.supported_versions: (_CH, _SH13, _HRR),
        ExtensionType.cookie: (_CH, _HRR),
        ExtensionType.psk_key_exchange_modes: (_CH,),
        ExtensionType.certificate_authorities: (_CH, _CR),
        ExtensionType.signature_algorithms_cert: (_CH, _CR),
        ExtensionType.key_share: (_CH, _SH13, _HRR),
        ExtensionType.connection_id: (_CH, _SH12, _SH13),
        ExtensionType.rrc: (_CH, _SH12, _SH13),
        ExtensionType.renegotiation_info: (_CH, _SH12),
    }.items()
}
