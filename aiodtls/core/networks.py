"""The network of an address. Unauthenticated peers share tables and queues by network."""

from __future__ import annotations

import ipaddress
from collections.abc import Hashable
from typing import Any

IPV4_PREFIX, IPV6_PREFIX = 24, 48


def network_of(
    peer: Any, ipv4_prefix: int = IPV4_PREFIX, ipv6_prefix: int = IPV6_PREFIX
) -> Hashable:
    """The network of a socket address, by the first bits of its IP address.

    An IPv4-mapped IPv6 address counts as IPv4. An address without an IP address is a network of its
    own: for a host name the port does not matter.
    """
    host = peer[0] if isinstance(peer, tuple) and peer else None
    if not isinstance(host, str):
        return peer if isinstance(peer, Hashable) else None
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    prefix = ipv4_prefix if address.version == 4 else ipv6_prefix
    return address.version, int(address) >> (address.max_prefixlen - prefix)
