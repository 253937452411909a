"""What a server's session store keeps: sessions under their id, long chains under their hash.

A store's methods are called here. Where one returns an awaitable, the owner is asked to await it. A
store that fails costs a resumption and never a handshake: the owner is told, and a full handshake
follows.
"""

from __future__ import annotations

import hashlib
import hmac
import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from aiodtls.core.errors import DecodeError
from aiodtls.core.events import Event, SessionRevoked, SessionStoreFailed, StoreAwaited
from aiodtls.core.handshake.psks import HASH_LENGTHS
from aiodtls.core.handshake.resumption import make_session
from aiodtls.core.handshake.script import Handshake, Step
from aiodtls.core.negotiated import Negotiated
from aiodtls.core.sessions import Session, SessionStore
from aiodtls.core.wire.codec import Reader, Writer, parse_whole

MASTER_SECRET_LENGTH = 48
# A client's session id has 32 bytes at the most, so none of them is the key of a chain.
CHAIN_KEY = b"chain of certificates "


def stored_session(hs: Handshake, session_id: bytes) -> Step[Session | None]:
    """None for an unknown id, or one whose time is over."""
    store = hs.config.live_session_store
    if not hs.config.session_tickets:
        return None
    _, stored = yield from _call(hs, "get", store.get, session_id)
    if stored is None:
        return None
    try:
        session = Session.from_bytes(stored)
    except ValueError as error:
        hs.events.append(SessionStoreFailed("get", error))
        return None
    return session if session.is_alive_at(hs.wall_clock()) else None


def store_session(hs: Handshake, session_id: bytes, session: Session) -> Step[None]:
    """Keeps a session for a client that knows session ids alone."""
    store = hs.config.live_session_store
    kept, _ = yield from _call(hs, "put", store.put, session_id, session.to_bytes())
    if kept:
        hs.negotiated.stored_id = session_id


def open_ticket(hs: Handshake, ticket: bytes) -> Step[Session | None]:
    """What a ticket of ours holds, with the chain that it may name by its hash."""
    session = hs.config.open_ticket(ticket, hs.wall_clock())
    if session is None or not session.chain_hash:
        return session
    store = hs.config.live_session_store
    _, stored = yield from _call(hs, "get", store.get, CHAIN_KEY + session.chain_hash)
    if stored is None or not hmac.compare_digest(_hash(stored), session.chain_hash):
        return None
    try:
        return replace(session, peer_chain=_parse_chain(stored))
    except DecodeError as error:
        hs.events.append(SessionStoreFailed("get", error))
        return None


def keep_long_chain(hs: Handshake) -> Step[None]:
    """Before a ticket is made: a client's chain that it has no room for goes into the store."""
    negotiated = hs.negotiated
    if not negotiated.peer_chain or negotiated.chain_hash or not hs.config.session_tickets:
        return
    assert negotiated.suite is not None
    length = MASTER_SECRET_LENGTH
    if negotiated.is_dtls13:
        length = HASH_LENGTHS[negotiated.suite.hash_name]
    session = make_session(negotiated, bytes(length), hs.wall_clock())
    if hs.config.live_ticket_keys.has_room_for(session):
        return
    chain = Writer().vectors(negotiated.peer_chain, 3, 3).finish()
    digest, store = _hash(chain), hs.config.live_session_store
    kept, _ = yield from _call(hs, "put", store.put, CHAIN_KEY + digest, chain)
    if kept:
        negotiated.chain_hash = digest


def revoke_session(negotiated: Negotiated, store: SessionStore, *, is_client: bool) -> Event | None:
    """Lets nobody resume the session of an association. Outside a script: returns what the owner is
    to await, or to be told.
    """
    if is_client:
        negotiated.forget_session()
        return SessionRevoked()
    session_id = negotiated.take_stored_id()
    if not session_id:
        return None
    try:
        result = store.delete(session_id)
    except Exception as error:
        return SessionStoreFailed("delete", error)
    return StoreAwaited("delete", result) if inspect.isawaitable(result) else None


def _call(
    hs: Handshake,
    operation: Literal["get", "put"],
    method: Callable[..., object],
    *arguments: bytes,
) -> Step[tuple[bool, bytes | None]]:
    """Whether it succeeded, and what it returned."""
    try:
        result: object = method(*arguments)
    except Exception as error:
        result = error
    if inspect.isawaitable(result):
        result = yield from hs.ask(StoreAwaited(operation, result))
    if operation == "get" and not isinstance(result, bytes | None | Exception):
        result = TypeError(f"get returned {type(result).__name__}, not bytes or None")
    if isinstance(result, Exception):
        hs.events.append(SessionStoreFailed(operation, result))
        return False, None
    return True, result if isinstance(result, bytes) else None


def _hash(chain: bytes) -> bytes:
    return hashlib.sha256(chain).digest()


def _parse_chain(stored: bytes) -> tuple[bytes, ...]:
    return parse_whole(Reader.vectors, stored, 3, 3, 1)
