"""What the tests of commands start from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.world import Shell

# What a person asks for now and then, a test asks for again and again.
HURRIED = {
    "GRIDHOOK_VERIFY_INTERVAL_SECONDS": "0",
    "GRIDHOOK_VERIFY_PER_MINUTE": "1000",
    "GRIDHOOK_TESTS_PER_MINUTE": "1000",
    "GRIDHOOK_CHECKS_PER_MINUTE": "1000",
    "GRIDHOOK_API_PER_SECOND": "0",
}
TYPE = "ag.landing_page.created"


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


class Served:
    """A server with one account and one publisher key."""

    def __init__(self, shell: Shell, url: str) -> None:
        self.shell = shell
        self.url = url
        self.account = shell.json("accounts", "add", "Served")
        self.key = shell.json("publishers", "add", "Publisher", "--account", self.account["account"])["key"]
        shell.environment |= {"PUBLISHER_URL": url, "PUBLISHER_KEY": self.key, "PUBLISHER_ACCOUNT": self.account["account"]}

    def webhook(self, url: str, *options: str) -> dict[str, Any]:
        """A new webhook of landing pages."""
        named = ("--name", "Landing pages", "--url", url, "--event", TYPE)
        made: dict[str, Any] = self.shell.json("webhooks", "create", *named, *options)
        return made

    def proven(self, url: str, *options: str) -> dict[str, Any]:
        """The same, once its handshake has succeeded."""
        made = self.webhook(url, *options)
        self.shell.ok("webhooks", "verify", made["webhook"])
        return made

    def publish(self, event_id: str) -> None:
        self.shell.ok("publish", TYPE, "--example", "--id", event_id)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for the whole module: its tests must not depend on each other's events."""
    shell = Shell(tmp_path_factory.mktemp("served"))
    with shell.serving(**HURRIED) as url:
        yield Served(shell, url)


@pytest.fixture
def tenant(served: Served) -> Served:
    """An account of one test's own on the module's server."""
    return Served(Shell(served.shell.directory), served.url)
