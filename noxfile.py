"""Every check of the project, one session each: `nox` runs all but the benchmarks, `nox -s lint` a single one."""

import os
import shutil
from pathlib import Path

import nox

PYTHONS = ["3.11", "3.12", "3.13"]
PROJECT = nox.project.load_toml("pyproject.toml")
ELSEWHERE = [
    "tests/typing",
    "tests/docs",
    "tests/examples",
    "tests/conformance",
    "tests/simulation",
    "tests/browser",
    "tests/ray",
]
"""Tests that have sessions of their own: once is enough for them, whatever the Python."""

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"
# A Python that is not on this machine is left out, also where CI is set.
nox.options.error_on_missing_interpreters = False
nox.options.sessions = [
    "lint",
    "imports",
    "types",
    "stubs",
    "tests",
    "simulation",
    "conformance",
    "api",
    "browser",
    "docs",
    "examples",
    "ray",
]


def _find_pyenv_pythons() -> None:
    """Puts pyenv's Pythons on PATH: its shims answer only for the versions that are selected at the moment."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for python in PYTHONS:
        on_path = shutil.which(f"python{python}")
        if on_path is None or Path(on_path).parent.name == "shims":
            for found in sorted(versions.glob(f"{python}.*/bin")):
                # Behind what is there already, but before the shims.
                directories = os.environ["PATH"].split(os.pathsep)
                at = next((i for i, entry in enumerate(directories) if Path(entry).name == "shims"), len(directories))
                os.environ["PATH"] = os.pathsep.join([*directories[:at], str(found), *directories[at:]])


_find_pyenv_pythons()


def _install(session: nox.Session, *groups: str, editable: bool = True) -> None:
    """Installs the package with the named dependency groups of pyproject.toml."""
    package = ["-e", "."] if editable else ["."]
    session.install(*package, *nox.project.dependency_groups(PROJECT, *groups))


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The test suite. Arguments go to pytest: `nox -s tests-3.12 -- tests/core -k pickle`."""
    _install(session, "test")
    # Most tests wait for processes most of the time.
    at_once = ["-n", str(2 * (os.cpu_count() or 1))]
    session.run("pytest", *(session.posargs or [*at_once, *(f"--ignore={path}" for path in ELSEWHERE)]))


@nox.session
def simulation(session: nox.Session) -> None:
    """The scheduler under seeded faults: `-- --seeds 10000` for more of them, `-- --seed 42` to see one again."""
    _install(session, "test")
    if not session.posargs:
        session.run("pytest", "tests/simulation")
    session.run("python", "-m", "tests.simulation", *(session.posargs or ["--seeds", "400"]))


@nox.session
def conformance(session: nox.Session) -> None:
    """The black-box suite, against the installed package. MODAL_LITE_CONFORMANCE names its folder."""
    # Not editable: what is missing from the wheel must be missing here.
    _install(session, "conformance", editable=False)
    session.run("python", "tests/conformance/run.py", *session.posargs, env={"PYTHONDONTWRITEBYTECODE": "1"})


@nox.session
def lint(session: nox.Session) -> None:
    """Style and formatting. `nox -s lint -- --fix` mends what can be mended."""
    session.install(*nox.project.dependency_groups(PROJECT, "lint"))
    if "--fix" in session.posargs:
        session.run("ruff", "check", "--fix", ".")
        session.run("ruff", "format", ".")
    else:
        session.run("ruff", "check", ".")
        session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """The library's own types, and what a type checker sees of the public ones."""
    _install(session, "types", "test")
    session.run("mypy")
    session.run("pytest", "tests/typing", *session.posargs)


@nox.session
def imports(session: nox.Session) -> None:
    """Who may import whom."""
    _install(session, "imports")
    session.run("lint-imports")


@nox.session
def stubs(session: nox.Session) -> None:
    """Are the generated .pyi files those that the wrappers give? `nox -s stubs -- --write` writes them."""
    _install(session, "stubs")
    session.run("python", "scripts/stubs.py", *(session.posargs or ["--check"]))


@nox.session
def docs(session: nox.Session) -> None:
    """The generated reference, the links, and every example in the documentation. `-- --write` writes the reference."""
    _install(session, "docs", "test")
    session.run("python", "scripts/reference.py", *(session.posargs or ["--check"]))
    session.run("pytest", "tests/docs")


@nox.session
def examples(session: nox.Session) -> None:
    """The programs in docs/examples, run as a user runs them."""
    _install(session, "test", "notebook")
    session.run("pytest", "tests/examples", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Any bytes for the frame decoder, guided by coverage. Arguments go to the fuzzer: `-- -max_total_time=600`."""
    _install(session, "test")
    try:
        session.install("atheris")
    except nox.command.CommandFailed:
        session.skip("the fuzzer atheris does not install here")
    options = session.posargs or ["-max_total_time=30"]
    session.run("python", "-m", "tests.transport.fuzz_frames", "-max_len=4096", "-rss_limit_mb=1024", *options)


@nox.session
def api(session: nox.Session) -> None:
    """The administration interface, asked whatever its description allows. Arguments: `-- --max-examples 1000`."""
    _install(session, "test")
    try:
        session.install("schemathesis>=4")
    except nox.command.CommandFailed:
        session.skip("the fuzzer schemathesis does not install here")
    session.run("python", "-m", "tests.api.fuzz_api", *(session.posargs or ["--max-examples", "20"]))


@nox.session
def browser(session: nox.Session) -> None:
    """The dashboard and web functions in headless Chromium, where there is one. Arguments go to pytest."""
    _install(session, "test")
    session.run("pytest", *(session.posargs or ["tests/browser", "-rs"]))


@nox.session
def ray(session: nox.Session) -> None:
    """Containers on a real Ray cluster of several nodes, on this machine; and the conformance suite's core there."""
    _install(session, "test")
    try:
        session.install("-e", ".[ray]")
    except nox.command.CommandFailed:
        session.skip("ray does not install here")
    session.run("pytest", "tests/ray", *session.posargs)
    if not session.posargs:
        session.run("python", "tests/ray/conformance.py")


@nox.session
def bench(session: nox.Session) -> None:
    """The benchmarks beside other libraries. Arguments go to them: `nox -s bench -- --rounds 3 --publish`."""
    _install(session, "bench")
    session.run("python", "-m", "benchmarks.run", *session.posargs)
