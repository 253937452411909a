"""Functions that decide: PSK look-up, trust and signing, plain and async, in both versions."""

from __future__ import annotations

import asyncio
import itertools
import logging
import selectors
from collections.abc import Callable
from typing import Any

import pytest

import aiodtls
from aiodtls import (
    PSK,
    ConfigError,
    Credentials,
    DTLSConfig,
    DTLSProtocol,
    EndpointClosed,
    HandshakeRefused,
    Trust,
    TrustContext,
)
from aiodtls.core.events import CertificateReceived, PSKRequested, Question, SignatureRequested
from aiodtls.core.registry import ProtocolVersion, SignatureScheme
from aiodtls.testing import pair
from tests.harness import CLIENT, SERVER, Link, Pair
from tests.pki import KEY_KINDS

KEY = b"0123456789abcdef"
CREDENTIALS = Credentials.self_signed("localhost")
versions = pytest.mark.parametrize("version", ["1.2", "1.3"])


def signs(scheme: str, data: bytes) -> bytes:
    return CREDENTIALS.sign(SignatureScheme[scheme], data)


def is_ours(chain: tuple[bytes, ...], context: TrustContext) -> bool:
    return chain == CREDENTIALS.chain


def finds(identity: bytes, context: aiodtls.PSKContext) -> bytes | None:
    return KEY if identity.startswith(b"device") else None


def configs(
    version: str, wrap: Callable[[Any], Any], **options: Any
) -> tuple[DTLSConfig, DTLSConfig]:
    """Both sides have a function for each decision about certificates."""
    sign = Credentials.from_signer([CREDENTIALS.leaf], wrap(signs))
    both = {
        "credentials": sign,
        "trust": wrap(is_ours),
        "versions": [version],
        "groups": ["x25519", "secp256r1"],
        **options,
    }
    return DTLSConfig(**both), DTLSConfig(**both, client_auth="required")


def psk_configs(
    version: str, wrap: Callable[[Any], Any], **options: Any
) -> tuple[DTLSConfig, DTLSConfig]:
    both = {"versions": [version], "groups": ["x25519"], **options}
    return DTLSConfig(psk=PSK("device", KEY), **both), DTLSConfig(psk=wrap(finds), **both)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its clock jumps to the next timer as soon as there is nothing to do."""

    def __init__(self) -> None:
        self.now = 0.0
        loop = self

        class Selector(selectors.SelectSelector):
            def select(self, timeout: float | None = None) -> Any:
                if timeout is None:
                    return super().select(None)
                ready = super().select(0)
                if not ready:
                    loop.now += timeout
                return ready

        super().__init__(Selector())

    def time(self) -> float:
        return self.now


class Wire:
    """A transport that delivers at the next turn of the loop."""

    def __init__(self, deliver: Callable[[bytes, Any], None], own_address: Any) -> None:
        self.deliver, self.own_address = deliver, own_address

    def sendto(self, data: bytes, addr: Any) -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(self.deliver, data, addr, self.own_address)


async def connect_many(count: int, client: DTLSConfig, server: DTLSConfig) -> list[Any]:
    """What each of ``count`` clients of one server comes to, from one start."""
    protocols: dict[Any, DTLSProtocol] = {}

    def deliver(data: bytes, to: Any, sender: Any) -> None:
        protocols[to].datagram_received(data, sender)

    async def welcome(endpoint: aiodtls.DTLSEndpoint) -> None:
        await endpoint.send(b"welcome")
        await endpoint.wait_closed()

    protocols["server"] = DTLSProtocol(server, handler=welcome)
    for number in range(count):
        protocols[number] = DTLSProtocol()
    for address, protocol in protocols.items():
        protocol.connection_made(Wire(deliver, address))  # type: ignore[arg-type]

    async def connect(protocol: DTLSProtocol) -> aiodtls.DTLSEndpoint:
        endpoint = await protocol.connect("server", config=client, server_hostname="localhost")
        assert await endpoint.recv() == b"welcome"
        return endpoint

    connects = (connect(protocols[number]) for number in range(count))
    found = await asyncio.gather(*connects, return_exceptions=True)
    for protocol in protocols.values():
        protocol.connection_lost(None)
    return found


@versions
@pytest.mark.parametrize(("make", "steps"), [(psk_configs, 1), (configs, 4)])
def test_a_hundred_slow_decisions_are_made_together(version, make, steps):
    running = most = 0

    def slowly(function: Callable[..., Any]) -> Callable[..., Any]:
        async def decide(*arguments: Any) -> Any:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(1)
            running -= 1
            return function(*arguments)

        return decide

    async def main() -> list[Any]:
        return await connect_many(100, *make(version, slowly))

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        found = runner.run(main())
        elapsed = runner.get_loop().time()
    assert [type(one) for one in found] == [aiodtls.DTLSEndpoint] * 100
    assert most == 100
    assert steps <= elapsed < steps + 0.5


@versions
async def test_plain_functions_do_as_well(version):
    for make in (configs, psk_configs):
        async with pair(*make(version, lambda function: function)) as (client, server):
            await client.send(b"decided")
            assert await server.recv() == b"decided"


BROKEN = itertools.product(
    [finds, is_ours, signs], ["raises", "raises later", "is cancelled", "returns nonsense"]
)


@versions
@pytest.mark.parametrize(
    ("broken", "how"),
    # Any true value accepts.
    [row for row in BROKEN if row != (is_ours, "returns nonsense")],
)
async def test_a_broken_function_ends_its_handshake_alone(version, broken, how, caplog):
    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        def now(*arguments: Any) -> Any:
            if how == "raises":
                raise RuntimeError("out of order")
            return 7

        async def later(*arguments: Any) -> Any:
            await asyncio.sleep(0)
            if how == "is cancelled":
                raise asyncio.CancelledError
            raise RuntimeError("out of order")

        if function is not broken:
            return function
        return now if how in ("raises", "returns nonsense") else later

    make = psk_configs if broken is finds else configs
    # An alert in the clear ends a handshake after two timeouts of the flight.
    client, _ = make(version, lambda function: function, retransmit_initial=0.1)
    _, server = make(version, wrap)
    with caplog.at_level(logging.ERROR, "aiodtls.handshake"):
        (found,) = await connect_many(1, client, server)
    # In DTLS 1.3 a client has completed when a server judges its certificate.
    expected = EndpointClosed if version == "1.3" and broken is is_ours else HandshakeRefused
    assert isinstance(found, expected)
    assert "internal_error" in str(found)
    logged = [record.levelname for record in caplog.records]
    assert logged == ([] if how == "returns nonsense" else ["ERROR"])


@versions
@pytest.mark.parametrize("make", [configs, psk_configs])
@pytest.mark.parametrize("seconds", [0.2, 5.0])
def test_nothing_is_resent_while_an_answer_is_awaited(version, make, seconds):
    pair = Pair(*make(version, lambda function: function), Link(delay=0.01))
    asked: list[type[Question]] = []

    def open_question() -> tuple[str, Question] | None:
        for side in (CLIENT, SERVER):
            for event in pair.events[side]:
                if isinstance(event, Question) and type(event) not in seen[side]:
                    return side, event
        return None

    seen: dict[str, set[type]] = {CLIENT: set(), SERVER: set()}
    while not pair.decided:
        assert pair.run(lambda: pair.decided or open_question() is not None)
        found = open_question()
        if found is None:
            continue
        side, question = found
        seen[side].add(type(question))
        asked.append(type(question))
        connection = pair.client if side == CLIENT else pair.server
        before = len(pair.sent[side])
        pair.idle(seconds)
        # An ACK now and then is all that DTLS 1.3 may say (RFC 9147 section 7.1).
        assert version == "1.3" or len(pair.sent[side]) == before
        assert not connection.closed
        connection.answer(question, _answer(question), pair.now)
        pair.flush()
    assert pair.connected
    pair.exchange()
    wanted = 1 if make is psk_configs else 4
    assert len(asked) == wanted


def _answer(question: Question) -> object:
    if isinstance(question, PSKRequested):
        return finds(question.identity, question.context)
    if isinstance(question, SignatureRequested):
        return signs(question.scheme, question.data)
    assert isinstance(question, CertificateReceived)
    return question.function(question.chain, question.context)


@versions
@pytest.mark.parametrize("kind", KEY_KINDS)
def test_every_kind_of_key_may_be_elsewhere(version, kind, pki):
    leaf = pki.leaf(kind)
    known = leaf.credentials

    def answer(side: str, question: Question) -> bytes:
        assert isinstance(question, SignatureRequested)
        return known.sign(SignatureScheme[question.scheme], question.data)

    raw = Credentials.from_signer(known.public_key, answer)
    assert raw == Credentials.from_signer(raw.chain[0], answer)
    for credentials, trust in [
        (Credentials.from_signer(leaf.certfile, answer), pki.trust),
        (raw, Trust.public_keys(known.public_key)),
    ]:
        dtls12 = ProtocolVersion.DTLSv1_2
        assert credentials.schemes(dtls12) == known.schemes(dtls12)
        client = DTLSConfig(versions=[version], trust=trust)
        server = DTLSConfig(versions=[version], credentials=credentials)
        pair = Pair(client, server, answers=answer)
        assert pair.run() and pair.connected


def test_what_cannot_be_shown_is_a_config_error(tmp_path):
    (tmp_path / "chain.pem").write_bytes(b"nothing")
    for shown in ([], b"nothing", tmp_path / "chain.pem", object()):
        with pytest.raises(ConfigError):
            Credentials.from_signer(shown, signs)
    made = Credentials.from_signer([CREDENTIALS.leaf], signs)
    assert made.private_key is None
    with pytest.raises(ValueError, match="not in this process"):
        made.sign(SignatureScheme.ecdsa_secp256r1_sha256, b"data")


@versions
def test_a_signature_that_does_not_verify_is_said_here(version):
    _, server = configs(version, lambda function: function)
    client = DTLSConfig(versions=[version], trust=Trust.insecure())
    pair = Pair(client, server, cookie=False, answers=lambda side, question: b"nonsense")
    assert pair.run() and pair.failed
    assert "does not verify" in str(pair.server.failure)
    assert pair.client.failure.description == "internal_error"


@versions
async def test_a_name_that_is_unknown_looks_like_a_wrong_key(version):
    _, server = psk_configs(version, lambda function: function)
    found = []
    for identity, key in [("stranger", KEY), ("device", b"another key, 16+")]:
        config = DTLSConfig(
            versions=[version],
            psk=PSK(identity, key),
            groups=["x25519"],
            handshake_timeout=0.3,
            retransmit_initial=0.1,
        )
        found += await connect_many(1, config, server)
    assert [type(error) for error in found] == [type(found[0])] * 2
    assert isinstance(found[0], aiodtls.HandshakeError)


def test_a_handshake_that_ends_cancels_its_question():
    ended = []

    def endless(function: Callable[..., Any]) -> Callable[..., Any]:
        async def decide(*arguments: Any) -> Any:
            try:
                await asyncio.sleep(1000)
            finally:
                ended.append(asyncio.get_running_loop().time())

        return decide

    async def main() -> list[Any]:
        client, server = psk_configs("1.3", endless)
        return await connect_many(1, client, server)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        (found,) = runner.run(main())
    assert isinstance(found, aiodtls.HandshakeTimeout)
    assert ended and ended[0] < 70
