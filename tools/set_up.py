"""Build or refresh `.venv`: the locked development packages and gridhook itself, editable.

`make` runs it before every target; when nothing changed it does nothing. It works where only a bare Python is sure to exist, in this
order: a venv with the pip that Python bundles; a venv that another pip fills; as root on Debian, the missing package is installed; else
one sentence says what to install. Nothing is ever installed into the system's Python.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "gridhook-set-up"
LOCK = ROOT / "requirements" / "dev.txt"

# What a caller's shell may have set for another environment must not leak into ours.
FOREIGN = (
    "PYTHONHOME",
    "PYTHONPATH",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_USER",
    "PIP_REQUIRE_VIRTUALENV",
    "PIP_NO_BUILD_ISOLATION",
    "VIRTUAL_ENV",
    "__PYVENV_LAUNCHER__",
)


class Failed(Exception):
    """Set-up cannot go on; the text says what the reader can do."""


def main(arguments: Sequence[str]) -> int:
    for name in FOREIGN:
        os.environ.pop(name, None)
    os.environ["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    alone = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(alone, fcntl.LOCK_EX)  # two makes at once, in two terminals, take turns
        set_up(exactly_this_python="--rebuild-for-this-python" in arguments)
    except Failed as failure:
        print(f"\nset-up: {failure}", file=sys.stderr)
        return 1
    finally:
        os.close(alone)
    return 0


def set_up(exactly_this_python: bool) -> None:
    version = venv_version()
    usable = version is not None and (version == sys.version_info[:2] if exactly_this_python else version >= (3, 11))
    if usable and STAMP.exists() and STAMP.read_text() == fingerprint():
        return
    if not usable:
        say(f"making .venv with Python {sys.version.split()[0]}" + (" (the one there does not fit)" if VENV.exists() else ""))
        remove_venv()
    STAMP.unlink(missing_ok=True)
    install = installer(usable)
    say("installing the packages of requirements/dev.txt (checked by hash) and gridhook, editable")
    run_with_count([*install, "install", "--no-input", "--require-hashes", "-r", str(LOCK)], of=LOCK.read_text().count("\n    # via"))
    run_with_count([*install, "install", "--no-input", "--no-deps", "--no-build-isolation", "--editable", str(ROOT)], of=0)
    STAMP.write_text(fingerprint())  # last: an interrupted set-up is taken up again
    say("ready: .venv")


def venv_version() -> tuple[int, int] | None:
    """(major, minor) of the venv's Python, or None when it is not usable: its base is gone, or the clone was moved or copied."""
    if not PYTHON.exists():
        return None
    code = "import sys; print(sys.version_info[0], sys.version_info[1], sys.prefix)"
    answer = subprocess.run([str(PYTHON), "-I", "-c", code], capture_output=True, text=True)
    if answer.returncode != 0:
        return None
    major, minor, prefix = answer.stdout.rstrip("\n").split(" ", 2)
    if Path(prefix).resolve() != VENV.resolve():
        return None
    pip = VENV / "bin" / "pip"  # as every installed command, it names the venv's path in its first lines
    if pip.exists() and str(VENV) not in pip.read_text()[:1000]:
        return None
    return int(major), int(minor)


def fingerprint() -> str:
    """Changes whenever the venv would have to: other locked packages, other metadata or entry points, another place."""
    digest = hashlib.sha256()
    for path in (LOCK, ROOT / "pyproject.toml", ROOT / "src" / "gridhook" / "__init__.py"):
        digest.update(path.read_bytes())
    digest.update(str(ROOT).encode())
    return digest.hexdigest() + "\n"


def installer(usable: bool) -> list[str]:
    """A venv stands afterwards; returns the pip command that fills it."""
    ours = [str(PYTHON), "-m", "pip"]
    if usable and works([*ours, "--version"]):
        return ours
    if make_venv_with_pip():
        return ours
    other = pip_for_another_python()
    if other is None and install_python_venv() and make_venv_with_pip():
        return ours
    if other is None:
        package = debian_package()
        raise Failed(f"{sys.executable} has neither ensurepip nor pip; install {package} (apt-get install {package}), then run make again")
    remove_venv()
    run([sys.executable, "-m", "venv", "--without-pip", str(VENV)])
    return other


def make_venv_with_pip() -> bool:
    if not works([sys.executable, "-Im", "ensurepip", "--version"]):  # Debian keeps it in a package of its own, python3-venv
        return False
    remove_venv()
    made = subprocess.run([sys.executable, "-m", "venv", str(VENV)], capture_output=True, text=True)
    return made.returncode == 0 and works([str(PYTHON), "-m", "pip", "--version"])


def pip_for_another_python() -> list[str] | None:
    """A pip that can fill the venv from outside: `--python`, since pip 22.3. It leaves its own Python alone, so PEP 668 does not mind."""
    for command in ([sys.executable, "-m", "pip"], [shutil.which("pip3") or "pip3"], [shutil.which("pip") or "pip"]):
        if works([*command, "--python", sys.executable, "--version"]):
            return [*command, "--python", str(PYTHON)]
    return None


def install_python_venv() -> bool:
    """As root on Debian or Ubuntu: install the package that holds ensurepip. False: not root, no apt-get, or it failed."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    package = debian_package()
    say(f"this Python cannot make a complete venv; installing the package {package}")
    apt = ["apt-get", "-q", "-y", "-o", "Dpkg::Use-Pty=0"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    wanted = [*apt, "install", "--no-install-recommends", package]
    if subprocess.run(wanted, env=environment).returncode == 0:
        return True
    subprocess.run([*apt, "update"], env=environment)  # a fresh machine or container has no package lists yet
    return subprocess.run(wanted, env=environment).returncode == 0


def debian_package() -> str:
    return "python3-venv" if sys.executable == "/usr/bin/python3" else f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"


def remove_venv() -> None:
    """Refuses to remove what is no venv."""
    if VENV.is_symlink():
        VENV.unlink()
    elif VENV.exists():
        if any(VENV.iterdir()) and not (VENV / "pyvenv.cfg").exists():
            raise Failed(f"{VENV} is there but is no Python environment; move it away and run make again")
        shutil.rmtree(VENV)


def works(command: Sequence[str]) -> bool:
    try:
        return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


def run(command: Sequence[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise Failed(f"this command failed:\n  {' '.join(command)}\n{done.stdout.strip()}")


def run_with_count(command: Sequence[str], of: int) -> None:
    """Run pip; shows how far it is, and all that it said only when it fails."""
    said: list[str] = []
    collected = 0
    live = sys.stdout.isatty()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace") as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if of and line.startswith(("Collecting ", "Requirement already satisfied: ")):
                collected += 1
                if live:
                    name = line.removeprefix("Requirement already satisfied: ").removeprefix("Collecting ").split()[0]
                    print(f"\r  {collected}/{of} {name:50.50}", end="", flush=True)
                elif collected % 20 == 0:
                    print(f"  {collected}/{of}", flush=True)
            elif live and of and line.startswith("Installing collected packages"):
                print(f"\r  {'writing them into .venv':60}", end="", flush=True)
    if live and of:
        print(f"\r{'':62}\r", end="", flush=True)
    if process.returncode != 0:
        raise Failed(f"this command failed:\n  {' '.join(command)}\n{''.join(said[-40:]).strip()}")


def say(text: str) -> None:
    print(f"set-up: {text}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
