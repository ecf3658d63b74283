"""Whole runs on a real Ray cluster of three nodes on this machine: the same results, whatever is lost on the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from real_runs import THREE_KEYS, House, Running, adds_up, scores, wait_for

ray = pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(240)]

AUTH = {"RAY_AUTH_MODE": "disabled"}
WORKERS = 15
QUESTIONS = 300


class Nodes:
    """A cluster whose head runs no shards, and the nodes that do."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self.cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        self.address = str(self.cluster.address)
        self._workers: list[Any] = []
        for _ in range(2):
            self.add()

    def add(self) -> None:
        """Start another node for shards."""
        self._workers.append(self.cluster.add_node(num_cpus=2, num_gpus=1))

    def add_apart(self, temporary: Path) -> None:
        """Start a node that shares no folder with the others; it has three GPUs, by which shards find it."""
        self.cluster.add_node(num_cpus=2, num_gpus=3, env_vars={"TMPDIR": str(temporary)})

    def kill_one(self) -> None:
        """Kill a node as a power cut does."""
        self.cluster.remove_node(self._workers.pop(), allow_graceful=False)

    def whole(self) -> None:
        """Make good what was killed."""
        while len(self._workers) < 2:
            self.add()


@pytest.fixture(scope="module")
def _nodes() -> Iterator[Nodes]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**AUTH, "RAY_USAGE_STATS_ENABLED": "0"}.items():
            patch.setenv(name, value)
        nodes = Nodes()
        yield nodes
        nodes.cluster.shutdown()


@pytest.fixture
def nodes(_nodes) -> Nodes:
    _nodes.whole()
    return _nodes


@pytest.fixture
def at_home(house) -> House:
    house.environment |= AUTH
    return house


def bank(house: House, count: int = QUESTIONS) -> str:
    """Write a bank of sums."""
    path = house.path / "bank.csv"
    lines = [f"q{n},What is {n} + {n}?,{2 * n}" for n in range(count)]
    path.write_text("\n".join(["id,question,answer", *lines]) + "\n")
    return str(path)


def ask(simulator, path: str, *arguments: str) -> tuple[str, ...]:
    """A command line that asks a bank over three shards that share one deployment."""
    where = ("--simulator-url", simulator.url, "--questions", path, "--scorer", "numeric", "--model", "deepseek-v3.1")
    return (
        *where,
        "--replicas",
        "3",
        "--rate-mode",
        "fixed",
        "--qps",
        "30",
        "--max-workers",
        "5",
        "--stagger",
        "0",
        *arguments,
    )


def on(nodes: Nodes) -> tuple[str, ...]:
    return ("--engine", "ray", "--ray-address", nodes.address)


def shards_of(house: House) -> list[psutil.Process]:
    """Return the processes of shards on any node, which belong to a run of this house."""
    run = next((house.path / "logs").glob("sim-*")).name
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if "--run-dir" in line and Path(line[line.index("--run-dir") + 1]).name == run:
            found.append(process)
    return found


def wait_for_rows(house: House, running: Running, count: int) -> None:
    """Return once so many trials have ended, as the run itself shows it."""
    wait_for(
        lambda: running.process.poll() is not None or list((house.path / "logs").glob("sim-*/status.json")),
        "the run shows how it stands",
    )
    wait_for(lambda: running.process.poll() is not None or house.status()["scored"] >= count, f"{count} trials scored")
    assert running.process.poll() is None, running.output + running.complaints


def test_trials_end_as_they_do_on_one_machine(at_home, new_house, nodes, simulator):
    options = ("--simulator-url", simulator.url, "--model", THREE_KEYS, "--num-instances", "2", "--stagger", "0")
    at_home.run("tasks", "--task-types", "data_pipeline,simple_task", "--export", "own.json")
    tasks = ("--task-types", "data_pipeline,simple_task", "--task-library", str(at_home.path / "own.json"))
    at_home.run(*options, *tasks, *on(nodes), "--gpus-per-shard", "0.5")
    local = new_house("local")
    local.run(*options, *tasks)
    assert scores(at_home.rows()) == scores(local.rows())
    assert len(at_home.rows()) == 4
    assert adds_up(at_home.status())
    assert at_home.run("verify", code=0)
    assert list((at_home.path / "logs").glob("sim-*/shards/01/shard.log"))


def test_node_that_is_lost_costs_nothing_but_what_was_in_flight(at_home, nodes, slow_simulator):
    path = bank(at_home)
    running = at_home.start(*ask(slow_simulator, path, *on(nodes)))
    wait_for_rows(at_home, running, QUESTIONS // 3)
    nodes.kill_one()
    assert running.wait() == 0, running.output + running.complaints
    rows = at_home.rows()
    assert sorted(row["task_id"] for row in rows) == sorted(f"q{n}" for n in range(QUESTIONS))
    assert {row["status"] for row in rows} == {"scored"}
    assert "lost" in running.output
    assert slow_simulator.stats()["served"] - QUESTIONS <= 4 * WORKERS  # in flight there, or not brought over yet


def test_driver_that_is_killed_is_followed_by_the_same_command_on_either_engine(at_home, nodes, slow_simulator):
    path = bank(at_home)
    running = at_home.start(*ask(slow_simulator, path, *on(nodes)))
    wait_for_rows(at_home, running, QUESTIONS // 3)
    shards = shards_of(at_home)
    assert shards
    running.process.kill()
    running.wait()
    psutil.wait_procs(shards, timeout=60)
    assert not [one for one in shards if one.is_running()], "shards outlive their supervisor"
    at_home.run(*ask(slow_simulator, path))
    rows = at_home.rows()
    assert sorted(row["task_id"] for row in rows) == sorted(f"q{n}" for n in range(QUESTIONS))
    assert slow_simulator.stats()["served"] - QUESTIONS <= 4 * WORKERS


def test_shard_that_is_killed_on_its_node_is_started_again(at_home, nodes, slow_simulator):
    path = bank(at_home)
    running = at_home.start(*ask(slow_simulator, path, *on(nodes)))
    wait_for_rows(at_home, running, QUESTIONS // 3)
    shards_of(at_home)[0].kill()
    assert running.wait() == 0, running.output + running.complaints
    assert "was killed by signal 9; starting it again" in running.output
    assert len(at_home.rows()) == QUESTIONS


def test_interrupt_drains_the_nodes_and_leaves_a_run_that_resumes(at_home, nodes, slow_simulator):
    path = bank(at_home)
    running = at_home.start(*ask(slow_simulator, path, *on(nodes)))
    wait_for_rows(at_home, running, QUESTIONS // 3)
    running.send(15)
    assert running.wait() == 143, running.output + running.complaints
    drained = len(at_home.rows())
    assert QUESTIONS // 3 <= drained < QUESTIONS
    assert slow_simulator.stats()["served"] == drained
    at_home.run(*ask(slow_simulator, path, *on(nodes)))
    assert slow_simulator.stats()["served"] == QUESTIONS == len(at_home.rows())


def test_shards_that_no_node_has_room_for_wait_and_can_be_interrupted(at_home, nodes, simulator):
    running = at_home.start(*ask(simulator, bank(at_home), *on(nodes), "--gpus-per-shard", "8"))
    running.wait_to_say("waits for a node with a CPU and 8 GPUs free")
    assert simulator.stats()["requests"] == 0
    running.send(2)
    assert running.wait(20) == 130, running.output + running.complaints


def test_signal_while_ray_starts_ends_as_any_other(at_home, simulator):
    running = at_home.start(*ask(simulator, bank(at_home)), "--engine", "ray")
    running.wait_to_say("starting Ray")
    running.send(15)
    assert running.wait(60) == 143, running.output + running.complaints
    assert "Traceback" not in running.complaints
    assert next((at_home.path / "logs").glob("sim-*/DONE")).exists()


def test_cluster_that_is_not_there_is_told_before_anything_starts(at_home, simulator):
    ended = at_home.run(*ask(simulator, bank(at_home), "--engine", "ray", "--ray-address", "127.0.0.1:1"), code=2)
    assert "nothing answers at 127.0.0.1:1" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert simulator.stats()["requests"] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--engine", "spark"), "--engine: unknown value 'spark'"),
        (("--engine", "ray", "--ray-address", "nowhere"), "neither HOST:PORT"),
        (("--ray-address", "h:1"), "--ray-address goes with --engine ray"),
        (("--gpus-per-shard", "1"), "--gpus-per-shard goes with --engine ray"),
        (("--engine", "ray", "--cache", "sqlite:c.db"), "name a Redis"),
        (("--replicas", "0"), "--replicas: 0 is outside"),
    ],
)
def test_what_does_not_go_together_is_refused(command, house, arguments, words):
    asked = ("--simulate", "--model", "deepseek-v3.1", "--num-instances", "1")
    assert words in command(*asked, *arguments, env=AUTH, code=2).stderr


def test_missing_ray_is_told_with_the_command_that_installs_it(command, monkeypatch):
    import importlib.util

    find_spec = importlib.util.find_spec
    monkeypatch.setattr("commands.engines.find_spec", lambda name: None if name == "ray" else find_spec(name))
    said = command("--simulate", "--model", "deepseek-v3.1", "--engine", "ray", code=2).stderr
    assert "python -m pip install 'ultra-parallel-runner[ray]'" in said


def test_endpoint_of_one_machine_is_refused_where_there_are_several():
    from cluster.joining import _check_reachable_from
    from trials.errors import UsageError

    machines = [{"NodeManagerAddress": f"10.0.0.{n}"} for n in (1, 2)]
    with pytest.raises(UsageError, match="answers on this machine alone, and the cluster has 2"):
        _check_reachable_from(machines, ["http://127.0.0.1:8000/v1"])
    _check_reachable_from(machines, ["https://api.example.com/v1"])
    _check_reachable_from(machines[:1], ["http://127.0.0.1:8000/v1"])


def test_the_program_travels_whole():
    """What is packed for the nodes is every package that is installed."""
    import configparser

    from cluster.shipping import ROOMS, ROOT

    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    packages = settings["options.packages.find"]["include"].split()
    assert sorted(f"{room}*" for room in ROOMS) == sorted(packages)


def test_nodes_share_the_one_limit_of_a_deployment(at_home, nodes, simulate, tmp_path):
    """Each node has a place of its own to meet in, as machines do, so that they can only meet by leases."""
    for number in (1, 2):
        (tmp_path / f"node-{number}").mkdir()
        nodes.add_apart(tmp_path / f"node-{number}")
    simulator = simulate("--latency", "0.05", "--limit-qps", "20")
    running = at_home.start(
        *("--simulator-url", simulator.url, "--questions", bank(at_home), "--scorer", "numeric"),
        *("--model", "deepseek-v3.1", "--replicas", "2", "--rate-mode", "fixed", "--qps", "15", "--stagger", "0"),
        *(*on(nodes), "--gpus-per-shard", "3"),
    )
    assert running.wait() == 0, running.output + running.complaints
    stats = simulator.stats()
    assert stats["served"] == QUESTIONS == len(at_home.rows())
    assert len({row["shard"] for row in at_home.rows()}) == 2, "only one node worked"
    assert stats["requests"] == QUESTIONS, "both nodes together asked for more than the limit"


@pytest.mark.parametrize(
    ("report", "words"),
    [
        ({"python": "2.7.18"}, r"node 10.0.0.7 \(far\) has Python 2.7.18, this machine"),
        ({"missing": ("orjson",)}, r"node 10.0.0.7 \(far\) lacks orjson; run 'python -m pip install"),
    ],
)
def test_node_that_does_not_fit_is_named_with_what_to_do(report, words):
    import platform

    from cluster.joining import _check_report
    from cluster.parcel import NodeReport
    from trials.errors import UsageError

    fit = {"address": "10.0.0.7", "host": "far", "python": platform.python_version(), "missing": ()}
    _check_report(NodeReport(**fit))
    with pytest.raises(UsageError, match=words):
        _check_report(NodeReport(**{**fit, **report}))
