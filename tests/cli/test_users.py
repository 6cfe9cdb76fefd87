"""The console's people as an operator handles them in a shell."""

from __future__ import annotations

import re
import urllib.request
from http.cookiejar import CookieJar
from urllib.parse import urlencode

from tests.cli.conftest import Served
from tests.cli.world import HANG_GUARD_SECONDS, Shell

GOOD = "seven green bicycles"


class Browser:
    """A jar of cookies and no scripts."""

    def __init__(self) -> None:
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(CookieJar()))

    def open(self, url: str, **fields: str) -> tuple[str, str]:
        """(where it ended, what the page says)."""
        body = urlencode(fields).encode() if fields else None
        with self._opener.open(url, body, timeout=HANG_GUARD_SECONDS) as answer:
            return answer.url, answer.read().decode()

    def submit(self, url: str, **fields: str) -> tuple[str, str]:
        """Fill in the page's form."""
        token = re.search(r'name="csrf" value="([^"]+)"', self.open(url)[1])
        assert token is not None
        return self.open(url, csrf=token[1], **fields)


def test_somebody_is_invited_sets_a_password_and_is_shown_the_door_while_the_server_runs(tenant: Served) -> None:
    shell, account = tenant.shell, tenant.account["account"]
    shell.environment["GRIDHOOK_PUBLIC_URL"] = tenant.url
    email = f"ada@{account}.example".replace("_", "-")
    made = shell.json("users", "add", email.upper(), "--account", account, "--role", "viewer")
    assert (made["email"], made["accounts"], made["has_password"], made["operator"]) == (email, {account: "viewer"}, False, False)
    assert made["link"].startswith(f"{tenant.url}/console/link/")
    browser = Browser()
    where, page = browser.submit(made["link"], password=GOOD, again=GOOD)
    assert where.startswith(f"{tenant.url}/console/a/{account}")
    assert "· viewer" in page

    again = shell.ok("users", "add", email, "--account", account, "--role", "admin")
    assert "has a password already" in again
    assert "· viewer" not in browser.open(where)[1]
    (listed,) = shell.lines("users", "list", "--account", account)
    assert (listed["email"], listed["accounts"], listed["has_password"]) == (email, {account: "admin"}, True)
    assert listed["signed_in_at"]
    assert f"{account} (admin)" in shell.ok("users", "list")

    (session,) = shell.lines("users", "sessions", email)
    assert session["browser"].startswith("Python-urllib")
    assert "Python-urllib" in shell.ok("users", "sessions", email)
    assert "1 session ended" in shell.ok("users", "sign-out", email)
    assert browser.open(where)[0].startswith(f"{tenant.url}/console/sign-in?next=")

    lost = shell.ok("users", "link", email)
    assert "set a password, works once, until" in lost
    assert browser.open(lost.split()[-1])[1].count("Set your password") > 0
    quick = shell.json("users", "link", email, "--sign-in")
    assert browser.submit(quick["link"])[0].startswith(f"{tenant.url}/console/a/{account}")

    assert "removed from" in shell.ok("users", "remove", email, "--account", account)
    assert "You belong to no account yet" in browser.open(f"{tenant.url}/console")[1]
    shell.ok("users", "remove", email)
    assert browser.open(f"{tenant.url}/console/me")[0].startswith(f"{tenant.url}/console/sign-in")
    assert shell.lines("users", "list", "--account", account) == []


def test_an_operator_is_made_and_unmade(tenant: Served) -> None:
    shell = tenant.shell
    assert shell.json("users", "add", "op@example.com", "--operator")["operator"] is True
    assert "operator" in shell.ok("users", "list")
    assert shell.json("users", "add", "op@example.com", "--no-operator")["operator"] is False
    refused = shell.run("users", "add", "typo@example.com", "--no-operator")
    assert (refused.returncode, "nobody here has the address typo@example.com" in refused.stderr) == (1, True)
    shell.ok("users", "remove", "op@example.com")


def test_what_does_not_go_together_is_refused_and_makes_nobody(shell: Shell) -> None:
    assert "there is no gridhook database" in shell.run("users", "list").stderr
    shell.ok("accounts", "add", "Northwind", "--id", "acc")
    for arguments, words in (
        (("users", "add", "a@example.com"), "give --account A --role admin|viewer, or --operator"),
        (("users", "add", "a@example.com", "--account", "acc"), "--account and --role go together"),
        (("users", "add", "a@example.com", "--account", "acc", "--role", "owner"), "'owner' is not one of"),
        (("users", "add", "a@example.com", "--account", "gone", "--role", "admin"), "gone"),
        (("users", "add", "not an address", "--operator"), "must be an address such as"),
        (("users", "link", "nobody@example.com"), "nobody here has the address"),
        (("users", "list", "--account", "gone"), "gone"),
    ):
        refused = shell.run(*arguments)
        assert refused.returncode != 0, arguments
        assert words in refused.stderr
    assert shell.lines("users", "list") == []
