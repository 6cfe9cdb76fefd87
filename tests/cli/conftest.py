"""What the tests of commands start from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.world import Shell


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


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for the whole module: its tests must not depend on each other's events."""
    shell = Shell(tmp_path_factory.mktemp("served"))
    with shell.serving() as url:
        yield Served(shell, url)
