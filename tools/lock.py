"""Write `requirements/*.txt` from pyproject.toml: every package pinned by version and by the hash of every file of that release.

Run by `make lock`. The files name no index and no path, so they install from whatever index the reader's pip is set to.
Hashes of all files of a release are kept, not only of this machine's, so that one file serves other Pythons and processors.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"
OLDEST_PYTHON = (3, 11)  # what is needed only by an older Python than the locking one would be missing from the files

OLD_SDK = "0.4.0"  # the oldest SDK in use that a test plays against our server, installed apart from the current one

HEADER = "# Written by `make lock` from pyproject.toml; do not edit.\n"


def main(arguments: list[str]) -> int:
    if sys.version_info[:2] != OLDEST_PYTHON:
        print(f"Lock with Python {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]}, the oldest supported: PYTHON=python3.11 make lock", file=sys.stderr)
        return 1
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    runtime, development = project["project"]["dependencies"], project["dependency-groups"]["dev"]
    run, dev = REQUIREMENTS / "run.txt", REQUIREMENTS / "dev.txt"
    lock(run, runtime, arguments)
    lock(dev, [*runtime, *development], arguments, constraint=run)
    lock(REQUIREMENTS / f"sdk-{OLD_SDK}.txt", [f"accessgrid=={OLD_SDK}"], arguments)
    return 0


def lock(target: Path, requirements: Iterable[str], arguments: list[str], constraint: Path | None = None) -> None:
    """Resolve `requirements` into `target`; versions already there are kept unless `arguments` hold `--upgrade`."""
    print(f"locking {target.relative_to(ROOT)}", flush=True)
    # Only the index decides: a local directory of wheels would contribute hashes that nobody else can match.
    environment = {name: value for name, value in os.environ.items() if name not in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL")}
    with tempfile.TemporaryDirectory() as directory:
        source, result = Path(directory, "pyproject.in"), Path(directory, "result.txt")
        lines = [*requirements, *([f"-c {constraint}"] if constraint else [])]
        source.write_text("\n".join(lines) + "\n")
        if target.exists():
            result.write_text(target.read_text())
        command = [sys.executable, "-m", "piptools", "compile", "--quiet", "--generate-hashes", "--allow-unsafe", "--strip-extras"]
        command += ["--no-header", "--no-emit-options", "--no-emit-index-url", "--no-emit-find-links", "--no-emit-trusted-host"]
        command += ["--annotation-style", "line", "--output-file", str(result), *arguments, str(source)]
        if subprocess.run(command, env=environment, cwd=directory).returncode != 0:
            raise SystemExit(f"{target.name} is left as it was")
        text = result.read_text()
    # The annotations name the temporary source and, with a constraint, its path: say what the reader can open.
    text = re.sub(r"-r \S*pyproject\.in", "pyproject.toml", text)
    text = re.sub(r", -c \S+|-c \S+, ", "", text)
    if "://" in text or str(ROOT) in text or directory in text:
        raise SystemExit(f"{target.name} would name an address or a path of this machine; not written")
    target.write_text(HEADER + re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).lstrip())


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
