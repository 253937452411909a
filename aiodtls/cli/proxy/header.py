"""The PROXY protocol, version 2, for datagrams: who the peer is, in front of what it sends.

The header is as HAProxy's proxy-protocol.txt has it, section 2.2. Each datagram has one, because
datagrams get lost and overtake each other.
"""

from __future__ import annotations

import hashlib
import ipaddress
import struct
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from aiodtls.endpoint import DTLSEndpoint
from aiodtls.net.ancillary import local_address

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
VERSION_2_PROXY = 0x21
UDP_OVER_IPV4, UDP_OVER_IPV6 = 0x12, 0x22

ALPN, AUTHORITY, SSL = 0x01, 0x02, 0x20
SSL_VERSION, SSL_COMMON_NAME, SSL_CIPHER = 0x21, 0x22, 0x23
# Of the range for applications: the peer's PSK identity, and the SHA-256 of its public key (DER).
PSK_IDENTITY, KEY_SHA256 = 0xE0, 0xE1
# Flags of SSL: there is TLS; a certificate came in this handshake; it came in this session.
HAS_TLS, HAS_CERTIFICATE, SESSION_HAS_CERTIFICATE = 1, 2, 4
# In the name of the certificate's owner, which a CA chooses. Longer names are left out.
MAX_COMMON_NAME = 256

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def header_of(endpoint: DTLSEndpoint, *, is_verified: bool) -> bytes:
    """The header for a peer. ``is_verified`` tells whether certificates are checked at all."""
    peer, local = endpoint.peername, endpoint.sockname
    values = _values(endpoint, is_verified=is_verified)
    return _header(peer[0], peer[1], local_address(peer) or local[0], local[1], values)


def _header(host: str, port: int, local_host: str, local_port: int, values: bytes) -> bytes:
    source, destination = _ip(host), _ip(local_host)
    if source.version != destination.version:
        # Our own address is the wildcard of the other family: the header needs one of the same.
        destination = _ip("::" if source.version == 6 else "0.0.0.0")  # noqa: S104
    kind = UDP_OVER_IPV4 if source.version == 4 else UDP_OVER_IPV6
    addresses = source.packed + destination.packed + struct.pack("!HH", port, local_port)
    length = len(addresses) + len(values)
    return SIGNATURE + struct.pack("!BBH", VERSION_2_PROXY, kind, length) + addresses + values


def _ip(host: str) -> IPAddress:
    """IPv4 peers of an IPv6 socket are IPv4 to the backend."""
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _values(endpoint: DTLSEndpoint, *, is_verified: bool) -> bytes:
    certificates, key = endpoint.peer_certificates, endpoint.peer_public_key
    flags = HAS_TLS
    if certificates:
        flags |= SESSION_HAS_CERTIFICATE | (0 if endpoint.resumed else HAS_CERTIFICATE)
    verify = 0 if certificates and is_verified else 1
    inner = _value(SSL_VERSION, f"DTLSv{endpoint.version}".encode())
    inner += _value(SSL_CIPHER, (endpoint.cipher_suite or "").encode())
    name = _common_name(certificates[0]) if certificates else b""
    if name:
        inner += _value(SSL_COMMON_NAME, name)
    values = _value(SSL, struct.pack("!BI", flags, verify) + inner)
    if endpoint.alpn_protocol:
        values += _value(ALPN, endpoint.alpn_protocol.encode())
    if endpoint.server_hostname:
        values += _value(AUTHORITY, endpoint.server_hostname.encode())
    if endpoint.psk_identity is not None:
        values += _value(PSK_IDENTITY, endpoint.psk_identity)
    if key is not None:
        der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        values += _value(KEY_SHA256, hashlib.sha256(der).digest())
    return values


def _value(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def _common_name(certificate: x509.Certificate) -> bytes:
    """The first common name of the subject, if there is one and it is short."""
    found: list[Any] = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    value = found[0].value if found else ""
    name = value.encode() if isinstance(value, str) else value
    return name if len(name) <= MAX_COMMON_NAME else b""
