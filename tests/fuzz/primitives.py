"""Public-key operations and key derivation by heart, while a fuzzer runs.

Thousands of handshakes are the same up to the bytes of an input, so each key, signature and secret
is computed once: what a function gives for the same arguments is what it would give again. Only
chance is replaced, by fixed keys and by numbers that repeat; nothing is left out, and what fails
is not remembered. Handshakes are exactly repeatable then, up to their certificates.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, x448, x25519

from aiodtls.core.crypto import capabilities, key_exchange, key_schedule, prf, signatures
from aiodtls.core.registry import NamedGroup

KEPT = 1 << 12
_KEM = capabilities.mlkem
_remembering: list[Callable[[], None]] = []


class Numbered:
    """Chance that repeats itself: each instance gives the same bytes in the same order."""

    __slots__ = ("_count", "_seed")

    def __init__(self, seed: str) -> None:
        self._seed = seed.encode()
        self._count = 0

    def __call__(self, size: int) -> bytes:
        self._count += 1
        return _chance(self._seed, self._count, size)


class Steady(Numbered):
    """So much chance at once is always the same; only ids, which have to differ, are numbered.

    Handshakes of one client with a listener are the same then in whatever order they come.
    """

    __slots__ = ()

    def __call__(self, size: int) -> bytes:
        return super().__call__(size) if size < 16 else _chance(self._seed, 0, size)


@lru_cache(KEPT)
def _chance(seed: bytes, count: int, size: int) -> bytes:
    return hashlib.shake_128(b"%d of " % count + seed).digest(size)


def _fixed_key(group: NamedGroup) -> Any:
    seed = _chance(group.name.encode(), 0, 56)
    if group is NamedGroup.x25519:
        return x25519.X25519PrivateKey.from_private_bytes(seed[:32])
    if group is NamedGroup.x448:
        return x448.X448PrivateKey.from_private_bytes(seed)
    number = int.from_bytes(seed[:31], "big")
    return ec.derive_private_key(number, key_exchange._CURVES[group]())


class _FixedKEM:
    """In the place of the class whose ``generate`` is all that is called."""

    @staticmethod
    @lru_cache
    def generate() -> Any:
        return _KEM.MLKEM768PrivateKey.from_seed_bytes(_chance(b"ML-KEM-768", 0, 64))


def _by_heart(function: Callable[..., Any]) -> Callable[..., Any]:
    remembered = lru_cache(KEPT)(function)
    _remembering.append(remembered.cache_clear)
    return remembered


def forget() -> None:
    """What was computed is computed anew, so that it is not taken for a leak."""
    for clear in _remembering:
        clear()


def _verified_once(verify: Callable[..., None]) -> Callable[..., None]:
    """Public keys have no hash, so a key is the object that it is; it is kept with what it signed.

    A signature that was right stays right.
    """
    right: dict[tuple[Any, ...], Any] = {}
    _remembering.append(right.clear)

    def again(public_key: Any, scheme: Any, signature: bytes, data: bytes) -> None:
        known = (id(public_key), scheme, signature, data)
        if known in right:
            return
        verify(public_key, scheme, signature, data)
        if len(right) < KEPT:
            right[known] = public_key

    return again


def _substitutes() -> list[tuple[Callable[..., Any], Callable[..., Any]]]:
    pure = (
        *(prf.prf, key_schedule.hkdf_extract, key_schedule.hkdf_expand_label),
        *(key_exchange.respond, key_exchange._agree, key_exchange._encode_public),
        signatures.sign,
    )
    found: list[tuple[Any, Any]] = [(function, _by_heart(function)) for function in pure]
    found.append((signatures.verify, _verified_once(signatures.verify)))
    found.append((key_exchange._generate, lru_cache(_fixed_key)))
    return found


@contextmanager
def known_by_heart() -> Iterator[None]:
    """Within it handshakes repeat exactly, and cost little but their Python."""
    replaced: list[tuple[Any, str, Any]] = []
    modules = [m for name, m in sys.modules.items() if name.startswith("aiodtls")]
    for function, substitute in _substitutes():
        for module in modules:
            for name, value in list(vars(module).items()):
                if value is function:
                    replaced.append((module, name, value))
                    setattr(module, name, substitute)
    if _KEM is not None:
        replaced.append((capabilities, "mlkem", _KEM))
        capabilities.mlkem = SimpleNamespace(
            MLKEM768PrivateKey=_FixedKEM, MLKEM768PublicKey=_KEM.MLKEM768PublicKey
        )
    try:
        yield
    finally:
        _remembering.clear()
        for module, name, value in reversed(replaced):
            setattr(module, name, value)
