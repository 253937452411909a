"""The server's hello exchange; the version then forks it.

Address validation is the listener's (``cookies.py``): what comes in here is the ClientHello whose
cookie it checked, or, for an address known to be good, nothing, and the hello is the first message.
"""

from __future__ import annotations

from aiodtls.core.cookies import ValidatedHello
from aiodtls.core.handshake import negotiate
from aiodtls.core.handshake.script import Handshake, Script
from aiodtls.core.handshake.server12 import server12
from aiodtls.core.handshake.server13 import server13
from aiodtls.core.registry import HandshakeType, ProtocolVersion
from aiodtls.core.wire.messages import ClientHello


def server(hs: Handshake, validated: ValidatedHello | None) -> Script:
    """ClientHello decides about the version."""
    if validated is None:
        hello = yield from hs.expect(ClientHello)
    else:
        hello = validated.hello
        if validated.retry is not None:
            retry = validated.retry
            hs.transcript.begin_with_hash(retry.hello_hash)
            hs.transcript.add(HandshakeType.server_hello, 0, retry.body)
        hs.transcript.add(hello.msg_type, validated.message_seq, validated.body)
    version = negotiate.choose_version(hs.config, hello)
    if version is ProtocolVersion.DTLSv1_3:
        yield from server13(hs, hello, validated.retry if validated else None)
    else:
        yield from server12(hs, hello)
