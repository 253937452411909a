"""Fixtures that all tests share."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from aiodtls import Credentials, DTLSConfig, Trust
from aiodtls.core import clock
from tests import ports
from tests.pki import PKI
from tests.selection import (  # noqa: F401
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_make_collect_report,
    pytest_runtest_makereport,
    pytest_runtest_setup,
    pytest_terminal_summary,
)

# A shell starts programs in the background with SIGINT ignored, and programs that the tests start
# and interrupt would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# What is found depends on the code alone: neither on chance nor on how fast the machine is.
hypothesis.settings.register_profile(
    "suite",
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("suite")


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> PKI:
    return PKI(Path(tmp_path_factory.mktemp("pki")))


@pytest.fixture(scope="session")
def credentials() -> Credentials:
    return Credentials.self_signed("localhost", "127.0.0.1", "::1")


@pytest.fixture(scope="session")
def server_config(credentials: Credentials) -> DTLSConfig:
    return DTLSConfig(credentials=credentials, retransmit_initial=0.1)


@pytest.fixture(scope="session")
def client_config(credentials: Credentials) -> DTLSConfig:
    trust = Trust.fingerprints(credentials.fingerprint())
    return DTLSConfig(trust=trust, retransmit_initial=0.1)


@pytest.fixture
def calendar(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A list whose one element is the time of day, to be set: seconds since 1970."""
    now = [2_000_000_000.0]
    monkeypatch.setattr(clock, "today", lambda: datetime.fromtimestamp(now[0], UTC))
    return now


@pytest.fixture
def free_udp_port() -> Iterator[int]:
    """A UDP port that nobody else takes before the test does; so is the next one."""
    with ports.reserved() as port:
        yield port


def _run_asyncio(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(main())


def _run_uvloop(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    uvloop = pytest.importorskip("uvloop")
    return uvloop.run(main())


@pytest.fixture(params=[_run_asyncio, _run_uvloop], ids=["asyncio", "uvloop"])
def run_loop(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Runs a coroutine function on asyncio's loop, then on uvloop's."""
    return request.param
