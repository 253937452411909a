"""Every known extension in every message: RFC 8446 section 4.2's table and its like for DTLS 1.2.

The table is written by hand from the RFCs, apart from the one that the parser uses. An extension
where the table has no mark ends the handshake with illegal_parameter, whatever was offered.
"""

from __future__ import annotations

import dataclasses
from functools import cache

import pytest

from aiodtls import DTLSConfig
from aiodtls.core.errors import DecodeError
from aiodtls.core.registry import ExtensionType
from aiodtls.core.wire.codec import Reader
from aiodtls.core.wire.extension_blocks import KNOWN, parse_extensions
from aiodtls.core.wire.extensions import StatusRequest
from aiodtls.core.wire.fragments import Fragment
from aiodtls.core.wire.messages import ServerHello, encode_body, parse_body
from aiodtls.core.wire.messages13 import (
    Certificate13,
    CertificateRequest13,
    EncryptedExtensions,
    HelloRetryRequest,
    NewSessionTicket13,
)
from aiodtls.core.wire.places import PLACES, Place
from tests.harness import CLIENT, SERVER
from tests.malicious import Deviation, seal, unknown, with_extension
from tests.simulated.variants import configs

# RFC 8446 section 4.2 for CH, SH, HRR, EE, CT, CR and NST; the extensions that it does not list
# by their own RFCs. SH12 is the ServerHello of DTLS 1.2.
TABLE = """
server_name                            CH SH12          EE
status_request                         CH SH12             CT CR
supported_groups                       CH SH12          EE
ec_point_formats                       CH SH12
signature_algorithms                   CH                     CR
use_srtp                               CH SH12          EE
application_layer_protocol_negotiation CH SH12          EE
signed_certificate_timestamp           CH SH12             CT CR
client_certificate_type                CH SH12          EE
server_certificate_type                CH SH12          EE
extended_master_secret                 CH SH12
record_size_limit                      CH SH12          EE
session_ticket                         CH SH12
pre_shared_key                         CH      SH
supported_versions                     CH      SH HRR
cookie                                 CH         HRR
psk_key_exchange_modes                 CH
certificate_authorities                CH                     CR
signature_algorithms_cert              CH                     CR
key_share                              CH      SH HRR
connection_id                          CH SH12 SH
rrc                                    CH SH12 SH
renegotiation_info                     CH SH12
"""
MARKS = {
    "CH": Place.CLIENT_HELLO,
    "SH12": Place.SERVER_HELLO_12,
    "SH": Place.SERVER_HELLO_13,
    "HRR": Place.HELLO_RETRY_REQUEST,
    "EE": Place.ENCRYPTED_EXTENSIONS,
    "CT": Place.CERTIFICATE,
    "CR": Place.CERTIFICATE_REQUEST,
    "NST": Place.NEW_SESSION_TICKET,
}
ALLOWED = {
    ExtensionType[line.split()[0]]: set(line.split()[1:]) for line in TABLE.split("\n")[1:-1]
}
# In RFC 8446's table, but not known here: nobody asks for them, and in hellos they are ignored.
UNKNOWN_HERE = {ExtensionType.early_data, ExtensionType.post_handshake_auth}
MISPLACED = [(mark, code) for mark in MARKS for code, marks in ALLOWED.items() if mark not in marks]
WELL_PLACED = [(mark, code) for code, marks in ALLOWED.items() for mark in sorted(marks)]


def named(case):
    return case.name if isinstance(case, ExtensionType) else case


def block(code: int, body: bytes) -> bytes:
    entry = code.to_bytes(2, "big") + len(body).to_bytes(2, "big") + body
    return len(entry).to_bytes(2, "big") + entry


def test_the_table_has_every_extension_and_message():
    assert set(ALLOWED) == set(ExtensionType) - UNKNOWN_HERE
    assert set(MARKS.values()) == set(Place)
    assert {(code, MARKS[mark]) for mark, code in WELL_PLACED} == set(KNOWN)
    assert set(PLACES) == set(ALLOWED)


@pytest.mark.parametrize(("mark", "code"), MISPLACED, ids=named)
def test_the_parser_refuses_a_misplaced_extension(mark, code):
    for body in (b"", b"\0", bytes(40)):
        with pytest.raises(DecodeError, match="is not allowed") as caught:
            parse_extensions(Reader(block(code, body)), MARKS[mark], required=True)
        assert caught.value.description.name == "illegal_parameter"


@pytest.mark.parametrize("mark", MARKS)
def test_the_parser_carries_an_extension_that_it_does_not_know(mark):
    for code in (0xFACE, *UNKNOWN_HERE):
        found = parse_extensions(Reader(block(code, b"x")), MARKS[mark])
        assert found == {code: unknown(code, b"x")}


# -- in handshakes -----------------------------------------------------------------------------

MESSAGES = {
    "SH12": ("both versions", ServerHello),
    "SH": ("mutual13", ServerHello),
    "HRR": ("retry13", HelloRetryRequest),
    "EE": ("mutual13", EncryptedExtensions),
    "CT": ("mutual13", Certificate13),
    "CR": ("mutual13", CertificateRequest13),
}


@cache
def made(variant: str) -> tuple[DTLSConfig, DTLSConfig]:
    """A client that offers everything, so that nothing is refused for not being asked for."""
    name = "mutual" if variant == "both versions" else variant
    client, server = configs(name)
    versions = {"versions": ["1.3", "1.2"]} if variant == "both versions" else {}
    client = dataclasses.replace(
        client,
        alpn_protocols=["h"],
        srtp_profiles=["SRTP_AEAD_AES_128_GCM"],
        request_ocsp_response=True,
        request_certificate_timestamps=True,
        **versions,
    )
    return client, server


@pytest.mark.parametrize(
    ("mark", "code"),
    # A ServerHello with supported_versions would be one of DTLS 1.3.
    [c for c in MISPLACED if c[0] in MESSAGES and c != ("SH12", ExtensionType.supported_versions)],
    ids=named,
)
def test_a_misplaced_extension_ends_the_handshake(mark, code):
    variant, kind = MESSAGES[mark]
    Deviation(made(variant), SERVER, kind, with_extension(unknown(code, b""))).is_refused(
        "illegal_parameter", match=f"extension {int(code)} is not allowed"
    )


@pytest.mark.parametrize("code", [c for mark, c in MISPLACED if mark == "CT"], ids=named)
def test_a_servers_side_refuses_it_beside_a_clients_certificate(code):
    Deviation("mutual13", CLIENT, Certificate13, with_extension(unknown(code, b""))).is_refused(
        "illegal_parameter", match=f"extension {int(code)} is not allowed"
    )


def test_a_certificate_request_may_ask_for_staples():
    """RFC 8446 section 4.2: status_request and signed_certificate_timestamp may stand there."""
    asks = with_extension(StatusRequest(), unknown(ExtensionType.signed_certificate_timestamp))
    Deviation("mutual13", SERVER, CertificateRequest13, asks).is_accepted()
    request = CertificateRequest13(
        parse_extensions(Reader(block(5, b"\1\0\0\0\0")), Place.CERTIFICATE_REQUEST)
    )
    assert parse_body(CertificateRequest13, encode_body(request)) == request


def test_what_a_client_does_not_know_in_a_certificate_request_is_ignored():
    asks = with_extension(unknown(0xFACE, b"x"))
    Deviation("mutual13", SERVER, CertificateRequest13, asks).is_accepted()


@pytest.mark.parametrize(
    ("code", "refused"),
    [(0xFACE, False), (ExtensionType.early_data, False)]
    + [(code, True) for mark, code in MISPLACED if mark == "NST"],
    ids=str,
)
def test_extensions_of_a_ticket(code, refused):
    """What a client does not know is ignored (RFC 8446 section 4.6.1)."""
    pair = Deviation("psk13", SERVER, EncryptedExtensions, lambda m: m).is_accepted().pair
    ticket = NewSessionTicket13(60, 0, b"\x09", b"ticket")
    body = encode_body(with_extension(unknown(code, bytes(4)))(ticket))
    seq = pair.server._driver.next_seq
    record = seal(pair.server, 22, Fragment(4, len(body), seq, 0, body).encode())
    pair.client.receive_datagram(record, SERVER, pair.now)
    assert pair.client.closed == refused
    if refused:
        assert "is not allowed in NEW_SESSION_TICKET" in str(pair.client.failure)


@pytest.mark.parametrize("variant", ["mutual", "mutual13"])
@pytest.mark.parametrize("code", [0xFACE, ExtensionType.early_data], ids=str)
def test_an_answer_to_what_was_not_asked(variant, code):
    """RFC 8446 section 4.2, RFC 5246 section 7.4.1.4."""
    kinds = [ServerHello]
    if variant == "mutual13":
        kinds += [EncryptedExtensions, Certificate13]
    for kind in kinds:
        Deviation(variant, SERVER, kind, with_extension(unknown(code, b""))).is_refused(
            "unsupported_extension"
        )
    Deviation("retry13", SERVER, HelloRetryRequest, with_extension(unknown(code, b""))).is_refused(
        "unsupported_extension", match="HelloRetryRequest has extension"
    )
