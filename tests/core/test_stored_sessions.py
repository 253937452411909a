"""What a session store keeps, what it costs when it fails, and what a fatal alert takes."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Awaitable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from aiodtls import PSK, Credentials, DTLSConfig, MemorySessionStore, Session, TicketKeys
from aiodtls.core import ticket_keys
from aiodtls.core.events import SessionRevoked, SessionStoreFailed, StoreAwaited
from aiodtls.core.handshake.stored_sessions import CHAIN_KEY
from aiodtls.core.registry import AlertDescription, AlertLevel, ContentType
from aiodtls.core.ticket_keys import MAX_TICKET_LENGTH
from aiodtls.core.wire.extensions import RenegotiationInfo
from aiodtls.core.wire.messages import ClientHello
from tests.harness import CLIENT, SERVER, Pair
from tests.malicious import Deviation, plaintext, seal, with_extension, with_fields
from tests.simulated.variants import configs

BOTH = ["1.2", "1.3"]


class Store(MemorySessionStore):
    """Remembers what it was asked, and fails where it is told to."""

    def __init__(self, *failing: str) -> None:
        super().__init__()
        self.failing = set(failing)
        self.asked: list[tuple[str, bytes]] = []

    def _begin(self, operation: str, key: bytes) -> None:
        self.asked.append((operation, key))
        if operation in self.failing:
            raise OSError(f"no {operation} today")

    def put(self, key: bytes, value: bytes) -> None:
        self._begin("put", key)
        super().put(key, value)

    def get(self, key: bytes) -> bytes | None:
        self._begin("get", key)
        return super().get(key)

    def delete(self, key: bytes) -> None:
        self._begin("delete", key)
        super().delete(key)

    def keys(self, operation: str) -> list[bytes]:
        return [key for asked, key in self.asked if asked == operation]


class AsyncStore:
    """The same, by coroutines."""

    def __init__(self, *failing: str) -> None:
        self.store = Store(*failing)

    async def put(self, key: bytes, value: bytes) -> None:
        self.store.put(key, value)

    async def get(self, key: bytes) -> bytes | None:
        return self.store.get(key)

    async def delete(self, key: bytes) -> None:
        self.store.delete(key)


def await_now(awaitable: Awaitable[Any]) -> Any:
    """Of a coroutine that waits for nothing."""
    try:
        awaitable.__await__().send(None)
    except StopIteration as end:
        return end.value
    except OSError as error:
        return error
    raise AssertionError("it waits")


def answer(_side: str, question: Any) -> Any:
    assert isinstance(question, StoreAwaited)
    return await_now(question.result)


def chain_of(pki, certificates: int) -> Credentials:
    """A client's credentials with a chain as long as that, of about 500 bytes each."""
    leaf = pki.leaf(name="device")
    with open(leaf.keyfile, "rb") as file:
        key = load_pem_private_key(file.read(), None)
    with open(leaf.certfile, "rb") as file:
        own = x509.load_pem_x509_certificate(file.read())
    return Credentials.from_objects(key, [own, *[pki.ca] * (certificates - 1)])


class Mutual:
    """A client with a chain of its own, and a server that asks for it."""

    def __init__(self, pki, version: str, certificates: int, store: Any = None) -> None:
        both = {"versions": [version], "trust": pki.trust}
        self.client = DTLSConfig(credentials=chain_of(pki, certificates), **both)
        self.server = DTLSConfig(
            credentials=pki.leaf().credentials,
            client_auth="required",
            ticket_keys=TicketKeys(),
            session_store=store,
            **both,
        )

    def meet(self, session: Session | None = None, **changes: Any) -> Pair:
        server = dataclasses.replace(self.server, **changes)
        pair = Pair(self.client, server, session=session, answers=answer)
        assert pair.run() and pair.connected, (pair.client.failure, pair.server.failure)
        pair.idle()
        pair.exchange()
        return pair


def failures(pair: Pair) -> list[str]:
    return [e.operation for e in pair.events[SERVER] if isinstance(e, SessionStoreFailed)]


# -- long chains -----------------------------------------------------------------------------------


@pytest.mark.parametrize("store_kind", [Store, AsyncStore])
@pytest.mark.parametrize("version", BOTH)
def test_a_chain_that_a_ticket_has_no_room_for_is_in_the_store(pki, version, store_kind):
    store = store_kind()
    plain = store if isinstance(store, Store) else store.store
    for certificates in (1, 3, 5, 9):
        plain.asked.clear()
        mutual = Mutual(pki, version, certificates, store)
        first = mutual.meet()
        session = first.client.session
        assert 100 < len(session.ticket) <= MAX_TICKET_LENGTH
        names = {(operation, key.startswith(CHAIN_KEY)) for operation, key in plain.asked}
        is_long = certificates > 1
        assert names - {("delete", True)} == ({("put", True)} if is_long else set())
        again = mutual.meet(session)
        assert again.client.resumed and again.server.resumed
        expected = first.server.peer_certificate_chain
        assert len(expected) == certificates
        assert again.server.peer_certificate_chain == expected
        # What the resumption gave leads on, without another look at the chain.
        third = mutual.meet(again.client.session)
        assert third.client.resumed and third.server.peer_certificate_chain == expected
        assert len(set(plain.keys("put"))) == is_long and not failures(third)


@pytest.mark.parametrize("version", BOTH)
def test_by_default_long_chains_are_kept_in_memory(pki, version):
    mutual = Mutual(pki, version, 4)
    session = mutual.meet().client.session
    assert not mutual.meet(session).client.resumed, "each config has a store of its own"
    listener_config = mutual.server
    first = Pair(mutual.client, listener_config)
    assert first.run() and first.connected
    first.idle()
    again = Pair(mutual.client, listener_config, session=first.client.session)
    assert again.run() and again.connected and again.client.resumed


@pytest.mark.parametrize("version", BOTH)
def test_no_ticket_is_longer_than_a_kilobyte(pki, version, monkeypatch):
    """To the byte: one that has just that length holds its chain."""
    store = Store()
    mutual = Mutual(pki, version, 2, store)
    assert MAX_TICKET_LENGTH == 1000
    monkeypatch.setattr(ticket_keys, "MAX_TICKET_LENGTH", 2000)
    length = len(mutual.meet().client.session.ticket)
    assert 800 < length < 2000 and not store.asked
    monkeypatch.setattr(ticket_keys, "MAX_TICKET_LENGTH", length)
    assert len(mutual.meet().client.session.ticket) == length and not store.asked
    monkeypatch.setattr(ticket_keys, "MAX_TICKET_LENGTH", length - 1)
    assert len(mutual.meet().client.session.ticket) < length / 2 and store.keys("put")


@pytest.mark.parametrize("version", BOTH)
def test_what_no_ticket_has_room_for_is_not_resumed(version):
    """A PSK's identity of 1,000 bytes."""
    psk = PSK("i" * 1000, b"k" * 16)
    config = DTLSConfig(psk=psk, versions=[version])
    pair = Pair(config, config)
    assert pair.run() and pair.connected
    pair.idle()
    pair.exchange()
    session = pair.client.session
    assert session is None or not session.ticket
    again = Pair(config, config, session=session)
    assert again.run() and again.connected and not again.client.resumed


@pytest.mark.parametrize("version", BOTH)
@pytest.mark.parametrize(
    "change",
    [
        lambda chain: None,
        lambda chain: chain[:-1],
        lambda chain: chain[:40] + bytes((chain[40] ^ 1,)) + chain[41:],
        lambda chain: b"",
        lambda chain: bytes(len(chain)),
    ],
)
def test_a_chain_that_is_not_as_it_was_leads_to_a_full_handshake(pki, version, change):
    """Whoever can write the store names no other client by that."""
    store = Store()
    mutual = Mutual(pki, version, 3, store)
    session = mutual.meet().client.session
    [key] = set(store.keys("put"))
    changed = change(store.get(key))
    store.delete(key)
    if changed is not None:
        store.put(key, changed)
    again = mutual.meet(session)
    assert not again.client.resumed
    assert len(again.server.peer_certificate_chain) == 3


@pytest.mark.parametrize("version", BOTH)
def test_a_chain_in_the_place_of_another_makes_nobody_another(pki, version):
    """Both are of clients that are trusted."""
    store = Store()
    mutual = Mutual(pki, version, 3, store)
    session = mutual.meet().client.session
    [key] = set(store.keys("put"))
    other = Mutual(pki, version, 4, store)
    other.meet()
    [other_key] = set(store.keys("put")) - {key}
    store.put(key, store.get(other_key))
    again = mutual.meet(session)
    assert not again.client.resumed
    assert len(again.server.peer_certificate_chain) == 3


def test_a_client_cannot_name_a_chain_as_its_session():
    """What a client may ask for has 32 bytes at the most."""
    chain = b"\0\0\3\0\0\0"
    store = Store()
    key = CHAIN_KEY + hashlib.sha256(chain).digest()
    store.put(key, chain)
    assert len(key) > 32 and store.get(key[-32:]) is None


def test_without_session_tickets_nothing_is_taken_from_the_store():
    store = Store()
    client, server = by_id(store)
    first = Pair(client, server)
    assert first.run() and first.connected
    store.asked.clear()
    server = dataclasses.replace(server, session_tickets=0)
    again = Pair(client, server, session=first.client.session)
    assert again.run() and again.connected and not again.client.resumed
    assert not store.asked


# -- a store that fails ----------------------------------------------------------------------------


def by_id(store: Any) -> tuple[DTLSConfig, DTLSConfig]:
    client, server = configs("certificate")
    return (
        dataclasses.replace(client, session_tickets=0),
        dataclasses.replace(server, session_store=store),
    )


@pytest.mark.parametrize("store_kind", [Store, AsyncStore])
@pytest.mark.parametrize("version", ["id", *BOTH])
def test_a_store_that_fails_costs_a_resumption_and_no_handshake(pki, version, store_kind):
    def meet(session: Session | None, *failing: str) -> Pair:
        plain.failing = set(failing)
        pair = Pair(*both, session=session, answers=answer)
        assert pair.run() and pair.connected, (pair.client.failure, pair.server.failure)
        pair.idle()
        pair.exchange()
        assert set(failures(pair)) == set(failing)
        return pair

    store = store_kind()
    plain = store if isinstance(store, Store) else store.store
    if version == "id":
        both = by_id(store)
    else:
        mutual = Mutual(pki, version, 3, store)
        both = mutual.client, mutual.server
    unkept = meet(None, "put").client.session
    if unkept is not None:
        assert unkept.session_id and not meet(unkept).client.resumed
    kept = meet(None).client.session
    assert not meet(kept, "get").client.resumed
    assert meet(kept).client.resumed


@pytest.mark.parametrize("nonsense", [5, "text", [b"x"], True])
def test_a_store_that_answers_nonsense_is_no_store(nonsense):
    store = Store()
    both = by_id(store)
    first = Pair(*both)
    assert first.run() and first.connected
    store.get = lambda key: nonsense
    again = Pair(*both, session=first.client.session)
    assert again.run() and again.connected and not again.client.resumed
    assert failures(again) == ["get"]


@pytest.mark.parametrize("stored", [b"", b"\1", b"\1" + bytes(200), bytes(5000)])
def test_what_is_no_session_in_the_store_leads_to_a_full_handshake(stored):
    store = Store()
    both = by_id(store)
    first = Pair(*both)
    assert first.run() and first.connected
    store.put(first.client.session.session_id, stored)
    again = Pair(*both, session=first.client.session)
    assert again.run() and again.connected and not again.client.resumed
    assert failures(again) == ["get"]


def test_a_memory_store_is_bounded_in_entries_and_bytes():
    store = MemorySessionStore(limit=3, max_bytes=100)
    for key in (b"a", b"b", b"c", b"d"):
        store.put(key, bytes(10))
    assert [store.get(key) is not None for key in (b"a", b"b", b"c", b"d")] == [0, 1, 1, 1]
    store.put(b"e", bytes(70))
    assert [store.get(key) is not None for key in (b"c", b"d", b"e")] == [1, 1, 1]
    store.put(b"e", bytes(5))
    store.put(b"f", bytes(70))
    assert [store.get(key) is not None for key in (b"c", b"d", b"e", b"f")] == [0, 1, 1, 1]
    store.put(b"g", bytes(200))
    assert all(store.get(key) is None for key in (b"d", b"e", b"f", b"g"))
    store.put(b"h", bytes(99))
    assert store.get(b"h") == bytes(99)
    store.delete(b"h")
    store.delete(b"never there")
    store.put(b"i", bytes(99))
    assert store.get(b"i") == bytes(99)


# -- a fatal alert ---------------------------------------------------------------------------------

FATAL = bytes((AlertLevel.fatal, AlertDescription.internal_error))


def revoked(pair: Pair) -> bool:
    return any(isinstance(event, SessionRevoked) for event in pair.events[CLIENT])


def inject(pair: Pair, sender: str, record: bytes) -> None:
    receiver, address = (pair.server, CLIENT) if sender == CLIENT else (pair.client, SERVER)
    receiver.receive_datagram(record, address, pair.now)
    pair.flush()
    pair.idle()


@pytest.mark.parametrize("store_kind", [Store, AsyncStore])
@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize("sender", [CLIENT, SERVER])
def test_a_protected_fatal_alert_deletes_the_session(sender, resumed, store_kind):
    """RFC 5246 section 7.2.2, at both sides."""
    store = store_kind()
    plain = store if isinstance(store, Store) else store.store
    both = by_id(store)
    pair = Pair(*both, answers=answer)
    assert pair.run() and pair.connected
    pair.exchange()
    session = pair.client.session
    if resumed:
        pair = Pair(*both, answers=answer, session=session)
        assert pair.run() and pair.connected and pair.server.resumed
        pair.exchange()
    assert plain.get(session.session_id) is not None and not plain.keys("delete")[1:]
    plain.asked.clear()
    peer = pair.client if sender == CLIENT else pair.server
    inject(pair, sender, seal(peer, ContentType.alert, FATAL))
    if sender == CLIENT:
        assert pair.server.closed
        assert plain.keys("delete") == [session.session_id]
        again = Pair(*both, answers=answer, session=session)
        assert again.run() and again.connected and not again.client.resumed
    else:
        assert pair.client.closed and revoked(pair) and pair.client.session is None


@pytest.mark.parametrize("variant", ["certificate", "certificate13"])
def test_a_fatal_alert_of_ours_deletes_the_session_too(variant):
    """A handshake message that has no place after the handshake."""
    store = Store()
    client, server = configs(variant)
    client = dataclasses.replace(client, session_tickets=0 if variant == "certificate" else 2)
    server = dataclasses.replace(server, session_store=store)
    pair = Pair(client, server)
    assert pair.run() and pair.connected
    pair.idle()
    pair.exchange()
    session = pair.client.session
    nonsense = seal(pair.client, 99, b"nonsense")
    inject(pair, CLIENT, nonsense)
    assert pair.server.closed and pair.client.closed
    assert revoked(pair) and pair.client.session is None
    if variant == "certificate":
        assert session.session_id in store.keys("delete")
        assert store.get(session.session_id) is None


@pytest.mark.parametrize("sender", [CLIENT, SERVER])
@pytest.mark.parametrize("variant", ["certificate", "certificate13"])
def test_an_alert_in_the_clear_and_close_notify_touch_no_session(variant, sender):
    """Anybody can send the one, and the other is the regular end."""
    store = Store()
    client, server = configs(variant)
    client = dataclasses.replace(client, session_tickets=0 if variant == "certificate" else 2)
    server = dataclasses.replace(server, session_store=store)
    pair = Pair(client, server)
    assert pair.run() and pair.connected
    pair.idle()
    session = pair.client.session
    inject(pair, sender, plaintext(ContentType.alert, FATAL, 99))
    assert pair.connected and pair.client.session == session
    (pair.client if sender == CLIENT else pair.server).close(pair.now)
    pair.flush()
    pair.idle()
    assert pair.client.closed and pair.server.closed
    assert not revoked(pair) and pair.client.session == session
    again = Pair(client, server, session=session)
    assert again.run() and again.connected and again.client.resumed


def test_who_only_names_a_session_cannot_delete_it():
    """Its id went in the clear; without its secret nothing of the peer's is protected."""
    store = Store()
    client, server = by_id(store)
    pair = Pair(client, server)
    assert pair.run() and pair.connected
    named = pair.client.session

    thief = dataclasses.replace(named, secret=bytes(48))
    other = Pair(client, server, session=thief)
    assert other.run(lambda: other.client.closed, limit=100)
    assert not other.client.handshake_complete
    assert store.get(named.session_id) is not None
    again = Pair(client, server, session=named)
    assert again.run() and again.connected and again.client.resumed


def test_a_hello_that_names_a_session_and_is_refused_deletes_nothing():
    """Anybody who has seen its id can send it."""
    store = Store()
    client, server = by_id(store)
    pair = Pair(client, server)
    assert pair.run() and pair.connected
    named = pair.client.session
    for change in (
        with_extension(RenegotiationInfo(b"x" * 12)),
        with_fields(compression_methods=b"\1"),
    ):
        store.asked.clear()
        options = {"session": named, "server": {"session_store": store}}
        options["client"] = {"session_tickets": 0}
        outcome = Deviation("certificate", CLIENT, ClientHello, change, **options).run()
        assert outcome.honest.failure is not None
        assert not store.keys("delete")
    assert store.get(named.session_id) is not None
