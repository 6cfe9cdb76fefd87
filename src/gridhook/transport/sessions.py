"""TLS sessions to resume. libcurl keeps those of 25 peers only, in one list for all; here each client certificate has its own list.

So what was proven with one certificate can never be taken up with another, or with none, whatever libcurl's list is keyed by.
In TLS 1.2, libcurl offers session ids and no tickets: only servers with a session cache resume.
"""

from __future__ import annotations

from zlib import crc32

import pycurl

SHARDS = 64  # lists for hosts that get no certificate: about 1,600 hosts
IDENTITIES = 4096  # lists of certificates, the newest; one list is about 4 KB, a session 2 KB


class Sessions:
    """Hands out the list that a handle must use. For one event loop's thread."""

    def __init__(self) -> None:
        self._by_identity: dict[str, pycurl.CurlShare] = {}
        self._by_shard: dict[int, pycurl.CurlShare] = {}

    def of(self, identity: str | None, authority: str) -> pycurl.CurlShare:
        """identity: the certificate's id. authority: host and port."""
        if identity is None:
            shard = crc32(authority.encode()) % SHARDS
            if shard not in self._by_shard:
                self._by_shard[shard] = _new_list()
            return self._by_shard[shard]
        found = self._by_identity.pop(identity, None) or _new_list()
        self._by_identity[identity] = found
        if len(self._by_identity) > IDENTITIES:
            del self._by_identity[next(iter(self._by_identity))]  # handles that use it still hold it
        return found


def _new_list() -> pycurl.CurlShare:
    share = pycurl.CurlShare()
    share.setopt(pycurl.SH_SHARE, pycurl.LOCK_DATA_SSL_SESSION)
    return share
