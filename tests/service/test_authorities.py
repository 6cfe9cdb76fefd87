"""Certificates are issued by the authority whose turn it is, and by none whose key cannot be opened."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from msgspec.structs import replace

from gridhook import authority
from gridhook.app import Gridhook
from gridhook.config import Settings
from gridhook.errors import Misconfigured, Unavailable
from gridhook.rules import contexts
from gridhook.telemetry import Log
from gridhook.testing import FakeClock

DAY = 86_400_000
NOON = 1_795_348_800_000


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOON)


@pytest.fixture
async def gridhook(tmp_path: Path, clock: FakeClock, quiet_log) -> AsyncIterator[Gridhook]:
    opened = Gridhook(Settings(data_dir=str(tmp_path), certificate_days=90), clock=clock, log=quiet_log)
    await opened.open()
    yield opened
    await opened.store.close()


async def test_a_certificate_is_issued_with_its_key_sealed_for_its_webhook_alone(gridhook: Gridhook):
    certificate, credential = await gridhook.service.authorities.issue("acc", "wh_1")
    assert certificate.id == credential.id
    assert certificate.expires_at == NOON + 90 * DAY
    text = gridhook.vault.open(credential.sealed, contexts.certificate_key("acc", "wh_1", credential.id))
    pair = authority.from_text(credential.id, text)
    assert pair.certificate == certificate.chain
    assert b"PRIVATE KEY" in pair.private_key
    (signer,) = await gridhook.service.authorities.listed()
    assert certificate.authority_id == signer.id


async def test_callers_who_need_the_first_authority_at_once_get_the_same(gridhook: Gridhook):
    authorities = gridhook.service.authorities
    bundles = await asyncio.gather(*(authorities.bundle() for _ in range(5)))
    issued = await asyncio.gather(*(authorities.issue("acc", f"wh_{n}") for n in range(5)))
    (bundle,) = set(bundles)
    (known,) = x509.load_pem_x509_certificates(bundle)
    for certificate, _ in issued:
        x509.load_pem_x509_certificates(certificate.chain)[0].verify_directly_issued_by(known)


async def test_a_successor_issues_from_its_time_on_and_receivers_could_know_it_before(gridhook: Gridhook, clock: FakeClock):
    authorities = gridhook.service.authorities
    first, _ = await authorities.issue("acc", "wh_1")
    successor = await authorities.roll()
    published = await authorities.bundle()
    clock.advance(ms=7 * DAY - 1)
    before, _ = await authorities.issue("acc", "wh_1")
    assert before.authority_id == first.authority_id
    clock.advance(ms=1)
    after, _ = await authorities.issue("acc", "wh_1")
    assert after.authority_id == successor.id
    assert await authorities.bundle() == published
    assert successor.certificate in published


async def test_an_authority_that_has_expired_is_followed_by_a_new_one(gridhook: Gridhook, clock: FakeClock):
    authorities = gridhook.service.authorities
    first, _ = await authorities.issue("acc", "wh_1")
    clock.advance(ms=11 * 365 * DAY)
    after, _ = await authorities.issue("acc", "wh_1")
    assert after.authority_id != first.authority_id
    assert [one.id for one in await authorities.listed()] == [after.authority_id]


async def test_nothing_is_issued_when_the_authoritys_key_does_not_open(gridhook: Gridhook):
    made, key = authority.new_authority("moved", now=NOON)
    await gridhook.store.add_authority(made, gridhook.vault.seal(key, contexts.authority_key("ca_another")))
    with pytest.raises(Unavailable, match="could not be decrypted"):
        await gridhook.service.authorities.issue("acc", "wh_1")
    assert await gridhook.service.authorities.bundle() == made.certificate, "what receivers must trust is no secret"


async def test_who_asks_for_a_certificate_is_not_blamed_for_an_authority_that_was_altered_and_the_operator_hears_of_it_and_of_a_new_one(
    tmp_path: Path, clock: FakeClock
):
    lines = io.BytesIO()
    one = Gridhook(Settings(data_dir=str(tmp_path)), clock=clock, log=Log(stream=lines))
    await one.open()
    made, key = authority.new_authority("altered", now=NOON, years=1)
    await one.store.add_authority(replace(made, certificate=b"junk"), one.vault.seal(key, contexts.authority_key(made.id)))
    with pytest.raises(Unavailable, match="the certificate authority was altered"):
        await one.service.authorities.issue("acc", "wh_1")
    clock.advance(ms=365 * DAY)
    await one.service.authorities.issue("acc", "wh_1")
    (standing,) = await one.service.authorities.listed()
    await one.close()
    altered, ended = map(json.loads, lines.getvalue().splitlines())
    assert (altered["level"], altered["msg"], altered["authority"]) == ("error", "no certificate can be issued", made.id)
    assert (ended["level"], ended["authority"]) == ("warning", standing.id), "the old one expired, and nobody trusts the new one yet"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"certificate_days": 0}, "CERTIFICATE_DAYS must lie between 1 and 3650"),
        ({"certificate_days": 20, "renew_days_before": 20}, "RENEW_DAYS_BEFORE must be less than GRIDHOOK_CERTIFICATE_DAYS"),
    ],
)
def test_certificates_that_could_never_settle_are_refused_at_the_start(settings: dict[str, int], says: str):
    environment = {f"GRIDHOOK_{name.upper()}": str(value) for name, value in settings.items()}
    with pytest.raises(Misconfigured, match=says):
        Settings.from_environment(environment)
