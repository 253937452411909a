"""Fuzz targets for what reads bytes: nothing but the documented exception comes out."""

from __future__ import annotations

import inspect

from aiodtls.core.cookie_keys import CookieKeys
from aiodtls.core.cookies import Cookies
from aiodtls.core.errors import DecodeError
from aiodtls.core.reliability.acks import parse_ack
from aiodtls.core.sealed_state import unseal
from aiodtls.core.sessions import Session
from aiodtls.core.ticket_keys import TicketKeys
from aiodtls.core.wire import messages, messages13
from aiodtls.core.wire.fragments import parse_fragments
from aiodtls.core.wire.messages import ClientHello, encode_body, parse_body
from aiodtls.core.wire.records import (
    first_connection_id,
    parse_alert,
    split_datagram,
)

# Every handshake message of both versions, in an order that a corpus may rely on.
MESSAGES = sorted(
    (
        kind
        for module in (messages, messages13)
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if kind.__module__ == module.__name__ and hasattr(kind, "msg_type") and kind.msg_type
    ),
    key=lambda kind: kind.__name__,
)
TICKET_KEYS = TicketKeys(bytes(range(32)))
COOKIE_KEYS = CookieKeys(bytes(range(32)))
STATE_KEY = bytes(range(32))
ADDRESS = ("192.0.2.1", 5684)


def handshake_message(data: bytes) -> None:
    """One byte says which message the others are."""
    if not data:
        return
    kind = MESSAGES[data[0] % len(MESSAGES)]
    try:
        message = parse_body(kind, data[1:])
    except DecodeError:
        return
    if not hasattr(message, "extensions"):
        # What was understood can be said again, and means the same.
        assert parse_body(kind, encode_body(message)) == message, kind.__name__


def datagram(data: bytes) -> None:
    """Records, fragments, alerts and acknowledgements; one byte is the connection ids' length."""
    if not data:
        return
    length, body = data[0] % 21, data[1:]
    first_connection_id(body, length)
    records, _ = split_datagram(body, length)
    assert sum(len(record[2]) for record in records) <= len(body)
    assert all(record[2] in body for record in records)
    for parse in (parse_fragments, parse_alert, parse_ack):
        try:
            parse(body)
        except DecodeError:
            continue


def secrets(data: bytes) -> None:
    """Sessions, tickets, cookies and states of associations, which come from stores and peers."""
    for read in (Session.from_bytes, lambda item: unseal(item, STATE_KEY)):
        try:
            read(data)
        except ValueError:
            continue
    TICKET_KEYS.open(data)
    cookies = Cookies(COOKIE_KEYS)
    cookies.unseal(ADDRESS, data, 0.0)
    try:
        hello = parse_body(ClientHello, data)
    except DecodeError:
        return
    assert isinstance(hello, ClientHello)
    cookies.check(ADDRESS, hello, 0.0)


TARGETS = {"message": handshake_message, "datagram": datagram, "secrets": secrets}
