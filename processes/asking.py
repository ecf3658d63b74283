"""How a shard gets completions: out of the reply cache, from its deployment, or from the model that judges."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from hashlib import blake2b
from threading import Event
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson

from trials.errors import UsageError
from trials.words import Completion, Message, Trial

if TYPE_CHECKING:
    import logging

    from providers.client import ChatClient
    from providers.keys import Environment
    from providers.rate_control import Change
    from providers.rates import RateLimiter
    from stores.reply_cache import ReplyCache
    from telemetry.attempts import Meter
    from telemetry.tracing import Tracer
    from trials.spec import RunSpec, ShardOrder
    from trials.words import Deployment

CACHE_PASSWORD = "REDIS_PASSWORD"
Tools = Sequence[Mapping[str, Any]]


class Party:
    """A deployment that can be asked, under its own rate limit, and what of it decides a reply."""

    def __init__(self, client: ChatClient, limiter: RateLimiter, meter: Meter, spec: RunSpec) -> None:
        deployment = client.deployment
        self.client = client
        self.limiter = limiter
        self.meter = meter
        self.sampling = spec.sampling[deployment.model]
        # A model that is not told a temperature has one of its own.
        self.repeats_itself = self.sampling.temperature == 0 and "temperature" not in deployment.omit
        whom = [spec.simulated, spec.origins.get(deployment.model, ""), deployment.model, asdict(self.sampling)]
        self._whom = orjson.dumps(whom, option=orjson.OPT_SORT_KEYS)

    def reply_key(self, trial: Trial, messages: Sequence[Message], tools: Tools | None) -> str:
        """Digest what determines a reply. Which deployment or key of the model gives it is no part of that."""
        epoch = None if self.repeats_itself else [trial.epoch, trial.cell.seed]
        asked = orjson.dumps([messages, tools, epoch], option=orjson.OPT_SORT_KEYS)
        return blake2b(self._whom + asked, digest_size=20).hexdigest()

    def priced(self, completion: Completion) -> Completion:
        """Return a completion with what it costs here."""
        price = self.client.deployment.price
        return completion if price is None else replace(completion, cost_usd=price.of(completion))


class Asking:
    """Gets completions for trials. Safe to share between threads."""

    def __init__(self, model: Party, judge: Party | None, cache: ReplyCache | None) -> None:
        self.model = model
        self._judge = judge
        self._cache = cache
        self._parties = [model, judge] if judge else [model]

    @property
    def caches(self) -> bool:
        """Whether replies may be found without asking."""
        return self._cache is not None

    def look_up(self, asked: Sequence[tuple[Trial, Sequence[Message]]]) -> dict[int, Completion]:
        """Return the cached replies to first requests of trials, by the trials' numbers."""
        if self._cache is None or not asked:
            return {}
        keys = {trial.number: self.model.reply_key(trial, messages, None) for trial, messages in asked}
        began = time.monotonic()
        found = self._cache.look_up(list(dict.fromkeys(keys.values())))
        took_s = time.monotonic() - began
        for _ in found:  # all came with one look, so each took as long as all
            self.model.meter.hit(took_s)
        return {number: self.model.priced(found[key]) for number, key in keys.items() if key in found}

    def ask(
        self,
        trial: Trial,
        messages: Sequence[Message],
        tools: Tools | None,
        *,
        judge: bool,
        told: Mapping[str, Any] | None,
        stop: Event,
    ) -> Completion:
        """Return a completion. Raises ProviderError, and Drained once ``stop`` is set."""
        party = self._judge if judge else self.model
        assert party is not None, "a workload that is judged comes with a judge"

        def really() -> Completion:
            header = _header(trial, told) if party.client.deployment.simulated else ""
            completion = party.client.ask(messages, tools, sampling=party.sampling, stop=stop, trial_header=header)
            party.meter.answered(party.priced(completion))
            return completion  # as it came: what the cache keeps has no price

        if self._cache is None:
            return party.priced(really())
        began = time.monotonic()
        completion = self._cache.ask_once(party.reply_key(trial, messages, tools), really, stop)
        if completion.cached:
            party.meter.hit(time.monotonic() - began)
        return party.priced(completion)

    def traffic(self) -> dict[str, Any]:
        """Return what was asked so far, of ``model`` and ``judge``, as nested dicts of numbers that only grow."""
        told = {"model": self.model.meter.traffic()}
        if self._judge is not None:
            told["judge"] = self._judge.meter.traffic()
        if self._cache is not None:
            counts = self._cache.counts
            told["cache"] = {"hit": counts.hits + counts.shared, "miss": counts.asked, "errors": counts.errors}
        return told

    def recheck(self) -> None:
        """Let those who wait for their turn see whether they still should."""
        for party in self._parties:
            party.limiter.recheck()

    def granted(self, scope: str, grant: Mapping[str, Any]) -> None:
        """Take what the keeper of a scope's limit grants; the limiter that it is for knows it."""
        for party in self._parties:
            party.limiter.granted(grant)

    def close(self) -> None:
        """Give up what is shared with other processes."""
        for party in self._parties:
            party.limiter.close()
        if self._cache is not None:
            self._cache.close()


def secrets_of(order: ShardOrder, environment: Environment) -> list[str]:
    """Return what a shard's log must never show."""
    from providers.keys import find_key

    keys = [find_key(deployment, environment) for deployment in (order.deployment, order.judge) if deployment]
    secrets = [*(key.secret.reveal() for key in keys if key), environment.get(CACHE_PASSWORD, "")]
    if order.trace:
        from telemetry.trace_settings import trace_secrets

        secrets += trace_secrets(environment)
    return secrets


def _header(trial: Trial, told: Mapping[str, Any] | None) -> str:
    from providers.wire import trial_header

    return trial_header(trial, told)


def open_tracer(order: ShardOrder, spec: RunSpec, environment: Environment, log: logging.Logger) -> Tracer | None:
    """Return what traces a shard's trials, None if the environment names no endpoint. Raises UsageError."""
    from telemetry.trace_settings import read_settings
    from telemetry.tracing import Tracer

    assert order.trace is not None, "tracing was asked for"
    settings = read_settings(environment, content=order.trace.content)
    if settings is None:
        return None
    return Tracer(
        settings,
        run_id=order.trace.run_id,
        shard=order.trace.shard,
        parent=order.trace.parent,
        asked=(order.deployment, spec.sampling[order.deployment.model]),
        judge=(order.judge, spec.sampling[order.judge.model]) if order.judge else None,
        secrets=secrets_of(order, environment),
        warn=log.warning,
    )


def open_asking(
    order: ShardOrder,
    spec: RunSpec,
    environment: Environment,
    log: logging.Logger,
    *,
    tracer: Tracer | None = None,
    tell: Callable[[str], None],
    lease: Callable[[str, dict[str, Any]], None] | None = None,
) -> Asking:
    """Wire what a shard asks. ``tell`` hears, from any thread, what people should know at once.

    ``lease`` takes reports to who keeps the limits of scopes, if the order is that nodes share them.

    Raises UsageError without a key, or for a cache that cannot be used.
    """
    cache = None
    if order.cache != "off":
        from stores.reply_cache import open_cache

        password = environment.get(CACHE_PASSWORD)
        cache = open_cache(order.cache, ttl_s=order.cache_ttl_s, warn=tell, password=password)
    judge = _party(order.judge, order, spec, environment, log, tracer, lease) if order.judge else None
    return Asking(_party(order.deployment, order, spec, environment, log, tracer, lease), judge, cache)


def _is_on_node(deployment: Deployment) -> bool:
    """Whether an endpoint is each node's own, so that nodes have no limit in common. The simulator is everybody's."""
    host = urlsplit(deployment.base_url).hostname or ""
    return not deployment.simulated and (host in ("localhost", "::1") or host.startswith("127."))


def _party(
    deployment: Deployment,
    order: ShardOrder,
    spec: RunSpec,
    environment: Environment,
    log: logging.Logger,
    tracer: Tracer | None,
    lease: Callable[[str, dict[str, Any]], None] | None,
) -> Party:
    from providers.client import ChatClient
    from providers.keys import find_key, missing_message
    from providers.rate_sharing import shared_limiter
    from providers.transport import open_transport
    from telemetry.attempts import Meter

    key = find_key(deployment, environment)
    if key is None:
        raise UsageError(missing_message([deployment], environment))
    log.info("asks %s as %s at %s", deployment.model, deployment.name, deployment.base_url)
    meter = Meter(log if order.debug else None)

    def changed(change: Change) -> None:
        log.info("limit %.1f/s: %s", change.rate, change.reason)
        meter.limit_changed(change.unit, change.reason)

    limiter = shared_limiter(
        deployment,
        key,
        order.rate_mode,
        on_change=changed,
        note=log.info,
        lease=lease if order.leases and not _is_on_node(deployment) else None,
    )
    client = ChatClient(
        deployment=deployment,
        key=key,
        limiter=limiter,
        transport=open_transport(order.transport, every_header=order.debug),
        observe=tracer.watching(meter.seen) if tracer else meter.seen,
        patience_s=order.patience_s,
    )
    return Party(client, limiter, meter, spec)
