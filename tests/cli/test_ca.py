"""Certificate authorities, as an operator makes, shows, replaces and removes them."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from gridhook.authority import new_authority
from gridhook.clock import SystemClock
from gridhook.rules.instants import parse_rfc3339
from tests.cli.world import Shell

DAY = 86_400_000


def fingerprints(pem: str) -> list[str]:
    return [one.fingerprint(hashes.SHA256()).hex() for one in x509.load_pem_x509_certificates(pem.encode())]


def elsewhere(directory: Path) -> tuple[str, str, str]:
    """A CA that was made by somebody else: (certificate's file, key's file, fingerprint)."""
    authority, key = new_authority("Corporate CA", now=SystemClock().now())
    (directory / "corporate.pem").write_bytes(authority.certificate)
    (directory / "corporate.key").write_bytes(key)
    return "corporate.pem", "corporate.key", authority.fingerprint


def test_the_first_authority_is_made_when_its_certificate_is_first_wanted(shell: Shell):
    shell.ok("accounts", "add", "First")
    assert "no certificate authority yet" in shell.ok("ca", "show")
    pem = shell.ok("ca", "pem")
    assert shell.ok("ca", "pem") == pem
    (made,) = shell.lines("ca", "show")
    assert fingerprints(pem) == [made["fingerprint"]]
    assert made["signs_now"] is True
    assert "BEGIN CERTIFICATE" in pem
    assert "PRIVATE KEY" not in pem


def test_receivers_can_be_told_whom_to_trust_before_the_server_was_ever_started(shell: Shell):
    pem = shell.ok("ca", "pem")
    assert "BEGIN CERTIFICATE" in pem
    assert shell.ok("ca", "pem") == pem


def test_the_key_of_an_authority_is_on_the_disk_only_sealed(shell: Shell):
    made = shell.json("ca", "create")
    stored = b"".join(file.read_bytes() for file in (shell.directory / "data").iterdir())
    assert made["authority"].encode() in stored
    assert b"PRIVATE KEY" not in stored
    second = shell.run("ca", "create")
    assert (second.returncode, second.stdout) == (1, "")
    assert f"there is an authority already ({made['authority']})" in second.stderr


def test_a_successor_is_published_at_once_and_signs_later(shell: Shell):
    first = shell.json("ca", "create")
    second = shell.json("ca", "roll")
    assert 6.9 * DAY < parse_rfc3339(second["signs_from_at"]) - parse_rfc3339(first["signs_from_at"]) < 7.1 * DAY
    shown = shell.lines("ca", "show")
    assert [(one["authority"], one["signs_now"]) for one in shown] == [(second["authority"], False), (first["authority"], True)]
    assert fingerprints(shell.ok("ca", "pem")) == [second["fingerprint"], first["fingerprint"]]
    header, *rows = shell.ok("ca", "show").splitlines()
    assert header.split("  ")[0] == "AUTHORITY"
    assert [(row.split()[0], row.split()[-1]) for row in rows] == [(second["authority"], "no"), (first["authority"], "yes")]


def test_an_authority_is_removed_when_another_signs_and_not_before(shell: Shell):
    first = shell.json("ca", "create")["authority"]
    refused = shell.run("ca", "remove", first)
    assert refused.returncode == 1
    assert f"authority {first} signs; roll over to another first" in refused.stderr
    second = shell.json("ca", "roll", "--signs-in", "0s")["authority"]
    assert "removed" in shell.ok("ca", "remove", first)
    assert [(one["authority"], one["signs_now"]) for one in shell.lines("ca", "show")] == [(second, True)]
    gone = shell.run("ca", "remove", first)
    assert (gone.returncode, gone.stderr) == (1, f"error: no authority {first}\n")


def test_an_authority_of_ones_own_is_imported_and_signs_at_once_if_it_is_the_first(shell: Shell):
    certificate, key, fingerprint = elsewhere(shell.directory)
    made = shell.json("ca", "import", "--certificate", certificate, "--key", key)
    assert made["fingerprint"] == fingerprint
    assert made["signs_from_at"] == made["created_at"]
    assert fingerprints(shell.ok("ca", "pem")) == [fingerprint]
    again = shell.run("ca", "import", "--certificate", certificate, "--key", key)
    assert again.returncode == 1
    assert f"this certificate is that of authority {made['authority']} already" in again.stderr


def test_an_authority_of_ones_own_takes_over_from_ours_when_receivers_had_time_to_trust_it(shell: Shell):
    ours = shell.json("ca", "create")["authority"]
    certificate, key, _ = elsewhere(shell.directory)
    theirs = shell.json("ca", "import", "--certificate", certificate, "--key", key, "--signs-in", "36h")
    assert parse_rfc3339(theirs["signs_from_at"]) - parse_rfc3339(theirs["created_at"]) == 1.5 * DAY
    shown = shell.lines("ca", "show")
    assert [(one["authority"], one["signs_now"]) for one in shown] == [(theirs["authority"], False), (ours, True)]


def test_what_cannot_be_imported_is_said_and_nothing_is_kept(shell: Shell):
    certificate, key, _ = elsewhere(shell.directory)
    shell.ok("accounts", "add", "First")
    swapped = shell.run("ca", "import", "--certificate", key, "--key", certificate)
    assert swapped.returncode == 1
    assert swapped.stderr.startswith("error: certificate: cannot be read: it must be PEM")
    missing = shell.run("ca", "import", "--certificate", certificate, "--key", "no.key")
    assert missing.returncode == 1
    assert "no.key" in missing.stderr
    assert shell.run("ca", "roll", "--signs-in", "soon").returncode == 2
    before = shell.ok("ca", "show")
    for late in ("366d", "36500d"):
        refused = shell.run("ca", "roll", "--signs-in", late)
        assert (refused.returncode, "signs_in: must be at most 365d" in refused.stderr) == (1, True)
    assert shell.run("ca", "roll", "--signs-in", "99999999d").returncode == 2
    assert shell.ok("ca", "show") == before
    assert "no certificate authority yet" in shell.ok("ca", "show")
