"""The house is in order: floors hold, what the code offers is documented, and nothing in the project points to one person's machine."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import pytest

from gridhook.app import Gridhook
from gridhook.config import Settings
from gridhook.model import AttemptKind, AuthMethod, DeliveryState, Echo, FailureReason, LinkPurpose, Origin, Reason, RecoveryState, Role
from gridhook.web import build_app
from tools import pages

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
REQUIREMENTS = sorted((ROOT / "requirements").glob("*.txt"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

NOT_OURS = {".git", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".import_linter_cache", "__pycache__"}
NOT_OURS |= {"dist", "build", "gridhook-data", ".demo"}


def test_floors_hold() -> None:
    lint_imports = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([lint_imports, "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


# Documents


def test_what_the_documents_repeat_from_the_code_is_up_to_date() -> None:
    assert [path.name for path, text in pages.pages() if not path.exists() or path.read_text() != text] == [], "run `make docs`"


def test_every_setting_is_documented() -> None:
    page = (DOCS / "settings.md").read_text()
    assert [name for name, _, _ in Settings.describe() if f"| `{name}` |" not in page] == []


def test_every_setting_says_what_it_is_for() -> None:
    assert [name for name, _, doc in Settings.describe() if len(doc) < 10] == []


def test_every_reason_that_a_customer_can_be_shown_is_documented() -> None:
    documented = (DOCS / "receiving.md").read_text() + (DOCS / "api.md").read_text()
    assert [f"{type(word).__name__} {word}" for word in (*Reason, *FailureReason, *Echo) if f"`{word}`" not in documented] == []


def test_every_route_is_documented(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path))
    web = build_app(Gridhook(settings).service, settings)
    offered = sorted(f"{method} {route.path}" for route in web.routes.api for method in route.handlers if method != "OPTIONS")
    assert "POST /v1/accounts/{account_id}/events" in offered
    documented = (DOCS / "api.md").read_text()
    assert [line for line in offered if f"`{line}`" not in documented] == []


def test_an_operation_id_names_one_operation(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path))
    told: dict[str, set[int]] = {}
    for route in build_app(Gridhook(settings).service, settings).routes.all:
        for operation in route.operations.values():
            told.setdefault(operation.id, set()).add(id(operation))
    assert {"pauseWebhook", "console.pauseWebhook"} <= told.keys()
    assert [name for name, operations in told.items() if len(operations) > 1] == []


def test_every_command_and_option_says_what_it_does() -> None:
    silent = []
    for context, command in pages.commands():
        if not command.help:
            silent.append(context.command_path)
        silent += [
            f"{context.command_path} {p.name}" for p in command.params if p.param_type_name == "option" and not getattr(p, "help", None)
        ]
    assert silent == []


def test_links_between_documents_lead_somewhere() -> None:
    broken = []
    for page in [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target and not target.startswith("mailto:") and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


# What the database may hold is what the model can say


CLOSED_SETS: dict[tuple[str, str], type[StrEnum]] = {
    ("deliveries", "state"): DeliveryState,
    ("deliveries", "failure_reason"): FailureReason,
    ("webhooks", "auth_method"): AuthMethod,
    ("webhook_credentials", "auth_method"): AuthMethod,
    ("attempts", "kind"): AttemptKind,
    ("recoveries", "state"): RecoveryState,
    ("memberships", "role"): Role,
    ("person_links", "purpose"): LinkPurpose,
}
_STATEMENT = re.compile(r"(?:CREATE|ALTER) TABLE (\w+)(.*?);", re.DOTALL)


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_closed_sets_in_the_database_are_the_models(dialect: str) -> None:
    schema = "".join(path.read_text() for path in sorted((ROOT / "src/gridhook/store/schema").glob(f"*.{dialect}.sql")))
    found = {
        (table, column): {word.strip(" '\n") for word in words.split(",")}
        for table, body in _STATEMENT.findall(schema)
        for column, words in re.findall(r"CHECK \((\w+) IN \(([^)]*'[^)]*)\)\)", body)
    }
    # A new delivery is of the event unless it says that a person asked for it: that word needs no room.
    assert found.pop(("deliveries", "origin")) == set(Origin) - {Origin.EVENT}
    assert found == {key: set(words) for key, words in CLOSED_SETS.items()}


# Installing


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_requirement_files_pin_version_and_hash_and_name_no_index(path: Path) -> None:
    text = path.read_text()
    assert "://" not in text
    options = [line for line in text.splitlines() if line.startswith("-")]
    assert options == []
    for requirement in re.findall(r"^[a-z].*(?:\n +--hash.*)*", text, flags=re.MULTILINE):
        assert re.match(r"[a-z0-9._-]+==\S+( ;[^\\]*)? \\\n +--hash=sha256:[0-9a-f]{64}", requirement), requirement


def test_what_is_tested_is_what_is_run() -> None:
    run, dev = pins("run.txt"), pins("dev.txt")
    assert {name: version for name, version in run.items() if dev.get(name) != version} == {}


def test_every_named_dependency_is_locked() -> None:
    assert names(PROJECT["project"]["dependencies"]) - set(pins("run.txt")) == set(), "run `make lock`"
    assert names(PROJECT["dependency-groups"]["dev"]) - set(pins("dev.txt")) == set(), "run `make lock`"


def pins(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", (ROOT / "requirements" / name).read_text(), flags=re.MULTILINE))


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=~!; ]", requirement)[0].lower() for requirement in requirements}


# The project is at home on any machine

# In pieces, so that this file does not find itself.
HOSTS = (
    ("pypi", "org"),
    ("files.python" + "hosted", "org"),
    ("registry.npm" + "js", "org"),
    ("deb.deb" + "ian", "org"),
    ("proxy.go" + "lang", "org"),
)
ELSEWHERE = re.compile("|".join([*(re.escape(".".join(host)) for host in HOSTS), r"(?<![\w.])/(?:work|root|home/\w+|Users/\w+)/"]))


def test_no_file_names_a_package_index_or_a_path_of_one_machine() -> None:
    found = []
    for path in files_of(ROOT):
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue  # a picture or a font
        found += [f"{path.relative_to(ROOT)}:{n}: {line[:100]}" for n, line in enumerate(text.splitlines(), 1) if ELSEWHERE.search(line)]
    assert found == []


def test_the_search_for_foreign_paths_finds_one() -> None:
    for sample in ("see /" + "work/notes", "https://" + ".".join(HOSTS[0]) + "/simple", "cd /" + "home/anna/gridhook"):
        assert ELSEWHERE.search(sample)
    for sample in ("GET /framework/", "teamwork/root", "src/ro" + "ot/x"):
        assert not ELSEWHERE.search(sample)


def files_of(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.iterdir()):
        if path.name in NOT_OURS or path.is_symlink() or path.name.endswith(".egg-info"):
            continue
        if path.is_dir():
            yield from files_of(path)
        elif path.is_file():
            yield path
