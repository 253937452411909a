"""Traces of associations, for ``DTLSConfig(trace=...)``: qlog files, or a function of the user.

Files have the main schema of qlog as JSON text sequences (RFC 7464), one for each association. A
thread encodes and writes the events, as disks may be slow. What waits for it and what it writes
are both bounded: a trace that does not fit is cut, and a log line says so.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

from aiodtls import log
from aiodtls._version import __version__
from aiodtls.core.config import DTLSConfig
from aiodtls.core.observed import Observer

NAMESPACE = "dtls"
SUFFIX = ".sqlog"
# A private schema. No registry has one for DTLS.
EVENT_SCHEMA = "urn:x-aiodtls:qlog:events:dtls"
RECORD_SEPARATOR = "\x1e"
# How many events may wait for the thread.
MAX_WAITING = 16384
# Readable by the owner alone, because addresses are in it.
MODE = 0o600

# Seconds since 1970 at the zero of each loop's clock, so that all traces of a loop share one axis.
_zeros: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, float] = weakref.WeakKeyDictionary()

QlogEvent: TypeAlias = dict[str, Any]
Sink: TypeAlias = Callable[[QlogEvent], object]


def observe(config: DTLSConfig, role: str, peer: Hashable) -> Observer | None:
    """The observer of a new association; None without a trace."""
    target = config.trace
    if target is None:
        return None
    trace = _Trace(asyncio.get_running_loop(), role, peer)
    trace.begin(target if callable(target) else _file(Path(target), config.trace_limit, trace))
    return trace


class _Trace:
    """The observer of one association: makes events of qlog, with times in milliseconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop, role: str, peer: Hashable) -> None:
        self._loop, self.role, self._peer = loop, role, peer
        self.group_id = secrets.token_hex(8)
        self._zero = _zeros.setdefault(loop, time.time() - loop.time())
        self._start = loop.time()
        self._sink: Sink | None = None

    def begin(self, sink: Sink) -> None:
        """From now on events go to ``sink``."""
        self._sink = sink
        self("association_started", {"role": self.role, "peer": log.address(self._peer)})

    def header(self) -> dict[str, Any]:
        """The first record of a file."""
        epoch = datetime.fromtimestamp(self._zero + self._start, UTC)
        return {
            "file_schema": "urn:ietf:params:qlog:file:sequential",
            "serialization_format": "application/qlog+json-seq",
            "title": f"DTLS {self.role}, peer {log.address(self._peer)}",
            "trace": {
                "vantage_point": {"name": f"aiodtls {__version__}", "type": self.role},
                "event_schemas": [EVENT_SCHEMA],
                "common_fields": {
                    "group_id": self.group_id,
                    "time_format": "relative_to_epoch",
                    "reference_time": {
                        "clock_type": "system",
                        "epoch": epoch.isoformat(timespec="microseconds").replace("+00:00", "Z"),
                    },
                },
            },
        }

    def __call__(self, name: str, fields: Mapping[str, Any]) -> None:
        now = self._loop.time()
        data = dict(fields)
        if "at" in data:
            # A timer: in how many milliseconds.
            data["delta"] = _milliseconds(data.pop("at") - now)
        event = {
            "time": _milliseconds(now - self._start),
            "name": f"{NAMESPACE}:{name}",
            "group_id": self.group_id,
            "data": data,
        }
        try:
            if self._sink is not None:
                self._sink(event)
        except Exception as error:
            log.about(self._loop, log.of(self.role), log.TRACE_RAISED, self._peer, error=error)


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)


class _Folder:
    """A directory of traces, and what may still be written there."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._waiting: list[tuple[str, int, dict[str, Any]]] = []
        # Whether a job of the thread will take what waits.
        self._is_scheduled = False
        self._is_late = self._is_void = False
        # In the thread: bytes in the directory, None before it was looked at; and what was logged.
        self._used: int | None = None
        self._is_cut = self._has_failed = False

    def add(self, name: str, limit: int, content: dict[str, Any]) -> None:
        """Adds a record to the file of this name, as long as all have ``limit`` bytes at most."""
        with self._lock:
            if self._is_void:
                return
            is_late = len(self._waiting) >= MAX_WAITING
            first_late = is_late and not self._is_late
            self._is_late = is_late
            if not is_late:
                self._waiting.append((name, limit, content))
            if not self._is_scheduled:
                # At the end of the interpreter no thread takes any more.
                with suppress(RuntimeError):
                    _threads[0].submit(self._write)
                    self._is_scheduled = True
        if first_late:
            log.say(log.server, log.TRACE_LATE, str(self._directory))

    def forked(self) -> None:
        """In a forked child: the associations and their files belong to the parent."""
        self._lock = threading.Lock()
        self._waiting, self._is_void = [], True

    # -- in the thread ------------------------------------------------------------------------

    def _write(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
            self._is_scheduled = False
        files: dict[str, list[str]] = {}
        try:
            for name, limit, content in waiting:
                text = f"{RECORD_SEPARATOR}{json.dumps(content, separators=(',', ':'))}\n"
                if self._has_room(len(text), limit):
                    files.setdefault(name, []).append(text)
            for name, texts in files.items():
                self._append(self._directory / name, "".join(texts))
        except OSError as error:
            if not self._has_failed:
                self._has_failed = True
                log.say(log.server, log.TRACE_FAILED, str(self._directory), error)

    def _has_room(self, size: int, limit: int) -> bool:
        """Whether so many characters, all of them ASCII, are within the limit."""
        if self._used is None:
            files = self._directory.glob(f"*{SUFFIX}")
            self._used = sum(path.stat().st_size for path in files)
        if self._is_cut:
            return False
        if self._used + size <= limit:
            self._used += size
            return True
        self._is_cut = True
        log.say(log.server, log.TRACE_CUT, str(self._directory), limit)
        return False

    def _append(self, path: Path, text: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        with os.fdopen(os.open(path, flags, MODE), "a") as file:
            file.write(text)


_folders: dict[Path, _Folder] = {}
# The one thread that writes. It exists once there is something to write.
_threads = [ThreadPoolExecutor(1, "aiodtls-trace")]


def _file(directory: Path, limit: int, trace: _Trace) -> Sink:
    """What writes the events of an association to a file of its own."""
    path = directory.resolve()
    folder = _folders.get(path)
    if folder is None:
        folder = _folders[path] = _Folder(path)
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{trace.role}-{trace.group_id}{SUFFIX}"
    folder.add(name, limit, trace.header())

    def take(event: QlogEvent) -> None:
        # All events of a file have one group.
        folder.add(name, limit, {key: event[key] for key in ("time", "name", "data")})

    return take


def flush() -> None:
    """Waits until everything is written. Blocks."""
    _threads[0].submit(lambda: None).result()


def _forked() -> None:
    for folder in _folders.values():
        folder.forked()
    _folders.clear()
    _threads[0] = ThreadPoolExecutor(1, "aiodtls-trace")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
