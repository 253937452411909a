"""The keys of cookies, for one listener or for several processes that share a secret."""

from __future__ import annotations

import hmac
import os
from collections import OrderedDict

from aiodtls.core.checks import checked_part
from aiodtls.core.shared_secrets import SECRET_LENGTH, check_secrets

# Seconds. Two periods cover a client's slowest resend, 64 s.
PERIOD = 120
LABEL = b"aiodtls cookie key"
# The previous period, this one and the next.
KEPT_PERIODS = 3


class CookieKeys:
    """The secret of servers behind one load balancer, with which each accepts the others' cookies.

    The key changes every 120 seconds by the wall clock, so the clocks of the servers must agree
    within 5 seconds. Each process counts separately how many handshakes a cookie has started
    (RFC 9147 section 5.1, RFC 6347 section 4.2.1).

    Args:
        secret: 32 random bytes or more. Without one a new secret is generated.
        old: Earlier secrets. Their cookies are still accepted, but no longer made.

    Raises:
        ConfigError: A secret is shorter, or all zeros.
    """

    __slots__ = ("_derived", "_secrets")

    @checked_part
    def __init__(self, *secrets: bytes) -> None:
        check_secrets(secrets, "cookie")
        self._secrets = tuple(map(bytes, secrets)) or (os.urandom(SECRET_LENGTH),)
        self._derived: OrderedDict[int, tuple[bytes, ...]] = OrderedDict()

    def __repr__(self) -> str:
        return f"CookieKeys(<{len(self._secrets)} secrets>)"

    def keys_at(self, wall_time: float) -> tuple[bytes, ...]:
        """The keys for a time in seconds since 1970: one for each secret, the newest first."""
        period = int(wall_time // PERIOD)
        keys = self._derived.get(period)
        if keys is None:
            label = LABEL + period.to_bytes(8, "big", signed=True)
            keys = tuple(hmac.digest(secret, label, "sha256") for secret in self._secrets)
            self._derived[period] = keys
            while len(self._derived) > KEPT_PERIODS:
                self._derived.popitem(last=False)
        return keys
