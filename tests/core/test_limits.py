"""Limits: every value is checked when made, by type too, and the error names it."""

from __future__ import annotations

import dataclasses

import pytest

import aiodtls
from aiodtls import ConfigError, DTLSConfig, Limits

NAMES = [field.name for field in dataclasses.fields(Limits)]


@pytest.mark.parametrize("name", NAMES)
def test_values_of_other_types_are_refused(name):
    for value in ("16", None, True, b"", 1.5 if name != "eviction_silence" else "1.5"):
        with pytest.raises(TypeError, match=name):
            Limits(**{name: value})


@pytest.mark.parametrize("name", NAMES)
def test_values_out_of_range_are_refused(name):
    for value in (0, -1):
        with pytest.raises(ConfigError, match=name):
            Limits(**{name: value})


@pytest.mark.parametrize(
    "name, value",
    [
        ("ipv4_prefix", 33),
        ("ipv6_prefix", 129),
        ("eviction_silence", float("nan")),
        ("output_bytes", 65535),
        ("hello_pool_bytes", 65535),
    ],
)
def test_each_range_has_its_ends(name, value):
    with pytest.raises(ConfigError, match=name):
        Limits(**{name: value})


def test_a_config_has_limits_of_its_own():
    limits = Limits(ipv4_prefix=32)
    config = DTLSConfig(trust=aiodtls.Trust.insecure(), limits=limits)
    assert config.limits is limits and DTLSConfig().limits == Limits()
    with pytest.raises(dataclasses.FrozenInstanceError):
        limits.ipv4_prefix = 8
    with pytest.raises(TypeError):
        Limits(1)
    with pytest.raises(ConfigError, match="limits"):
        DTLSConfig(limits={"ipv4_prefix": 8})


def test_the_longest_certificate_fits_while_it_grows():
    limits = Limits()
    assert limits.half_open_bytes(48 << 10) == 64 << 10
    assert limits.half_open_bytes(128 << 10) > (128 << 10) * 9 // 8
    assert Limits(half_open_fragment_bytes=64 << 10).half_open_bytes(48 << 10) == 112 << 10
