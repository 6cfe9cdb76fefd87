"""Which DNS servers are asked: the operator's, or this machine's."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import NamedTuple

from gridhook.errors import Misconfigured


class Server(NamedTuple):
    address: str
    port: int


class FixedServers:
    """The servers of the setting dns_servers."""

    def __init__(self, servers: tuple[Server, ...]) -> None:
        self._servers = servers

    def current(self) -> tuple[Server, ...]:
        """At least one."""
        return self._servers

    def rounds(self) -> Iterator[tuple[int, Server]]:
        """(round, server), without end: every server once, then every server once more, ..."""
        number = 0
        while True:
            for server in self.current():
                yield number, server
            number += 1


class SystemServers(FixedServers):
    """Those of resolv.conf, read again when it changes: a laptop or a container changes networks while we run.

    Of that file only `nameserver` counts. Search domains would turn a customer's `metadata` into a host of ours.
    """

    def __init__(self, path: str = "/etc/resolv.conf") -> None:
        super().__init__(())
        self._path = path
        self._seen = -1

    def current(self) -> tuple[Server, ...]:
        try:
            changed = os.stat(self._path).st_mtime_ns
            if changed != self._seen:
                with open(self._path, encoding="ascii", errors="replace") as lines:
                    self._servers = tuple(_nameservers(lines))
                self._seen = changed
        except OSError:
            self._seen, self._servers = -1, ()
        # resolv.conf(5): "If no nameserver entries are present, the default is to use the name server on the local machine."
        return self._servers or (Server("127.0.0.1", 53),)


def parse_servers(texts: Iterable[str]) -> tuple[Server, ...]:
    """`address` or `address#port`, as in the setting dns_servers. Raises `Misconfigured`."""
    return tuple(_parse_server(text) for text in texts)


def _parse_server(text: str) -> Server:
    address, _, port = text.partition("#")
    try:
        ip_address(address)
    except ValueError:
        raise Misconfigured(f"GRIDHOOK_DNS_SERVERS: {text!r} must start with an IP address, as in 10.0.0.2 or 10.0.0.2#5353") from None
    if port and not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise Misconfigured(f"GRIDHOOK_DNS_SERVERS: {text!r} has no valid port after #; ports are 1 to 65535")
    return Server(address, int(port or 53))


def _nameservers(lines: Iterable[str]) -> Iterator[Server]:
    for line in lines:
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                ip_address(words[1])
            except ValueError:
                continue
            yield Server(words[1], 53)
