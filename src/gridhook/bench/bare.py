"""The limit to compare with: a bare libcurl multi loop that sends the same requests to the same receiver, and does nothing else.

`python -m gridhook.bench.bare URL BODIES IN_FLIGHT`; BODIES holds a JSON array of request bodies. Prints requests per second.
"""

from __future__ import annotations

import json
import select
import sys
import time
from pathlib import Path

import pycurl

HEADERS = [
    "Content-Type: application/cloudevents+json",
    "User-Agent: AccessGrid-Webhooks/1.0",
    "Authorization: Bearer " + "0" * 64,
    "Expect:",
]


def run(url: str, bodies: list[bytes], in_flight: int) -> float:
    """Requests per second of the loop."""
    multi = pycurl.CurlMulti()
    epoll = select.epoll()
    timeout_ms = 0

    def on_socket(event: int, fd: int, _multi: object, known: object) -> None:
        if event == pycurl.POLL_REMOVE:
            epoll.unregister(fd)
            multi.assign(fd, None)
            return
        mask = (select.EPOLLIN if event & pycurl.POLL_IN else 0) | (select.EPOLLOUT if event & pycurl.POLL_OUT else 0)
        if known is None:
            multi.assign(fd, True)
            epoll.register(fd, mask)
        else:
            epoll.modify(fd, mask)

    def on_timer(ms: int) -> None:
        nonlocal timeout_ms
        timeout_ms = ms

    multi.setopt(pycurl.M_SOCKETFUNCTION, on_socket)
    multi.setopt(pycurl.M_TIMERFUNCTION, on_timer)
    free: list[pycurl.Curl] = []
    for _ in range(in_flight):
        easy = pycurl.Curl()
        easy.setopt(pycurl.URL, url)
        easy.setopt(pycurl.HTTPHEADER, HEADERS)
        easy.setopt(pycurl.POST, 1)
        easy.setopt(pycurl.WRITEFUNCTION, len)
        free.append(easy)
    left = list(reversed(bodies))
    done = 0
    began = time.perf_counter()
    while done < len(bodies):
        while free and left:
            easy = free.pop()
            easy.setopt(pycurl.POSTFIELDS, left.pop())
            multi.add_handle(easy)
        events = epoll.poll(timeout_ms / 1000 if timeout_ms >= 0 else 1.0)
        if not events:
            multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        for fd, mask in events:
            flags = (pycurl.CSELECT_IN if mask & select.EPOLLIN else 0) | (pycurl.CSELECT_OUT if mask & select.EPOLLOUT else 0)
            multi.socket_action(fd, flags)
        while True:
            queued, good, bad = multi.info_read()
            if bad:
                raise RuntimeError(f"the bare loop failed: {bad[0][2]}")
            for easy in good:
                multi.remove_handle(easy)
                free.append(easy)
                done += 1
            if not queued:
                break
    return len(bodies) / (time.perf_counter() - began)


if __name__ == "__main__":
    print(run(sys.argv[1], [body.encode() for body in json.loads(Path(sys.argv[2]).read_text())], int(sys.argv[3])))
