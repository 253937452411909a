"""Lets coaps:// be ours in aiocoap's own tests (``test_aiocoap_suite.py``)."""

from __future__ import annotations

import pytest

from aiodtls.contrib import aiocoap as coaps

coaps.install()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Its key has 88 bits, of which we warn; the tests take any warning for a failure."""
    for item in items:
        module = getattr(item, "module", None)
        if hasattr(module, "PSK"):
            module.PSK = "the PSK key, of 128 bits"
