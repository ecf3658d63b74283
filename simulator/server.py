"""The HTTP server: takes a request through key, limits, faults and latency to a reply. Decides none of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import orjson
from aiohttp import web

from simulator.asked import MAX_HEADER_BYTES, Asked, Refused, read_asked, read_key
from simulator.broken import answer_broken
from simulator.faults import FaultPlan
from simulator.latency import Latency
from simulator.ledger import SERVED, Entry, Ledger
from simulator.limits import Limits, retry_after_headers
from simulator.wire import completion_body, error_body, models_body
from workflows.dialects import Spoken

MAX_BODY_BYTES = 64 * 2**20
CLOSE_WITHIN_S = 1.0
"""How long a stopping server lets requests in flight finish; a hanging one never would."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How a server behaves. ``retry_after`` is explained at ``limits.retry_after_headers``."""

    speak: Callable[[Asked], Spoken]
    find_task: Callable[[str], str]
    model_names: Iterable[str]
    limits: Limits
    faults: FaultPlan
    latency: Latency
    retry_after: str = "right"
    hang_s: float = 3600.0
    denied_keys: frozenset[str] = frozenset()
    denied_models: frozenset[str] = frozenset()


class Simulator:
    """Answers requests as its behaviour says, and counts them in ``ledger``. Lives in one event loop."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self.ledger = Ledger()

    def application(self) -> web.Application:
        """Return the routes. Any path that ends in /chat/completions serves: gateways put prefixes before."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        azure = "/openai/deployments/{deployment}/chat/completions"
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_post(azure, self.chat)
        app.router.add_post(r"/{prefix:(?:.+/)?}chat/completions", self.chat)
        app.router.add_get("/healthz", self.health)
        app.router.add_get("/stats", self.stats)
        app.router.add_post("/stats/reset", self.reset)
        app.router.add_get(r"/{prefix:(?:.+/)?}models", self.models)
        return app

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Answer one completion request; it is ``served`` once its whole body was handed to the socket."""
        entry = self.ledger.open()
        try:
            answer, response = await self._answer(request, entry)
            await response.prepare(request)
            await response.write_eof()
            entry.answer = answer
        except ConnectionError:
            # A fault broke the connection, or the client did: whatever is returned finds nobody to go to.
            return web.Response()
        finally:
            self.ledger.close(entry)
        return response

    async def _answer(self, request: web.Request, entry: Entry) -> tuple[str, web.StreamResponse]:
        """Return what the ledger is to call the answer, and the answer."""
        try:
            asked = await self._read(request, entry)
        except Refused as refused:
            return str(refused.status), _error(refused.status, refused.code, refused.message)
        behaviour = self._behaviour
        wait_s = behaviour.limits.admit(asked)
        if wait_s is not None:
            headers = retry_after_headers(wait_s, behaviour.retry_after)
            return "429", _error(429, "rate_limit_exceeded", "Rate limit reached for requests.", headers)
        fault = behaviour.faults.draw(asked)
        if fault is not None:
            entry.answer = f"fault-{fault}"  # at once, as what hangs or breaks off never comes back here
            return entry.answer, await answer_broken(fault, request, asked, behaviour.hang_s)
        body = completion_body(asked, behaviour.speak(asked))
        delay_s = behaviour.latency.draw_s(asked)
        if delay_s > 0:
            await asyncio.sleep(delay_s)
        return SERVED, web.Response(body=body, content_type="application/json")

    async def _read(self, request: web.Request, entry: Entry) -> Asked:
        behaviour = self._behaviour
        deployment = request.match_info.get("deployment", "")
        entry.key = read_key(request.headers, azure=bool(deployment))
        if entry.key in behaviour.denied_keys:
            raise Refused(401, "invalid_api_key", "Incorrect API key provided.")
        if deployment and "api-version" not in request.query:
            raise Refused(404, "not_found", "Resource not found: the query parameter api-version is missing.")
        body = await request.read()
        asked = read_asked(body, request.headers, entry.key, deployment, behaviour.find_task)
        entry.asked = asked
        if behaviour.denied_models & {asked.deployment, asked.identity.model}:
            raise Refused(404, "model_not_found", f"The model {asked.deployment!r} does not exist.")
        return asked

    async def models(self, request: web.Request) -> web.Response:
        """List the simulated models."""
        return _json(models_body(self._behaviour.model_names))

    async def stats(self, request: web.Request) -> web.Response:
        """Tell all counts; ``?trials=1`` adds those of each trial."""
        with_trials = request.query.get("trials", "0") not in ("", "0")
        return _json(orjson.dumps(self.ledger.to_json(with_trials)))

    async def reset(self, request: web.Request) -> web.Response:
        """Start all counts anew."""
        self.ledger.reset()
        return _json(b"{}")

    async def health(self, request: web.Request) -> web.Response:
        """Say that the server lives."""
        return _json(b'{"status":"ok"}')


async def serve(
    simulator: Simulator, host: str, port: int, announce: Callable[[str], None], stop: asyncio.Event
) -> None:
    """Serve until ``stop`` is set. ``announce`` is told the address. Raises OSError if it cannot be bound."""
    # Without handler_cancellation a client that gave up would leave its request hanging here.
    runner = web.AppRunner(
        simulator.application(),
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=CLOSE_WITHIN_S,
        max_field_size=MAX_HEADER_BYTES,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=4096).start()
        bound_host, bound_port = runner.addresses[0][:2]
        shown = f"[{bound_host}]" if ":" in bound_host else bound_host
        announce(f"http://{shown}:{bound_port}")
        await stop.wait()
    finally:
        await runner.cleanup()


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    body = error_body(status, code, message)
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)
