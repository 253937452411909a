"""How much of a hello is parsed: strangers send them."""

from __future__ import annotations

import pytest

from aiodtls.core.errors import DecodeError
from aiodtls.core.wire.codec import Reader
from aiodtls.core.wire.extension_blocks import MAX_EXTENSIONS, parse_extensions
from aiodtls.core.wire.extensions13 import MAX_SHARES, KeyShares
from aiodtls.core.wire.places import Place


def block(count: int) -> Reader:
    """Extensions that nobody knows, without contents."""
    body = b"".join((0x5000 + code).to_bytes(2, "big") + bytes(2) for code in range(count))
    return Reader(len(body).to_bytes(2, "big") + body)


def shares(count: int) -> Reader:
    body = b"".join((0x5000 + group).to_bytes(2, "big") + b"\0\1x" for group in range(count))
    return Reader(len(body).to_bytes(2, "big") + body)


def test_a_hello_has_so_many_extensions_and_no_more():
    assert len(parse_extensions(block(MAX_EXTENSIONS), Place.CLIENT_HELLO)) == MAX_EXTENSIONS
    with pytest.raises(DecodeError, match="more than 64 extensions"):
        parse_extensions(block(MAX_EXTENSIONS + 1), Place.CLIENT_HELLO)


def test_a_hello_has_so_many_key_shares_and_no_more():
    assert len(KeyShares.parse(shares(MAX_SHARES), Place.CLIENT_HELLO).shares) == MAX_SHARES
    with pytest.raises(DecodeError, match="more than 32 key shares"):
        KeyShares.parse(shares(MAX_SHARES + 1), Place.CLIENT_HELLO)
