"""Whatever is typed behind a command, it is answered in words: no stack trace, nothing that steers a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import click
import pytest
from click.testing import CliRunner

from gridhook.cli import main
from tests.cli.conftest import TYPE, Served

# These would go on running; what they take is tried where they are tested.
RUNNING = {"demo", "serve", "listen", "bench"}
HOSTILE = (
    "",
    " ",
    "-",
    "-1",
    "0",
    "9" * 30,
    "9223372036854775808",
    "1.5",
    "nan",
    "-inf",
    "1e400",
    "1h30",
    "999999999d",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "2026-13-45",
    "١٢",
    "🎉",
    "a" * 5000,
    "\udcff",  # a byte that is not UTF-8, as Python hands it on
    "\x1b[31mred\n",
    "../../etc/passwd",
    "/",
    "http://[::1",
    "http://127.0.0.1:99999/",
    "'; DROP TABLE accounts;--",
    "%s{}",
    '{"a":',
    "=",
)


def leaves(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    if command.invoke_without_command:
        yield path, command
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        if path or name not in RUNNING:
            yield from leaves(found, (*path, name))


LEAVES = dict(leaves(main, ()))
OF_AN_ACCOUNT = [path for path, command in LEAVES.items() if any(one.name == "account" for one in command.params)]


@dataclass(frozen=True, slots=True)
class Known:
    """What would do where nothing hostile stands."""

    account: str
    webhook: str

    def of(self, parameter: click.Parameter) -> str:
        name = parameter.name or ""
        if isinstance(parameter.type, click.Choice):
            return str(parameter.type.choices[0])
        if "account" in name:
            return self.account
        if "webhook" in name:
            return self.webhook
        if "email" in name:
            return "ada@example.com"
        if name in ("type", "event_type", "events"):
            return TYPE
        return "http://127.0.0.1:20099/hook" if name in ("url", "target") else "1"

    def line(self, path: tuple[str, ...], command: click.Command, attacked: click.Parameter, value: str) -> list[str]:
        """One whole command line."""
        options: list[str] = []
        arguments: list[str] = []
        for parameter in command.params:
            if isinstance(parameter, click.Argument):
                if parameter is attacked or parameter.required:
                    arguments.append(value if parameter is attacked else self.of(parameter))
            elif parameter is attacked:
                options.append(f"{parameter.opts[-1]}={value}")
            elif parameter.name == "yes":
                options.append("--yes")
            elif parameter.required or parameter.name == "account":
                options += [parameter.opts[-1], self.of(parameter)]
        return [*path, *options, "--", *arguments]


@pytest.fixture(scope="module")
def known(served: Served) -> Known:
    # Made like this, and not by the tests below: each of those tries to do away with what it finds.
    return Known(served.account["account"], served.webhook("http://127.0.0.1:20099/hook")["webhook"])


@pytest.fixture
def typed(served: Served, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    for name, value in served.shell.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(served.shell.directory)
    return CliRunner()


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_whatever_is_typed_is_answered_in_a_sentence(path: tuple[str, ...], typed: CliRunner, known: Known):
    command = LEAVES[path]
    for attacked in command.params:
        if isinstance(attacked, click.Option) and attacked.is_flag:
            continue
        for value in HOSTILE:
            line = known.line(path, command, attacked, value)
            done = typed.invoke(main, line, input="n\n")
            assert done.exception is None or isinstance(done.exception, SystemExit), (line, done.exception)
            assert done.exit_code in (0, 1, 2), (line, done.output)
            assert done.exit_code == 0 or done.output.strip(), f"{line} says nothing"
            assert "Traceback" not in done.output, line
            assert not {"\x1b", "\udcff"} & set(done.output), (line, done.output)


@pytest.mark.parametrize(
    "path", [path for path, command in LEAVES.items() if "account" in {one.name for one in command.params}], ids=" ".join
)
def test_a_variable_that_is_not_set_never_means_all_accounts(path: tuple[str, ...], typed: CliRunner, known: Known):
    command = LEAVES[path]
    (account,) = (one for one in command.params if one.name == "account")
    done = typed.invoke(main, known.line(path, command, account, ""), input="n\n")
    assert done.exit_code == 2
    assert "is empty" in done.output


@pytest.mark.parametrize(
    "line",
    [
        ("listen", "--delay", "nan"),
        ("listen", "--delay", "inf"),
        ("listen", "--host", ""),
        ("listen", "--statuses", ""),
        ("bench", "--seconds", "0"),
        ("bench", "--seconds", "nan"),
        ("serve", "now"),
        ("demo", "now"),
    ],
    ids=" ".join,
)
def test_what_would_go_on_running_does_not_begin_with_nonsense(line: tuple[str, ...], typed: CliRunner):
    done = typed.invoke(main, line)
    assert done.exit_code == 2
    assert line[1] in done.output
