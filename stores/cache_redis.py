"""The reply cache in Redis, alone or as a cluster: shared by processes and hosts. Works with Redis 5 and later.

A key's reply and its claim carry the same hash tag, so that both live on one node and its order of commands holds.
Claims are ``SET NX PX`` with a random value that only its owner may delete (the pattern of Redis's page on locks). The
client's own retries are off: a node that hangs must cost one timeout and not one for each key. Nobody learns the
password: messages name the address without it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote
from uuid import uuid4

from stores.cache_keeper import LEASE_S
from stores.cached_replies import VERSION
from trials.errors import UsageError

if TYPE_CHECKING:
    from redis import Redis

SOCKET_S = 0.7
DEFAULT_PORT = 6379
_LEASE_MS = int(LEASE_S * 1000)
_RELEASE = "if redis.call('GET',KEYS[1])==ARGV[1] then return redis.call('DEL',KEYS[1]) end return 0"
_RENEW = (
    "if redis.call('GET',KEYS[1])==ARGV[1] then return redis.call('PEXPIRE',KEYS[1],ARGV[2]) end "
    "return redis.call('SET',KEYS[1],ARGV[1],'NX','PX',ARGV[2])"
)
_URL = re.compile(
    r"(?P<scheme>rediss?(?P<cluster>\+cluster)?)://(?:(?P<user>[^:@/]*)(?::(?P<password>[^@/]*))?@)?"
    r"(?P<hosts>[^/?#@]+)(?:/(?P<db>\d*))?"
)
_HOST = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<name>[^\[\]:\s]+))(?::(?P<port>\d{1,5}))?")
Command = tuple[str, tuple[object, ...]]
"""The key whose node it is for, and the command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisAddress:
    """Where a server or cluster is, and as whom to speak to it."""

    hosts: tuple[tuple[str, int], ...]
    cluster: bool
    tls: bool
    db: int
    user: str | None
    password: str | None = field(repr=False)

    @property
    def name(self) -> str:
        """Return the address without its password."""
        places = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        scheme = ("rediss" if self.tls else "redis") + ("+cluster" if self.cluster else "")
        return f"{scheme}://{places}" + (f"/{self.db}" if self.db else "")


def redis_address(url: str) -> RedisAddress:
    """Return the parts of a URL. Raises UsageError, which does not repeat it, since it may hold a password."""
    form = "--cache: not of the form redis://[user:password@]host:port[/db] or redis+cluster://host:port[,host:port…]"
    parts = _URL.fullmatch(url)
    places = [_HOST.fullmatch(place) for place in parts["hosts"].split(",")] if parts else []
    if parts is None or None in places:
        raise UsageError(f"{form}; other characters in a password are written %40 for @, %2F for / and so on")
    hosts = tuple((place["six"] or place["name"], int(place["port"] or DEFAULT_PORT)) for place in places if place)
    cluster, db = bool(parts["cluster"]), int(parts["db"] or 0)
    if any(not 0 < port < 65536 for _, port in hosts) or (not cluster and len(hosts) > 1):
        raise UsageError(f"{form}; ports are 1 to 65535, and several hosts need redis+cluster://")
    if cluster and db:
        raise UsageError("--cache: a Redis cluster has no databases; leave out what follows the hosts")
    return RedisAddress(
        hosts=hosts,
        cluster=cluster,
        tls=parts["scheme"].startswith("rediss"),
        db=db,
        user=unquote(parts["user"]) if parts["user"] else None,
        password=unquote(parts["password"]) if parts["password"] else None,
    )


def check_redis_package() -> None:
    """Raise UsageError if the client is not installed."""
    try:
        import redis  # noqa: F401
    except ImportError:
        raise UsageError("--cache redis://… needs the package redis: pip install 'redis>=6.0'") from None


class RedisStore:
    """A ``SharedStore`` in Redis. Raises what redis-py raises."""

    def __init__(self, address: RedisAddress, ttl_s: float) -> None:
        self.name = address.name
        self._address = address
        self._ttl_ms = max(1, int(ttl_s * 1000))
        self._owner = uuid4().hex
        self._hosts = list(address.hosts)
        self._alone: Redis | None = None
        self._cluster: Any = None
        self._moved = False

    def connect(self) -> None:
        """Connect anew; returns when every primary answers."""
        self.close()
        if not self._address.cluster:
            self._alone = self._new_client()
            self._alone.ping()
            return
        self._cluster = self._new_cluster()
        nodes = self._cluster.get_nodes()
        # Whoever the URL names may be gone when the next connection is made.
        self._hosts = list(dict.fromkeys([*self._address.hosts, *((node.host, node.port) for node in nodes)]))
        for node in self._cluster.get_primaries():
            self._cluster.get_redis_connection(node).ping()

    def fetch(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return what is stored for these keys and has not expired."""
        if self._alone is not None:
            values: Any = self._alone.mget([_reply_name(key) for key in keys]) if keys else []
        else:
            values = self._run([(key, ("GET", _reply_name(key))) for key in keys])
        return {key: value for key, value in zip(keys, values, strict=True) if value is not None}

    def claim(self, keys: Sequence[str]) -> tuple[dict[str, bytes], set[str]]:
        """Claim what is neither stored nor claimed: first the claim, then the look, which sees what came before it."""
        commands: list[Command] = []
        for key in keys:
            commands.append((key, ("SET", _claim_name(key), self._owner, "NX", "PX", _LEASE_MS)))
            commands.append((key, ("GET", _reply_name(key))))
        told = self._run(commands)
        claimed = {key for key, done in zip(keys, told[0::2], strict=True) if done}
        found = {key: value for key, value in zip(keys, told[1::2], strict=True) if value is not None}
        self.settle({}, claimed & found.keys())
        return found, claimed - found.keys()

    def settle(self, puts: Mapping[str, bytes], released: Collection[str]) -> None:
        """Store replies, then let go of claims."""
        commands: list[Command] = [
            (key, ("SET", _reply_name(key), value, "PX", self._ttl_ms)) for key, value in puts.items()
        ]
        commands += [(key, ("EVAL", _RELEASE, 1, _claim_name(key), self._owner)) for key in released]
        self._run(commands)

    def renew(self, keys: Collection[str]) -> None:
        """Claim these keys for another lease, except those that somebody else holds."""
        self._run([(key, ("EVAL", _RENEW, 1, _claim_name(key), self._owner, _LEASE_MS)) for key in keys])

    def close(self) -> None:
        """Close all connections; a second call does nothing."""
        for client in (self._alone, self._cluster):
            if client is not None:
                with suppress(Exception):  # A connection that is broken already may say so in many ways.
                    client.close()
        self._alone = self._cluster = None

    def reason(self, error: Exception) -> str:
        """Return why the store failed, for people and without the password."""
        from redis.exceptions import MovedError

        if isinstance(error, MovedError) and not self._address.cluster:
            return "it is part of a cluster: write redis+cluster:// instead"
        told = f"{type(error).__name__}: {error}"
        return told.replace(self._address.password, "****") if self._address.password else told

    def _run(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands, those of one node in their order and one round trip; return what they returned."""
        from redis.exceptions import AskError, MovedError

        by_client: dict[Any, list[int]] = {}
        client_of = self._clients()
        for place, (key, _) in enumerate(commands):
            by_client.setdefault(client_of(key), []).append(place)
        told: list[Any] = [None] * len(commands)
        for client, places in by_client.items():
            pipeline = client.pipeline(transaction=False)
            for place in places:
                pipeline.execute_command(*commands[place][1])
            for place, result in zip(places, pipeline.execute(raise_on_error=False), strict=True):
                if self._cluster is not None and isinstance(result, (MovedError, AskError)):
                    self._moved = True
                elif isinstance(result, Exception):
                    raise result
                else:
                    told[place] = result
        return told

    def _clients(self) -> Callable[[str], Any]:
        """Return what tells the client of a key."""
        if self._alone is None and (self._cluster is None or self._moved):
            self._moved = False
            self.connect()
        if (alone := self._alone) is not None:
            return lambda key: alone
        cluster = self._cluster
        assert cluster is not None
        return lambda key: cluster.get_redis_connection(cluster.get_node_from_key(_reply_name(key)))

    def _new_client(self) -> Redis:
        from redis import Redis

        ((host, port),) = self._address.hosts
        return Redis(host=host, port=port, db=self._address.db, retry=_never(), **self._settings())

    def _new_cluster(self) -> Any:
        import redis.cluster

        library: Any = redis.cluster  # Half of it has no types.
        nodes = [library.ClusterNode(host, port) for host, port in self._hosts]
        return library.RedisCluster(
            startup_nodes=nodes, retry=_never(), require_full_coverage=False, **self._settings()
        )

    def _settings(self) -> dict[str, Any]:
        address = self._address
        settings = {"username": address.user, "password": address.password}
        return {**settings, "ssl": address.tls, "socket_timeout": SOCKET_S, "socket_connect_timeout": SOCKET_S}


def _never() -> Any:
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return Retry(NoBackoff(), 0)


def _reply_name(key: str) -> str:
    return f"upr{VERSION}:{{{key}}}"


def _claim_name(key: str) -> str:
    return f"upr{VERSION}:{{{key}}}:claim"
