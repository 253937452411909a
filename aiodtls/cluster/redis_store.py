"""States in Redis or Valkey, for many hosts.

A store that forgets a write that it has acknowledged gives an old state out again, and then a nonce
is used twice. So this works with a single primary only, which either keeps nothing on disk or
writes everything before it answers. It looks at this when it connects, and again all the time, and
gives nothing out while it is unsure.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

from aiodtls.cluster.stores import Entry, Holder, Orders
from aiodtls.core import checks
from aiodtls.core.errors import DTLSError

DAY = 24 * 3600
# Seconds between looks at the settings of the server.
LOOK_AGAIN = 1.0
SETTINGS = ("save", "appendonly", "appendfsync", "no-appendfsync-on-rewrite")
Execute = Callable[..., Awaitable[Any]]

# Every script begins so: after FLUSHALL nothing is known of what was there.
_CHECK = """
local p, run, me = ARGV[1], ARGV[2], ARGV[3]
if redis.call('GET', p .. 'run') ~= run then
    return redis.error_reply('UNSURE the store was emptied while it was in use')
end
"""
_PUT = (
    _CHECK
    + """
local association, generation, state = ARGV[4], ARGV[5], ARGV[6]
local is_released, may_be_new, seconds = ARGV[7], ARGV[8], ARGV[9]
local row, ids = p .. 'a:' .. association, p .. 'i:' .. association
local old = redis.call('HMGET', row, 'holder', 'generation', 'state')
if not old[2] then
    if may_be_new ~= '1' then return 0 end
elseif old[1] ~= me then
    return 0
elseif tonumber(generation) <= tonumber(old[2]) then
    if generation == old[2] and state == old[3] then return 1 end
    return 0
end
local holder = me
if is_released == '1' then holder = '' end
redis.call('HSET', row, 'holder', holder, 'generation', generation, 'state', state)
redis.call('EXPIRE', row, seconds)
for _, id in ipairs(redis.call('SMEMBERS', ids)) do redis.call('DEL', p .. 'c:' .. id) end
redis.call('DEL', ids)
for i = 10, #ARGV do
    redis.call('SET', p .. 'c:' .. ARGV[i], association, 'EX', seconds)
    redis.call('SADD', ids, ARGV[i])
end
redis.call('EXPIRE', ids, seconds)
return 1
"""
)
_ASK = (
    _CHECK
    + """
local association = redis.call('GET', p .. 'c:' .. ARGV[4])
if not association then return false end
local holder = redis.call('HGET', p .. 'a:' .. association, 'holder')
if not holder then return false end
if holder ~= '' and holder ~= me then
    redis.call('SADD', p .. 'w:' .. holder, association)
    redis.call('EXPIRE', p .. 'w:' .. holder, 3600)
end
return {holder, redis.call('EXISTS', p .. 'o:' .. holder)}
"""
)
_TAKE = (
    _CHECK
    + """
local before = ARGV[5]
local association = redis.call('GET', p .. 'c:' .. ARGV[4])
if not association then return false end
local row = p .. 'a:' .. association
local found = redis.call('HMGET', row, 'holder', 'state')
if found[1] ~= before or not found[2] then return false end
local is_other = before ~= '' and before ~= me
if is_other and redis.call('EXISTS', p .. 'o:' .. before) == 1 then return false end
-- Where memory is full this fails, before anything is changed.
redis.call('HSET', row, 'holder', me)
redis.call('HDEL', row, 'state')
if is_other then
    redis.call('SADD', p .. 'l:' .. before, association)
    redis.call('EXPIRE', p .. 'l:' .. before, ARGV[6])
    redis.call('SREM', p .. 'w:' .. before, association)
end
redis.call('SREM', p .. 'l:' .. me, association)
return found[2]
"""
)
_BEAT = (
    _CHECK
    + """
redis.call('SET', p .. 'o:' .. me, '1', 'PX', ARGV[4])
local wanted = redis.call('SMEMBERS', p .. 'w:' .. me)
local lost = redis.call('SMEMBERS', p .. 'l:' .. me)
redis.call('DEL', p .. 'w:' .. me)
local now, born = redis.call('TIME'), redis.call('GET', p .. 'born')
return {wanted, lost, tonumber(now[1]) - tonumber(born or now[1])}
"""
)
_REMOVE = (
    _CHECK
    + """
for i = 4, #ARGV do
    local row, ids = p .. 'a:' .. ARGV[i], p .. 'i:' .. ARGV[i]
    redis.call('SREM', p .. 'l:' .. me, ARGV[i])
    if redis.call('HGET', row, 'holder') == me then
        for _, id in ipairs(redis.call('SMEMBERS', ids)) do redis.call('DEL', p .. 'c:' .. id) end
        redis.call('DEL', row, ids)
    end
end
return 0
"""
)


class UnsafeStoreError(DTLSError):
    """The store might forget what it has acknowledged. Nothing is given out."""


class RedisStateStore:
    """States in one Redis or Valkey server. Needs ``pip install aiodtls[redis]``.

    The server must be a single primary without replicas, not in cluster mode, with the eviction
    policy noeviction. It either has no persistence (``save ""``, ``appendonly no``), or writes its
    log before it answers (``appendonly yes``, ``appendfsync always``,
    ``no-appendfsync-on-rewrite no``). A server that was started again with data in it is refused,
    since the data may be old: delete the keys that begin with ``prefix``, or name the new
    ``run_id`` as ``trusted_run_id``.

    Args:
        url: Such as "redis://localhost:6379/0", "rediss://" for TLS, "unix:///path".
        prefix: What the keys begin with.
        durability: "none" or "always", where the server denies CONFIG: it is then the operator who
            promises that the persistence of the server is so.
        trusted_run_id: The ``run_id`` of a server that was started again with all of its data.
        retention: In seconds: states that nobody has renewed for so long are forgotten.
        timeout: In seconds: for each answer of the server.

    Raises:
        ImportError: The ``redis`` package is not installed.
        ValueError: A number is out of range.
    """

    @checks.checked
    def __init__(
        self,
        url: str,
        *,
        prefix: str = "aiodtls:",
        durability: Literal["none", "always"] | None = None,
        trusted_run_id: str | None = None,
        retention: float = 30.0 * DAY,
        timeout: float = 2.0,
    ) -> None:
        from redis.asyncio import Redis

        checks.at_least(1.0, "retention", retention)
        checks.at_least(0.001, "timeout", timeout)
        self._prefix = prefix.encode()
        self._durability = durability
        self._trusted_run_id = trusted_run_id
        self._retention = math.ceil(retention)
        self._run_id = b""
        self._looked_at = float("-inf")
        self._redis: Any = Redis.from_url(
            url,
            protocol=2,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            redis_connect_func=self._connected,
        )
        self._put, self._ask, self._take, self._beat, self._remove = map(
            self._redis.register_script, (_PUT, _ASK, _TAKE, _BEAT, _REMOVE)
        )

    def __repr__(self) -> str:
        return f"RedisStateStore(prefix={self._prefix.decode()!r})"

    # -- the operations -----------------------------------------------------------------------

    async def put(self, holder: bytes, entries: Sequence[Entry]) -> list[bool]:
        if not entries:
            return []
        await self._look()
        pipeline = self._redis.pipeline(transaction=False)
        for entry in entries:
            flags = int(entry.is_released), int(entry.may_be_new), self._retention
            content = entry.association, entry.generation, entry.state
            arguments = self._arguments(holder, *content, *flags, *entry.connection_ids)
            await self._put(args=arguments, client=pipeline)
        return [answer == 1 for answer in await self._run(pipeline.execute())]

    async def ask(self, holder: bytes, connection_id: bytes) -> Holder | None:
        await self._look()
        found = await self._run(self._ask(args=self._arguments(holder, connection_id)))
        return Holder(found[0], found[1] == 1) if found is not None else None

    async def take(self, holder: bytes, connection_id: bytes, before: bytes) -> bytes | None:
        await self._look(at_once=True)
        arguments = self._arguments(holder, connection_id, before, self._retention)
        taken: bytes | None = await self._run(self._take(args=arguments))
        return taken

    async def beat(self, holder: bytes, seconds: float) -> Orders:
        await self._look()
        milliseconds = max(1, int(seconds * 1000))
        answer = self._beat(args=self._arguments(holder, milliseconds))
        wanted, lost, age = await self._run(answer)
        # The server counts whole seconds.
        return Orders(tuple(wanted), tuple(lost), age=max(0.0, age - 1.0))

    async def remove(self, holder: bytes, associations: Sequence[bytes]) -> None:
        await self._look()
        await self._run(self._remove(args=self._arguments(holder, *associations)))

    async def close(self) -> None:
        await self._redis.aclose()

    def _arguments(self, holder: bytes, *more: bytes | int) -> list[bytes | int]:
        return [self._prefix, self._run_id, holder, *more]

    async def _run(self, operation: Awaitable[Any]) -> Any:
        """Raises what the client raises, and :class:`UnsafeStoreError`."""
        from redis.exceptions import ResponseError

        try:
            return await operation
        except ResponseError as error:
            if "UNSURE" not in str(error):
                raise
            # All connections are checked when they are made again.
            self._looked_at = float("-inf")
            await self._redis.connection_pool.disconnect()
            raise UnsafeStoreError(str(error)) from None

    # -- whether the server keeps what it acknowledges --------------------------------------------

    async def _look(self, *, at_once: bool = False) -> None:
        """Looks at the server, if it was not looked at just now. Raises
        :class:`UnsafeStoreError`.
        """
        now = asyncio.get_running_loop().time()
        if at_once or now - self._looked_at >= LOOK_AGAIN:
            self._looked_at = float("-inf")
            await self._examine(self._redis.execute_command)
            self._looked_at = now

    async def _connected(self, connection: Any) -> None:
        """Looks at the server of a connection that was just made, before it is used."""

        async def execute(*command: object, **_: object) -> Any:
            await connection.send_command(*command)
            return await connection.read_response()

        try:
            await connection.on_connect()
            await self._examine(execute)
        except BaseException:
            # The client would go on to use it.
            await connection.disconnect(nowait=True)
            raise

    async def _examine(self, execute: Execute) -> None:
        info = _parsed(await execute("INFO"))
        refusal = _unsafe_role(info) or await self._unsafe_persistence(execute, info)
        if refusal is not None:
            raise UnsafeStoreError(f"{refusal}; nothing is given out")
        run_id = info.get("run_id", "").encode()
        await self._claim(execute, run_id)
        self._run_id = run_id

    async def _unsafe_persistence(self, execute: Execute, info: dict[str, str]) -> str | None:
        from redis.exceptions import ResponseError

        try:
            settings = {name: await _setting(execute, name) for name in SETTINGS}
        except ResponseError:
            writes = info.get("aof_enabled") == "1"
            if self._durability is None:
                return "the server denies CONFIG, so its durability has to be stated"
            if writes != (self._durability == "always"):
                return f"durability={self._durability!r}, and aof_enabled is {int(writes)}"
            return None
        if settings["appendonly"] == "no":
            return None if not settings["save"] else f"save is {settings['save']!r}, not ''"
        if settings["appendfsync"] != "always":
            return f"appendfsync is {settings['appendfsync']!r}, not 'always'"
        if settings["no-appendfsync-on-rewrite"] != "no":
            return "no-appendfsync-on-rewrite is not 'no'"
        return None

    async def _claim(self, execute: Execute, run_id: bytes) -> None:
        """Notes which run of the server the data are of. Raises :class:`UnsafeStoreError` for data
        of another run.
        """
        key = self._prefix + b"run"
        noted = await execute("GET", key)
        if noted == run_id:
            return
        trusted = self._trusted_run_id is not None and self._trusted_run_id.encode() == run_id
        if noted is None and await self._has_data(execute):
            raise UnsafeStoreError(
                f"there are keys {self._prefix.decode()}* and not the one that says which run of "
                "the server wrote them; nothing is given out"
            )
        if noted is not None and not trusted:
            raise UnsafeStoreError(
                f"the data are of another run of the server, {noted.decode()}, and may be old: it "
                f"was started again or restored. Delete the keys {self._prefix.decode()}*, or name "
                f"trusted_run_id={run_id.decode()!r}; nothing is given out"
            )
        # Two processes may come at once. The store has forgotten nothing since it was claimed.
        seconds, _ = await execute("TIME")
        await execute("SET", self._prefix + b"born", int(seconds))
        await execute("SET", key, run_id, *(() if noted is not None else ("NX",)))
        if await execute("GET", key) != run_id:
            raise UnsafeStoreError("another server has written here meanwhile")

    async def _has_data(self, execute: Execute) -> bool:
        cursor: Any = b"0"
        while True:
            cursor, keys = await execute("SCAN", cursor, "MATCH", self._prefix + b"*")
            ours = (self._prefix + b"run", self._prefix + b"born")
            if any(key not in ours for key in keys):
                return True
            if int(cursor) == 0:
                return False


def _unsafe_role(info: dict[str, str]) -> str | None:
    """Why a server might forget what it has acknowledged, as far as INFO tells."""
    if info.get("cluster_enabled") != "0" or info.get("redis_mode", "standalone") != "standalone":
        return "the server is in cluster mode"
    if info.get("role") != "master":
        return "the server is a replica"
    if info.get("connected_slaves") != "0":
        return f"the server has {info.get('connected_slaves')} replicas, which may take over"
    if info.get("maxmemory_policy") != "noeviction":
        return f"maxmemory-policy is {info.get('maxmemory_policy')!r}, not 'noeviction'"
    return None


async def _setting(execute: Execute, name: str) -> str:
    found = await execute("CONFIG", "GET", name)
    pairs = list(found.items()) if isinstance(found, dict) else [found]
    [(_, value)] = pairs
    return _text(value)


def _parsed(info: Any) -> dict[str, str]:
    """The fields of INFO. The client may have parsed them already."""
    if isinstance(info, dict):
        return {_text(name): _text(value) for name, value in info.items()}
    lines = (line.partition(":") for line in _text(info).splitlines())
    return {name: value for name, separator, value in lines if separator}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
