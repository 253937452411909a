"""Networks of addresses: by prefix, IPv4-mapped as IPv4, and what is no IP address."""

from __future__ import annotations

import pytest

from aiodtls.core.limits import Limits
from aiodtls.core.networks import network_of


@pytest.mark.parametrize(
    "one, other, same",
    [
        (("192.0.2.1", 1), ("192.0.2.200", 2), True),
        (("192.0.2.1", 1), ("192.0.3.1", 1), False),
        (("2001:db8:1:2::1", 1, 0, 0), ("2001:db8:1:3::9", 7), True),
        (("2001:db8:1::1", 1), ("2001:db8:2::1", 1), False),
        (("::ffff:192.0.2.1", 1), ("192.0.2.9", 1), True),
        (("::ffff:192.0.2.1", 1), ("::ffff:192.0.3.1", 1), False),
        (("0.0.0.1", 1), ("::1", 1), False),
        (("fe80::1%eth0", 1), ("fe80::2", 1), True),
        (("a name", 1), ("a name", 2), True),
        ("ice", "turn", False),
        (["unhashable"], None, True),
        ((), (b"odd",), False),
    ],
)
def test_networks_of_addresses(one, other, same):
    assert (network_of(one) == network_of(other)) == same
    assert isinstance(hash(network_of(one)), int)


@pytest.mark.parametrize(
    "prefixes, one, other, same",
    [
        ({"ipv4_prefix": 32}, "192.0.2.1", "192.0.2.2", False),
        ({"ipv4_prefix": 20}, "192.0.2.1", "192.0.15.2", True),
        ({"ipv4_prefix": 20}, "192.0.2.1", "192.0.16.2", False),
        ({"ipv4_prefix": 32}, "::ffff:192.0.2.1", "192.0.2.1", True),
        ({"ipv6_prefix": 64}, "2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ({"ipv6_prefix": 33}, "2001:db8:1::", "2001:db8:7fff::", True),
        ({"ipv6_prefix": 33}, "2001:db8:1::", "2001:db8:8000::", False),
    ],
)
def test_prefixes_are_settable(prefixes, one, other, same):
    limits = Limits(**prefixes)
    assert (limits.network_of((one, 1)) == limits.network_of((other, 2))) == same
