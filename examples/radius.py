"""Asks a RADIUS server over DTLS whether a user may log in (RFC 7360), such as radsecproxy.

usage: radius.py HOST:PORT CA-FILE CERTIFICATE KEY USER PASSWORD
"""

import asyncio
import hashlib
import hmac
import os
import struct
import sys

import aiodtls

# DTLS protects the packets, so everybody uses this secret (RFC 7360 section 2.1).
SECRET = b"radius/dtls"
ACCESS_REQUEST, ANSWERS = 1, {2: "accepted", 3: "rejected", 11: "challenged"}
USER_NAME, USER_PASSWORD, REPLY_MESSAGE, NAS_IDENTIFIER, AUTHENTICATOR = 1, 2, 18, 32, 80


def attribute(kind: int, value: bytes) -> bytes:
    return bytes((kind, 2 + len(value))) + value


def hidden(password: bytes, random: bytes) -> bytes:
    """RFC 2865 section 5.2."""
    padded, chain, before = password + bytes(-len(password) % 16), b"", random
    for at in range(0, len(padded), 16):
        pad = hashlib.md5(SECRET + before).digest()
        before = bytes(a ^ b for a, b in zip(padded[at : at + 16], pad, strict=True))
        chain += before
    return chain


def request(user: str, password: str, random: bytes) -> bytes:
    # Message-Authenticator goes first, so that nobody can forge the answer by a collision of MD5.
    rest = attribute(USER_NAME, user.encode()) + attribute(NAS_IDENTIFIER, b"aiodtls")
    rest += attribute(USER_PASSWORD, hidden(password.encode(), random))
    head = struct.pack("!BBH", ACCESS_REQUEST, 1, 20 + 18 + len(rest)) + random
    mac = hmac.digest(SECRET, head + attribute(AUTHENTICATOR, bytes(16)) + rest, "md5")
    return head + attribute(AUTHENTICATOR, mac) + rest


async def main(target: str, ca: str, cert: str, key: str, user: str, password: str) -> None:
    host, _, port = target.rpartition(":")
    trust = aiodtls.Trust.from_files(ca)
    mine = aiodtls.Credentials.from_files(cert, key)
    config = aiodtls.DTLSConfig(trust=trust, credentials=mine)
    random = os.urandom(16)
    async with aiodtls.connect(host, int(port), config=config) as endpoint:
        await endpoint.send(request(user, password, random), split=False)
        answer = await asyncio.wait_for(endpoint.recv(), 10)
    signed = hashlib.md5(answer[:4] + random + answer[20:] + SECRET).digest()
    assert hmac.compare_digest(answer[4:20], signed), "the answer is not the server's"
    print(f"{user} is {ANSWERS[answer[0]]} by DTLS {endpoint.version}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:])) if len(sys.argv) == 7 else sys.exit(__doc__)
