"""Secrets that several processes share, for tickets and for cookies."""

from __future__ import annotations

from aiodtls.core.errors import ConfigError

SECRET_LENGTH = 32


def check_secrets(secrets: tuple[bytes, ...], purpose: str) -> None:
    """Raises :class:`ConfigError` for anything but good secrets. Never shows them."""
    for secret in secrets:
        if len(secret) < SECRET_LENGTH or not any(secret):
            raise ConfigError(f"a {purpose} secret is 32 random bytes or more")
