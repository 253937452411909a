"""The house rules: no import circle, the core is sans-IO, functions are short, secrets stay in.

The layers are declared in pyproject.toml, and ``lint-imports`` checks them.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "aiodtls"
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


def all_imports(name: str) -> set[str]:
    """The modules of the package that a module imports, those for type checking included."""
    found = set()
    for node in ast.walk(parsed(name)):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {module.removeprefix("aiodtls.") for module in found} & set(MODULES)


def test_there_is_no_import_cycle():
    left = {name: all_imports(name) for name in MODULES}
    while free := [name for name, needed in left.items() if not needed]:
        left = {name: needed - set(free) for name, needed in left.items() if name not in free}
    assert not left


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("net.")])
def test_the_net_knows_nothing_of_dtls(name):
    ours = [module for module in imports(parsed(name)) if module.startswith("aiodtls.")]
    assert all(module.startswith("aiodtls.net") for module in ours)


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("core")])
def test_the_core_has_no_clock_socket_thread_or_randomness(name):
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
