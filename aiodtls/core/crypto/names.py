"""Host names and IP addresses: the names in certificates, and the name that a client expects.

The rules are those of RFC 9525. Where it leaves a choice, docs/security.md says what we chose. Only
subjectAltName counts, and of it only dNSName and iPAddress.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from cryptography import x509

from aiodtls.core.crypto.certificates import described, extension, refusal
from aiodtls.core.errors import ConfigError
from aiodtls.core.peer_text import shown
from aiodtls.core.registry import AlertDescription

HostName: TypeAlias = x509.DNSName | x509.IPAddress
# The library parses an iPAddress of 8 or 32 bytes as a network. No address equals it.
_Address: TypeAlias = (
    ipaddress.IPv4Address | ipaddress.IPv6Address | ipaddress.IPv4Network | ipaddress.IPv6Network
)

# RFC 1035 section 2.3.4; and how many names of a certificate an error lists.
MAX_NAME_LENGTH = 253
MAX_NAMES_SHOWN = 20
# Host names have no underscores, but the names of many devices and services do.
_LABEL = re.compile("[a-z0-9_][a-z0-9_-]{0,62}")
# Resolvers take a name with such a last label for an IPv4 address ("127.1", "0x7f.0.0.1").
_NUMBER = re.compile("[0-9]+|0x[0-9a-f]*")


def check_name(leaf: x509.Certificate, server_hostname: str | None) -> None:
    """Checks that a server's certificate is for this host. Raises :class:`AlertError`."""
    names = subject_names(leaf)
    if server_hostname is not None and matches(names, server_hostname):
        return
    raise refusal(
        AlertDescription.bad_certificate,
        f"{described(leaf)} is for {_listed(names)}; {_why_not(names, server_hostname)}",
    )


def _why_not(names: Sequence[HostName], server_hostname: str | None) -> str:
    """Why none of the names matches, and what to do."""
    if server_hostname is None:
        return "no server_hostname is given to compare"
    if server_hostname in [name.value for name in names]:
        # The library gives the value of an iPAddress as an object.
        return (
            f"{server_hostname} is a dNSName there, but an IP address has to be an iPAddress "
            "of subjectAltName: issue it again"
        )
    return f"not for {server_hostname}: connect by one of its names, or issue one for this host"


def subject_names(certificate: x509.Certificate) -> list[HostName]:
    """The DNS names and IP addresses of subjectAltName."""
    names = extension(certificate, x509.SubjectAlternativeName)
    return [name for name in names or () if isinstance(name, x509.DNSName | x509.IPAddress)]


def matches(names: Iterable[HostName], hostname: str) -> bool:
    """Whether one of the names matches the host (RFC 9525 section 6).

    An IP address must be equal. A wildcard matches exactly one leftmost label.
    """
    try:
        wanted = host_name(hostname)
    except ConfigError:
        return False
    if isinstance(wanted, x509.IPAddress):
        return wanted.value in [
            _canonical(name.value) for name in names if isinstance(name, x509.IPAddress)
        ]
    _, _, parent = wanted.value.partition(".")
    patterns = {name.value.lower() for name in names if isinstance(name, x509.DNSName)}
    # "*.com" would match all customers of a registry, so a wildcard needs two more labels.
    return wanted.value in patterns or ("." in parent and f"*.{parent}" in patterns)


@functools.lru_cache(maxsize=256)
def host_name(name: str) -> HostName:
    """An IP address without its scope, or a DNS name in lower-case A-labels.

    One trailing dot is ignored. Raises :class:`ConfigError` if it is neither.
    """
    # Nothing else can be an address. To find out by an exception takes longer.
    if ":" in name or name[-1:].isdecimal() or "%" in name:
        try:
            return x509.IPAddress(_canonical(ipaddress.ip_address(name.partition("%")[0])))
        except ValueError:
            pass
    labels = _ascii(name).removesuffix(".").split(".")
    length = sum(map(len, labels)) + len(labels) - 1
    if (
        length > MAX_NAME_LENGTH
        or not all(_LABEL.fullmatch(label) for label in labels)
        or _NUMBER.fullmatch(labels[-1])
    ):
        raise ConfigError(
            f'"{shown(name)}" is neither a host name nor an IP address; give the '
            "name alone, without scheme, port or path"
        )
    return x509.DNSName(".".join(labels))


def certificate_name(name: str) -> HostName:
    """As ``host_name``, but the leftmost label may be a wildcard."""
    if not name.startswith("*."):
        return host_name(name)
    parent = host_name(name.removeprefix("*."))
    if isinstance(parent, x509.IPAddress):
        raise ConfigError(f'"{shown(name)}": an IP address has no wildcard')
    return x509.DNSName(f"*.{parent.value}")


def _ascii(name: str) -> str:
    """The name in lower case with A-labels, as Python's resolver makes them; empty if it has
    none.
    """
    if name.isascii():
        return name.lower()
    try:
        return name.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return ""


def _canonical(address: _Address) -> _Address:
    """An IPv4-mapped IPv6 address (::ffff:192.0.2.1) is the same as the IPv4 address."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _listed(names: Sequence[HostName]) -> str:
    """The first names of a certificate, because there may be thousands."""
    if not names:
        return "no host (it has no subjectAltName with one, and its common name does not count)"
    more = len(names) - MAX_NAMES_SHOWN
    listed = shown(", ".join(str(name.value) for name in names[:MAX_NAMES_SHOWN]))
    return f"{listed} and {more} more" if more > 0 else listed
