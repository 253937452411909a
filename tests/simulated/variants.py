"""The handshakes that the simulated network is let loose on."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

from aiodtls import PSK, Credentials, DTLSConfig, Trust
from aiodtls.core.crypto.capabilities import FEATURES, ML_KEM

# Without connection ids, so that tests may look at records; "cid" variants have them both ways.
PSK_CONFIG = DTLSConfig(
    psk=PSK("device", b"0123456789abcdef"),
    cipher_suites=["TLS_PSK_WITH_AES_128_GCM_SHA256"],
    connection_id=0,
)
PSK13_CONFIG = DTLSConfig(
    versions=["1.3"], psk=PSK("device", b"0123456789abcdef"), groups=["x25519"], connection_id=0
)

VARIANTS12 = [
    "certificate",
    "no_cookie",
    "mutual",
    "psk",
    "ecdhe_psk",
    "small_mtu",
    "records_individually",
    "cid",
]
# Those of DTLS 1.3 have other names where they are other handshakes.
VARIANTS13 = [
    "certificate13",
    "no_cookie13",
    "mutual13",
    "retry13",
    "psk13",
    "pq_hello13",
    "small_mtu13",
    "records_individually13",
    "cid13",
]
if ML_KEM not in FEATURES:
    VARIANTS13.remove("pq_hello13")
VARIANTS = VARIANTS12 + VARIANTS13


@cache
def configs(variant: str) -> tuple[DTLSConfig, DTLSConfig]:
    """Client's and server's."""
    if variant == "psk":
        return PSK_CONFIG, PSK_CONFIG
    if variant == "psk13":
        return PSK13_CONFIG, PSK13_CONFIG
    if variant == "ecdhe_psk":
        two = dataclasses.replace(
            PSK_CONFIG, cipher_suites=["TLS_ECDHE_PSK_WITH_AES_128_GCM_SHA256"]
        )
        return two, two
    is_13 = variant.endswith("13")
    credentials = Credentials.self_signed("localhost")
    trust = Trust.fingerprints(credentials.fingerprint())
    client: dict[str, Any] = {"trust": trust}
    server: dict[str, Any] = {"credentials": credentials}
    both: dict[str, Any] = {"versions": ["1.3" if is_13 else "1.2"], "connection_id": 0}
    match variant.removesuffix("13"):
        case "mutual":
            client = server = client | server | {"client_auth": "required"}
        case "retry":
            client |= {"groups": ["x25519", "secp256r1"]}
            server |= {"groups": ["secp256r1"]}
        case "pq_hello":
            client |= {"key_shares": ["X25519MLKEM768", "x25519", "secp256r1", "secp384r1"]}
        case "small_mtu":
            both["pmtu"] = 256
        case "cid":
            client |= {"connection_id": 4}
            server |= {"connection_id": 8}
            del both["connection_id"]
        case "records_individually":
            both["records_individually"] = True
    return DTLSConfig(**client, **both), DTLSConfig(**server, **both)


def pair_options(variant: str) -> dict[str, Any]:
    return {"cookie": not variant.startswith(("no_cookie", "retry"))}
