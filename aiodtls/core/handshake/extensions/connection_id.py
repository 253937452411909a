"""connection_id, and rrc (the return routability check).

Each side names the id that the peer's records must carry. An empty id means: I will use yours, but
need none (RFC 9146 section 3, RFC 9147 section 9, RFC 9853 section 3).
"""

from __future__ import annotations

from aiodtls.core.errors import AlertError
from aiodtls.core.handshake.script import Handshake
from aiodtls.core.registry import AlertDescription
from aiodtls.core.wire.extension_blocks import Extensions
from aiodtls.core.wire.extensions import ConnectionId, Extension, ReturnRoutability
from aiodtls.core.wire.messages import ClientHello

# How many bytes of data a datagram must have room for, besides the peer's connection id, header,
# nonce, content type and tag.
LEAST_PAYLOAD = 64
OVERHEAD = 13 + 8 + 1 + 16
RRC = ReturnRoutability()


def offer(hs: Handshake) -> list[Extension]:
    """The client's extensions, the same in each of its hellos."""
    if not hs.negotiated.own_cid:
        hs.negotiated.own_cid = hs.own_ids.new()
    extensions: list[Extension] = [ConnectionId(hs.negotiated.own_cid)]
    if hs.config.checks_routability:
        extensions.append(RRC)
    return extensions


def reply(hs: Handshake, hello: ClientHello) -> list[Extension]:
    """The server's answer, if the client sent the extension."""
    asked = hello.extensions.find(ConnectionId)
    if asked is None:
        return []
    hs.negotiated.own_cid = hs.own_ids.new()
    rrc = hs.config.checks_routability and ReturnRoutability.type in hello.extensions
    _agree(hs, asked.cid, rrc=rrc)
    answer: list[Extension] = [ConnectionId(hs.negotiated.own_cid)]
    return [*answer, RRC] if rrc else answer


def check_reply(hs: Handshake, extensions: Extensions) -> None:
    """Takes the server's id. Without one the id that we offered is dropped."""
    answer = extensions.find(ConnectionId)
    if answer is None:
        hs.own_ids.clear()
        hs.negotiated.own_cid = b""
        return
    _agree(hs, answer.cid, rrc=ReturnRoutability.type in extensions)


def _agree(hs: Handshake, peer_cid: bytes, *, rrc: bool) -> None:
    check_length(peer_cid, hs.datagram_size)
    hs.negotiated.peer_cid = peer_cid
    hs.negotiated.rrc = rrc
    hs.own_ids.expect(expected=bool(hs.negotiated.own_cid))


def check_length(cid: bytes, datagram_size: int) -> None:
    """Raises :class:`AlertError` for an id that leaves no room for data."""
    if datagram_size - OVERHEAD - len(cid) < LEAST_PAYLOAD:
        raise AlertError(
            AlertDescription.illegal_parameter,
            f"a connection id of {len(cid)} bytes is too long for datagrams of {datagram_size}",
        )
