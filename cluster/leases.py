"""One rate limit for a scope on all nodes: an actor that keeps the limits, and the link of each shard to it.

What is asked and granted is worked out in ``providers.rate_leases``; here it only travels. The actor holds nothing that
its holders could not tell again: if it dies, whoever asks next starts it anew, and leases that it had granted are taken
over as they come. While it cannot be reached, each shard goes on until its lease ends, and then waits.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import Any

import ray

from processes.child import Child
from processes.messages import Message
from providers.rate_leases import Leases

NAME, NAMESPACE = "rate-leases", "ultra-parallel-runner"
ANSWER_WITHIN_S = 5.0


class LeaseDesk:
    """The actor. Its methods run one at a time."""

    def __init__(self, restarted: bool) -> None:
        """``restarted``: there may be leases that another one has granted."""
        again = ray.get_runtime_context().was_current_actor_reconstructed
        self._leases = Leases(restarted=restarted or again)

    def renew(self, scope: str, report: dict[str, Any]) -> dict[str, Any]:
        """Take a holder's report and return what it may do next."""
        return self._leases.renew(scope, report, time.monotonic())


def desk(*, restarted: bool) -> Any:
    """Return the actor that keeps the cluster's limits; all runs share it. It ends with who started it.

    ``restarted``: if there is none, there has been one.
    """
    made = ray.remote(LeaseDesk).options(
        name=NAME, namespace=NAMESPACE, get_if_exists=True, num_cpus=0, max_restarts=-1
    )
    return made.remote(restarted)


class LeaseLink:
    """Carries one shard's reports to the desk and its grants back, in a thread of its own."""

    def __init__(self) -> None:
        self._reports: queue.SimpleQueue[tuple[Message, Child]] = queue.SimpleQueue()
        threading.Thread(target=self._carry, name="lease-link", daemon=True).start()

    def renew(self, message: Message, child: Child) -> None:
        """Take a report on its way; does not wait."""
        self._reports.put((message, child))

    def _carry(self) -> None:
        keeper = None
        while True:
            message, child = self._reports.get()
            try:
                keeper = keeper or desk(restarted=True)
                grant = ray.get(keeper.renew.remote(message["scope"], message["report"]), timeout=ANSWER_WITHIN_S)
            except (ray.exceptions.RayError, ValueError):
                keeper = None  # the holder asks again before its lease ends
                continue
            child.send("lease", scope=message["scope"], grant=grant)
