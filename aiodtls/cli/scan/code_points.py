"""What the scanner asks for: code points of the IANA registries, ours and others.

A ServerHello is enough to know that a server takes a suite, so suites that aiodtls does not
support are asked for too.
"""

from __future__ import annotations

_AES = ("AES_128_CBC_SHA", "AES_256_CBC_SHA")
_AES_SHA2 = ("AES_128_CBC_SHA256", "AES_256_CBC_SHA256")
_AES_CBC_SHA2 = ("AES_128_CBC_SHA256", "AES_256_CBC_SHA384")
_GCM = ("AES_128_GCM_SHA256", "AES_256_GCM_SHA384")
_CCM = ("AES_128_CCM", "AES_256_CCM")
_CCM_8 = ("AES_128_CCM_8", "AES_256_CCM_8")


def _suites(exchange: str, *groups: tuple[int, tuple[str, ...]]) -> dict[int, str]:
    """Suites with consecutive code points, by key exchange and cipher."""
    return {
        first + number: f"TLS_{exchange}_WITH_{cipher}"
        for first, ciphers in groups
        for number, cipher in enumerate(ciphers)
    }


SUITES_12: dict[int, str] = {
    **_suites("ECDHE_ECDSA", (0xC02B, _GCM), (0xC0AC, _CCM), (0xC0AE, _CCM_8)),
    **_suites("ECDHE_ECDSA", (0xCCA9, ("CHACHA20_POLY1305_SHA256",)), (0xC023, _AES_CBC_SHA2)),
    **_suites("ECDHE_ECDSA", (0xC009, _AES), (0xC008, ("3DES_EDE_CBC_SHA",))),
    **_suites("ECDHE_ECDSA", (0xC006, ("NULL_SHA",)), (0xC05C, ("ARIA_128_GCM_SHA256",))),
    **_suites("ECDHE_RSA", (0xC02F, _GCM), (0xCCA8, ("CHACHA20_POLY1305_SHA256",))),
    **_suites("ECDHE_RSA", (0xC027, _AES_CBC_SHA2), (0xC013, _AES)),
    **_suites("ECDHE_RSA", (0xC012, ("3DES_EDE_CBC_SHA",)), (0xC010, ("NULL_SHA",))),
    **_suites("ECDHE_RSA", (0xC060, ("ARIA_128_GCM_SHA256",))),
    **_suites("ECDHE_PSK", (0xD001, _GCM), (0xCCAC, ("CHACHA20_POLY1305_SHA256",))),
    **_suites("ECDHE_PSK", (0xD003, ("AES_128_CCM_8_SHA256",)), (0xD005, ("AES_128_CCM_SHA256",))),
    **_suites("ECDHE_PSK", (0xC035, _AES), (0xC037, _AES_CBC_SHA2), (0xC039, ("NULL_SHA",))),
    **_suites("DHE_RSA", (0x009E, _GCM), (0xCCAA, ("CHACHA20_POLY1305_SHA256",))),
    **_suites("DHE_RSA", (0xC09E, _CCM), (0xC0A2, _CCM_8), (0x0067, ("AES_128_CBC_SHA256",))),
    **_suites("DHE_RSA", (0x006B, ("AES_256_CBC_SHA256",)), (0x0033, ("AES_128_CBC_SHA",))),
    **_suites("DHE_RSA", (0x0039, ("AES_256_CBC_SHA",)), (0x0016, ("3DES_EDE_CBC_SHA",))),
    **_suites("DHE_PSK", (0x00AA, _GCM), (0xC0A6, _CCM), (0xCCAD, ("CHACHA20_POLY1305_SHA256",))),
    **_suites("DHE_PSK", (0x0090, _AES)),
    **_suites("PSK", (0x00A8, _GCM), (0xC0A4, _CCM), (0xC0A8, _CCM_8)),
    **_suites("PSK", (0xCCAB, ("CHACHA20_POLY1305_SHA256",)), (0x00AE, _AES_CBC_SHA2)),
    **_suites("PSK", (0x008C, _AES), (0x008B, ("3DES_EDE_CBC_SHA",)), (0x002C, ("NULL_SHA",))),
    **_suites("RSA_PSK", (0x00AC, _GCM), (0x0094, _AES), (0xCCAE, ("CHACHA20_POLY1305_SHA256",))),
    **_suites("RSA", (0x009C, _GCM), (0xC09C, _CCM), (0xC0A0, _CCM_8), (0x003C, _AES_SHA2)),
    **_suites("RSA", (0x002F, ("AES_128_CBC_SHA",)), (0x0035, ("AES_256_CBC_SHA",))),
    **_suites("RSA", (0x000A, ("3DES_EDE_CBC_SHA",)), (0x0041, ("CAMELLIA_128_CBC_SHA",))),
    **_suites("RSA", (0x003B, ("NULL_SHA256",)), (0x0001, ("NULL_MD5", "NULL_SHA"))),
    **_suites("ECDH_anon", (0xC018, _AES), (0xC015, ("NULL_SHA",))),
    **_suites("DH_anon", (0x00A6, _GCM), (0x0034, ("AES_128_CBC_SHA",))),
}

SUITES_13: dict[int, str] = {
    0x1301: "TLS_AES_128_GCM_SHA256",
    0x1302: "TLS_AES_256_GCM_SHA384",
    0x1303: "TLS_CHACHA20_POLY1305_SHA256",
    0x1304: "TLS_AES_128_CCM_SHA256",
    0x1305: "TLS_AES_128_CCM_8_SHA256",
    0xC0B4: "TLS_SHA256_SHA256",
    0xC0B5: "TLS_SHA384_SHA384",
}

CURVES: dict[int, str] = {
    23: "secp256r1",
    24: "secp384r1",
    25: "secp521r1",
    29: "x25519",
    30: "x448",
    19: "secp192r1",
    21: "secp224r1",
    22: "secp256k1",
    26: "brainpoolP256r1",
    27: "brainpoolP384r1",
    28: "brainpoolP512r1",
}
GROUPS_13: dict[int, str] = {
    4588: "X25519MLKEM768",
    4587: "SecP256r1MLKEM768",
    4589: "SecP384r1MLKEM1024",
    513: "MLKEM768",
    514: "MLKEM1024",
    23: "secp256r1",
    24: "secp384r1",
    25: "secp521r1",
    29: "x25519",
    30: "x448",
    31: "brainpoolP256r1tls13",
    32: "brainpoolP384r1tls13",
    33: "brainpoolP512r1tls13",
    256: "ffdhe2048",
    257: "ffdhe3072",
    258: "ffdhe4096",
}
POST_QUANTUM = frozenset(name for name in GROUPS_13.values() if "MLKEM" in name)

SCHEMES: dict[int, str] = {
    0x0403: "ecdsa_secp256r1_sha256",
    0x0503: "ecdsa_secp384r1_sha384",
    0x0603: "ecdsa_secp521r1_sha512",
    0x0807: "ed25519",
    0x0808: "ed448",
    0x0804: "rsa_pss_rsae_sha256",
    0x0805: "rsa_pss_rsae_sha384",
    0x0806: "rsa_pss_rsae_sha512",
    0x0809: "rsa_pss_pss_sha256",
    0x080A: "rsa_pss_pss_sha384",
    0x080B: "rsa_pss_pss_sha512",
    0x0904: "mldsa44",
    0x0905: "mldsa65",
    0x0906: "mldsa87",
    0x0401: "rsa_pkcs1_sha256",
    0x0501: "rsa_pkcs1_sha384",
    0x0601: "rsa_pkcs1_sha512",
    0x0301: "sha224_rsa",
    0x0303: "sha224_ecdsa",
    0x0203: "ecdsa_sha1",
    0x0201: "rsa_pkcs1_sha1",
}

# What a server is likely to name by ALPN.
ALPN_PROTOCOLS = ("coap", "radius/1.1", "radius/1.0", "webrtc", "c-webrtc", "doq", "dot")
