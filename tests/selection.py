"""Which tests are selected, and which skips are failures. tests/conftest.py has these hooks.

Three kinds of foreign peers: installed ones, whose tests run always; those that
``sh tests/run.sh --all`` unpacks or builds in a cache (mark ``built``); and those that no package
registry has, whose tests are selected only where an environment variable names the peer (mark
``by_hand``), and are reported by one line otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any, NoReturn

import cryptography
import pytest

from aiodtls.core.crypto.capabilities import FEATURES, ML_DSA, ML_KEM

# What a test that cannot do without an algorithm is marked with.
needs_ml_kem = pytest.mark.feature(ML_KEM)
needs_ml_dsa = pytest.mark.feature(ML_DSA)
# Parameters that say the same: names of groups, and of a variant of tests/simulated.
WORDS_OF_ML_KEM = ("MLKEM768", "pq_hello")
# With --all a skip is a failure.
ALL = os.environ.get("AIODTLS_ALL") == "1"
# What tests/run.sh tried to fetch in vain, as words.
UNAVAILABLE = os.environ.get("AIODTLS_UNAVAILABLE", "").split()
EXCUSE = "cannot be had just now: "
_CACHES = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
CACHE = Path(os.environ.get("AIODTLS_CACHE") or Path(_CACHES, "aiodtls"))
# Names of environment variables, and what is left out where they are not set.
BY_HAND = {
    "AIODTLS_PION": "pion's DTLS 1.3 and its return routability checks",
    "AIODTLS_BOGO_RUNNER": "BoringSSL's runner (sh tests/bogo/run.sh)",
    "AIODTLS_AIOCOAP": "aiocoap's own tests of coaps:// with our transports",
    "AIODTLS_AIORTC": "aiortc's own tests with our DTLS",
}


def place(name: str) -> Path:
    """The directory of a peer that is built or unpacked; AIODTLS_NAME names another."""
    return Path(os.environ.get(f"AIODTLS_{name.upper()}") or CACHE / name)


def missing(message: str) -> NoReturn:
    """Skips with a word; fails in CI and with --all."""
    if ALL or os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


def need(name: str) -> None:
    """Skips the test where the peer is not in its place."""
    if place(name).exists():
        return
    if name in UNAVAILABLE:
        pytest.skip(EXCUSE + name)
    missing(f"{name} is not in {place(name)}; sh tests/run.sh --all makes it")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "built(name): needs a peer that tests/run.sh --all makes")
    config.addinivalue_line("markers", "feature(name): needs what old cryptography lacks")
    config.addinivalue_line("markers", "by_hand(variable): needs a peer that the variable names")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = {item for item in items if _is_left_out(item)}
    if left_out:
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]


def _is_left_out(item: pytest.Item) -> bool:
    by_hand = (mark.args[0] for mark in item.iter_markers("by_hand"))
    features = {mark.args[0] for mark in item.iter_markers("feature")}
    if any(word in item.name for word in WORDS_OF_ML_KEM):
        features.add(ML_KEM)
    return not all(map(os.environ.get, by_hand)) or not features <= FEATURES


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("built"):
        need(mark.args[0])


def _judge(report: Any) -> None:
    """A skip is a failure with --all, unless the peer's source cannot be had just now."""
    if not ALL or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if EXCUSE not in reason:
        report.outcome = "failed"
        report.longrepr = f"skipped, where nothing may be: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _judge(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _judge(report)
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for variable, what in BY_HAND.items():
        if not os.environ.get(variable):
            terminalreporter.write_line(f"left out, as {variable} names no build: {what}")
    for feature in (ML_KEM, ML_DSA):
        if feature not in FEATURES:
            version = cryptography.__version__
            terminalreporter.write_line(f"left out, as cryptography {version} lacks it: {feature}")
    for name in UNAVAILABLE:
        terminalreporter.write_line(f"left out, as its source {EXCUSE}{name}")
