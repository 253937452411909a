"""Sends one line to a syslog server over DTLS (RFC 6012), such as rsyslog's imdtls.

usage: syslog.py HOST:PORT CA-FILE CERTIFICATE KEY MESSAGE
"""

import asyncio
import socket
import sys
from datetime import UTC, datetime

import aiodtls

# Facility "user", severity "informational" (RFC 5424 section 6.2.1).
PRIORITY = 8 * 1 + 6
# RFC 6012 puts the length before each message, because a record may carry several. rsyslog takes a
# record as a message, and would read the length as a part of it.
FRAMED = False


def line(text: str) -> bytes:
    """A message of RFC 5424: version 1, without a process id, message id and structured data."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return f"<{PRIORITY}>1 {now} {socket.gethostname()} aiodtls - - - {text}".encode()


async def main(target: str, ca: str, certificate: str, key: str, text: str) -> None:
    host, _, port = target.rpartition(":")
    config = aiodtls.DTLSConfig(
        trust=aiodtls.Trust.from_files(ca),
        # Servers ask for a certificate (RFC 6012 section 5.3).
        credentials=aiodtls.Credentials.from_files(certificate, key),
    )
    async with aiodtls.connect(host, int(port), config=config) as endpoint:
        message = line(text)
        if FRAMED:
            message = b"%d %s" % (len(message), message)
        await endpoint.send(message, split=False)
        print(f"sent by DTLS {endpoint.version}, {endpoint.cipher_suite}")


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:]))
