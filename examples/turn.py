"""Gets a relayed address from a TURN server over DTLS (RFC 7350), such as coturn.

usage: turn.py HOST:PORT CA-FILE USER PASSWORD
"""

import asyncio
import hashlib
import hmac
import ipaddress
import os
import struct
import sys

import aiodtls

COOKIE = 0x2112A442
ALLOCATE, ALLOCATED, OVER_UDP = 0x0003, b"\1\3", bytes((17, 0, 0, 0))
USERNAME, INTEGRITY, REALM, NONCE, RELAYED, TRANSPORT = 0x06, 0x08, 0x14, 0x15, 0x16, 0x19


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def message(attributes: bytes, key: bytes | None = None) -> bytes:
    """A STUN message (RFC 8489 section 5), with MESSAGE-INTEGRITY if there is a key."""
    length = len(attributes) + (24 if key else 0)
    text = struct.pack("!HHI", ALLOCATE, length, COOKIE) + os.urandom(12) + attributes
    return text + attribute(INTEGRITY, hmac.digest(key, text, "sha1")) if key else text


def attributes_of(text: bytes) -> dict[int, bytes]:
    found, rest = {}, text[20:]
    while rest:
        kind, length = struct.unpack_from("!HH", rest)
        found[kind], rest = rest[4 : 4 + length], rest[4 + length + -length % 4 :]
    return found


async def main(target: str, ca: str, user: str, password: str) -> None:
    host, _, port = target.rpartition(":")
    config = aiodtls.DTLSConfig(trust=aiodtls.Trust.from_files(ca))
    async with aiodtls.connect(host, int(port), config=config) as endpoint:
        await endpoint.send(message(attribute(TRANSPORT, OVER_UDP)), split=False)
        # The refusal brings what the key is made of (RFC 8489 section 9.2).
        refused = attributes_of(await asyncio.wait_for(endpoint.recv(), 10))
        secret = b":".join((user.encode(), refused[REALM], password.encode()))
        proof = attribute(USERNAME, user.encode()) + attribute(REALM, refused[REALM])
        proof += attribute(NONCE, refused[NONCE]) + attribute(TRANSPORT, OVER_UDP)
        await endpoint.send(message(proof, hashlib.md5(secret).digest()), split=False)
        answer = await asyncio.wait_for(endpoint.recv(), 10)
    assert answer[:2] == ALLOCATED, "the server refused"
    _, number, address = struct.unpack("!HHI", attributes_of(answer)[RELAYED])
    relay = f"{ipaddress.ip_address(address ^ COOKIE)}:{number ^ COOKIE >> 16}"
    print(f"relayed address {relay}, by DTLS {endpoint.version}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:])) if len(sys.argv) == 5 else sys.exit(__doc__)
