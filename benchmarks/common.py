"""What all benchmarks share: messages, configs, and how CPU and wall clock are read."""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from aiodtls import PSK, Credentials, DTLSConfig, Trust

# asyncio reads UDP into buffers of 256 KiB. glibc maps and unmaps memory for each, at the cost of
# page faults, until a larger block has been freed: the floor should not depend on who did that.
_large = bytes(1 << 22)
del _large

MESSAGE = bytes(1200)
PING = bytes(64)
# So many messages between two waits for the receiver: the socket's buffer holds them.
WINDOW = 50
SUITES = {
    "1.2": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "1.3": "TLS_AES_128_GCM_SHA256",
}
PSK_SUITES = {"1.2": "TLS_PSK_WITH_AES_128_GCM_SHA256", "1.3": "TLS_AES_128_GCM_SHA256"}
Configs = tuple[DTLSConfig, DTLSConfig]


@cache
def credentials() -> Credentials:
    """ECDSA on P-256."""
    return Credentials.self_signed("localhost")


@cache
def configs(version: str = "1.2", group: str = "x25519") -> Configs:
    """Client's and server's, with a certificate."""
    trust = Trust.fingerprints(credentials().fingerprint())
    both = {"cipher_suites": [SUITES[version]], "groups": [group, "secp256r1"]}
    if group == "X25519MLKEM768":
        both["key_shares"] = [group]
    return DTLSConfig(trust=trust, **both), DTLSConfig(credentials=credentials(), **both)


@cache
def psk_configs(version: str = "1.2") -> Configs:
    config = DTLSConfig(
        psk=PSK("device", bytes(16)), cipher_suites=[PSK_SUITES[version]], groups=["x25519"]
    )
    return config, config


@dataclass(frozen=True)
class Cost:
    """Microseconds an operation: of CPU, user's and system's, and by the clock on the wall."""

    cpu: float
    wall: float


def cpu_now() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Meter:
    """``with Meter(count) as meter`` around ``count`` operations; then ``meter.cost``."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __enter__(self) -> Meter:
        gc.collect()
        self._cpu, self._wall = cpu_now(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        scale = 1e6 / self._count
        self.cost = Cost(
            scale * (cpu_now() - self._cpu), scale * (time.perf_counter() - self._wall)
        )


def repeated(operation: Callable[[], object], count: int) -> Cost:
    with Meter(count) as meter:
        for _ in range(count):
            operation()
    return meter.cost
