"""Secrets at rest: only the right ring opens them, only where they belong."""

from __future__ import annotations

import os
import pickle
import re
import stat
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridhook.config import Settings
from gridhook.errors import Misconfigured
from gridhook.model import Sealed
from gridhook.vault import KEY_FILE, SealBroken, Vault, key_id_of

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
SECRET = "canary-secret-7f3a"
HERE = "webhooks|private_key|acc_1|wh_1|cred_1"


def line(key_id: str, key: bytes) -> str:
    return f"{key_id}:{b64encode(key).decode()}"


def old() -> Vault:
    return Vault([("old", OLD)])


def rotated() -> Vault:
    return Vault([("new", NEW), ("old", OLD)])


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(data_dir=str(tmp_path / "data"))


def written(path: Path, text: str, mode: int = 0o600) -> Settings:
    path.write_text(text)
    path.chmod(mode)
    return Settings(master_key_file=str(path))


@given(secret=st.text(max_size=200), context=st.text(max_size=50))
def test_what_was_sealed_opens_in_its_place(secret, context):
    sealed = old().seal(secret, context)
    assert old().open(sealed, context) == secret


def test_a_sealed_value_shows_its_keys_id_and_nothing_of_the_secret():
    sealed = old().seal(SECRET, HERE)
    assert key_id_of(sealed) == "old"
    assert SECRET.encode() not in sealed.blob
    assert HERE.encode() not in sealed.blob


def test_the_same_secret_is_never_sealed_to_the_same_bytes():
    assert len({old().seal(SECRET, HERE).blob for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "elsewhere",
    [
        "webhooks|private_key|acc_2|wh_1|cred_1",
        "webhooks|private_key|acc_1|wh_2|cred_1",
        "accounts|secret|acc_1|wh_1|cred_1",
        HERE + " ",
        "",
    ],
)
def test_a_value_copied_into_another_row_account_or_column_does_not_open(elsewhere):
    with pytest.raises(SealBroken):
        old().open(old().seal(SECRET, HERE), elsewhere)


@given(data=st.data())
def test_any_flipped_bit_of_a_sealed_value_is_noticed(data):
    vault = rotated()
    blob = bytearray(vault.seal(SECRET, HERE).blob)
    bit = data.draw(st.integers(0, len(blob) * 8 - 1))
    blob[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SealBroken):
        vault.open(Sealed(bytes(blob)), HERE)


@given(blob=st.binary(max_size=80))
def test_garbage_in_the_database_is_called_broken_and_nothing_else(blob):
    with pytest.raises(SealBroken):
        old().open(Sealed(blob), HERE)


def test_a_value_relabelled_with_another_live_key_does_not_open():
    blob = rotated().seal(SECRET, HERE).blob
    with pytest.raises(SealBroken):
        rotated().open(Sealed(blob.replace(b"new", b"old", 1)), HERE)


def test_after_rotation_old_values_open_and_new_ones_are_under_the_new_key():
    before = old().seal(SECRET, HERE)
    assert rotated().open(before, HERE) == SECRET
    assert key_id_of(rotated().seal(SECRET, HERE)) == "new"
    assert rotated().key_ids == ("new", "old")


def test_resealing_moves_a_value_under_the_new_key_once():
    moved = rotated().reseal(HERE, old().seal(SECRET, HERE))
    assert moved is not None
    assert Vault([("new", NEW)]).open(moved, HERE) == SECRET
    assert rotated().reseal(HERE, moved) is None


def test_a_missing_key_is_named_before_anything_is_served():
    old().check_ids({"old"})
    rotated().check_ids(set())
    with pytest.raises(Misconfigured, match=r"not loaded: lost, older \(loaded: new, old\)"):
        rotated().check_ids({"older", "old", "lost"})


def test_the_right_id_with_the_wrong_bytes_is_found_out_at_start():
    canary = old().canary()
    old().check_canary(canary)
    rotated().check_canary(canary)
    rotated().check_canary(rotated().canary("old"))
    with pytest.raises(Misconfigured, match="master key old is not the one"):
        Vault([("old", NEW)]).check_canary(canary)
    with pytest.raises(Misconfigured, match="not loaded: old"):
        Vault([("new", OLD)]).check_canary(canary)
    with pytest.raises(Misconfigured):
        old().check_canary(Sealed(b"?"))
    with pytest.raises(Misconfigured):
        old().check_canary(old().seal("another text", "vault|canary"))


def test_on_first_start_a_key_file_is_made_for_its_owner_only(settings):
    previous = os.umask(0)
    try:
        vault = Vault.load(settings, create=True)
    finally:
        os.umask(previous)
    path = settings.data_path / KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(settings.data_path.stat().st_mode) == 0o700
    assert [entry.name for entry in settings.data_path.iterdir()] == [KEY_FILE]
    sealed = vault.seal(SECRET, HERE)
    assert Vault.load(settings, create=True).open(sealed, HERE) == SECRET
    assert Vault.load(settings, create=False).key_ids == vault.key_ids


def test_two_installations_do_not_get_the_same_key(tmp_path):
    one, other = (Vault.load(Settings(data_dir=str(tmp_path / name)), create=True) for name in ("one", "other"))
    assert one.key_ids != other.key_ids
    with pytest.raises(SealBroken):
        other.open(one.seal(SECRET, HERE), HERE)


def test_processes_that_start_at_the_same_time_end_up_with_one_key(settings):
    code = "import sys; from gridhook.config import Settings; from gridhook.vault import Vault; sys.stdin.read(); "
    code += "print(*Vault.load(Settings(data_dir=sys.argv[1]), create=True).key_ids)"
    command = [sys.executable, "-c", code, settings.data_dir]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    answers = {process.communicate(timeout=60)[0] for process in processes}
    assert len(answers) == 1
    assert answers != {""}
    assert [entry.name for entry in settings.data_path.iterdir()] == [KEY_FILE]


def test_without_a_key_nothing_starts_and_the_text_says_where_it_was_looked_for(settings):
    with pytest.raises(Misconfigured, match=re.escape(str(settings.data_path / KEY_FILE))):
        Vault.load(settings, create=False)
    assert not settings.data_path.exists()


def test_a_key_file_that_the_operator_named_is_never_made(tmp_path):
    settings = Settings(data_dir=str(tmp_path), master_key_file=str(tmp_path / "mounted" / "key"))
    with pytest.raises(Misconfigured, match="does not exist"):
        Vault.load(settings, create=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o601])
def test_a_key_file_that_others_may_touch_is_refused_with_the_command_that_helps(tmp_path, mode):
    settings = written(tmp_path / "key", line("old", OLD), mode)
    with pytest.raises(Misconfigured, match=f"run chmod 600 {re.escape(str(tmp_path / 'key'))}"):
        Vault.load(settings, create=False)


def test_a_key_file_may_hold_comments_blank_lines_and_several_keys(tmp_path):
    settings = written(tmp_path / "key", f"# newest first\n\n{line('new', NEW)}\r\n  {line('old', OLD)}  \n")
    assert Vault.load(settings, create=False).key_ids == ("new", "old")


def test_keys_may_come_from_the_environment_and_go_before_the_file(tmp_path):
    settings = Settings(data_dir=str(tmp_path), master_key=f"{line('new', NEW)}, {line('old', OLD)}")
    assert Vault.load(settings, create=True).key_ids == ("new", "old")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "holds no master key"),
        ("# only a comment\n", "holds no master key"),
        (SECRET, "must read id:base64"),
        (f"a b:{SECRET}", "must read id:base64"),
        (f"{'x' * 33}:{SECRET}", "must read id:base64"),
        (f"k1:{SECRET}", "not base64"),
        ("k1:", "0 bytes, must be 32"),
        (line("k1", SECRET.encode()), "18 bytes, must be 32"),
        (line("k1", OLD + b"x"), "33 bytes, must be 32"),
        (f"{line('k1', OLD)}\n{line('k1', NEW)}", "given twice"),
    ],
)
def test_a_malformed_ring_is_refused_in_words_that_do_not_show_it(tmp_path, text, complaint):
    for settings in (written(tmp_path / "key", text), Settings(data_dir=str(tmp_path), master_key=text.replace("\n", ",") or ",")):
        with pytest.raises(Misconfigured, match=complaint) as caught:
            Vault.load(settings, create=True)
        assert SECRET not in str(caught.value)
        assert b64encode(OLD).decode() not in str(caught.value)
        assert caught.value.__cause__ is None


@pytest.mark.parametrize("content", [b"\xff" * 40, b"x" * 70_000])
def test_a_file_that_is_something_else_is_refused(tmp_path, content):
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(Misconfigured):
        Vault.load(Settings(master_key_file=str(path)), create=False)


def test_a_directory_or_a_pipe_in_the_files_place_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(Misconfigured, match="not a regular file"):
            Vault.load(Settings(master_key_file=str(path)), create=False)


def test_a_data_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Misconfigured, match=r"master\.key.*Not a directory"):
        Vault.load(Settings(data_dir=str(tmp_path / "file")), create=True)


def test_neither_the_vault_nor_its_errors_show_a_key_or_a_secret():
    vault = rotated()
    sealed = vault.seal(SECRET, HERE)
    texts = [repr(vault), str(vault), repr(sealed)]
    for broken, context in ((sealed, "elsewhere"), (Sealed(sealed.blob[:-1] + b"x"), HERE), (Sealed(b""), HERE)):
        with pytest.raises(SealBroken) as caught:
            vault.open(broken, context)
        texts += [str(caught.value), repr(caught.value)]
    for text in texts:
        for hidden in (SECRET, OLD.hex(), NEW.hex(), b64encode(OLD).decode(), repr(OLD)[2:20], sealed.blob.hex()):
            assert hidden not in text


def test_a_vault_does_not_leave_its_process():
    with pytest.raises(TypeError):
        pickle.dumps(rotated())
