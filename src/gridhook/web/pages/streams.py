"""Streams that say "something changed" to pages that are open, and never what: a page then asks for what it shows, as ever.

One look per second at each account or webhook that somebody watches, whoever changed it: this process, another one, a person. Where
nobody watches, nothing is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import TypeAlias

from gridhook.errors import GridhookError, Unauthenticated, Unavailable
from gridhook.service.people import People, Visitor
from gridhook.store.promises import Store

LOOK_SECONDS = 1.0
HEARTBEAT_SECONDS = 15.0  # proxies cut what is silent for longer
MOST = 500  # streams of this process
MOST_OF_ONE = 16  # of one person, in all their browsers, each of which has six connections to one host

OPENING = b"retry: 3000\n\n"
CHANGE = b"event: change\ndata: 1\n\n"
HEARTBEAT = b": still here\n\n"

Topic: TypeAlias = tuple[str, str | None]
"""(account_id, webhook_id), or (account_id, None) for all of the account's."""


@dataclass(eq=False, slots=True)
class _Listener:
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    changed: bool = False
    ended: bool = False

    def tell(self) -> None:
        self.changed = True
        self.woken.set()

    def end(self) -> None:
        self.ended = True
        self.woken.set()


class Streams:
    """All streams of this process."""

    def __init__(
        self, store: Store, people: People, *, look_seconds: float = LOOK_SECONDS, heartbeat_seconds: float = HEARTBEAT_SECONDS
    ) -> None:
        self._store = store
        self._people = people
        self._look_seconds = look_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._listeners: dict[Topic, set[_Listener]] = {}
        self._watches: dict[Topic, asyncio.Task[None]] = {}
        self._by_person: dict[str, OrderedDict[_Listener, None]] = {}  # oldest first; without those that were told to end
        self._ended = False
        self.count = 0

    def end(self) -> None:
        """End all there are, and those to come: the server stops."""
        self._ended = True
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.end()

    async def open(self, visitor: Visitor, account_id: str, webhook_id: str | None) -> AsyncGenerator[bytes, None]:
        """The bytes of one stream (text/event-stream). Of more than a person may have, the oldest ends.

        The first look is taken before anything is sent: what changes from then on is told. Raises `Unavailable` when this process has
        as many as it may.
        """
        if self._ended or self.count >= MOST:
            raise Unavailable("this server tells as many pages of changes as it may; yours shows what is new when it is loaded again", 30)
        topic = (account_id, webhook_id)
        if topic not in self._watches:
            seen = await self._store.pulse(account_id, webhook_id, now=self._store.clock.now())
            if topic not in self._watches:
                self._watches[topic] = asyncio.ensure_future(self._watch(topic, seen))
        listener = _Listener()
        if self._ended:
            listener.end()
        self._listeners.setdefault(topic, set()).add(listener)
        mine = self._by_person.setdefault(visitor.session.person_id, OrderedDict())
        mine[listener] = None
        self.count += 1
        if len(mine) > MOST_OF_ONE:
            mine.popitem(last=False)[0].end()
        return self._told(visitor, topic, listener)

    def close(self, visitor: Visitor, topic: Topic, listener: _Listener) -> None:
        self.count -= 1
        mine = self._by_person.get(visitor.session.person_id, OrderedDict())
        mine.pop(listener, None)
        if not mine:
            self._by_person.pop(visitor.session.person_id, None)
        listeners = self._listeners[topic]
        listeners.discard(listener)
        if not listeners:
            del self._listeners[topic]
            self._watches.pop(topic).cancel()

    async def _told(self, visitor: Visitor, topic: Topic, listener: _Listener) -> AsyncGenerator[bytes, None]:
        try:
            yield OPENING
            while not listener.ended:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._heartbeat_seconds):
                        await listener.woken.wait()
                listener.woken.clear()
                # Before each word: who was signed out or removed hears not even that something changed.
                if listener.ended or not await self._is_proven(visitor, topic[0]):
                    return
                if listener.changed:
                    listener.changed = False
                    yield CHANGE
                else:
                    yield HEARTBEAT
        finally:
            self.close(visitor, topic, listener)

    async def _is_proven(self, visitor: Visitor, account_id: str) -> bool:
        try:
            return (await self._people.visitor(visitor.token, by_itself=True)).role(account_id) is not None
        except Unauthenticated:
            return False
        except GridhookError:
            return True  # the database is away: nothing changes meanwhile

    async def _watch(self, topic: Topic, seen: tuple[int | None, ...]) -> None:
        while True:
            await asyncio.sleep(self._look_seconds)
            try:
                found = await self._store.pulse(*topic, now=self._store.clock.now())
            except GridhookError:
                continue
            if found != seen:
                seen = found
                for listener in self._listeners.get(topic, ()):
                    listener.tell()
