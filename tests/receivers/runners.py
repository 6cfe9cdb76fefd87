"""Starts the sample receivers as their first lines say, where their languages are at hand; says of the others why not.

FastAPI and Flask come with the development dependencies. Go, PHP and Ruby are taken when they are on PATH, Ruby with Sinatra. Express,
Spring Boot and ASP.NET Core fetch packages and take minutes: they are started when GRIDHOOK_TEST_SAMPLES=all, given npm, Maven, .NET.

Tried by hand in November 2026, with `gridhook check --conformance` and no failure: FastAPI 0.165 on uvicorn 0.54, Flask 3.1.3, Express
5.3.0 on Node.js 20.20, Go 1.26.8, Sinatra 3.0.5 on Ruby 3.1.7 and Puma 5.6.5, PHP 8.2.36, Spring Boot 3.5.6 and 4.0.0 on Java 17.
Program.cs was parsed as C# and found well-formed; **it was never compiled or run**, because no .NET could be had.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gridhook.web.pages.samples import Sample, samples

ALL = os.environ.get("GRIDHOOK_TEST_SAMPLES") == "all"
PATIENCE = 400.0 if ALL else 90.0  # seconds; a hang guard: Maven fetches, Go compiles
NOT_ASKED_FOR = "it needs packages from elsewhere; GRIDHOOK_TEST_SAMPLES=all fetches them"

POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <parent><groupId>org.springframework.boot</groupId><artifactId>spring-boot-starter-parent</artifactId><version>3.5.6</version></parent>
  <groupId>com.example</groupId><artifactId>demo</artifactId><version>1</version>
  <properties><java.version>17</java.version></properties>
  <dependencies>
    <dependency><groupId>org.springframework.boot</groupId><artifactId>spring-boot-starter-web</artifactId></dependency>
  </dependencies>
  <build><plugins><plugin><groupId>org.springframework.boot</groupId><artifactId>spring-boot-maven-plugin</artifactId></plugin></plugins></build>
</project>
"""


@dataclass(frozen=True, slots=True)
class Runner:
    """make: puts the sample into an empty directory and makes it ready. command: starts it there on this port."""

    command: Callable[[int], list[str]]
    make: Callable[[Path, Sample], None]
    missing: Callable[[], str]  # why it cannot be started here; empty: it can


def _copy(home: Path, sample: Sample) -> None:
    (home / sample.file).write_text(sample.code, "utf-8")


def _run(command: list[str], home: Path) -> None:
    done = subprocess.run(command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}"


def _make_go(home: Path, sample: Sample) -> None:
    _copy(home, sample)
    _run(["go", "vet", sample.file], home)
    _run(["go", "build", "-o", "receiver", sample.file], home)


def _make_express(home: Path, sample: Sample) -> None:
    _copy(home, sample)
    _run(["npm", "install", "--no-audit", "--no-fund", "express"], home)


def _make_spring(home: Path, sample: Sample) -> None:
    place = home / "src/main/java/com/example/demo"
    place.mkdir(parents=True)
    _copy(place, sample)
    (home / "pom.xml").write_text(POM)
    _run(["mvn", "-q", "-B", "package"], home)


def _make_aspnet(home: Path, sample: Sample) -> None:
    _run(["dotnet", "new", "web", "-o", ".", "--name", "receiver"], home)
    _copy(home, sample)
    _run(["dotnet", "build", "--warnaserror"], home)


def _needs(*tools: str) -> Callable[[], str]:
    return lambda: next((f"{tool} is not on PATH" for tool in tools if shutil.which(tool) is None), "")


def _needs_when_asked(*tools: str) -> Callable[[], str]:
    return lambda: _needs(*tools)() if ALL else NOT_ASKED_FOR


def _needs_sinatra() -> str:
    without_ruby = _needs("ruby")()
    if without_ruby:
        return without_ruby
    return "" if subprocess.run(["ruby", "-e", "require 'sinatra/base'"], capture_output=True).returncode == 0 else "ruby has no sinatra"


_LOCAL = "127.0.0.1"
RUNNERS = {
    "fastapi": Runner(lambda port: [sys.executable, "-m", "uvicorn", "fastapi_receiver:app", "--port", str(port)], _copy, lambda: ""),
    "flask": Runner(lambda port: [sys.executable, "-m", "flask", "--app", "flask_receiver", "run", "--port", str(port)], _copy, lambda: ""),
    "express": Runner(lambda port: ["node", "express_receiver.mjs"], _make_express, _needs_when_asked("node", "npm")),
    "go": Runner(lambda port: ["./receiver"], _make_go, _needs("go")),
    "ruby": Runner(lambda port: ["ruby", "receiver.rb", "-p", str(port), "-o", _LOCAL], _copy, _needs_sinatra),
    "php": Runner(lambda port: ["php", "-S", f"{_LOCAL}:{port}", "receiver.php"], _copy, _needs("php")),
    "csharp": Runner(
        lambda port: ["dotnet", "run", "--no-build", "--urls", f"http://{_LOCAL}:{port}"], _make_aspnet, _needs_when_asked("dotnet")
    ),
    "java": Runner(lambda port: ["java", "-jar", "target/demo-1.jar"], _make_spring, _needs_when_asked("java", "mvn")),
}


def here() -> tuple[tuple[Sample, ...], dict[str, str]]:
    """The samples that can be started here; of the others, why not, by their label."""
    reasons = {sample: RUNNERS[sample.key].missing() for sample in samples()}
    return tuple(sample for sample, why in reasons.items() if not why), {sample.label: why for sample, why in reasons.items() if why}


def make(sample: Sample, home: Path) -> None:
    """Ready to be started in this empty directory."""
    RUNNERS[sample.key].make(home, sample)


@contextlib.contextmanager
def running(sample: Sample, home: Path, port: int, private_key: str) -> Iterator[Path]:
    """Until it listens; gives the file that holds what it prints. private_key: empty, it has none."""
    said = home / "said.log"
    environment = {
        **os.environ,
        "PRIVATE_KEY": private_key,
        "PORT": str(port),
        "SERVER_PORT": str(port),
        "SERVER_ADDRESS": _LOCAL,
        "APP_ENV": "production",
        "SEEN": str(home / "seen"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    with said.open("ab") as log:
        # A session of its own: some of these start others, which must end with them.
        process = subprocess.Popen(
            RUNNERS[sample.key].command(port), cwd=home, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            _wait_until_it_listens(port, process, said)
            yield said
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(PATIENCE)


def free_port() -> int:
    with socket.create_server((_LOCAL, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _wait_until_it_listens(port: int, process: subprocess.Popen[bytes], said: Path) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(OSError), socket.create_connection((_LOCAL, port), 1):
            return
        assert process.poll() is None, said.read_text()
        assert time.monotonic() < until, f"nothing listens: {said.read_text()}"
        time.sleep(0.02)
