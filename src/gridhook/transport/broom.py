"""A request that goes nowhere. libcurl looks for connections that rested too long only when a request begins: this one begins, and ends."""

from __future__ import annotations

import pycurl


def new_broom(idle_seconds: int) -> pycurl.Curl:
    """A handle that, given to a multi handle, has connections closed that rested for `idle_seconds`, then fails. No socket is opened."""
    broom = pycurl.Curl()
    set_ = broom.setopt
    set_(pycurl.URL, "http://0.0.0.0:1/")  # an address, so that no name is looked up, and one that no webhook has
    set_(pycurl.PROXY, "")
    set_(pycurl.NOPROXY, "*")
    set_(pycurl.NOSIGNAL, 1)
    set_(pycurl.PREREQFUNCTION, _abort)  # never over a connection; FRESH_CONNECT would spare libcurl the look at them all
    set_(pycurl.MAXAGE_CONN, idle_seconds)
    set_(pycurl.OPENSOCKETFUNCTION, _refuse)
    return broom


def _refuse(purpose: int, address: object) -> int:
    return int(pycurl.SOCKET_BAD)


def _abort(*connection: object) -> int:
    return int(pycurl.PREREQFUNC_ABORT)
