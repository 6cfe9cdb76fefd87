"""Who gets into the console, and who is slowed down."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from gridhook.app import Gridhook
from gridhook.config import Settings
from gridhook.errors import Invalid, Misconfigured, NotFound, TooMany, Unauthenticated
from gridhook.model import LinkPurpose, Membership, Person, Role
from gridhook.service.door import BROWSERS, Door, NotLetIn
from gridhook.service.passwords import checked_password
from gridhook.service.people import People
from gridhook.testing import FakeClock

HOUR = 3600
GOOD = "seven green bicycles"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def gridhook(tmp_path: Path, clock: FakeClock, quiet_log) -> AsyncIterator[Gridhook]:
    settings = Settings(data_dir=str(tmp_path), sign_ins_per_minute=3, all_sign_ins_per_minute=8)
    opened = Gridhook(settings, clock=clock, log=quiet_log)
    await opened.open()
    await opened.service.create_account("Northwind", account_id="acc")
    yield opened
    await opened.store.close()


@pytest.fixture
def people(gridhook: Gridhook) -> People:
    return gridhook.service.people


@pytest.fixture
def door(gridhook: Gridhook) -> Door:
    return gridhook.service.door


async def with_password(people: People, door: Door, email: str = "ada@example.com") -> Person:
    person = await people.add(email, membership=Membership("acc", Role.VIEWER))
    await door.set_password(await people.new_link(person, LinkPurpose.PASSWORD, seconds=60), GOOD, "")
    return await people.known(email)


async def guesses(door: Door, email: str, browser: str = "") -> int:
    """How many wrong passwords are looked at before they are slowed down."""
    for count in range(100):
        try:
            await door.sign_in(email, "a wrong password", "", browser)
        except NotLetIn:
            continue
        except TooMany:
            return count
    raise AssertionError("nothing slows it down")


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("eleven char", "at least 12 characters; this has 11"),
        ("x" * 201, "at most 200"),
        ("abababababab", "repeats itself"),
        ("Ada.Lovelace@Example.com", "must not be your email address"),
        ("ada.lovelace1", "must not be your email address"),
    ],
)
def test_a_password_that_is_easily_guessed_is_refused_and_it_is_said_why(password: str, why: str):
    with pytest.raises(Invalid, match=why) as refused:
        checked_password(password, "ada.lovelace@example.com")
    assert refused.value.field == "password"


@pytest.mark.parametrize(
    "password", ["seven green bicycles", "ключ от старой двери", "合い言葉は山と川だった。はい", " leading and trailing  "]
)
def test_every_script_and_space_makes_a_password(password: str):
    assert checked_password(password, "ada@example.com") == password


async def test_the_same_letters_from_another_keyboard_are_the_same_password(people: People, door: Door):
    person = await people.add("ada@example.com", operator=True)
    await door.set_password(await people.new_link(person, LinkPurpose.PASSWORD, seconds=60), "cafe\u0301 au lait, deux", "")
    assert (await door.sign_in("ada@example.com", "caf\u00e9 au lait, deux", "")).person == await people.known("ada@example.com")


async def test_nobody_is_let_in_by_a_wrong_password_without_one_or_unknown_and_all_hear_the_same(people: People, door: Door):
    await with_password(people, door)
    await people.add("none@example.com", operator=True)
    heard = set()
    for email, password in (
        ("ada@example.com", GOOD + "!"),
        ("ada@example.com", ""),
        ("ada@example.com", GOOD + "x" * 400),
        ("none@example.com", ""),
        ("stranger@example.com", GOOD),
        ("' OR 1=1 --", GOOD),
    ):
        with pytest.raises(NotLetIn) as refused:
            await door.sign_in(email, password, "")
        heard.add(str(refused.value))
    assert len(heard) == 1


async def test_the_address_may_be_written_in_capitals_the_password_not(people: People, door: Door):
    person = await with_password(people, door)
    assert (await door.sign_in("  ADA@example.com ", GOOD, "")).person.id == person.id
    with pytest.raises(NotLetIn):
        await door.sign_in("ada@example.com", GOOD.upper(), "")


async def test_guessing_at_one_address_is_slowed_down_and_a_browser_that_was_here_before_still_gets_in(people: People, door: Door):
    await with_password(people, door)
    known = (await door.sign_in("ada@example.com", GOOD, "")).browser
    assert await guesses(door, "ada@example.com") == 2
    # Not even the right password: else every guess would be looked at.
    with pytest.raises(TooMany):
        await door.sign_in("ada@example.com", GOOD, "")
    assert await door.sign_in("ada@example.com", GOOD, "", known)
    # What that browser keeps is good for its own address, in its own form, and not without limit.
    with pytest.raises(TooMany):
        await door.sign_in("ada@example.com", GOOD, "", known[:-6] + "AAAAAA")
    await with_password(people, door, "bob@example.com")
    assert await guesses(door, "bob@example.com", known) == 3
    assert await guesses(door, "ada@example.com", known) == 2


async def test_guessing_at_many_addresses_is_slowed_down_too(people: People, door: Door):
    await with_password(people, door)
    for number in range(8):
        with pytest.raises(NotLetIn):
            await door.sign_in(f"somebody{number}@example.com", GOOD, "")
    with pytest.raises(TooMany):
        await door.sign_in("ada@example.com", GOOD, "")


async def test_guessing_at_one_address_takes_nothing_from_the_others(people: People, door: Door):
    await with_password(people, door)
    for number in range(20):
        with pytest.raises(NotLetIn if number < 3 else TooMany):
            await door.sign_in("bob@example.com", "a wrong password", "")
    assert await door.sign_in("ada@example.com", GOOD, "")


async def test_who_signs_in_again_and_again_is_slowed_down_too_though_each_time_makes_a_browser_known(people: People, door: Door):
    await with_password(people, door)
    known = (await door.sign_in("ada@example.com", GOOD, "")).browser
    for _ in range(BROWSERS * 3):
        known = (await door.sign_in("ada@example.com", GOOD, "", known)).browser
    with pytest.raises(TooMany):
        await door.sign_in("ada@example.com", GOOD, "", known)


async def test_a_flood_of_made_up_addresses_does_not_have_the_guessing_at_one_forgotten(people: People, door: Door):
    await with_password(people, door)
    assert await guesses(door, "ada@example.com") == 3
    for number in range(10_100):  # more than are remembered
        with pytest.raises((NotLetIn, TooMany)):
            await door.sign_in(f"somebody{number}@example.com", "a wrong password", "")
    with pytest.raises(TooMany) as refusal:
        await door.sign_in("ada@example.com", GOOD, "")
    # Three a minute with one address, eight with all.
    assert refusal.value.retry_after > 10


@pytest.mark.parametrize("email", ["\N{KELVIN SIGN}ate@example.com", "kate@\N{KELVIN SIGN}elvin.example"])
async def test_another_mailbox_that_looks_alike_in_lower_case_is_nobodys(people: People, door: Door, email: str):
    kate = await people.add("kate@example.com", membership=Membership("acc", Role.VIEWER))
    await people.add("kate@kelvin.example", membership=Membership("acc", Role.VIEWER))
    assert await door.by_address("Kate@Example.com") == kate
    assert await door.by_address(email) is None
    with pytest.raises(Invalid):
        await people.add(email)


async def test_what_a_browser_kept_is_forgotten_after_half_a_year(people: People, door: Door, clock: FakeClock):
    await with_password(people, door)
    known = (await door.sign_in("ada@example.com", GOOD, "")).browser
    await guesses(door, "ada@example.com")
    clock.advance(seconds=181 * 24 * HOUR)
    with pytest.raises(TooMany):
        await door.sign_in("ada@example.com", GOOD, "", known)


async def test_a_password_hashed_with_less_is_hashed_anew_at_the_next_sign_in(gridhook: Gridhook, people: People, door: Door):
    person = await with_password(people, door)
    weak = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(GOOD)
    await gridhook.store.set_password(person.id, weak)
    session = await people.visitor((await door.sign_in("ada@example.com", GOOD, "")).token)
    kept = (await gridhook.store.password("ada@example.com"))[1]
    assert kept is not None
    assert "m=19456,t=2,p=1" in kept
    assert session.email == "ada@example.com"
    assert await door.sign_in("ada@example.com", GOOD, "")


async def test_a_link_to_set_a_password_survives_a_password_that_is_refused_and_then_works_once(people: People, door: Door):
    person = await people.add("ada@example.com", operator=True)
    token = await people.new_link(person, LinkPurpose.PASSWORD, seconds=60)
    with pytest.raises(Invalid):
        await door.set_password(token, "short", "")
    assert await people.link(token) == (LinkPurpose.PASSWORD, person)
    assert await people.visitor((await door.set_password(token, GOOD, "")).token)
    with pytest.raises(NotFound):
        await door.set_password(token, GOOD, "")


async def test_a_link_is_good_for_its_purpose_and_its_time(people: People, door: Door, clock: FakeClock):
    person = await people.add("ada@example.com", operator=True)
    token = await people.new_link(person, LinkPurpose.SIGN_IN, seconds=60)
    with pytest.raises(NotFound):
        await door.set_password(token, GOOD, "")
    clock.advance(seconds=60)
    with pytest.raises(NotFound):
        await people.use_link(token, LinkPurpose.SIGN_IN)


async def test_a_session_ends_after_twelve_hours_and_after_two_unused(people: People, door: Door, clock: FakeClock):
    person = await people.add("ada@example.com", operator=True)
    idle = (await door.enter(person, "")).token
    used = (await door.enter(person, "")).token
    left_open = (await door.enter(person, "")).token
    for hour in range(11):
        clock.advance(seconds=HOUR)
        people._seen.clear()  # its minutes are the process's own, which do not pass here
        await people.visitor(used)
        if hour < 1:
            await people.visitor(left_open, by_itself=True)
    for token in (idle, left_open):
        with pytest.raises(Unauthenticated):
            await people.visitor(token)
    clock.advance(seconds=HOUR)
    with pytest.raises(Unauthenticated):
        await people.visitor(used)


async def test_changing_a_password_needs_the_old_one_and_ends_the_other_sessions(people: People, door: Door):
    person = await with_password(people, door)
    here, there = [(await door.enter(person, "")).token for _ in range(2)]
    visitor = await people.visitor(here)
    with pytest.raises(Invalid) as refused:
        await door.change_password(visitor, "not the old one", "nine purple elephants")
    assert refused.value.field == "old"
    await door.change_password(visitor, GOOD, "nine purple elephants")
    assert await people.visitor(here)
    with pytest.raises(Unauthenticated):
        await people.visitor(there)
    with pytest.raises(NotLetIn):
        await door.sign_in("ada@example.com", GOOD, "")
    # Whoever sits down at an open session cannot guess for long either.
    with pytest.raises(Invalid):
        await door.change_password(visitor, GOOD, "eleven yellow spoons")
    with pytest.raises(TooMany):
        await door.change_password(visitor, GOOD, "eleven yellow spoons")


async def test_a_provider_is_configured_wholly_and_with_tls(tmp_path: Path):
    wrong: tuple[dict[str, Any], ...] = (
        {"oidc_issuer": "https://login.example.com"},
        {"oidc_client_id": "gridhook"},
        {"oidc_issuer": "http://login.example.com", "oidc_client_id": "gridhook"},
        {"oidc_issuer": "https://user@login.example.com", "oidc_client_id": "gridhook"},
        {"oidc_issuer": "http://localhost.example.com", "oidc_client_id": "gridhook"},
    )
    for given in wrong:
        with pytest.raises(Misconfigured, match="GRIDHOOK_OIDC_ISSUER"):
            Settings(data_dir=str(tmp_path), **given).check()
    Settings(oidc_issuer="http://localhost:9400", oidc_client_id="gridhook").check()
