"""What a run has spent, over all its starts, and whether that is all it may spend (``--max-cost``).

Counted is every reply that a provider gave to this run and that stands in its journals, judges' replies and those of
trials without a score included. Not counted are hits of the cache, results that were there from other runs, and calls
that brought no reply. The bound is looked at four times a second; what is in flight by then still comes in, so a run
may spend up to one reply per worker, and the replies of that quarter of a second, beyond it.
"""

from __future__ import annotations

from collections.abc import Mapping

from stores.run_directory import RunDirectory
from stores.spending import Spending
from telemetry.wording import dollars
from trials.words import Deployment


class Budget:
    """The cost of one run. ``bound_usd`` None lets it spend whatever it takes. Not thread-safe."""

    def __init__(
        self,
        directory: RunDirectory,
        deployments: Mapping[int, Deployment],
        judge: Deployment | None,
        bound_usd: float | None,
    ) -> None:
        self.bound_usd = bound_usd
        self._spending = Spending(directory.journals)
        self._priced = {
            number: all(one.price is not None for one in (deployment, judge) if one is not None)
            for number, deployment in deployments.items()
        }
        self._unpriced = dict.fromkeys(
            one.model for one in (*deployments.values(), judge) if one is not None and one.price is None
        )
        self.update()

    def update(self) -> None:
        """Take in what has been paid since the last time; where no price is known, there is nothing to find."""
        if any(self._priced.values()):
            self._spending.update()

    @property
    def usd(self) -> float | None:
        """What was spent as far as prices are known; None where none is."""
        return self._spending.usd if any(self._priced.values()) else None

    @property
    def is_spent(self) -> bool:
        """Whether nothing more may be asked."""
        return self.bound_usd is not None and self._spending.usd >= self.bound_usd

    def usd_of(self, shard: int) -> float | None:
        """Return what a shard has spent, None if one of its prices is not known."""
        return self._spending.usd_by_shard.get(shard, 0.0) if self._priced[shard] else None

    def remark(self) -> str:
        """Return what people should know of prices before the run; empty if all are known."""
        if not self._unpriced:
            return ""
        models = ", ".join(self._unpriced)
        return f"no price is known for {models}: no cost is counted; a file for --catalog can name it, field 'price'"

    def in_words(self) -> str:
        """Say what was spent; nothing where no price is known."""
        if self.usd is None:
            return ""
        part = f" without {', '.join(self._unpriced)}" if self._unpriced else ""
        return f"{dollars(self.usd)} spent by this run{part}, all its starts together"

    def how_to_go_on(self, pending: int) -> str:
        """Say, in one line, why the run has stopped and what makes it go on."""
        return (
            f"{dollars(self._spending.usd)} of --max-cost {dollars(self.bound_usd)} spent and {pending:,} trials are "
            f"left; the same command with a higher --max-cost goes on"
        )
