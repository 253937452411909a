"""Secrets that an operator gives to several processes, for tickets and for cookies."""

from __future__ import annotations

from aiodtls.core.errors import ConfigError

SECRET_LENGTH = 32


def check_secrets(secrets: tuple[bytes, ...], purpose: str) -> None:
    """Raises :class:`ConfigError` for what is no secret, and never shows it."""
    for secret in secrets:
        if len(secret) < SECRET_LENGTH or not any(secret):
            raise ConfigError(f"a {purpose} secret is 32 random bytes or more")
