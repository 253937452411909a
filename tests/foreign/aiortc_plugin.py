"""Lets DTLS be ours in aiortc's own tests (``test_aiortc_suite.py``)."""

from __future__ import annotations

from aiodtls.contrib import aiortc

aiortc.install()
