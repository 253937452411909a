"""Asks an SNMP agent over DTLS what it is (RFC 6353), such as net-snmp's snmpd.

usage: snmp.py HOST:PORT CA-FILE CERTIFICATE KEY
"""

import asyncio
import sys

import aiodtls

INTEGER, OCTETS, NULL, OID, SEQUENCE, GET = 2, 4, 5, 6, 0x30, 0xA0
ENGINE_ID = bytes((0x2B, 6, 1, 6, 3, 10, 2, 1, 1, 0))
SYS_DESCR = bytes((0x2B, 6, 1, 2, 1, 1, 1, 0))
# The most that a message may have; the transport security model (RFC 5591); and the flags:
# reportable, encrypted, authenticated, which DTLS makes it.
LARGEST, TRANSPORT_SECURITY, FLAGS = 1400, 4, b"\7"
# Whichever engine answers (RFC 5343). It is asked for its own id first.
LOCAL_ENGINE = bytes((0x80, 0, 0, 0, 6))


def value(kind: int, *parts: bytes) -> bytes:
    """BER: type, length, contents."""
    text = b"".join(parts)
    size = bytes((len(text),)) if len(text) < 128 else b"\x82" + len(text).to_bytes(2, "big")
    return bytes((kind,)) + size + text


def integer(number: int) -> bytes:
    return value(INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big"))


async def get(endpoint: aiodtls.DTLSEndpoint, engine: bytes, name: bytes) -> bytes:
    """A GET of SNMPv3 (RFC 3412 section 6), and the value in the answer."""
    wanted = value(SEQUENCE, value(SEQUENCE, value(OID, name), value(NULL)))
    pdu = value(GET, integer(1), integer(0), integer(0), wanted)
    scoped = value(SEQUENCE, value(OCTETS, engine), value(OCTETS), pdu)
    head = (integer(1), integer(LARGEST), value(OCTETS, FLAGS), integer(TRANSPORT_SECURITY))
    message = value(SEQUENCE, integer(3), value(SEQUENCE, *head), value(OCTETS), scoped)
    await endpoint.send(message, split=False)
    answer = await asyncio.wait_for(endpoint.recv(), 10)
    found = answer[answer.index(value(OID, name)) + len(value(OID, name)) :]
    # The only variable ends the message. A length of 128 or more has bytes of its own.
    return found[2 + (found[1] & 127 if found[1] > 127 else 0) :]


async def main(target: str, *files: str) -> None:
    host, _, port = target.rpartition(":")
    # The agent takes our name, and what we may see, from our certificate.
    trust = aiodtls.Trust.from_files(files[0])
    config = aiodtls.DTLSConfig(trust=trust, credentials=aiodtls.Credentials.from_files(*files[1:]))
    async with aiodtls.connect(host, int(port), config=config) as endpoint:
        engine = await get(endpoint, LOCAL_ENGINE, ENGINE_ID)
        print((await get(endpoint, engine, SYS_DESCR)).decode())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:])) if len(sys.argv) == 5 else sys.exit(__doc__)
