"""The feed of a shard that runs without a supervisor: it answers what the shard says, in the same process."""

from __future__ import annotations

import queue
from collections import Counter
from collections.abc import Callable
from typing import Any

from processes.dispatch import Dispatcher
from processes.messages import Message
from trials.progress import ShardProgress


class OwnFeed:
    """Feeds a shard that runs alone: the trials of its share, from a dispatcher in the same process."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        shard: int,
        begun: dict[int, Any],
        show: Callable[[Counter[str], ShardProgress], None],
    ) -> None:
        self.inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self.endings: Counter[str] = Counter()
        self.failure = ""
        self._dispatcher = dispatcher
        self._shard = shard
        self._begun = begun
        self._show = show

    def send(self, kind: str, **fields: Any) -> None:
        """Answer what the shard says, as the supervisor would."""
        if kind == "want":
            numbers = self._dispatcher.take(self._shard, fields["count"])
            begun = {str(number): self._begun.pop(number) for number in numbers if number in self._begun}
            self.inbox.put({"type": "assign", "trials": numbers, "begun": begun})
        elif kind == "ended":
            for how, numbers in fields["endings"].items():
                self.endings[how] += len(numbers)
                self._dispatcher.ended(self._shard, numbers)
        elif kind == "progress":
            self._show(self.endings, ShardProgress.from_json({**fields["progress"], **self.endings}))
        elif kind == "note":
            print(fields["text"], flush=True)
        elif kind == "fatal":
            self.failure = fields["message"]
        if self._dispatcher.exhausted(self._shard):
            self.inbox.put({"type": "finish"})

    def gone(self) -> bool:
        """Never: it is this process itself."""
        return False
