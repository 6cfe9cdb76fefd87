"""Small receivers in the languages people use: they answer the handshake, check the Private Key, and take each event once."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import NamedTuple

_SAMPLES = (  # key, label, file in web/samples/
    ("fastapi", "Python · FastAPI", "fastapi_receiver.py"),
    ("flask", "Python · Flask", "flask_receiver.py"),
    ("express", "Node · Express", "express_receiver.mjs"),
    ("go", "Go", "receiver.go"),
    ("ruby", "Ruby · Sinatra", "receiver.rb"),
    ("php", "PHP", "receiver.php"),
    ("csharp", "C# · ASP.NET Core", "Program.cs"),
    ("java", "Java · Spring Boot", "Receiver.java"),
)


class Sample(NamedTuple):
    """`key`: for addresses and ids of elements. `code`: the whole file, which runs as it is; its first lines say how."""

    key: str
    label: str
    file: str
    code: str


@cache
def samples() -> tuple[Sample, ...]:
    """In the order in which they are offered; read when a page first shows them."""
    home = files("gridhook.web") / "samples"
    return tuple(Sample(key, label, file, (home / file).read_text("utf-8")) for key, label, file in _SAMPLES)
