"""Development sessions: `nox` runs lint, types and tests; `nox --list` names all.

Everything here can be run by hand too; `sh tests/run.sh` is what decides.
"""

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.error_on_missing_interpreters = False
nox.options.reuse_existing_virtualenvs = True

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]


@nox.session
def lint(session: nox.Session) -> None:
    """ruff, the import layers and codespell."""
    session.install("--editable", ".[test]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")
    session.run("codespell", "aiodtls", "benchmarks", "docs", "examples", "tests")


@nox.session
def types(session: nox.Session) -> None:
    """mypy in strict mode."""
    session.install("--editable", ".[test]")
    session.run("mypy")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The tests, on each interpreter that is installed; arguments go to pytest."""
    session.install("--editable", ".[test]")
    session.run("pytest", "-n", "2", *session.posargs)


@nox.session
def mutants(session: nox.Session) -> None:
    """Removes checks one by one and says which removals no test notices."""
    session.install("--editable", ".[test]")
    session.run("python", "-m", "tests.mutants", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation site, into build/docs."""
    session.install("--editable", ".[docs]")
    session.run("python", "-m", "sphinx", "-q", "-W", "-b", "html", "docs", "build/docs")


@nox.session
def benchmarks(session: nox.Session) -> None:
    """The benchmarks beside other stacks; arguments name the ones to run."""
    session.install("--editable", ".[bench,uvloop]")
    session.run("python", "-m", "benchmarks", *session.posargs)
