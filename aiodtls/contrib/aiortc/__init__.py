"""Our DTLS under aiortc's WebRTC. Needs ``pip install aiodtls[aiortc]``."""

from aiodtls.contrib.aiortc.installing import install, installed
from aiodtls.contrib.aiortc.transport import DTLSTransport

__all__ = ["DTLSTransport", "install", "installed"]
