"""Accounts, keys and the rest of a first day, as typed into a shell."""

from __future__ import annotations

import stat

import pytest

from gridhook.config import Settings
from tests.cli.world import Shell


def test_an_account_is_made_with_a_secret_that_is_shown_once(shell: Shell):
    made = shell.json("accounts", "add", "Example Ltd")
    assert len(bytes.fromhex(made["secret"])) >= 32
    shown = shell.ok("accounts", "list") + shell.ok("accounts", "secret", "list", made["account"])
    assert made["account"] in shown
    assert made["secret_id"] in shown
    assert made["secret"] not in shown
    assert made["secret"].encode() not in b"".join(file.read_bytes() for file in (shell.directory / "data").iterdir())


def test_the_first_command_makes_a_data_directory_that_only_its_owner_can_enter(shell: Shell):
    shell.ok("accounts", "add", "First")
    data = shell.directory / "data"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (data, *data.iterdir())}
    assert modes["data"] == 0o700
    assert modes["master.key"] == 0o600
    assert [name for name, mode in modes.items() if mode & 0o077] == []


def test_an_account_has_two_secrets_while_its_clients_change_over_and_never_none(shell: Shell):
    first = shell.json("accounts", "add", "Example", "--id", "acct_1")
    second = shell.json("accounts", "secret", "add", "acct_1")
    assert shell.run("accounts", "secret", "add", "acct_1").returncode == 1
    shell.ok("accounts", "secret", "revoke", "acct_1", first["secret_id"])
    assert [row["secret_id"] for row in shell.lines("accounts", "secret", "list", "acct_1")] == [second["secret_id"]]
    assert shell.run("accounts", "secret", "revoke", "acct_1", second["secret_id"]).returncode == 1


def test_the_enterprise_switch_is_thrown_by_hand(shell: Shell):
    shell.ok("accounts", "add", "Small", "--id", "acct_1", "--no-enterprise")
    assert [row["enterprise"] for row in shell.lines("accounts", "list")] == [False]
    shell.ok("accounts", "enterprise", "acct_1", "on")
    assert [row["enterprise"] for row in shell.lines("accounts", "list")] == [True]


def test_a_publisher_key_is_listed_without_its_text_and_gone_when_revoked(shell: Shell):
    made = shell.json("publishers", "add", "platform")
    listing = shell.ok("publishers", "list")
    assert made["key_id"] in listing
    assert made["key"] not in listing
    shell.ok("publishers", "revoke", made["key_id"])
    assert shell.lines("publishers", "list") == []


def test_a_command_in_a_directory_without_a_database_says_so_and_makes_none(shell: Shell):
    done = shell.run("attempts")
    assert done.returncode == 1
    assert "there is no gridhook database at" in done.stderr
    assert "GRIDHOOK_DATA_DIR" in done.stderr
    assert "there is no gridhook database at" in shell.run("accounts", "list").stderr


@pytest.mark.parametrize(
    ("arguments", "settings", "said"),
    [
        (("accounts", "secret", "list", "nobody"), {}, "nobody"),
        (("publishers", "add", "x", "--account", "nobody"), {}, "nobody"),
        (("publishers", "revoke", "nothing"), {}, "nothing"),
        (("accounts", "add", " "), {}, "name: is required"),
        (("webhooks", "list", "--account", "nobody"), {}, "nobody"),
        (("attempts", "--account", "nobody"), {}, "nobody"),
        (("accounts", "list"), {"GRIDHOOK_SLOTZ": "1"}, "GRIDHOOK_SLOTZ is not a setting"),
        (("accounts", "list"), {"GRIDHOOK_SLOTS": "many"}, "GRIDHOOK_SLOTS"),
        (("serve",), {"GRIDHOOK_MASTER_KEY_FILE": "missing.key"}, "missing.key"),
        (("migrate",), {"GRIDHOOK_DATA_DIR": "/proc/nothing"}, "/proc/nothing"),
        (("accounts", "list"), {"GRIDHOOK_DATABASE_URL": "postgresql://nobody:hush@127.0.0.1:1/none"}, "GRIDHOOK"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_refusal_is_one_line_that_names_what_is_wrong(shell: Shell, arguments: tuple[str, ...], settings: dict[str, str], said: str):
    shell.ok("migrate")
    done = shell.run(*arguments, **settings)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
    assert "hush" not in done.stderr


def test_what_a_name_hides_is_shown_and_not_obeyed(shell: Shell):
    # U+202E turns the rest of the line around on a terminal.
    shell.ok("accounts", "add", "Exam\u202eple")
    assert "Exam\\u202eple" in shell.ok("accounts", "list")


def test_serve_help_lists_every_setting(shell: Shell):
    text = shell.ok("serve", "--help")
    assert [name for name, _, _ in Settings.describe() if name not in text] == []


def test_every_command_helps(shell: Shell):
    listing = shell.ok("--help")
    for command in ("demo", "serve", "accounts", "publishers", "webhooks", "publish", "listen", "attempts", "doctor", "migrate", "reseal"):
        assert command in listing
        assert "Usage:" in shell.ok(command, "--help")
    assert shell.ok("--version").startswith("gridhook ")


def test_migrate_makes_the_database_and_may_be_repeated(shell: Shell):
    assert shell.ok("migrate") == shell.ok("migrate")
    assert (shell.directory / "data" / "gridhook.db").exists()


def test_a_master_key_is_changed_without_losing_a_secret(shell: Shell):
    shell.ok("accounts", "add", "Example", "--id", "acct_1")
    file = shell.directory / "data" / "master.key"
    old = file.read_text()
    new = "k2:" + "A" * 43 + "=\n"
    file.write_text(new + old)
    assert shell.ok("reseal").startswith("1 secret")
    file.write_text(new)
    assert shell.lines("accounts", "list")[0]["account"] == "acct_1"
    file.write_text(old)
    assert "k2" in shell.run("accounts", "list").stderr
