"""No secret is in a log line, a repr or an exception, at any level and after any end."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hmac
import logging

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

import aiodtls
from aiodtls import PSK, CookieKeys, Credentials, DTLSConfig, TicketKeys, Trust
from aiodtls.core.crypto import key_exchange, suites
from aiodtls.core.handshake import script
from aiodtls.testing import pair
from tests.leaks import Heard, Secrets, reachable, texts_of

PSK_KEY = bytes(range(0xA0, 0xC0))
EXPORT_KEY = bytes(range(0x40, 0x60))
TICKET_SECRET = bytes(range(0x60, 0x80))
LABEL = "EXPERIMENTAL leak"


@pytest.fixture
def secrets(monkeypatch):
    """Filled by the library itself as it goes: keys as they are made, whoever makes them."""
    known = Secrets()
    for name in ("PSK_KEY", "EXPORT_KEY", "TICKET_SECRET"):
        known.add(name, globals()[name])

    def noting(owner, name, *, of=lambda arguments, result: result):
        honest = getattr(owner, name)

        def noted(*arguments, **named):
            result = honest(*arguments, **named)
            known.add(f"{owner.__name__}.{name}", of(arguments, result))
            return result

        monkeypatch.setattr(owner, name, noted)

    noting(suites.AEAD, "create", of=lambda arguments, result: arguments[1])
    noting(key_exchange.KeyShare, "exchange")
    make = CookieKeys.__init__

    def cookie_keys_made(self, *given):
        make(self, *given)
        for secret in self._secrets:
            known.add("cookie secret", secret)

    monkeypatch.setattr(CookieKeys, "__init__", cookie_keys_made)
    noting(CookieKeys, "keys_at", of=lambda arguments, result: result[0])
    # Whatever a handshake leaves behind: master secret, exporter's and resumption's.
    step = script.ScriptRunner.resume

    def stepped(self, value):
        frame = getattr(self._script, "gi_frame", None)
        handshake = frame.f_locals.get("hs") if frame is not None else None
        step(self, value)
        if handshake is not None:
            negotiated = handshake.negotiated
            for name in ("master_secret", "exporter_secret", "resumption_secret"):
                known.add(name, getattr(negotiated, name))

    monkeypatch.setattr(script.ScriptRunner, "resume", stepped)
    return known


@pytest.fixture
def heard():
    """All that is logged at DEBUG, by aiodtls and by asyncio, which names every callback."""
    handler = Heard()
    loggers = [logging.getLogger(name) for name in ("aiodtls", "asyncio")]
    levels = [(logger, logger.level) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    yield handler
    for logger, level in levels:
        logger.removeHandler(handler)
        logger.setLevel(level)


def keylogged(config: DTLSConfig, secrets: Secrets) -> DTLSConfig:
    def note(line: str) -> None:
        label, _, secret = line.split()
        secrets.add(label, bytes.fromhex(secret))

    return dataclasses.replace(config, keylog=note)


def credentials(secrets: Secrets, tmp_path) -> Credentials:
    """With a private key that is known to be looked for."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    secrets.add("private key", key.private_numbers().private_value.to_bytes(32, "big"))
    secrets.add("private key in PEM", b"".join(pem.splitlines()[1:-1]))
    (tmp_path / "key.pem").write_bytes(pem)
    return Credentials.raw_public_key(key)


def kinds(secrets: Secrets, tmp_path) -> dict[str, dict[str, object]]:
    """Options of both sides of each kind of handshake."""
    held = credentials(secrets, tmp_path)
    chain = Credentials.self_signed("localhost")
    number = chain.private_key.private_numbers().private_value
    secrets.add("private key of the certificate", number.to_bytes(32, "big"))
    return {
        "certificate": {
            "credentials": chain,
            "trust": Trust.fingerprints(chain.fingerprint()),
            "client_auth": "required",
        },
        "raw": {
            "credentials": held,
            "trust": Trust.public_keys(held.public_key),
            "client_auth": "required",
        },
        "psk": {"psk": PSK("device", PSK_KEY)},
    }


def config_of(version: str, kind: str, secrets: Secrets, tmp_path, **changes) -> DTLSConfig:
    options = kinds(secrets, tmp_path)[kind] | changes
    keys = TicketKeys(TICKET_SECRET)
    return keylogged(DTLSConfig(versions=[version], ticket_keys=keys, **options), secrets)


def check(secrets: Secrets, heard: Heard, *roots: object) -> set[str]:
    """The names of the classes that were looked at."""
    found = reachable(roots)
    for item in found:
        for text in texts_of(item):
            assert secrets.in_text(text) == [], type(item)
    for line in heard.lines:
        assert secrets.in_text(line) == [], line[:80]
    return {type(item).__name__ for item in found}


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("kind", ["certificate", "raw", "psk"])
async def test_nothing_leaks_from_associations_that_live_and_end(
    version, kind, secrets, heard, tmp_path
):
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0
    seen: list[object] = []
    config = config_of(version, kind, secrets, tmp_path)
    async with asyncio.timeout(20), pair(config, config) as (client, server):
        for endpoint in (client, server):
            endpoint._channel.report_to(lambda endpoint, event: seen.append(event))
            exported = endpoint.export_keying_material(LABEL, 32)
            secrets.add("exporter", exported)
        await client.send(b"data")
        assert await server.recv() == b"data"
        await server.send(b"data")
        assert await client.recv() == b"data"
        while client.session is None:
            await asyncio.sleep(0)
        session = client.session
        secrets.add("session", session.secret)
        if version == "1.3":
            await asyncio.wait_for(client.wait_confirmed(), 5)
            client.update_keys()
            await client.send(b"after")
            assert await server.recv() == b"after"
        looked_at = check(secrets, heard, client, server, config, session, seen)
        assert {"DTLSConnection", "RecordLayer", "DTLSConfig", "TicketKeys", "Session"} <= looked_at
        assert ("PSK" if kind == "psk" else "Credentials") in looked_at
        names = {name.rsplit(" ", 1)[0] for name in secrets.known}
        logged = "CLIENT_RANDOM" if version == "1.2" else "EXPORTER_SECRET"
        assert {"AEAD.create", "exporter", "session", logged} <= names
        with contextlib.suppress(aiodtls.DTLSError):
            seen.append(server.export_state(EXPORT_KEY))
        for call in (lambda: client.send_nowait(bytes(70_000), split=False), server.update_keys):
            try:
                call()
            except aiodtls.DTLSError as error:
                seen.append(error)
        client.close()
        try:
            await client.recv()
        except aiodtls.EndpointClosed as error:
            seen.append(error)
    loop.set_debug(False)
    check(secrets, heard, client, server, config, session, seen)
    assert heard.lines


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_nothing_leaks_from_a_server_its_tickets_and_its_heirs(
    version, secrets, heard, tmp_path
):
    config = config_of(version, "certificate", secrets, tmp_path)
    sessions = aiodtls.SessionCache()
    events: list[object] = []

    async def echo(endpoint):
        async for data in endpoint:
            await endpoint.send(data)

    async with (
        asyncio.timeout(20),
        aiodtls.serve(
            echo, "127.0.0.1", config=config, on_event=lambda e, event: events.append(event)
        ) as server,
    ):
        for _ in range(2):
            client = await aiodtls.connect(
                *server.sockname[:2], config=config, server_hostname="localhost", session=sessions
            )
            await client.send(b"data")
            assert await client.recv() == b"data"
            secrets.add("session", client.session.secret)
            check(secrets, heard, server, client, sessions, events, config)
            resumed = client.resumed
            client.close()
        assert resumed
        client = await aiodtls.connect(
            *server.sockname[:2], config=config, server_hostname="localhost"
        )
        await client.send(b"data")
        assert await client.recv() == b"data"
        states: list[bytes] = []
        while not states:
            await asyncio.sleep(0.01)
            states = server.export_all(EXPORT_KEY)
        with pytest.raises(ValueError) as refused:
            server.adopt(states[0], bytes(32))
        heir = server.adopt(states[-1], EXPORT_KEY)
        await client.send(b"heir")
        assert await client.recv() == b"heir"
        check(secrets, heard, server, client, heir, states, events, refused.value)
        client.close()


def lying_key(identity, context):
    raise LookupError("the database is away")


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize(
    "kind, ours, theirs",
    [
        ("psk", {}, {"psk": PSK("device", bytes(range(32, 64)))}),
        ("psk", {}, {"psk": PSK("nobody", PSK_KEY)}),
        ("psk", {}, {"psk": lying_key}),
        ("certificate", {"trust": Trust.fingerprints("sha-256 " + ":".join(["AB"] * 32))}, {}),
        ("certificate", {}, {"trust": Trust.fingerprints("sha-256 " + ":".join(["AB"] * 32))}),
        ("certificate", {}, {"alpn_protocols": ["a"]}),
    ],
)
async def test_nothing_leaks_from_handshakes_that_fail(
    version, kind, ours, theirs, secrets, heard, tmp_path
):
    quick = {"handshake_timeout": 0.3}
    client = config_of(version, kind, secrets, tmp_path, **quick, **ours)
    if "alpn_protocols" in theirs:
        client = dataclasses.replace(client, alpn_protocols=["b"])
    server = dataclasses.replace(client, **theirs)
    with pytest.raises((aiodtls.DTLSError, asyncio.CancelledError)) as caught:
        await pair(client, server)
    error = caught.value
    check(secrets, heard, error, error.__cause__, error.__context__, client, server)
    assert heard.lines


def test_whatever_is_refused_is_not_repeated_in_the_refusal(secrets, heard):
    """Arguments that are wrong in another way than the key that is among them."""
    state = bytes(100)
    for call in (
        lambda: PSK("x" * 70_000, PSK_KEY),
        lambda: PSK("device", PSK_KEY, hash="MD5"),
        lambda: DTLSConfig(psk=PSK("device", PSK_KEY), pmtu=1),
        lambda: DTLSConfig(psk={"device": PSK_KEY}, versions=["1.1"]),
        lambda: DTLSConfig(psk=[PSK_KEY]),
        lambda: TicketKeys(TICKET_SECRET, period=1),
        lambda: TicketKeys(TICKET_SECRET[:31]),
        lambda: CookieKeys(TICKET_SECRET[:31]),
        lambda: DTLSConfig(cookie_keys=TICKET_SECRET),
        lambda: aiodtls.Session.from_bytes(TICKET_SECRET + PSK_KEY),
        lambda: aiodtls.core.sealed_state.unseal(state, EXPORT_KEY),
        lambda: aiodtls.core.sealed_state.unseal(state, EXPORT_KEY + b"x"),
    ):
        with pytest.raises(ValueError) as caught:
            call()
        for text in (*texts_of(caught.value), *heard.lines):
            assert secrets.in_text(text) == []


@pytest.mark.parametrize("spell", [bytes.hex, repr, lambda key: repr(key[:20]), list, str])
def test_a_leak_is_seen(spell, secrets, heard):
    key = hmac.digest(b"a", b"key", "sha256")
    secrets.add("planted", key)
    assert secrets.in_text(f"the key is {spell(key)}, do not tell")
    logging.getLogger("aiodtls.handshake").debug("the key is %s", spell(key))
    with pytest.raises(AssertionError):
        check(secrets, heard)
