"""The house rules: imports go one way, the core is sans-IO, files have one job, secrets stay in."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "aiodtls"
# From the bottom up: a module imports only from modules before it.
ORDER = """
_version core.registry core.errors core.statistics core.wire.codec core.wire.extensions
core.wire.extensions13 core.wire.extension_blocks core.wire.fragments core.wire.messages
core.wire.messages13 core.wire.records core.crypto.suites core.crypto.key_exchange
core.crypto.signatures core.crypto.prf core.crypto.srtp core.crypto.key_schedule
core.crypto.transcript
core.crypto.certificates core.crypto.credentials core.crypto.trust core.sessions core.config
core.events core.cookies
core.record.replay core.record.connection_ids core.record.epochs core.record.protection12
core.record.protection13 core.record.cid12
core.record.traffic core.record.layer core.reliability.reassembly core.reliability.delivery
core.reliability.flight core.reliability.repeats core.reliability.timers core.reliability.acks
core.reliability.retransmission core.reliability.transmitter core.handshake.script
core.handshake.connection_ids core.handshake.certificate_types core.handshake.staples
core.handshake.negotiate
core.handshake.authenticate core.handshake.psks core.handshake.negotiate13
core.handshake.keys13 core.handshake.retry
core.handshake.keys12 core.handshake.resumption core.handshake.resume12 core.handshake.client12
core.handshake.server12 core.handshake.client13 core.handshake.server13 core.handshake.client
core.handshake.server
core.lease core.handshake.driver
core.handshake.id_updates core.handshake.post core.facts core.association core.renewal
core.key_limits core.paths core.liveness core.timeouts
core.handover core.connection core.routes core.hello_pool core.listener events log
channel endpoint sockets ancillary udp protocol client server transport testing cli.options
cli.output cli.loss cli.serve cli.connect cli.demo cli.main __main__
""".split()  # noqa: SIM905 - a list of words is read better so
MODULES = {
    str(path.relative_to(PACKAGE).with_suffix("")).replace("/", "."): path
    for path in PACKAGE.rglob("*.py")
}
NOT_IN_THE_CORE = {"asyncio", "socket", "time", "threading", "random", "select", "selectors"}
SECRET_WORDS = ("secret", "verify_data", "mac", "premaster", "psk_key")


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


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("core")])
def test_the_core_has_no_clock_socket_thread_or_chance(name):
    roots = {module.split(".")[0] for module in imports(parsed(name))}
    assert not roots & NOT_IN_THE_CORE


@pytest.mark.parametrize("name", MODULES)
def test_no_file_has_two_jobs(name):
    assert len(MODULES[name].read_text().splitlines()) <= 500


@pytest.mark.parametrize("name", MODULES)
def test_secrets_are_compared_in_constant_time(name):
    for node in ast.walk(parsed(name)):
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq):
            text = ast.unparse(node).lower()
            assert not any(word in text.replace(".", "_").split("_") for word in SECRET_WORDS), text


def test_the_package_is_typed():
    assert (PACKAGE / "py.typed").exists()
