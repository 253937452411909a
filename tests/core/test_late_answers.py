"""A first ClientHello stays the same, because a late answer does not tell which one it answers."""

from __future__ import annotations

import pytest

from aiodtls import Credentials, DTLSConfig, Trust
from aiodtls.core.reliability.flight import SIZE_LADDER
from aiodtls.core.wire.fragments import parse_fragments
from aiodtls.core.wire.records import split_datagram
from tests.harness import CLIENT, SERVER, Link, Pair

CREDENTIALS = Credentials.self_signed("localhost")
HELLOS = {
    "both versions": {},
    "1.2": {"versions": ["1.2"]},
    "1.3": {"versions": ["1.3"]},
    "a share of MLKEM768": {"versions": ["1.3"], "key_shares": ["X25519MLKEM768"]},
    "MLKEM768 in two datagrams": {
        "key_shares": ["X25519MLKEM768", "x25519", "secp256r1", "secp384r1"]
    },
    "no share": {"versions": ["1.3"], "key_shares": []},
}
each_hello = pytest.mark.parametrize("hello", HELLOS)


def client_config(hello: str) -> DTLSConfig:
    return DTLSConfig(trust=Trust.insecure(), connection_id=0, **HELLOS[hello])


def server_config(*groups: str) -> DTLSConfig:
    return DTLSConfig(credentials=CREDENTIALS, groups=groups or None, connection_id=0)


def hellos(datagrams: list[bytes]) -> set[bytes]:
    """The different ClientHellos in these datagrams, put together from their fragments."""
    parts: dict[tuple[int, int], bytes] = {}
    whole = set()
    for datagram in datagrams:
        for _, _, body in split_datagram(datagram)[0]:
            for fragment in parse_fragments(body):
                key = fragment.message_seq, fragment.length
                joined = parts[key] = parts.get(key, b"")[: fragment.offset] + fragment.data
                if len(joined) == fragment.length:
                    whole.add(joined)
    return whole


@each_hello
def test_a_first_hello_is_the_same_however_often_it_is_resent(hello):
    """Only the size of its datagrams changes (RFC 6347 section 4.2.4)."""
    pair = Pair(client_config(hello), server_config(), Link(filter=lambda who, number, data: []))
    pair.idle(60)
    assert len(pair.sent[CLIENT]) > 5 and min(map(len, pair.sent[CLIENT])) <= SIZE_LADDER[-1]
    assert len(hellos(pair.sent[CLIENT])) == 1


@each_hello
@pytest.mark.parametrize("cookie", [True, False])
@pytest.mark.parametrize("groups", [(), ("secp256r1",)])
@pytest.mark.parametrize("seconds", [2.0, 7.05, 20.0])
def test_an_answer_that_comes_late_leads_to_a_handshake(hello, cookie, groups, seconds):
    link = Link()
    pair = Pair(client_config(hello), server_config(*groups), link, cookie=cookie)

    def late(who: str, number: int, data: bytes) -> list[tuple[float, bytes]] | None:
        return [(max(link.delay, seconds - pair.elapsed), data)] if who == SERVER else None

    link.filter = late
    assert pair.run(limit=130), "undecided"
    assert pair.connected, (pair.client.failure, pair.server.failure)
    pair.exchange()


@each_hello
@pytest.mark.parametrize("groups", [(), ("x25519",), ("secp256r1",)])
def test_a_server_that_saw_a_resend_alone(hello, groups):
    link = Link(filter=lambda who, number, data: [] if who != SERVER and number < 3 else None)
    pair = Pair(client_config(hello), server_config(*groups), link, cookie=False)
    assert pair.run(limit=130) and pair.connected, pair.client.failure
    pair.exchange()
