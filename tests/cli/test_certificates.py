"""Client certificates as an operator handles them in a shell. Whatever is printed, a key is not."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from tests.cli.conftest import HURRIED, TYPE, Served
from tests.cli.world import Shell
from tests.receivers import real
from tests.transport.certificates import Authority

NOBODY = "https://127.0.0.1:18009/h"  # nothing listens there
MTLS = ("--auth-method", "mtls")


class Secretive(Shell):
    """Reads all that its commands print."""

    def run(self, *arguments: str, input: str | None = None, **settings: str) -> subprocess.CompletedProcess[str]:
        done = super().run(*arguments, input=input, **settings)
        assert "PRIVATE KEY" not in done.stdout + done.stderr, arguments
        return done


@pytest.fixture(scope="module")
def receivers(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("receivers"), "Receivers Root")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, receivers: Authority) -> Iterator[Served]:
    shell = Secretive(tmp_path_factory.mktemp("served"))
    with shell.serving(**HURRIED, GRIDHOOK_CA_FILE=str(receivers.path)) as url:
        yield Served(shell, url)
    assert "PRIVATE KEY" not in (shell.directory / "server.log").read_text()


@pytest.fixture
def tenant(served: Served) -> Served:
    return Served(Secretive(served.shell.directory), served.url)


def serials(pem: str) -> list[str]:
    return [f"{one.serial_number:032x}" for one in x509.load_pem_x509_certificates(pem.encode())]


def test_a_rotation_from_the_shell_until_the_receiver_has_caught_up(tenant: Served, receivers: Authority, tmp_path: Path):
    shell = tenant.shell
    bundle = shell.ok("ca", "pem").encode()
    leaf = receivers.leaf("127.0.0.1")
    with real.start("python", "1.2", tmp_path / "first", server_leaf=leaf, client_ca_bundle=bundle) as receiver:
        made = tenant.proven(receiver.url, *MTLS)
    webhook = made["webhook"]
    pem = shell.ok("webhooks", "certificate", webhook)
    assert (pem, "private_key" in made) == (made["client_cert"], False)
    (old,) = shell.lines("webhooks", "certificates", webhook)
    assert (old["serial"], old["state"], old["accepted_at"] is None) == (serials(pem)[0], "presented", False)

    pinned = pem.partition("-----END CERTIFICATE-----\n")
    only_the_old = (pinned[0] + pinned[1]).encode()
    with real.start("python", "1.2", tmp_path / "second", server_leaf=leaf, client_ca_bundle=bundle, pinned=only_the_old) as strict:
        shell.ok("webhooks", "edit", webhook, "--url", strict.url)
        shell.ok("webhooks", "verify", webhook)
        new = shell.json("webhooks", "rotate-certificate", webhook)
        assert serials(shell.ok("webhooks", "certificate", webhook)) == serials(new["pem"])
        assert shell.ok("webhooks", "certificate", webhook, old["id"]) == pem
        told = shell.ok("webhooks", "test", webhook, TYPE)
    assert f"certificate {new['id']} was refused" in told
    assert f"{old['id']}, serial {old['serial']}" in told
    assert "--cert client.pem --key client.key" in told
    assert "never leaves the sender" in told
    log = shell.ok("attempts", "--webhook", webhook, "--account", tenant.account["account"], "--kind", "test")
    assert "was presented at once" in log
    (row,) = shell.lines("attempts", "--webhook", webhook, "--account", tenant.account["account"], "--kind", "test")
    assert (row["credential"], row["note"] in row["summary"]) == (old["id"], True)

    text = shell.ok("webhooks", "show", webhook)
    assert f"{new['id']}  presented, not accepted yet" in text
    assert f"{old['id']}  fallen back on until " in text
    shown = shell.json("webhooks", "show", webhook)
    assert (shown["certificate"]["last_used"], shown["cert_expires_at"]) == (old["id"], new["expires_at"])
    assert "fallback" in shell.ok("webhooks", "certificates", webhook)

    assert f"{old['id']} is presented again" in shell.ok("webhooks", "cancel-certificate", webhook, new["id"])
    assert shell.ok("webhooks", "certificate", webhook) == pem


def test_a_webhook_is_given_a_certificate_and_its_private_key_back(tenant: Served):
    shell = tenant.shell
    made = tenant.webhook(NOBODY)
    switched = shell.json("webhooks", "edit", made["webhook"], *MTLS, "--revision", str(made["revision"]))
    assert (switched["auth_method"], len(serials(switched["client_cert"]))) == ("mtls", 2)
    (row,) = shell.lines("webhooks", "list")
    assert row["cert_expires_at"] == switched["cert_expires_at"]
    text = shell.ok("webhooks", "edit", made["webhook"], "--auth-method", "bearer_token")
    (line,) = [line for line in text.splitlines() if line.startswith("Private Key")]
    assert line.split()[2] != made["private_key"]
    assert [one["state"] for one in shell.lines("webhooks", "certificates", made["webhook"])] == ["retired"]


def test_the_certificate_of_a_new_webhook_can_be_taken_from_the_text(tenant: Served):
    text = tenant.shell.ok("webhooks", "create", "--name", "Vault", "--url", NOBODY, "--event", TYPE, *MTLS)
    assert len(serials(text[text.index("-----BEGIN") :].rpartition("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n")) == 2
    assert "`gridhook ca pem`" in text


@pytest.fixture(scope="module")
def known(served: Served) -> dict[str, str]:
    """Webhooks that are refused things."""
    mtls = served.webhook(NOBODY, *MTLS)["webhook"]
    (presented,) = served.shell.lines("webhooks", "certificates", mtls)
    return {"bearer": served.webhook(NOBODY)["webhook"], "mtls": mtls, "certificate": presented["id"]}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create", "--name", "W", "--url", "http://127.0.0.1:18009/", "--event", TYPE, *MTLS), "url: must be https for mtls"),
        (("edit", "{bearer}", "--name", "New", *MTLS), "is changed by itself"),
        (("edit", "{mtls}", *MTLS), "uses mtls already"),
        (("rotate-certificate", "{bearer}"), "change its auth_method to mtls"),
        (("rotate-key", "{mtls}"), "presents a certificate"),
        (("certificate", "{bearer}"), "presents no certificate"),
        (("certificate", "{mtls}", "crt_none"), "no certificate crt_none"),
        (("cancel-certificate", "{mtls}", "crt_none"), "Certificate not found"),
        (("cancel-certificate", "{mtls}", "{certificate}"), "no certificate to fall back on"),
        (("rotate-certificate", "wh_none"), "Webhook not found"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_refusal_is_one_line_that_says_what_to_do(served: Served, known: dict[str, str], arguments: tuple[str, ...], said: str):
    done = served.shell.run("webhooks", *(argument.format(**known) for argument in arguments))
    assert (done.returncode, done.stdout) == (1, "")
    assert (done.stderr.startswith("error: "), done.stderr.count("\n")) == (True, 1)
    assert said in done.stderr
