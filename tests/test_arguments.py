"""What the caller gets wrong is raised at the call, by name, and changes nothing."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import re
import socket
from collections.abc import Callable
from typing import Any, get_type_hints

import pytest

import aiodtls
from aiodtls import (
    PSK,
    ConfigError,
    Credentials,
    DTLSConfig,
    DTLSProtocol,
    MemorySessionStore,
    SessionCache,
    TicketKeys,
    Trust,
)
from aiodtls.core import DTLSConnection, Listener, checks
from aiodtls.testing import pair

KEY = b"0123456789abcdef"
CONFIG = DTLSConfig(psk=PSK("device", KEY))
FIELDS = [field.name for field in dataclasses.fields(DTLSConfig) if field.init]
# What no field takes: an object, a float that is no number, an async generator function.
MISFITS = (object(), float("nan"), {"a": object()}, [object()])


async def handler(endpoint: aiodtls.DTLSEndpoint) -> None:
    await endpoint.wait_closed()


async def async_on_event(endpoint: object, event: object) -> None: ...


def plain(*_: object) -> None: ...


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_of_a_config_has_its_type(name):
    hints = get_type_hints(DTLSConfig)
    for value in (*MISFITS, "1500", True, 1.5, b"x", 5, plain, async_on_event):
        if checks.fits(value, hints[name]):
            continue
        with pytest.raises(ConfigError, match=name):
            DTLSConfig(**{"psk": PSK("a", KEY), name: value})
        with pytest.raises(ConfigError, match=name):
            dataclasses.replace(CONFIG, **{name: value})
    refused = [value for value in MISFITS if not checks.fits(value, hints[name])]
    assert len(refused) >= len(MISFITS) - 1, "a mapping is what one field takes"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pmtu", "1500"),
        ("pmtu", 1500.5),
        ("pmtu", 255),
        ("connection_id", True),
        ("connection_id", 256),
        ("recv_queue", "9"),
        ("recv_queue", 0),
        ("handshake_timeout", "5"),
        ("handshake_timeout", float("inf")),
        ("ticket_keys", b"x" * 32),
        ("session_store", {1: 2}),
        ("alpn_protocols", [5]),
        ("alpn_protocols", [""]),
        ("keylog", 5),
        ("keylog", async_on_event),
        ("keylog", "/nonexistent/directory/keys"),
        ("keylog", "/"),
        ("cipher_suites", []),
        ("groups", ()),
        ("signature_schemes", []),
        ("alpn_protocols", [f"{number:0200}" for number in range(400)]),
        ("versions", [1.3]),
        ("versions", "1.3"),
        ("cipher_suites", ["TLS_NULL"]),
        ("groups", ["secp192r1"]),
        ("key_shares", ["secp192r1"]),
        ("signature_schemes", ["rsa_pkcs1_sha1"]),
        ("srtp_profiles", ["SRTP_NULL"]),
        ("psk", {5: KEY}),
        ("psk", {"a": 5}),
        ("psk", {"a": b""}),
        ("psk", {}),
        ("psk", [PSK("a", KEY)]),
        ("psk_identity_hint", 5),
        ("client_auth", "perhaps"),
        ("client_auth", True),
        ("prefer_psk", "yes"),
        ("trust", 42),
        ("trust", [42]),
        ("credentials", ("cert.pem", "key.pem")),
    ],
)
def test_what_a_config_refuses_is_named(field, value):
    with pytest.raises(ConfigError, match=field):
        DTLSConfig(**{"psk": PSK("a", KEY), field: value})


def test_a_secret_is_in_no_message():
    secret = "hunter2-hunter2-hunter2-hunter2!"
    for make in (
        lambda: DTLSConfig(ticket_keys=secret),
        lambda: DTLSConfig(psk=secret),
        lambda: DTLSConfig(credentials=secret),
        lambda: PSK("a", secret),
        lambda: PSK(secret, KEY, hash=5),
        lambda: TicketKeys(secret),
        lambda: Credentials.from_files(5, secret, secret),
    ):
        with pytest.raises(ConfigError) as refused:
            make()
        assert "hunter2" not in str(refused.value)


PARTS: dict[str, tuple[Callable[[], Any], str]] = {
    "psk identity": (lambda: PSK(5, KEY), "identity"),
    "psk key": (lambda: PSK("a", "text"), "key"),
    "psk hash": (lambda: PSK("a", KEY, hash=256), "hash"),
    "imported context": (lambda: PSK.imported("a", KEY, context="x"), "context"),
    "ticket secret": (lambda: TicketKeys("x" * 32), "secret"),
    "short ticket secret": (lambda: TicketKeys(b"x" * 31), "secret"),
    "ticket period": (lambda: TicketKeys(period="day"), "period"),
    "credentials files": (lambda: Credentials.from_files(5, "k"), "certfile"),
    "credentials password": (lambda: Credentials.from_files("c", "k", 5), "password"),
    "credentials objects": (lambda: Credentials.from_objects("key", []), "private_key"),
    "credentials chain": (lambda: Credentials.from_signer([b"der"], plain), "shown"),
    "credentials raw": (lambda: Credentials.raw_public_key(5), "key"),
    "credentials name": (lambda: Credentials.self_signed(5), "names"),
    "credentials ocsp": (
        lambda: Credentials.self_signed().stapled(ocsp_response="x"),
        "ocsp_response",
    ),
    "credentials hash": (lambda: Credentials.self_signed().fingerprint(256), "hash_name"),
    "trust files": (lambda: Trust.from_files(5), "cafiles"),
    "trust certificates": (lambda: Trust.from_certificates("x"), "certificates"),
    "trust fingerprints": (lambda: Trust.fingerprints(b"sha-256 AB"), "must be str"),
    "trust keys": (lambda: Trust.public_keys(5), "keys"),
    "trust function": (lambda: Trust.from_function(5), "function"),
}


@pytest.mark.parametrize("name", PARTS)
def test_parts_of_a_config_name_what_is_wrong(name):
    make, word = PARTS[name]
    with pytest.raises(ConfigError, match=word):
        make()


CALLS: dict[str, tuple[Callable[[], Any], str]] = {
    "connect host": (lambda: aiodtls.connect(5, 4433), "host"),
    "connect port": (lambda: aiodtls.connect("127.0.0.1", 65536), "65536"),
    "connect text port": (lambda: aiodtls.connect("127.0.0.1", "4433"), "port"),
    "connect no port": (lambda: aiodtls.connect("127.0.0.1", None), "port"),
    "connect true port": (lambda: aiodtls.connect("127.0.0.1", True), "port"),
    "connect config": (lambda: aiodtls.connect("127.0.0.1", 9, config={}), "config"),
    "connect name": (lambda: aiodtls.connect("h", 9, server_hostname=5), "server_hostname"),
    "connect local": (lambda: aiodtls.connect("h", 9, local_addr=("", 70000)), "70000"),
    "connect local text": (lambda: aiodtls.connect("h", 9, local_addr="::1"), "local_addr"),
    "connect family": (lambda: aiodtls.connect("h", 9, family=77), "family"),
    "connect delay": (lambda: aiodtls.connect("h", 9, happy_eyeballs_delay=-1), "happy_eyeballs"),
    "connect session": (lambda: aiodtls.connect("h", 9, session=b"abc"), "session"),
    "connect sock": (lambda: aiodtls.connect(None, None, sock=5), "sock"),
    "connect event": (lambda: aiodtls.connect("h", 9, on_event=5), "on_event"),
    "connect async event": (lambda: aiodtls.connect("h", 9, on_event=async_on_event), "on_event"),
    "serve handler": (lambda: aiodtls.serve(plain, config=CONFIG), "handler"),
    "serve number": (lambda: aiodtls.serve(5, config=CONFIG), "handler"),
    "serve host": (lambda: aiodtls.serve(handler, 5, config=CONFIG), "host"),
    "serve port": (lambda: aiodtls.serve(handler, port=-1, config=CONFIG), "port"),
    "serve config": (lambda: aiodtls.serve(handler, config={}), "config"),
    "serve no config": (lambda: aiodtls.serve(handler, config=None), "config"),
    "serve reuse": (lambda: aiodtls.serve(handler, config=CONFIG, reuse_port="no"), "reuse_port"),
    "serve event": (lambda: aiodtls.serve(handler, config=CONFIG, on_event=5), "on_event"),
    "serve async event": (
        lambda: aiodtls.serve(handler, config=CONFIG, on_event=async_on_event),
        "on_event",
    ),
    "serve timeout": (
        lambda: aiodtls.serve(handler, config=CONFIG, close_timeout="5"),
        "close_timeout",
    ),
    "serve negative timeout": (
        lambda: aiodtls.serve(handler, config=CONFIG, close_timeout=-1),
        "close_timeout",
    ),
    "adopt state": (lambda: aiodtls.adopt("x", bytes(32)), "state"),
    "adopt config": (lambda: aiodtls.adopt(b"x", bytes(32), config={}), "config"),
    "drop-in factory": (lambda: aiodtls.create_datagram_endpoint(5), "protocol_factory"),
    "drop-in address": (
        lambda: aiodtls.create_datagram_endpoint(asyncio.DatagramProtocol, "127.0.0.1"),
        "local_addr",
    ),
    "drop-in config": (
        lambda: aiodtls.create_datagram_endpoint(asyncio.DatagramProtocol, config={}),
        "config",
    ),
    "drop-in name": (
        lambda: aiodtls.create_datagram_endpoint(
            asyncio.DatagramProtocol, server_hostname=async_on_event
        ),
        "server_hostname",
    ),
    "protocol config": (lambda: DTLSProtocol({}), "config"),
    "protocol handler": (lambda: DTLSProtocol(CONFIG, handler=plain), "handler"),
    "protocol event": (lambda: DTLSProtocol(CONFIG, on_event=async_on_event), "on_event"),
    "protocol size": (lambda: DTLSProtocol(CONFIG, max_datagram_size=10), "max_datagram_size"),
    "protocol connect": (lambda: DTLSProtocol(CONFIG).connect(("h", 1), config={}), "config"),
    "protocol accept": (
        lambda: DTLSProtocol(CONFIG).accept(("h", 1), on_event=async_on_event),
        "on_event",
    ),
    "association of": (lambda: aiodtls.association_of("x"), "state"),
    "session": (lambda: aiodtls.Session.from_bytes("x"), "data"),
    "store limit": (lambda: MemorySessionStore("10"), "limit"),
    "empty store": (lambda: MemorySessionStore(0), "limit"),
    "cache limit": (lambda: SessionCache(limit=0), "limit"),
    "cache per server": (lambda: SessionCache(per_server=0), "per_server"),
    "cache session": (lambda: SessionCache().put("server", b"x"), "session"),
    "pair": (lambda: pair({}), "client_config"),
    "pair loss": (lambda: pair(loss=1), "loss"),
    "pair text loss": (lambda: pair(loss="half"), "loss"),
    "core client": (lambda: DTLSConnection.client({}, "peer", 0.0), "config"),
    "core client name": (
        lambda: DTLSConnection.client(CONFIG, "peer", 0.0, server_hostname=b"x"),
        "server_hostname",
    ),
    "core server": (lambda: DTLSConnection.server(None, "peer", 0.0), "config"),
    "core clock": (lambda: DTLSConnection.client(CONFIG, "peer", "now"), "now"),
    "core listener": (lambda: Listener({}), "config"),
}


@pytest.mark.parametrize("name", CALLS)
async def test_a_wrong_argument_is_named_at_the_call(name):
    call, word = CALLS[name]
    with pytest.raises((TypeError, ValueError), match=re.escape(word)):
        result = call()
        # What a coroutine function is given is checked when it runs.
        if inspect.iscoroutine(result):
            await result


async def test_a_stream_socket_carries_no_datagrams():
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        for call in (
            lambda: aiodtls.connect(None, None, sock=sock),
            lambda: aiodtls.serve(handler, config=CONFIG, sock=sock),
        ):
            with pytest.raises(ValueError, match="datagram socket"):
                call()
        with pytest.raises(ValueError, match="datagram socket"):
            await aiodtls.create_datagram_endpoint(asyncio.DatagramProtocol, sock=sock)


async def test_an_endpoint_names_what_is_wrong_and_sends_nothing():
    async with pair() as (client, server):
        for call, error, word in (
            (lambda: client.send(5), TypeError, "int"),
            (lambda: client.send("hi"), TypeError, "str"),
            (lambda: client.send_nowait(True), TypeError, "bool"),
            (lambda: client.send_many(b"abc"), TypeError, "bytes"),
            (lambda: client.send_many([b"x", 5]), TypeError, "int"),
            (lambda: client.send(b""), ValueError, "empty"),
            (lambda: client.send(bytearray()), ValueError, "empty"),
            (lambda: client.send_nowait(b""), ValueError, "empty"),
            (lambda: client.send_many([b"x", b""]), ValueError, "empty"),
            (lambda: client.recv_many(0), ValueError, "limit"),
            (lambda: client.recv_many("5"), TypeError, "limit"),
            (lambda: client.export_keying_material(b"label", 32), TypeError, "label"),
            (lambda: client.export_keying_material("label", "32"), TypeError, "length"),
            (lambda: client.export_state("k" * 32), TypeError, "key"),
            (lambda: client.export_state(bytes(32), lease="64"), TypeError, "lease"),
            (lambda: client.export_stored(5), TypeError, "state"),
        ):
            with pytest.raises(error, match=word):
                result = call()
                if inspect.isawaitable(result):
                    await result
        for pmtu in ("1500", 1500.5, 255, True, None):
            with pytest.raises(ConfigError, match="pmtu"):
                client.pmtu = pmtu
        await client.send(b"first")
        assert await server.recv() == b"first"
        assert server.statistics.records_received == client.statistics.records_sent


async def test_what_is_coalesced_keeps_its_place_around_an_empty_message():
    async with pair() as (client, server):
        client.send_nowait(b"one")
        client.send_nowait(b"two")
        with pytest.raises(ValueError, match="empty"):
            client.send_nowait(b"")
        client.send_nowait(b"3")
        assert [await server.recv() for _ in range(3)] == [b"one", b"two", b"3"]


async def test_the_drop_in_transport_refuses_what_is_no_message():
    transport, _ = await aiodtls.create_datagram_endpoint(
        asyncio.DatagramProtocol, ("127.0.0.1", 0), config=CONFIG
    )
    try:
        for data, error, word in ((b"", ValueError, "empty"), ("x", TypeError, "str")):
            with pytest.raises(error, match=word):
                transport.sendto(data, ("127.0.0.1", 9))
        assert transport.get_endpoint(("127.0.0.1", 9)) is None
    finally:
        transport.abort()


def test_sending_and_receiving_say_what_becomes_of_an_empty_message():
    for method in (aiodtls.DTLSEndpoint.send, aiodtls.DTLSEndpoint.send_many):
        assert "empty" in (method.__doc__ or "")
    assert "empty" in (aiodtls.DTLSEndpoint.recv.__doc__ or "")
