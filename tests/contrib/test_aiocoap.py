"""aiocoap on both sides of our transports."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import inspect
import re
import weakref
from pathlib import Path
from typing import Any

import aiocoap
import pytest
from aiocoap import Context, Message
from aiocoap.credentials import CredentialsMissingError
from cryptography.hazmat.primitives.asymmetric import ec

import aiodtls
from aiodtls import PSK, Credentials, DTLSConfig, Trust
from aiodtls.contrib import aiocoap as coaps
from aiodtls.contrib.aiocoap.configs import default_config
from tests.chaos import ChaosProxy
from tests.contrib.coap import OTHERS, Client, Hasty, Site, client, serving
from tests.pki import PKI

IDENTITY, KEY = b"sensor-1", b"a key of 128 bit"
ENTRY = {"psk": KEY, "client-identity": IDENTITY}
# More than four blocks of 1,024 bytes.
BODY = bytes(range(256)) * 17
X = 0x12D6E8C4D28F83110A57D253373CAD52F01BC447E4093541F643B385E179C110
Y = 0x283B3D8D28FFA59FE5CB540412A750FA8DFA34F6DA69BCDA68400D679C1347E8
SERVER_KEY, CLIENT_KEY = (
    ec.generate_private_key(ec.SECP256R1()),
    ec.derive_private_key(7, ec.SECP256R1()),
)
MANDATORY = {
    "psk": "TLS_PSK_WITH_AES_128_CCM_8",
    "certificate": "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8",
    "raw": "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8",
}


def configs(mode: str, pki: PKI, **fields: Any) -> tuple[DTLSConfig, DTLSConfig]:
    """A server's and a client's config, with the same fields."""
    if mode == "psk":
        config = default_config(psk=PSK(IDENTITY, KEY, user_data="the sensor"), **fields)
        return config, config
    if mode == "certificate":
        mine, its = pki.leaf("ecdsa-p256", "client").credentials, pki.leaf().credentials
        trusts = (pki.trust, pki.trust)
    else:
        its = Credentials.raw_public_key(SERVER_KEY)
        mine = Credentials.raw_public_key(CLIENT_KEY)
        trusts = (
            coaps.trust_key_names(coaps.key_name(CLIENT_KEY.public_key(), bits=120)),
            Trust.public_keys(SERVER_KEY.public_key()),
        )
    server = default_config(credentials=its, trust=trusts[0], client_auth="required", **fields)
    return server, default_config(credentials=mine, trust=trusts[1], **fields)


CLAIMS = {
    "psk": "'the sensor'",
    "certificate": "'cn:client', 'dns:localhost', 'dns:sensor.example', 'ip:127.0.0.1', 'ip:::1'",
    "raw": repr(coaps.key_name(CLIENT_KEY.public_key())),
}


@pytest.mark.parametrize("mode", CLAIMS)
@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_requests_go_both_ways_in_blocks(mode, version, pki):
    server, mine = configs(mode, pki, versions=[version])
    async with serving(server) as it, client(it.address, mine) as requests:
        reply = await requests.put(BODY)
        assert reply.payload == BODY
        endpoint = reply.remote.endpoint
        assert endpoint.version == version
        assert endpoint.get_extra_info("peer_connection_id")
        claims = (await requests.get()).payload.decode()
    assert CLAIMS[mode] in claims


@pytest.mark.parametrize("mode", MANDATORY)
async def test_the_mandatory_suites(mode, pki):
    server, mine = configs(mode, pki, cipher_suites=[MANDATORY[mode]])
    async with serving(server) as it, client(it.address, mine) as requests:
        reply = await requests.put(BODY)
    assert reply.payload == BODY
    assert reply.remote.endpoint.cipher_suite == MANDATORY[mode]


@pytest.mark.parametrize("mode", MANDATORY)
def test_the_default_config_offers_the_mandatory_suites(mode, pki):
    server, mine = configs(mode, pki)
    for config in (server, mine):
        assert MANDATORY[mode] in [suite.name for suite in config.suites]


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_what_is_lost_is_sent_again(version, pki):
    server, mine = configs("psk", pki, versions=[version], retransmit_initial=0.1)
    async with serving(server) as it, ChaosProxy(it.address, seed=3, drop=0.1) as relay:
        async with client(relay.address, mine) as requests:
            for number in range(4):
                assert (await requests.put(BODY + bytes([number]))).payload == BODY + bytes(
                    [number]
                )
    assert relay.counts["dropped"] >= 3


def hasty() -> DTLSConfig:
    """Refusals are believed soon."""
    return default_config(retransmit_initial=0.05)


# -- credentials ------------------------------------------------------------------------------


async def test_keys_of_aiocoap_are_claims_by_the_name_of_their_entry():
    async with serving(None, sensor={"dtls": ENTRY}) as it:
        async with client(it.address, dtls=ENTRY) as requests:
            assert (await requests.get()).payload == b"(':sensor',)"


async def test_keys_of_aiocoap_may_be_added_later():
    async with serving() as it, client(it.address, hasty(), dtls=ENTRY) as requests:
        with pytest.raises(coaps.AssociationError, match=r"decrypt_error|psk"):
            await requests.get()
        it.context.server_credentials.load_from_dict({":late": {"dtls": ENTRY}})
        assert (await requests.get()).payload == b"(':late',)"


async def test_an_identity_without_user_data_is_the_claim(pki):
    server = default_config(psk={IDENTITY: KEY})
    async with serving(server) as it, client(it.address, dtls=ENTRY) as requests:
        assert (await requests.get()).payload == repr((IDENTITY,)).encode()


async def test_an_entry_may_be_a_config_or_refer_to_another(pki):
    server, mine = configs("certificate", pki)
    async with serving(server) as it, client(it.address) as requests:
        requests.context.client_credentials[":mine"] = mine
        requests.context.client_credentials.load_from_dict({f"{requests.base}/*": ":mine"})
        assert b"cn:client" in (await requests.get()).payload


async def test_an_entry_may_be_a_file_of_cas(pki):
    server = default_config(credentials=pki.leaf().credentials)
    async with serving(server) as it:
        async with client(it.address, tlscert={"certfile": pki.cafile}) as requests:
            reply = await requests.get()
            assert "dns:sensor.example" in reply.remote.authenticated_claims


async def test_entries_of_other_kinds_are_refused():
    async with serving() as it, client(it.address, **{"all-of": []}) as requests:
        with pytest.raises(CredentialsMissingError, match="AllOf, which DTLS cannot use"):
            await requests.get()


async def test_requests_with_different_entries_have_associations_of_their_own(pki):
    keys = {"a": {"dtls": ENTRY}, "b": {"dtls": ENTRY | {"client-identity": b"sensor-2"}}}
    async with serving(None, **keys) as it, client(it.address) as requests:
        credentials = requests.context.client_credentials
        credentials.load_from_dict({f"{requests.base}/*": keys["a"]})
        first, second = await requests.get(), await requests.get()
        credentials.load_from_dict({f"{requests.base}/*": keys["b"]})
        third = await requests.get()
    assert first.remote is second.remote
    assert (first.payload, third.payload) == (b"(':a',)", b"(':b',)")


async def test_requests_at_once_share_a_handshake():
    async with serving(None, sensor={"dtls": ENTRY}) as it:
        async with client(it.address, dtls=ENTRY) as requests:
            replies = await asyncio.gather(*(requests.get() for _ in range(5)))
            assert len({id(reply.remote) for reply in replies}) == 1
        assert it.server.statistics.handshakes_completed == 1


# -- the public face --------------------------------------------------------------------------

NAMES = (
    "AssociationError AssociationTimeout CoapsRemote add_client add_server claims_of install "
    "installed key_name psks_of trust_key_names"
)


def test_the_names_are_frozen():
    assert sorted(coaps.__all__) == sorted(NAMES.split())


@pytest.mark.parametrize("name", NAMES.split())
@pytest.mark.parametrize("page", ["guides", "reference"])
def test_every_name_is_in_the_guide_and_the_reference(name, page):
    text = (Path(__file__).parents[2] / "docs" / page / "coap.md").read_text()
    assert re.search(rf"\b{name}\b", text)
    assert inspect.getdoc(getattr(coaps, name))


# -- names ------------------------------------------------------------------------------------


def test_the_name_of_a_key_is_what_others_compute():
    # As Californium names this client in the tests of the ACE framework.
    key = ec.EllipticCurvePublicNumbers(X, Y, ec.SECP256R1()).public_key()
    name = "ni:///sha-256;xzLa24yOBeCkos3VFzD2gd83Urohr9TsXqY9nhdDN0w"
    assert coaps.key_name(key) == name
    assert coaps.key_name(key, bits=120) == "ni:///sha-256-120;xzLa24yOBeCkos3VFzD2"
    with pytest.raises(ValueError, match="256, 128 or 120 bits of its hash, not 32"):
        coaps.key_name(key, bits=32)


@pytest.mark.parametrize("bits", [256, 128, 120])
async def test_a_server_is_known_by_the_name_of_its_key(bits, pki):
    server, mine = configs("raw", pki)
    for key, outcome in ((SERVER_KEY, True), (CLIENT_KEY, False)):
        trust = coaps.trust_key_names(coaps.key_name(key.public_key(), bits=bits))
        config = default_config(credentials=mine.credentials, trust=trust)
        async with serving(server) as it, client(it.address, config) as requests:
            if outcome:
                assert (await requests.get()).code == aiocoap.CONTENT
            else:
                with pytest.raises(coaps.AssociationError):
                    await requests.get()


@pytest.mark.parametrize(
    "name",
    [
        "",
        "sha-256;xzLa24yOBeCkos3VFzD2gd83Urohr9TsXqY9nhdDN0w",
        "ni:///sha-256;xzLa24yOBeCkos3VFzD2",
        "ni:///sha-256-32;xzLa2w",
        "ni:///sha-256-120;xzLa24yOBeCkos3VFz!2",
    ],
)
def test_other_texts_are_no_names_of_keys(name):
    with pytest.raises(ValueError, match="is not the name of a key"):
        coaps.trust_key_names(name)


def test_trust_needs_a_name():
    with pytest.raises(ValueError, match="at least one name"):
        coaps.trust_key_names()


# -- observing, moving, dialling anew ---------------------------------------------------------


async def numbers(observation: Any) -> Any:
    """The numbers that an observer is told, after the first."""
    async for notification in observation:
        yield int(notification.payload)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_an_observer_is_told_at_its_new_address(version, pki):
    server, mine = configs("psk", pki, versions=[version])
    async with serving(server) as it, ChaosProxy(it.address) as relay:
        async with client(relay.address, mine) as requests:
            request = requests.observe()
            assert (await request.response).payload == b"0"
            told = numbers(request.observation)
            it.site.counter.count()
            assert await anext(told) == 1
            relay.rebind()
            # The server learns the new address by what comes from there.
            assert (await requests.get()).code == aiocoap.CONTENT
            it.site.counter.count()
            assert await anext(told) == 2
        assert it.server.statistics.handshakes_completed == 1


async def test_an_observer_that_only_listens_is_told_at_its_new_address(pki):
    server, mine = configs("psk", pki)
    mine = dataclasses.replace(mine, keepalive_interval=0.2)
    async with serving(server) as it, ChaosProxy(it.address) as relay:
        async with client(relay.address, mine) as requests:
            request = requests.observe()
            await request.response
            told = numbers(request.observation)
            relay.rebind()
            # Its probe of a silent server comes from there.
            while not it.server.statistics.addresses_changed:
                await asyncio.sleep(0.01)
            it.site.counter.count()
            assert await anext(told) == 1
        assert it.server.statistics.handshakes_completed == 1


async def test_an_observer_without_connection_ids_gives_up_a_silent_server(pki):
    server, mine = configs("psk", pki, connection_id=0)
    mine = dataclasses.replace(mine, idle_timeout=0.4)
    async with serving(server) as it, ChaosProxy(it.address) as relay:
        async with client(relay.address, mine) as requests:
            request = requests.observe()
            await request.response
            told = numbers(request.observation)
            it.site.counter.count()
            assert await anext(told) == 1
            relay.rebind()
            # It registers anew, and is told what is there.
            assert await anext(told) == 1
            it.site.counter.count()
            assert await anext(told) == 2


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_without_connection_ids_the_server_is_dialled_anew(version, pki):
    server, mine = configs("psk", pki, versions=[version], connection_id=0)
    async with serving(server) as it, ChaosProxy(it.address) as relay:
        async with client(relay.address, mine) as requests:
            request = requests.observe()
            assert (await request.response).payload == b"0"
            told = numbers(request.observation)
            for _ in range(3):
                it.site.counter.count()
                last = await anext(told)
            assert last == 3
            relay.rebind()
            assert (await requests.put(BODY)).payload == BODY
            # The observation is registered anew, and its numbers go on rising.
            assert await anext(told) == 3
            it.site.counter.count()
            assert await anext(told) == 4
            reply = await requests.get()
            assert reply.remote.endpoint.resumed
            assert reply.payload == b"('the sensor',)"
        assert it.server.statistics.handshakes_completed == 2


async def test_what_must_not_be_done_twice_fails_when_the_server_is_dialled_anew(pki):
    server, mine = configs("psk", pki, connection_id=0)
    async with serving(server) as it, ChaosProxy(it.address) as relay:
        async with client(relay.address, mine) as requests:
            await requests.post()
            relay.rebind()
            with pytest.raises(aiocoap.error.MessageError):
                await requests.post()
            assert it.site.echo.posts == 1
            await requests.post()
            assert it.site.echo.posts == 2


async def test_a_server_that_has_forgotten_everything_is_dialled_anew(pki):
    server, mine = configs("psk", pki)
    async with serving(server) as it, client(it.address, mine) as requests:
        await requests.get()
        for endpoint in it.server.endpoints:
            endpoint.abort()
        assert (await requests.put(BODY)).payload == BODY


async def test_an_association_that_the_server_closes_is_dialled_anew_for_observers(pki):
    server, mine = configs("psk", pki)
    async with serving(server) as it, client(it.address, mine) as requests:
        request = requests.observe()
        await request.response
        told = numbers(request.observation)
        it.site.counter.count()
        assert await anext(told) == 1
        for endpoint in it.server.endpoints:
            endpoint.close()
        assert await anext(told) == 1
        it.site.counter.count()
        assert await anext(told) == 2


async def test_a_late_answer_keeps_the_association(pki, monkeypatch):
    server, mine = configs("psk", pki)
    async with serving(server) as it, ChaosProxy(it.address) as relay:
        async with client(relay.address, mine) as requests:
            first = (await requests.get()).remote.endpoint
            # Until the third sending nothing gets through, and no other handshake is completed.
            relay.drop = 1.0
            dial, dialled = aiodtls.connect, asyncio.Event()

            async def dial_for_long(*args: Any, **kwargs: Any) -> Any:
                relay.drop = 0.0
                dialled.set()
                await asyncio.get_running_loop().create_future()

            monkeypatch.setattr(aiodtls, "connect", dial_for_long)
            reply = await requests.put(b"late")
            assert dialled.is_set()
            assert reply.remote.endpoint is first
            monkeypatch.setattr(aiodtls, "connect", dial)
            assert (await requests.get()).remote.endpoint is first


async def test_what_a_new_association_brings_at_once_does_not_end_it(pki, monkeypatch):
    server, mine = configs("psk", pki, connection_id=0)
    async with serving(server) as it, ChaosProxy(it.address) as relay:
        async with client(relay.address, mine) as requests:
            await requests.get()
            dial = aiodtls.connect

            async def dial_and_hear(*args: Any, on_data: Any, **kwargs: Any) -> Any:
                endpoint = await dial(*args, on_data=on_data, **kwargs)
                # Two messages come before the task that dials goes on: pings of no request.
                on_data(endpoint, b"\x70\x00\x00\x01")
                on_data(endpoint, b"\x70\x00\x00\x02")
                try:
                    await asyncio.sleep(0)
                except asyncio.CancelledError:
                    # As connect() does.
                    endpoint.abort()
                    raise
                return endpoint

            monkeypatch.setattr(aiodtls, "connect", dial_and_hear)
            relay.rebind()
            assert (await requests.put(BODY)).payload == BODY
        assert it.server.statistics.handshakes_completed == 2


async def test_an_observer_that_has_left_is_forgotten(pki):
    server, mine = configs("psk", pki)
    async with serving(server) as it:
        async with client(it.address, mine) as requests:
            await requests.observe().response
            assert it.site.counter.observers == 1
        while it.site.counter.observers:
            await asyncio.sleep(0)


# -- failures ---------------------------------------------------------------------------------


async def test_a_refused_handshake_says_why(pki):
    server, _ = configs("psk", pki)
    async with serving(server) as it:
        async with client(
            it.address, hasty(), dtls=ENTRY | {"psk": b"another 128 bits"}
        ) as requests:
            with pytest.raises(coaps.AssociationError, match=requests.base) as failure:
                await requests.get()
    assert isinstance(failure.value, aiocoap.error.NetworkError)
    assert isinstance(failure.value.__cause__, aiodtls.HandshakeError)
    assert failure.value.extra_help({})


async def test_nobody_there(pki, free_udp_port):
    async with client(("127.0.0.1", free_udp_port), dtls=ENTRY) as requests:
        with pytest.raises(coaps.AssociationError, match="refused"):
            await requests.get()


async def test_silence_is_a_timeout(pki):
    _, mine = configs("psk", pki, handshake_timeout=0.2, retransmit_initial=0.1)
    async with ChaosProxy(("127.0.0.1", 9), drop=1.0) as relay:
        async with client(relay.address, mine) as requests:
            with pytest.raises(aiocoap.error.TimeoutError) as failure:
                await requests.get()
    assert isinstance(failure.value, coaps.AssociationTimeout)


async def test_a_name_that_cannot_be_resolved(monkeypatch):
    async def unknown(*args: Any, **kwargs: Any) -> Any:
        raise aiocoap.transports.simple6.socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    async with client(("nowhere.invalid", 5684), dtls=ENTRY) as requests:
        with pytest.raises(aiocoap.error.ResolutionError, match=r"nowhere\.invalid"):
            await requests.get()


async def test_a_message_that_fits_no_record_fails_alone(pki, caplog):
    server, mine = configs("psk", pki)
    async with serving(server) as it, client(it.address, mine) as requests:
        for _ in range(4):
            large = requests.message(aiocoap.PUT, "echo", bytes(3000))
            with pytest.raises(aiocoap.error.MessageError):
                await requests.context.request(large, handle_blockwise=False).response
        assert "use smaller blocks" in caplog.text
        assert (await requests.put(BODY)).payload == BODY
        assert it.server.statistics.handshakes_completed == 1


async def test_blocks_fit_the_path(pki):
    server, mine = configs("psk", pki, pmtu=400)
    async with serving(server) as it, client(it.address, mine) as requests:
        reply = await requests.put(BODY)
        assert reply.payload == BODY
        assert reply.remote.maximum_block_size_exp == 3
        reply.remote.maximum_block_size_exp = 1
        assert reply.remote.maximum_block_size_exp == 1


@pytest.mark.parametrize(
    "nonsense", [b"\x00", b"\x41\x01", b"\x81\x01\x00\x01", b"\x40\x01\x00\x02\xb1\xff"]
)
async def test_what_is_no_message_is_ignored(nonsense, pki, caplog):
    server, mine = configs("psk", pki)
    async with serving(server) as it:
        async with aiodtls.connect(*it.address, config=mine) as endpoint:
            await endpoint.send(nonsense)
            await endpoint.send(b"\x40\x01\x12\x34\xb4echo")
            assert (await endpoint.recv()).startswith(b"\x60\x45\x12\x34")
    assert "Ignoring unparsable message" in caplog.text


# -- contexts ---------------------------------------------------------------------------------


async def test_a_server_can_ask_its_client(pki):
    server, mine = configs("psk", pki)

    class Me(aiocoap.resource.Resource):
        async def render_get(self, request: Message) -> Message:
            return Message(payload=b"who else")

    async with serving(server) as it, client(it.address, mine) as requests:
        requests.context.serversite = aiocoap.resource.Site()
        requests.context.serversite.add_resource(["who"], Me())
        reply = await requests.get("reverse")
        assert reply.payload == b"the client says who else"


async def test_a_client_that_has_left_cannot_be_asked(pki):
    server, mine = configs("psk", pki)
    async with serving(server) as it:
        seen: list[Any] = []
        it.site.counter.render_get = seen_remotes(seen)
        async with client(it.address, mine) as requests:
            await requests.get("counter")
        while it.server.endpoints:
            await asyncio.sleep(0)
        await coaps.add_client(it.context)
        back = Message(code=aiocoap.GET, transport_tuning=Hasty)
        back.remote = seen[0]
        with pytest.raises(coaps.AssociationError, match="has ended the association"):
            await it.context.request(back).response


def seen_remotes(seen: list[Any]) -> Any:
    async def render(request: Message) -> Message:
        seen.append(request.remote)
        return Message()

    return render


async def test_other_schemes_are_left_to_others(pki):
    async with client(("127.0.0.1", 5683), dtls=ENTRY) as requests:
        (tokens, *_) = requests.context.request_interfaces
        request = Message(code=aiocoap.GET, uri="coap://127.0.0.1/echo")
        assert await tokens.token_interface.message_interface.determine_remote(request) is None


async def test_ours_stands_before_other_transports():
    class Before:
        """Such as OSCORE, which is no TokenManager."""

        async def shutdown(self) -> None: ...

    context = await Context.create_client_context(transports=OTHERS)
    context.request_interfaces.insert(0, Before())
    await coaps.add_client(context)
    kinds = [type(interface).__name__ for interface in context.request_interfaces]
    assert kinds == ["Before", "TokenManager", "TokenManager"]
    assert "ClientMessages" in repr(context.request_interfaces[1])
    await context.shutdown()


async def test_a_context_is_freed_while_a_message_is_held(pki):
    server, mine = configs("psk", pki)
    async with serving(server) as it:
        async with client(it.address, mine) as requests:
            reply = await requests.get()
            interface = weakref.ref(requests.context.request_interfaces[0])
            del requests.context.request_interfaces[:1]
            tokens = interface()
            await tokens.shutdown()
            del tokens
        await asyncio.sleep(0)
        gc.collect()
        assert interface() is None
        assert reply.remote.hostinfo == requests.base.removeprefix("coaps://")


async def test_a_request_after_shutdown(pki):
    server, mine = configs("psk", pki)
    async with serving(server) as it, client(it.address, mine) as requests:
        await requests.get()
    with pytest.raises(aiocoap.error.LibraryShutdown):
        await requests.get()


async def test_remotes_say_where_they_are(pki):
    server, mine = configs("psk", pki)
    async with serving(server) as it, client(it.address, mine) as requests:
        seen: list[Any] = []
        it.site.counter.render_get = seen_remotes(seen)
        reply = await requests.get("counter")
        (peer,) = seen
        assert peer.uri_base_local == reply.remote.uri_base == requests.base
        assert peer.hostinfo == reply.remote.hostinfo_local
        assert peer.scheme == "coaps"
        assert reply.get_request_uri() == f"{requests.base}/counter"
        assert requests.base in repr(reply.remote)


async def test_installed_transports_take_the_place_of_those_of_aiocoap(free_udp_port):
    address = ("127.0.0.1", free_udp_port + 1)
    with coaps.installed():
        assert aiocoap.defaults.dtls_missing_modules() == []
        bind = ("127.0.0.1", free_udp_port)
        server = await Context.create_server_context(
            Site(), bind=bind, transports=["tinydtls_server"]
        )
        context = await Context.create_client_context(transports=["tinydtls"])
    server.server_credentials.load_from_dict({":sensor": {"dtls": ENTRY}})
    requests = Client(context, address)
    context.client_credentials.load_from_dict({f"{requests.base}/*": {"dtls": ENTRY}})
    reply = await requests.get()
    assert reply.payload == b"(':sensor',)"
    assert isinstance(reply.remote, coaps.CoapsRemote)
    await context.shutdown()
    await server.shutdown()


def test_installing_can_be_undone():
    from aiocoap.transports import tinydtls, tinydtls_server

    def names() -> list[object]:
        return [
            tinydtls.MessageInterfaceTinyDTLS,
            tinydtls_server.MessageInterfaceTinyDTLSServer,
            aiocoap.defaults.dtls_missing_modules,
        ]

    before = names()
    undo = coaps.install()
    gc.collect()
    assert not set(map(id, names())) & set(map(id, before))
    undo()
    undo()
    assert names() == before
