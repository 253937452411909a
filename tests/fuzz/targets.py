"""All fuzz targets by name, and where their inputs are kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.fuzz import connections, parsers

TARGETS: dict[str, Callable[[bytes], None]] = {**parsers.TARGETS, **connections.TARGETS}
CORPUS = Path(__file__).parent / "corpus"
