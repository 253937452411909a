"""All fuzz targets by name, and where their inputs are kept."""

from pathlib import Path

from tests.fuzz import connections, parsers

TARGETS = {**parsers.TARGETS, **connections.TARGETS}
CORPUS = Path(__file__).parent / "corpus"
