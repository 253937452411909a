"""The server's hello exchange; the version then forks it.

Address validation is the listener's (``cookies.py``): what comes in here is the ClientHello whose
cookie it checked, or, for an address known to be good, nothing, and the hello is the first message.
"""

from __future__ import annotations

from aiodtls.core.cookies import ValidatedHello
from aiodtls.core.handshake import negotiate
from aiodtls.core.handshake.script import Handshake, Script
from aiodtls.core.handshake.server12 import server12
from aiodtls.core.wire.messages import ClientHello


def server(hs: Handshake, validated: ValidatedHello | None) -> Script:
    """ClientHello decides about the version."""
    if validated is None:
        hello = yield from hs.expect(ClientHello)
    else:
        hello = validated.hello
        hs.transcript.add(hello.msg_type, validated.message_seq, validated.body)
    negotiate.check_client_version(hello)
    yield from server12(hs, hello)
