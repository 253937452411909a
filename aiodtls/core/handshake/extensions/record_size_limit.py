"""record_size_limit: the largest protected record that each side accepts (RFC 8449)."""

from __future__ import annotations

from aiodtls.core.config import DTLSConfig
from aiodtls.core.handshake.script import Handshake
from aiodtls.core.registry import ProtocolVersion
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions import Extension
from aiodtls.core.wire.extensions13 import RecordSizeLimit
from aiodtls.core.wire.messages import ClientHello
from aiodtls.core.wire.records import MAX_PLAINTEXT_LENGTH


def offer(config: DTLSConfig) -> list[Extension]:
    """Our limit, counted as the newest version that we offer counts it."""
    return [_own_limit(config, is_dtls13=config.version_list[0] is ProtocolVersion.DTLSv1_3)]


def accept(hs: Handshake, hello: ClientHello) -> None:
    """Puts both limits into force, if the client named its own."""
    _limit_records(hs, hello.extensions)


def reply(hs: Handshake, hello: ClientHello) -> list[Extension]:
    """Our limit, if the client named its own."""
    if RecordSizeLimit.type not in hello.extensions:
        return []
    return [_own_limit(hs.config, is_dtls13=_is_dtls13(hs))]


def check_reply(hs: Handshake, extensions: Extensions) -> None:
    """Puts both limits into force, if the server named its own."""
    _limit_records(hs, extensions)


def _limit_records(hs: Handshake, peer: Extensions) -> None:
    limit = peer.find(RecordSizeLimit)
    if limit is None:
        hs.keys.limit_records(MAX_PLAINTEXT_LENGTH, MAX_PLAINTEXT_LENGTH)
        return
    is_dtls13 = _is_dtls13(hs)
    own = _own_limit(hs.config, is_dtls13=is_dtls13)
    sent, received = (_plaintext_limit(item, is_dtls13=is_dtls13) for item in (limit, own))
    hs.keys.limit_records(sent, received)


def _own_limit(config: DTLSConfig, *, is_dtls13: bool) -> RecordSizeLimit:
    """The largest record that we accept. DTLS 1.3 counts the content type too (RFC 8449
    section 4).
    """
    most = MAX_PLAINTEXT_LENGTH + is_dtls13
    return RecordSizeLimit(min(config.record_size_limit or most, most))


def _plaintext_limit(limit: RecordSizeLimit, *, is_dtls13: bool) -> int:
    """How many bytes of plaintext a protected record may have under this limit."""
    return min(limit.limit - is_dtls13, MAX_PLAINTEXT_LENGTH)


def _is_dtls13(hs: Handshake) -> bool:
    return hs.negotiated.version == "1.3"
