"""UDP for asyncio. It knows nothing of DTLS."""
