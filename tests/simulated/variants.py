"""The handshakes that the simulated network is let loose on."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

from aiodtls import PSK, Credentials, DTLSConfig, Trust

PSK_CONFIG = DTLSConfig(
    psk=PSK("device", b"0123456789abcdef"), cipher_suites=["TLS_PSK_WITH_AES_128_GCM_SHA256"]
)


@cache
def configs(variant: str) -> tuple[DTLSConfig, DTLSConfig]:
    """Client's and server's."""
    if variant == "psk":
        return PSK_CONFIG, PSK_CONFIG
    if variant == "ecdhe_psk":
        both = dataclasses.replace(
            PSK_CONFIG, cipher_suites=["TLS_ECDHE_PSK_WITH_AES_128_GCM_SHA256"]
        )
        return both, both
    credentials = Credentials.self_signed("localhost")
    trust = Trust.fingerprints(credentials.fingerprint())
    if variant == "mutual":
        both = DTLSConfig(credentials=credentials, trust=trust, client_auth="required")
        return both, both
    chain = DTLSConfig(credentials=credentials)
    if variant == "small_mtu":
        return DTLSConfig(trust=trust, pmtu=256), dataclasses.replace(chain, pmtu=256)
    if variant == "records_individually":
        return (
            DTLSConfig(trust=trust, records_individually=True),
            dataclasses.replace(chain, records_individually=True),
        )
    assert variant in ("certificate", "no_cookie")
    return DTLSConfig(trust=trust), chain


VARIANTS = [
    "certificate",
    "no_cookie",
    "mutual",
    "psk",
    "ecdhe_psk",
    "small_mtu",
    "records_individually",
]


def pair_options(variant: str) -> dict[str, Any]:
    return {"cookie": variant != "no_cookie"}
