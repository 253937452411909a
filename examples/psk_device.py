"""Devices with pre-shared keys reporting to a server, both in one process: no certificates.

The server looks keys up by identity, as it might in a database; the devices speak the suite that
constrained devices have, AES-128-CCM with the short tag.
"""

import asyncio

import aiodtls

SUITES = ["TLS_PSK_WITH_AES_128_CCM_8"]
KEYS = {b"sensor-1": bytes(range(16)), b"sensor-2": bytes(range(16, 32))}


async def find_key(identity: bytes, context: aiodtls.PSKContext) -> bytes | None:
    await asyncio.sleep(0.01)
    return KEYS.get(identity)


async def take_reports(server: aiodtls.DTLSServer, count: int) -> None:
    async for endpoint, report in server.messages():
        identity = endpoint.psk_identity or b""
        print(f"{identity.decode()} reports {report.decode()}")
        await endpoint.send(b"noted", split=False)
        count -= 1
        if not count:
            return


async def device(port: int, identity: bytes, report: bytes) -> None:
    psk = aiodtls.PSK(identity, KEYS[identity])
    config = aiodtls.DTLSConfig(psk=psk, cipher_suites=SUITES)
    async with aiodtls.connect("127.0.0.1", port, config=config) as endpoint:
        await endpoint.send(report, split=False)
        assert await endpoint.recv() == b"noted"


async def main() -> None:
    config = aiodtls.DTLSConfig(psk=find_key, cipher_suites=SUITES)
    async with aiodtls.serve(None, "127.0.0.1", config=config) as server:
        port = server.sockname[1]
        await asyncio.gather(
            take_reports(server, len(KEYS)),
            device(port, b"sensor-1", b"21.5 C"),
            device(port, b"sensor-2", b"48 %"),
        )


if __name__ == "__main__":
    asyncio.run(main())
