"""`RedisRepository` and `AsyncRedisRepository`: they carry out the steps of the operations over a client."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from chatstore.aio import AsyncRepository
from chatstore.arguments import utcnow
from chatstore.backends.common.leases import User
from chatstore.backends.redis.clients import Clients, clients_for, is_awaiting
from chatstore.backends.redis.core import RedisCore
from chatstore.backends.redis.durability import refuse_volatile
from chatstore.backends.redis.layout import DEFAULT_PREFIX
from chatstore.backends.redis.sending import carry_out
from chatstore.backends.redis.steps import Run
from chatstore.backends.redis.url import check_ttl, parse_url
from chatstore.contract import Answer, AskDurability, C, T
from chatstore.deadlines import awaited, writes
from chatstore.driving import Pause, adrive, drive
from chatstore.errors import Invalid
from chatstore.repository import Repository
from chatstore.threads import ThreadedRepository

if TYPE_CHECKING:
    from collections.abc import Callable

    from chatstore.records import Durability


def repository_for(target: Any) -> RedisRepository:
    """Return the repository of a URL or a client of redis-py."""
    if not isinstance(target, str):
        return RedisRepository(target)
    found = parse_url(target)
    return RedisRepository(
        lease=clients_for(found), key_prefix=found.key_prefix, ttl=found.ttl, strict=found.strict
    )


def async_repository_for(target: Any) -> AsyncRepository:
    """Return the asynchronous repository of a URL, an asynchronous client, or (in threads) a blocking one."""
    if not isinstance(target, str):
        if not is_awaiting(target):
            return ThreadedRepository(RedisRepository(target), owns=True)
        return AsyncRedisRepository(target)
    found = parse_url(target)
    return AsyncRedisRepository(
        lease=clients_for(found), key_prefix=found.key_prefix, ttl=found.ttl, strict=found.strict
    )


def _make_core(lease: Clients, key_prefix: str, ttl: int | None) -> RedisCore:
    # A client that was passed in may repeat a command whose answer was lost, as redis-py does unless told otherwise.
    return RedisCore(key_prefix, apart=lease.apart, ttl=check_ttl(ttl), guarded=lease.given)


class RedisRepository(Repository):
    """Sessions in Redis; see `Repository` for what everything does."""

    def __init__(
        self,
        client: Any = None,
        *,
        key_prefix: str = DEFAULT_PREFIX,
        ttl: int | None = None,
        strict: bool = False,
        lease: Clients | None = None,
    ) -> None:
        """Work over *client*, a `redis.Redis` or `redis.RedisCluster`, which is never closed here.

        All keys begin with *key_prefix*. *ttl* is the number of seconds after which a session expires to which
        nothing is added. With *strict*, a server that may lose acknowledged messages is refused at the first use.
        """
        if lease is None and is_awaiting(client):
            msg = "an asynchronous client awaits: pass it to connect_async instead of connect"
            raise Invalid(msg)
        self._lease = lease if lease is not None else Clients(client)
        self._core: RedisCore = _make_core(self._lease, key_prefix, ttl)
        self._strict = strict
        self._user = User()
        self._lease.enter(self._user)

    def _run(self, operation: Callable[[C], Answer[T]], call: C, /) -> T:
        if self._strict and not self._lease.checked:
            self._check()
        return drive(operation(call), self._lend)

    def _check(self) -> None:
        asked: Answer[Durability] = self._core.durability(AskDurability(self._scope, utcnow()))
        refuse_volatile(drive(asked, self._lend))
        self._lease.checked = True

    def _lend(self, wanted: Any) -> Any:
        if isinstance(wanted, Pause):
            time.sleep(wanted.seconds)
            return None
        return drive(carry_out(self._lease, self._user, None, wanted), _return)

    def _asynchronous(self) -> AsyncRepository:
        if self._lease.given:
            return ThreadedRepository(self)
        twin = AsyncRedisRepository(
            lease=self._lease,
            key_prefix=self._core.server.keys.prefix,
            ttl=self._core.server.ttl,
            strict=self._strict,
        )
        return twin._copied(_scope=self._scope)

    def close(self) -> None:
        """Give the client back; the last repository on a URL closes it, a passed-in client stays open.

        A repository made from a URL can be used afterwards all the same: it then opens anew, until it is closed again.
        """
        self._lease.close(self._user)


class AsyncRedisRepository(AsyncRepository):
    """The same with ``await``, over an asynchronous client or, for a URL, one for each running loop."""

    def __init__(
        self,
        client: Any = None,
        *,
        key_prefix: str = DEFAULT_PREFIX,
        ttl: int | None = None,
        strict: bool = False,
        lease: Clients | None = None,
    ) -> None:
        """Work over *client*, a `redis.asyncio.Redis` or `RedisCluster`; else as `RedisRepository`."""
        if lease is None and not is_awaiting(client):
            msg = "a blocking client does not await: pass it to connect or connect_async"
            raise Invalid(msg)
        self._lease = lease if lease is not None else Clients(client)
        self._core: RedisCore = _make_core(self._lease, key_prefix, ttl)
        self._strict = strict
        self._user = User()

    async def _run(self, operation: Callable[[C], Answer[T]], call: C, /) -> T:
        if self._strict and not self._lease.checked:
            await self._check()
        return await adrive(operation(call), self._lend)

    async def _check(self) -> None:
        asked: Answer[Durability] = self._core.durability(AskDurability(self._scope, utcnow()))
        refuse_volatile(await adrive(asked, self._lend))
        self._lease.checked = True

    async def _lend(self, wanted: Any) -> Any:
        if isinstance(wanted, Pause):
            await asyncio.sleep(wanted.seconds)
            return None
        client = self._lease.lend_awaiting(self._user)
        work = adrive(carry_out(self._lease, self._user, client, wanted), _await)
        return await awaited(work, "Redis did not answer", unknown=isinstance(wanted, Run) and writes())

    async def close(self) -> None:
        """Give the client back; the last repository on a URL closes it, a passed-in client stays open.

        A repository made from a URL can be used afterwards all the same: it then opens anew, until it is closed again.
        """
        await self._lease.aclose(self._user)


def _return(answer: Any) -> Any:
    return answer


async def _await(answer: Any) -> Any:
    return await answer if hasattr(answer, "__await__") else answer
