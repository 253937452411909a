"""What README.md shows works as it stands."""

from __future__ import annotations

import asyncio
import contextlib
import re
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

import aiodtls

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


async def test_its_server_hears_both_families(tmp_path, free_udp_port, monkeypatch):
    [block] = [block for block in BLOCKS if "aiodtls.serve(" in block]
    own = aiodtls.Credentials.self_signed("localhost")
    monkeypatch.chdir(tmp_path)
    Path("cert.pem").write_bytes(own.leaf.public_bytes(Encoding.PEM))
    Path("key.pem").write_bytes(
        own.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    assert "4433" in block and "asyncio.run(main())\n" in block
    names: dict[str, Any] = {}
    exec(block.replace("4433", str(free_udp_port)).replace("asyncio.run(main())\n", ""), names)
    serving = asyncio.ensure_future(names["main"]())
    config = aiodtls.DTLSConfig(trust=aiodtls.Trust.fingerprints(own.fingerprint()))
    try:
        async with asyncio.timeout(30):
            for host in ("127.0.0.1", "::1"):
                endpoint = None
                while endpoint is None:
                    # Until the server is bound.
                    with contextlib.suppress(ConnectionRefusedError):
                        endpoint = await aiodtls.connect(host, free_udp_port, config=config)
                async with endpoint:
                    await endpoint.send(b"hello")
                    assert await endpoint.recv() == b"hello"
    finally:
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
