"""Trust by a function: what it is given, what it may say, and the check of the name after it."""

from __future__ import annotations

import asyncio
import logging

import pytest

import aiodtls
from aiodtls import CertificateError, ConfigError, Credentials, DTLSConfig, Trust, TrustContext
from aiodtls.core.crypto.chains import MAX_CERTIFICATE_SIZE
from aiodtls.core.events import CertificateReceived
from tests.core.test_credentials import CA, HOST, Issued, san
from tests.harness import CLIENT, SERVER, Pair
from tests.test_hooks import versions

LEAF = Issued(HOST, san(HOST), by=CA)
CREDENTIALS = Credentials.from_objects(LEAF.key, [LEAF.certificate])
RAW = Credentials.raw_public_key(LEAF.key)


def yes(chain: tuple[bytes, ...], context: TrustContext) -> bool:
    return True


def answers(side, question):
    assert isinstance(question, CertificateReceived)
    return question.function(question.chain, question.context)


def meet(client: dict, server: dict, host: str | None = HOST, **options) -> Pair:
    options = {"server_hostname": host, "answers": answers, "cookie": False, **options}
    pair = Pair(DTLSConfig(**client), DTLSConfig(**server), **options)
    assert pair.run()
    return pair


@versions
@pytest.mark.parametrize("bare", [True, False])
def test_a_function_is_given_the_chain_and_who_it_is_about(version, bare):
    seen = []

    def judge(chain, context):
        seen.append((chain, context))
        return True

    trust = judge if bare else Trust.from_function(judge)
    both = {"credentials": CREDENTIALS, "trust": trust, "versions": [version]}
    assert meet(both, {**both, "client_auth": "required"}).connected
    (by_client, by_server) = sorted(seen, key=lambda item: item[1].role)
    assert by_client == (CREDENTIALS.chain, TrustContext(HOST, SERVER, "client", version))
    assert by_server == (CREDENTIALS.chain, TrustContext(HOST, CLIENT, "server", version))


@versions
@pytest.mark.parametrize("trust", [yes, Trust.from_function(yes), [yes]])
def test_the_name_of_a_server_is_checked_after_the_function(version, trust):
    client, server = {"trust": trust, "versions": [version]}, {"credentials": CREDENTIALS}
    assert meet(client, server).connected
    pair = meet(client, server, host="other.example")
    assert isinstance(pair.client.failure, CertificateError)
    assert "not for other.example" in str(pair.client.failure)
    assert pair.server.failure.description == "bad_certificate"
    with pytest.raises(ConfigError, match="check_name=False"):
        DTLSConfig(**client).check_client(None)


@versions
def test_the_name_is_not_checked_where_that_is_said(version):
    trust = Trust.from_function(yes, check_name=False)
    client, server = {"trust": trust, "versions": [version]}, {"credentials": CREDENTIALS}
    for host in (HOST, "other.example", None):
        assert meet(client, server, host=host).connected


@versions
def test_no_name_of_a_raw_key_or_of_a_client_is_checked(version):
    raw = Trust.from_function(yes, raw_public_keys=True)
    for host in ("other.example", None):
        assert meet({"trust": raw, "versions": [version]}, {"credentials": RAW}, host).connected
    client = {"trust": yes, "credentials": CREDENTIALS, "versions": [version]}
    nameless = Issued("device", by=CA)
    client["credentials"] = Credentials.from_objects(nameless.key, [nameless.certificate])
    server = {"credentials": CREDENTIALS, "trust": yes, "client_auth": "required"}
    assert meet(client, server).connected


@versions
def test_a_resumption_asks_again_and_checks_the_name_again(version):
    asked = []

    def judge(chain, context):
        asked.append(context.server_hostname)
        return True

    client = {"trust": judge, "versions": [version]}
    server = {"credentials": CREDENTIALS, "ticket_keys": aiodtls.TicketKeys()}
    first = meet(client, server)
    first.idle()
    pair = meet(client, server, session=first.client.session)
    assert pair.connected and pair.client.resumed and asked == [HOST, HOST]


class Truth:
    """True, to those who do not look closely."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 1


@versions
@pytest.mark.parametrize("side", [CLIENT, SERVER])
@pytest.mark.parametrize(
    ("result", "kind"),
    [(None, "None"), (1, "int"), (0, "int"), ("yes", "str"), ([], "list"), (Truth(), "Truth")],
)
def test_anything_but_true_or_false_refuses_and_says_so(version, side, result, kind):
    def judge(chain, context):
        return result

    own, other = {"trust": judge}, {"trust": Trust.insecure()}
    client = {"credentials": CREDENTIALS, "versions": [version]}
    server = {"credentials": CREDENTIALS, "client_auth": "required"}
    client |= own if side == CLIENT else other
    server |= own if side == SERVER else other
    pair = meet(client, server)
    assert not pair.connected
    judge_of = pair.client if side == CLIENT else pair.server
    assert isinstance(judge_of.failure, CertificateError)
    assert str(judge_of.failure) == f"the trust function must return True or False, not {kind}"
    peer = pair.server if side == CLIENT else pair.client
    assert "internal_error" in str(peer.failure)


@versions
def test_false_refuses_and_the_name_changes_nothing_about_it(version):
    trust = Trust.from_function(lambda chain, context: False)
    for host in (HOST, "other.example"):
        client = {"trust": trust, "versions": [version]}
        pair = meet(client, {"credentials": CREDENTIALS}, host)
        assert "refused" in str(pair.client.failure)
        assert pair.server.failure.description == "certificate_unknown"


@versions
def test_of_several_functions_one_that_accepts_is_enough(version):
    unnamed = Trust.from_function(yes, check_name=False)
    trust = [lambda chain, context: False, yes, unnamed]
    client, server = {"trust": trust, "versions": [version]}, {"credentials": CREDENTIALS}
    assert meet(client, server, "other.example").connected
    assert not meet(client | {"trust": trust[:2]}, server, "other.example").connected


@versions
def test_a_leaf_too_large_to_read_names_in_is_refused(version):
    names = [f"host-{number:05}.example" for number in range(MAX_CERTIFICATE_SIZE // 20)]
    large = Issued(HOST, san(HOST, *names), by=CA)
    credentials = Credentials.from_objects(large.key, [large.certificate])
    client, server = {"trust": yes, "versions": [version]}, {"credentials": credentials}
    pair = meet(client, server)
    assert f"{MAX_CERTIFICATE_SIZE} are read" in str(pair.client.failure)
    client["trust"] = Trust.from_function(yes, check_name=False)
    assert meet(client, server).connected


@pytest.mark.parametrize(
    "function",
    [
        lambda: True,
        lambda chain: True,
        lambda chain, context, more: True,
        lambda chain, *, context: True,
    ],
)
def test_a_function_that_cannot_be_called_so_is_refused_at_once(function):
    for make in (Trust.from_function, lambda f: DTLSConfig(trust=f)):
        with pytest.raises(ConfigError, match="two arguments"):
            make(function)


def test_functions_that_can_be_called_so_are_taken():
    for function in (yes, lambda *a: True, lambda a, b, c=0: True, max):
        assert Trust.from_function(function).function is function


@versions
@pytest.mark.parametrize("wait", [True, False])
async def test_over_asyncio_plain_and_async_functions_judge(version, wait, caplog):
    async def judge(chain, context):
        if wait:
            await asyncio.sleep(0)
        assert context.role == "client" and context.peername == server.sockname
        return context.server_hostname == HOST or "a mistake"

    caplog.set_level(logging.INFO, "aiodtls")
    config = DTLSConfig(trust=judge, versions=[version])
    listening = DTLSConfig(credentials=CREDENTIALS)
    async with aiodtls.serve(None, "127.0.0.1", config=listening) as server:
        connect = aiodtls.connect(*server.sockname, config=config, server_hostname=HOST)
        async with connect as endpoint:
            assert endpoint.version == version
        for name in ("other.example", "third.example"):
            with pytest.raises(CertificateError, match="not str"):
                await aiodtls.connect(*server.sockname, config=config, server_hostname=name)
    assert "must return True or False, not str" in caplog.text
