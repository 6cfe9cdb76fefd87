"""`gridhook doctor` finds what is wrong before customers do."""

from __future__ import annotations

import contextlib
import json
import subprocess
from typing import Any

import apsw

from tests.cli.world import GRIDHOOK, Shell


def findings(shell: Shell, **settings: str) -> tuple[int, dict[str, Any]]:
    done = shell.run("doctor", "--json", **settings)
    return done.returncode, {(found := json.loads(line))["check"]: found for line in done.stdout.splitlines()}


def test_before_the_first_start_nothing_is_wrong_and_nothing_is_made(shell: Shell):
    _, found = findings(shell)
    assert {found[check]["level"] for check in ("configuration", "data directory", "master key", "database", "CA bundle")} == {"ok"}
    assert not (shell.directory / "data").exists()


def test_a_database_in_use_is_found_well(shell: Shell):
    shell.ok("accounts", "add", "Example")
    _, found = findings(shell)
    assert found["database"]["message"].endswith("1 accounts")
    assert found["stored secrets"]["level"] == "ok"


def test_a_lost_master_key_fails_and_is_named(shell: Shell):
    shell.ok("accounts", "add", "Example")
    (shell.directory / "data" / "master.key").unlink()
    code, found = findings(shell)
    assert (code, found["master key"]["level"]) == (1, "fail")
    assert "master.key" in found["master key"]["message"]


def test_another_databases_master_key_fails(shell: Shell):
    shell.ok("accounts", "add", "Example")
    (shell.directory / "data" / "master.key").write_text("other:" + "A" * 43 + "=\n")
    code, found = findings(shell)
    assert (code, found["stored secrets"]["level"]) == (1, "fail")


def test_an_authority_that_cannot_sign_any_more_is_found_before_a_customer_asks_for_a_certificate(shell: Shell):
    shell.ok("accounts", "add", "Example")
    _, found = findings(shell)
    assert found["authority"]["message"] == "none yet, made with the first mTLS webhook"
    shell.ok("ca", "create")
    _, found = findings(shell)
    assert found["authority"]["level"] == "ok"
    _, found = findings(shell, GRIDHOOK_CERTIFICATE_DAYS="3650")
    assert found["authority"]["level"] == "warn", "it ends sooner than what it would sign"
    assert "gridhook ca roll" in found["authority"]["remedy"]
    with contextlib.closing(apsw.Connection(str(shell.directory / "data" / "gridhook.db"))) as database:
        ((sealed,),) = database.execute("SELECT sealed FROM authorities")
        database.execute("UPDATE authorities SET sealed = ?", (sealed[:-1] + bytes([sealed[-1] ^ 1]),))
    code, found = findings(shell)
    assert (code, found["authority"]["level"]) == (1, "fail")
    assert "could not be decrypted" in found["authority"]["message"]
    shell.ok("ca", "roll", "--signs-in", "0s")
    _, found = findings(shell)
    assert found["authority"]["level"] == "ok"


def test_a_database_that_does_not_answer_fails_and_its_password_is_not_printed(shell: Shell):
    done = shell.run("doctor", GRIDHOOK_DATABASE_URL="postgresql://nobody:hush@127.0.0.1:1/none", GRIDHOOK_MASTER_KEY="k:" + "A" * 43 + "=")
    assert done.returncode == 1
    assert "FAIL  database" in done.stdout
    assert "hush" not in done.stdout + done.stderr


def test_dns_servers_that_do_not_answer_fail(shell: Shell):
    code, found = findings(shell, GRIDHOOK_DNS_SERVERS="127.0.0.1#1", GRIDHOOK_DNS_SECONDS="0.3")
    assert (code, found["DNS"]["level"]) == (1, "fail")
    assert "127.0.0.1#1" in found["DNS"]["message"]


def test_too_few_open_files_for_the_slots_fail(shell: Shell):
    limited = f"ulimit -n 256 && exec {GRIDHOOK[0]} -m gridhook doctor"
    done = subprocess.run(["sh", "-c", limited], env=shell.environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "FAIL  open files" in done.stdout
    assert "ulimit -n" in done.stdout


def test_a_mistyped_setting_fails(shell: Shell):
    code, found = findings(shell, GRIDHOOK_SLOTZ="1")
    assert (code, found["configuration"]["level"]) == (1, "fail")


def test_a_ca_bundle_that_is_none_fails(shell: Shell):
    (shell.directory / "ca.pem").write_text("not a certificate")
    code, found = findings(shell, GRIDHOOK_CA_FILE="ca.pem")
    assert (code, found["CA bundle"]["level"]) == (1, "fail")


def test_a_data_directory_that_cannot_be_made_fails(shell: Shell):
    (shell.directory / "file").write_text("not a directory")
    code, found = findings(shell, GRIDHOOK_DATA_DIR="file/data")
    assert (code, found["data directory"]["level"]) == (1, "fail")


def test_a_database_file_elsewhere_is_looked_for_there(shell: Shell):
    elsewhere = {"GRIDHOOK_DATABASE_URL": f"sqlite:///{shell.directory}/elsewhere/events.db"}
    assert "elsewhere: made on first start" in findings(shell, **elsewhere)[1]["data directory"]["message"]
    shell.ok("accounts", "add", "Example", **elsewhere)
    assert findings(shell, **elsewhere)[1]["database"]["level"] == "ok"
