"""What a trial was already told goes with it, however many shards die on the way."""

from __future__ import annotations

import json
import sys

from sample_specs import Numbers, spec_of

from processes.child import Child
from processes.dispatch import Dispatcher
from processes.supervisor import Replay, Start, Supervisor
from trials.plan import TrialPlan

SHARD = """
import json, os, sys
from processes.parent import Parent
parent = Parent(0, 1, silence_s=60)
parent.send('ready')
parent.send('want', count=1)
while not parent.gone():
    message = parent.inbox.get()
    if message['type'] == 'assign':
        with open({path!r}, 'a') as told:
            told.write(json.dumps(message['begun']) + '\\n')
        if {dies}:
            os.kill(os.getpid(), 9)
        parent.send('ended', endings={{'full': message['trials']}})
        parent.send('want', count=1)
    elif message['type'] == 'finish':
        sys.exit(0)
"""


class Dying:
    """Shards that die until one does not; the journals of the dead know nothing of the trial."""

    def __init__(self, tmp_path, deaths: int) -> None:
        self.told = tmp_path / "told"
        self._stderr = tmp_path / "stderr"
        self._deaths = deaths

    def launch(self, shard, inbox) -> Child:
        self._deaths -= 1
        program = SHARD.format(path=str(self.told), dies=self._deaths >= 0)
        return Child([sys.executable, "-c", program], inbox=inbox, stderr_path=self._stderr)

    def written(self, shard) -> int:
        return 0

    def replay(self, shard, held, since) -> Replay:
        return Replay({}, {})

    def unended(self, shard, held, since) -> dict[int, int]:
        return {}

    def note(self, text) -> None:
        return

    def show(self, shards) -> None:
        return


def test_completions_of_an_earlier_run_survive_shards_that_die_before_they_begin_the_trial(tmp_path):
    dying = Dying(tmp_path, deaths=2)
    said = [{"text": "paid for"}]
    supervisor = Supervisor(
        Dispatcher(TrialPlan(spec_of(), Numbers()), {1: "m"}),
        {1: Start()},
        dying,
        wait_for_ready=True,
        begun={0: said},
        stall_timeout_s=30,
        drain_timeout_s=5,
    )
    supervisor.run()
    assert supervisor.shards[0].endings["full"] == 1
    told = [json.loads(line) for line in dying.told.read_text().splitlines()]
    assert told == [{"0": said}] * 3
