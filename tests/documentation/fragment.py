"""``python -m tests.documentation.fragment FILE NAME...`` runs a fragment with names given to it.

The names are those that the first line of the fragment says, ``# with endpoint, config``.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

import aiodtls


class KeyService:
    """Stands for a key that never leaves its hardware."""

    async def sign(self, scheme: str, data: bytes) -> bytes:
        raise NotImplementedError


class Store:
    """Stands for a place that outlives the process."""

    def __init__(self) -> None:
        self.states: list[bytes] = []

    def put(self, state: bytes) -> None:
        self.states.append(state)


class Names:
    """Makes each name when it is asked for."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._made: dict[str, Any] = {}

    async def get(self, name: str) -> Any:
        if name not in self._made:
            value = getattr(self, f"_{name}")()
            self._made[name] = await value if inspect.isawaitable(value) else value
        return self._made[name]

    def _credentials(self) -> aiodtls.Credentials:
        return aiodtls.Credentials.from_files("cert.pem", "key.pem")

    def _key(self) -> bytes:
        return os.urandom(32)

    _secret = _key

    def _trust(self) -> aiodtls.Trust:
        return aiodtls.Trust.from_files("ca.pem")

    def _device_key(self) -> ec.EllipticCurvePrivateKey:
        return ec.generate_private_key(ec.SECP256R1())

    def _server_public_key(self) -> ec.EllipticCurvePublicKey:
        return self._device_key().public_key()

    def _key_service(self) -> KeyService:
        return KeyService()

    def _store(self) -> Store:
        return Store()

    async def _states(self) -> list[bytes]:
        await self.get("endpoint")
        server: aiodtls.DTLSServer = await self.get("server")
        return server.export_all(await self.get("key"))

    async def _config(self) -> aiodtls.DTLSConfig:
        return aiodtls.DTLSConfig(credentials=await self.get("credentials"))

    async def _client_config(self) -> aiodtls.DTLSConfig:
        return aiodtls.DTLSConfig(trust=await self.get("trust"))

    async def _server(self) -> aiodtls.DTLSServer:
        async def echo(endpoint: aiodtls.DTLSEndpoint) -> None:
            async for data in endpoint:
                await endpoint.send(data)

        config = await self.get("config")
        return await self._stack.enter_async_context(
            aiodtls.serve(echo, "127.0.0.1", config=config)
        )

    async def _endpoint(self) -> aiodtls.DTLSEndpoint:
        server = await self.get("server")
        endpoint = await self._stack.enter_async_context(
            aiodtls.connect(
                *server.sockname[:2],
                server_hostname="sensor.example",
                config=await self.get("client_config"),
            )
        )
        # The server's tickets are acknowledged with the answer: an export is possible then.
        await endpoint.send(b"hello")
        await endpoint.recv()
        return endpoint


async def run(file: Path, wanted: list[str]) -> None:
    """Runs the fragment once; it may await."""
    async with AsyncExitStack() as stack:
        names = Names(stack)
        namespace: dict[str, Any] = {"__name__": "__main__"}
        for name in wanted:
            namespace[name] = await names.get(name)
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        ended = eval(compile(file.read_text(), str(file), "exec", flags), namespace)
        if inspect.isawaitable(ended):
            await asyncio.wait_for(ended, 30)


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), sys.argv[2:]))
