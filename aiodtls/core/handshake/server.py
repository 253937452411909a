"""The server's hello exchange. Then the script of the chosen version continues.

The listener validates addresses (``cookies.py``). ``validated`` is the ClientHello whose cookie it
checked. It is None if the address is known to be good; then the script waits for the first hello.
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
    """Chooses the version from the ClientHello."""
    if validated is None:
        hello = yield from hs.expect(ClientHello)
    else:
        hello = validated.hello
        if validated.retry is not None:
            retry = validated.retry
            hs.transcript.begin_with_hash(retry.hello_hash)
            hs.transcript.add(HandshakeType.server_hello, 0, retry.body)
        hs.transcript.add(hello.msg_type, validated.message_seq, validated.body)
    # From here on a repeat of this hello is known as one, also where it is refused.
    hs.negotiated.client_random = hello.random
    hs.enter("negotiation")
    version = negotiate.choose_version(hs.config, hello)
    if version is ProtocolVersion.DTLSv1_3:
        yield from server13(hs, hello, validated.retry if validated else None)
    else:
        yield from server12(hs, hello)
