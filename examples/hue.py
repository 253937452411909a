"""Streams colours to the lights of a Hue bridge: its entertainment API, which is DTLS with a PSK.

The bridge gives a user name and a client key when its button is pressed, and listens once the
entertainment area has been started through its REST API.

usage: hue.py HOST:PORT USER CLIENT-KEY AREA-ID [SECONDS]
"""

import asyncio
import colorsys
import struct
import sys

import aiodtls

CHANNELS = 3
RATE = 25
RGB = 0


def frame(area: str, number: int) -> bytes:
    """A HueStream message, version 2.0: for each channel three colours of 16 bits."""
    message = b"HueStream\2\0" + bytes((number % 256, 0, 0, RGB, 0)) + area.encode()
    for channel in range(CHANNELS):
        hue = (number / (5 * RATE) + channel / CHANNELS) % 1
        colours = (round(65535 * part) for part in colorsys.hsv_to_rgb(hue, 1, 1))
        message += struct.pack("!BHHH", channel, *colours)
    return message


async def main(target: str, user: str, key: str, area: str, seconds: float) -> None:
    host, _, port = target.rpartition(":")
    config = aiodtls.DTLSConfig(
        psk=aiodtls.PSK(user, bytes.fromhex(key)),
        # What the bridge has, and nothing else.
        versions=["1.2"],
        cipher_suites=["TLS_PSK_WITH_AES_128_GCM_SHA256"],
        # Bridges know no extended master secret (RFC 7627).
        require_extended_master_secret=False,
    )
    async with aiodtls.connect(host, int(port), config=config) as endpoint:
        print(f"connected by {endpoint.cipher_suite}")
        for number in range(round(RATE * seconds)):
            await endpoint.send(frame(area, number), split=False)
            await asyncio.sleep(1 / RATE)


if __name__ == "__main__":
    if len(sys.argv) not in (5, 6):
        sys.exit(__doc__)
    target, user, key, area, *seconds = sys.argv[1:]
    asyncio.run(main(target, user, key, area, float(seconds[0]) if seconds else 10.0))
