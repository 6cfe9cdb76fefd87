"""Our certificate authorities, for the receivers that must trust them. For anybody: no authentication, any origin."""

from __future__ import annotations

import asyncio

from gridhook.limits import TimedCache
from gridhook.service import Service
from gridhook.web import files
from gridhook.web.call import Call
from gridhook.web.files import File
from gridhook.web.operations import Access, Answer, operation
from gridhook.web.problems import Reply
from gridhook.web.routes import Route

TAG = "Certificates"
PEM = "application/x-pem-file"
REMEMBERED_SECONDS = 1.0  # anybody may ask: for so long the database is not asked again

# Short, so that a new authority is known long before it signs.
_MINUTES = (b"cache-control", b"public, max-age=300")
_BUNDLE = "bundle"


def routes(service: Service) -> list[Route]:
    remembered: TimedCache[File] = TimedCache(REMEMBERED_SECONDS, size=1)
    looking = asyncio.Lock()

    async def bundle() -> File:
        # One at a time: the first who asks may have the first authority made, and a crowd of them must not make a crowd.
        async with looking:
            known = remembered.get(_BUNDLE)
            if known is None:
                known = File.of(await service.authorities.bundle(), (b"content-type", PEM.encode()))
                remembered.put(_BUNDLE, known)
            return known

    @operation(
        "getAuthorities",
        TAG,
        "Read which authorities issue our client certificates",
        "What receivers of mtls webhooks must trust, as PEM, newest first. More than one while one replaces another: a new one is here "
        "some days before it signs. Every webhook of every account has a certificate of theirs: a receiver must also check that it is its "
        "own webhook's, by the URI `urn:accessgrid:webhook:{webhook_id}` in its subjectAltName, by its CN, or by its fingerprint.",
        access=Access.ANYBODY,
        parameters=(files.CONDITION,),
        answers={200: Answer("One or several certificates.", headers=("ETag",), media=PEM), 304: files.UNCHANGED},
    )
    async def authorities(call: Call) -> Reply:
        return files.serve(await bundle(), _MINUTES, call)

    return [Route("/v1/ca.pem", {"GET": authorities, "OPTIONS": files.preflight})]
