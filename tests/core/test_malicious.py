"""The malicious peer itself: it alters what it is told to, and nothing else."""

from __future__ import annotations

import pytest

from aiodtls.core.wire.extensions import ALPN
from aiodtls.core.wire.messages import ClientHello, Finished, ServerHello
from aiodtls.core.wire.messages13 import EncryptedExtensions
from tests.harness import CLIENT, SERVER
from tests.malicious import Deviation, Raw, unknown, with_body, with_extension, with_fields
from tests.simulated.variants import VARIANTS


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_a_deviation_that_changes_nothing_is_accepted(variant, side):
    Deviation(variant, side, Finished, lambda message: message).is_accepted()


@pytest.mark.parametrize("variant", ["certificate", "psk", "certificate13", "psk13", "retry13"])
def test_both_transcripts_hold_the_altered_message(variant):
    """An extension that nobody knows, in a ClientHello: the handshake goes on."""
    Deviation(variant, CLIENT, ClientHello, with_extension(unknown(0xFACE, b"x"))).is_accepted()


def test_a_message_may_be_any_bytes_more_or_none():
    Deviation(
        "certificate13", SERVER, EncryptedExtensions, with_body(lambda b: b + b"\0")
    ).is_refused("decode_error")
    Deviation("certificate13", SERVER, EncryptedExtensions, lambda m: []).is_refused(
        "unexpected_message", match="encrypted_extensions was expected"
    )
    Deviation("certificate13", SERVER, EncryptedExtensions, lambda m: [m, m]).is_refused(
        "unexpected_message"
    )
    Deviation("psk", CLIENT, Finished, lambda m: Raw(m.msg_type, bytes(12))).is_refused(
        "decrypt_error"
    )


def test_a_change_may_look_at_the_handshake():
    seen = []

    def change(message, hs):
        seen.append(hs.negotiated.suite)
        return message

    Deviation("psk13", SERVER, EncryptedExtensions, change).is_accepted()
    assert seen[0].name.startswith("TLS_")


def test_the_second_of_two_messages_can_be_altered_alone():
    deviation = Deviation("retry13", CLIENT, ClientHello, with_fields(session_id=b"x" * 5), only=1)
    assert deviation.run().pair.connected
    with pytest.raises(AssertionError, match="sent no ClientHello"):
        Deviation("psk13", CLIENT, ClientHello, lambda m: m, only=1).run()
    with pytest.raises(AssertionError, match="sent no ServerHello"):
        Deviation("psk13", CLIENT, ServerHello, lambda m: m).run()
    with pytest.raises(AssertionError, match="connected"):
        Deviation("psk13", SERVER, ServerHello, lambda m: m).is_refused("illegal_parameter")
    Deviation("psk13", SERVER, EncryptedExtensions, with_extension(ALPN((b"h",)))).is_refused(
        "unsupported_extension"
    )
