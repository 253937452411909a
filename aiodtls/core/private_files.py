"""Files that only their owner may read, and that are taken once."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

MODE = 0o600


def write(path: str | os.PathLike[str], data: bytes) -> None:
    """Replaces the file in one step. Nobody else can read it at any time. Raises OSError."""
    target = Path(path)
    beside = _beside(target)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def taken(path: str | os.PathLike[str]) -> Iterator[bytes]:
    """The contents of a file, for the one process that gets it.

    The file is removed at the end. Where the block raises, it stays. Raises OSError.
    """
    source = Path(path)
    claimed = _beside(source)
    source.rename(claimed)
    try:
        yield claimed.read_bytes()
    except BaseException:
        claimed.replace(source)
        raise
    claimed.unlink()


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.{secrets.token_hex(8)}")
