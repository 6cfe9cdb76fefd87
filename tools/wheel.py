"""Build the wheel into dist/ and prove it: every file of src/gridhook is in it, and in a fresh environment the command runs.

Run by `make build`. Nothing is fetched for the build itself (the backend is locked with the other packages). The fresh environment
is filled from requirements/run.txt, so a runtime package that only the development file names is missed here, not by a user.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
PACKAGE = ROOT / "src" / "gridhook"

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]

# Data that the program cannot do without; one example of each is looked for, lest an empty source tree pass as complete.
ESSENTIAL = ("gridhook/py.typed", "gridhook/catalogue/*.json", "gridhook/store/**/*.sql", "gridhook/web/samples/*.php")


def main() -> int:
    shutil.rmtree(DIST, ignore_errors=True)
    run([*PIP, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(DIST), str(ROOT)])
    (wheel,) = DIST.glob("gridhook-*.whl")
    check_contents(wheel)
    check_that_it_runs(wheel)
    print(f"{wheel.relative_to(ROOT)} is complete and runs ({wheel.stat().st_size // 1024} KiB)")
    return 0


def check_contents(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("gridhook/")}
    sources = {path.relative_to(PACKAGE.parent) for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    missing = sorted(str(path) for path in sources if str(path) not in packed)
    if missing:
        raise SystemExit(f"{wheel.name} lacks: {', '.join(missing)}")
    for pattern in ESSENTIAL:
        if not list(PACKAGE.parent.glob(pattern)):
            raise SystemExit(f"{wheel.name} holds no {pattern}")


def check_that_it_runs(wheel: Path) -> None:
    with tempfile.TemporaryDirectory() as directory:
        venv = Path(directory, "venv")
        run([sys.executable, "-m", "venv", "--without-pip", str(venv)])
        into = [*PIP, "--python", str(venv / "bin" / "python"), "install", "--quiet", "--no-input"]
        run([*into, "--require-hashes", "-r", str(ROOT / "requirements" / "run.txt")])
        run([*into, "--no-deps", str(wheel)])
        version = run([str(venv / "bin" / "gridhook"), "--version"], cwd=directory)
        if wheel.name.split("-")[1] not in version:
            raise SystemExit(f"{wheel.name} says that it is {version.strip()!r}")
        if "Usage:" not in run([str(venv / "bin" / "gridhook"), "--help"], cwd=directory):
            raise SystemExit("gridhook --help shows no usage")


def run(command: list[str], cwd: str | Path = ROOT) -> str:
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise SystemExit(f"failed: {' '.join(command)}\n{done.stdout}")
    return done.stdout


if __name__ == "__main__":
    raise SystemExit(main())
