"""`gridhook doctor` finds what is wrong before customers do."""

from __future__ import annotations

import contextlib
import json
import subprocess
from typing import Any

import apsw

from tests.cli.conftest import HURRIED, TYPE, Served
from tests.cli.world import GRIDHOOK, Shell, fetch


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


def test_a_damaged_secret_stops_nobody_but_who_needs_it_and_is_named_by_its_row(shell: Shell):
    added = shell.json("accounts", "add", "Example")
    account, whole = added["account"], added["secret"]
    shell.ok("accounts", "add", "Neighbour")
    shell.ok("accounts", "secret", "add", account)
    with contextlib.closing(apsw.Connection(str(shell.directory / "data" / "gridhook.db"))) as database:
        ((hurt, sealed),) = database.execute("SELECT id, sealed FROM account_secrets WHERE id = ?", (added["secret_id"],))
        database.execute("UPDATE account_secrets SET sealed = ? WHERE id = ?", (sealed[:9], hurt))
    code, found = findings(shell)
    assert (code, found["stored secrets"]["level"]) == (1, "fail")
    assert f"1 of 3 do not open: account_secrets|secret|{account}|{hurt}" in found["stored secrets"]["message"]
    with shell.serving() as url:
        assert fetch(f"{url}/readyz")[0] == 200
    log = (shell.directory / "server.log").read_text()
    assert "a stored secret is damaged" in log
    assert hurt in log
    assert whole not in log
    resealed = shell.run("reseal")
    assert resealed.returncode == 1
    assert hurt in resealed.stderr


def test_where_the_master_key_is_missing_nothing_else_is_said_to_be_broken(shell: Shell):
    shell.ok("ca", "create")
    (shell.directory / "data" / "master.key").write_text("other:" + "A" * 43 + "=\n")
    _, found = findings(shell)
    assert found["stored secrets"]["level"] == "fail"
    assert "load the master key" in found["stored secrets"]["remedy"]
    assert "authority" not in found


def test_a_secret_with_one_bit_changed_is_found_too(shell: Shell):
    shell.ok("accounts", "add", "Example")
    with contextlib.closing(apsw.Connection(str(shell.directory / "data" / "gridhook.db"))) as database:
        ((sealed,),) = database.execute("SELECT sealed FROM account_secrets")
        database.execute("UPDATE account_secrets SET sealed = ?", (sealed[:-1] + bytes([sealed[-1] ^ 1]),))
    _, found = findings(shell)
    assert "1 of 1 do not open: account_secrets|secret|" in found["stored secrets"]["message"]


def test_a_damaged_authority_is_named_and_left_out_of_what_receivers_are_to_trust(shell: Shell):
    shell.ok("ca", "create")
    shell.ok("ca", "roll", "--signs-in", "7d")
    with contextlib.closing(apsw.Connection(str(shell.directory / "data" / "gridhook.db"))) as database:
        ((hurt, pem),) = database.execute("SELECT id, certificate FROM authorities ORDER BY signs_from_at DESC LIMIT 1")
        database.execute("UPDATE authorities SET certificate = ? WHERE id = ?", (pem[:200], hurt))
    _, found = findings(shell)
    assert found["authority"]["level"] == "fail"
    assert hurt in found["authority"]["message"]
    with shell.serving() as url:
        for _ in range(2):
            status, bundle = fetch(f"{url}/v1/ca.pem")
            assert (status, bundle.count(b"BEGIN CERTIFICATE")) == (200, 1)
    log = (shell.directory / "server.log").read_text()
    assert log.count("it is not published") == 1


def test_certificates_that_were_damaged_or_whose_authority_is_gone_are_named(shell: Shell):
    with shell.serving(**HURRIED) as url:
        served = Served(shell, url)
        url = "https://127.0.0.1:18009/h"  # nothing listens there
        first, second = (served.webhook(url, "--auth-method", "mtls")["webhook"] for _ in range(2))
    code, found = findings(shell)
    assert (code, found["certificates"]["level"], found["certificates"]["message"]) == (0, "ok", "2 presented by webhooks")
    with contextlib.closing(apsw.Connection(str(shell.directory / "data" / "gridhook.db"))) as database:
        database.execute("UPDATE webhook_certificates SET chain = substr(chain, 1, 90) WHERE webhook_id = ?", (first,))
        code, found = findings(shell)
        assert (code, found["certificates"]["level"]) == (1, "fail")
        assert "1 of 2 were damaged" in found["certificates"]["message"]
        assert f" of {first}" in found["certificates"]["message"]
        database.execute("DELETE FROM webhook_certificates WHERE webhook_id = ?", (first,))
        database.execute("DELETE FROM authorities")
    code, found = findings(shell)
    assert (code, found["certificates"]["level"]) == (1, "fail")
    assert "the authority of 1 of 1 is not there" in found["certificates"]["message"]
    assert f" of {second}" in found["certificates"]["message"]
    with shell.serving(**HURRIED) as url:
        status, answer = fetch(f"{url}/v1/ca.pem")
        assert (status, b"is not in the database" in answer) == (503, True)
        refused = shell.run(
            "webhooks", "create", "--name", "Third", "--url", "https://127.0.0.1:18009/h", "--event", TYPE, "--auth-method", "mtls"
        )
        assert refused.returncode == 1
        shell.ok("ca", "roll", "--signs-in", "0s")
        assert fetch(f"{url}/v1/ca.pem")[0] == 200
    assert "no other is made; see `gridhook doctor`" in (shell.directory / "server.log").read_text()


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
