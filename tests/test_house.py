"""The house rules: imports go one way, the core is sans-IO, files have one job, secrets stay in."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "aiodtls"
# From the bottom up: a module imports only from modules before it.
ORDER = """
_version core.clock core.registry core.values core.errors core.statistics core.wire.codec
core.wire.places
core.wire.extensions core.wire.extensions13 core.wire.extension_blocks core.wire.fragments
core.wire.messages core.wire.messages13 core.wire.records core.crypto.capabilities
core.crypto.suites core.crypto.key_exchange core.crypto.signatures core.crypto.hmacs core.crypto.prf
core.crypto.srtp core.crypto.key_schedule core.crypto.transcript
core.crypto.certificates core.crypto.credentials core.crypto.chains core.crypto.trust
core.sessions core.config
core.events core.cookies
core.record.replay core.record.connection_ids core.record.rows core.record.epochs
core.record.protection12 core.record.protection13
core.record.traffic core.record.layer core.record.lease core.negotiated
core.reliability.reassembly core.reliability.delivery
core.reliability.flight core.reliability.repeats core.reliability.timers core.reliability.acks
core.reliability.retransmission core.reliability.transmitter core.handshake.script
core.handshake.extensions.alpn core.handshake.extensions.srtp
core.handshake.extensions.record_size_limit core.handshake.extensions.server_name
core.handshake.extensions.extended_master_secret core.handshake.extensions.renegotiation_info
core.handshake.extensions.session_ticket core.handshake.extensions.supported_groups
core.handshake.extensions.ec_point_formats core.handshake.extensions.supported_versions
core.handshake.extensions.psk_key_exchange_modes core.handshake.extensions.key_share
core.handshake.extensions.signature_algorithms core.handshake.extensions.certificate_authorities
core.handshake.extensions.certificate_types core.handshake.extensions.certificate_status
core.handshake.extensions.connection_id
core.handshake.client_hello core.handshake.credential_choice core.handshake.negotiate
core.handshake.authenticate core.handshake.psks core.handshake.offer13 core.handshake.negotiate13
core.handshake.keys13 core.handshake.retry
core.handshake.keys12 core.handshake.resumption core.handshake.resume12 core.handshake.client12
core.handshake.server12 core.handshake.client13 core.handshake.server13 core.handshake.client
core.handshake.server
core.handshake.driver
core.handshake.id_updates core.handshake.post core.handshake.restored_keys core.outbox core.inbox
core.path_validation core.liveness core.leases core.exported_state core.exported_json
core.sealed_state core.connection core.routes core.hello_pool core.listener events log
net.eager_future net.segments net.ancillary net.send_queue net.batching net.sockets net.transports
carrier sending verification channel endpoint protocol client server transport testing
cli.options cli.output cli.standard_input cli.loss cli.serve cli.connect cli.demo cli.main __main__
""".split()  # noqa: SIM905 - a list of words is read better so
MODULES = {
    str(path.relative_to(PACKAGE).with_suffix("")).replace("/", "."): path
    for path in PACKAGE.rglob("*.py")
}
NOT_IN_THE_CORE = {"asyncio", "socket", "time", "threading", "random", "select", "selectors"}
# What is in a name of secret bytes, and the last words of names that are about them.
SECRET_WORDS = {
    *("secret", "secrets", "key", "keys", "mac", "premaster", "master", "verify", "cookie"),
    *("cookies", "binder", "binders", "psk", "check", "ticket", "tag", "password"),
}
OF_SECRETS = {"name", "length", "size", "limit", "type", "exchange", "until"}


def imports(tree: ast.Module) -> list[str]:
    """Modules imported at run time: TYPE_CHECKING blocks are left out."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def parsed(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text())


def test_every_module_has_its_place():
    named = {name for name in MODULES if not name.endswith("__init__")}
    assert named == set(ORDER)


@pytest.mark.parametrize("name", ORDER)
def test_imports_go_one_way(name):
    above = set(ORDER[: ORDER.index(name)])
    for module in imports(parsed(name)):
        inner = module.removeprefix("aiodtls.")
        if module.startswith("aiodtls.") and inner in ORDER:
            assert inner in above, f"{name} imports {inner}, which comes after it"


@pytest.mark.parametrize("name", [name for name in ORDER if not name.startswith("core")])
def test_imports_for_types_alone_go_one_way_too(name):
    above = set(ORDER[: ORDER.index(name)])
    for node in ast.walk(parsed(name)):
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = node.module.removeprefix("aiodtls.")
            assert inner not in ORDER or inner in above, f"{name} imports {inner}"


@pytest.mark.parametrize("name", [name for name in ORDER if name.startswith("net.")])
def test_the_net_knows_nothing_of_dtls(name):
    ours = [module for module in imports(parsed(name)) if module.startswith("aiodtls.")]
    assert all(module.startswith("aiodtls.net") for module in ours)


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("core")])
def test_the_core_has_no_clock_socket_thread_or_chance(name):
    roots = {module.split(".")[0] for module in imports(parsed(name))}
    # The one default that is no input.
    allowed = {"time"} if name == "core.clock" else set()
    assert not roots & NOT_IN_THE_CORE - allowed


@pytest.mark.parametrize("name", MODULES)
def test_functions_fit_on_a_screen(name):
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    lengths = {
        node.name: (node.end_lineno or 0) - node.lineno + 1
        for node in ast.walk(parsed(name))
        if isinstance(node, functions)
    }
    assert {function: lines for function, lines in lengths.items() if lines > 60} == {}


@pytest.mark.parametrize("name", MODULES)
def test_randomness_comes_from_the_operating_system_alone(name):
    roots = {module.split(".")[0] for module in imports(parsed(name))}
    assert not roots & {"random", "uuid"}


def says_secret(node: ast.expr) -> bool:
    """Whether an operand is a secret's bytes, by its name: the last word of an attribute's."""
    if isinstance(node, ast.Subscript):
        return says_secret(node.value)
    if isinstance(node, ast.Call):
        called = ast.unparse(node.func)
        return called.startswith("hmac.") or (called != "len" and says_secret(node.func))
    if isinstance(node, ast.Attribute):
        # ExtensionType.cookie and its like are code points.
        if isinstance(node.value, ast.Name) and node.value.id[:1].isupper():
            return False
        name = node.attr
    elif isinstance(node, ast.Name):
        name = node.id
    else:
        return False
    words = name.lower().strip("_").split("_")
    return bool(SECRET_WORDS & set(words)) and words[-1] not in OF_SECRETS


def careless_comparisons(tree: ast.Module) -> list[str]:
    return [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        and any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops)
        and any(says_secret(operand) for operand in (node.left, *node.comparators))
        # A choice of the configuration's; secrets are bytes.
        and not any(isinstance(getattr(c, "value", None), str) for c in node.comparators)
    ]


@pytest.mark.parametrize("name", MODULES)
def test_secrets_are_compared_in_constant_time(name):
    assert careless_comparisons(parsed(name)) == []


@pytest.mark.parametrize(
    "careless",
    [
        "cookie == hello.cookie",
        "self._secret != secret",
        "found.mac == _mac13(secret, address, sealed)",
        "verify_data(name, key, digest) == finished.verify_data",
        "a == hmac.digest(key, data, 'sha256')",
        "binders[0] == binder",
        "psk.key == other",
        "body[:4] == ticket_key",
        "1 < n == session.psk_check",
        "master_secret == b'x'",
    ],
)
def test_a_careless_comparison_is_seen(careless):
    assert careless_comparisons(ast.parse(careless))
    assert not careless_comparisons(ast.parse("len(key) == 32 or ExtensionType.cookie == code"))


def test_the_package_is_typed():
    assert (PACKAGE / "py.typed").exists()
