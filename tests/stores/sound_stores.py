"""Sound results stores of every sort, from a seed; and ways to damage one file of them."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from sample_runs import Work, row

from stores.results import ResultsStore, open_store

CATEGORIES = ("timeout", "server_error", "")


def _row(draw: random.Random, key: str, *, kind: str) -> dict:
    status = draw.choices(("scored", "provider_error", "harness_error"), (8, 2, 1))[0]
    made = row(key, status=status, ended_at=draw.uniform(1, 1e9), outcome=draw.choice(("full", "partial", "failure")))
    made.update(
        model=draw.choice(("m", "größer", "n")),
        shard=None,
        requests=draw.randrange(5),
        duration_ms=draw.uniform(0, 9e4),
    )
    made.update(turns=draw.randrange(9), prompt_tokens=draw.randrange(9000), cost_usd=draw.choice((None, 0.25)))
    if status != "scored":
        made.update(error_category=draw.choice(CATEGORIES), error_message="no answer\n\0 at all")
    elif kind == "question":
        answer = "".join(draw.choices('xyz ,"seal":"sealed a/b ', k=40))
        made.update(
            prompt_type="question", task_type="maths", answer=answer, target="1", score=float(draw.random() < 0.5)
        )
    else:
        made.update(coverage=draw.random(), order=draw.random(), execution=draw.random(), recovery=draw.random())
    return made


def sound_store(root: Path, seed: int) -> tuple[Work, ResultsStore]:
    """Make runs and their store: both forms, several runs and shards, fresh ones, repeated trials, some compacted."""
    draw = random.Random(seed)
    work = Work(root)
    store = open_store(work.results, simulated=True, form=draw.choice(("parquet", "json")))
    runs = [work.run(), work.run(num_instances=4)]
    for _ in range(draw.randint(2, 4)):
        if draw.random() < 0.4:
            runs.append(work.run(fresh=True))
        for run in draw.sample(runs, draw.randint(1, len(runs))):
            kind = "question" if run is runs[1] else "workflow"
            keys = (f"{kind[0]}{draw.randrange(40):032x}" for _ in range(draw.randint(1, 25)))
            work.end(run, draw.randint(1, 2), *(_row(draw, key, kind=kind) for key in dict.fromkeys(keys)))
        store.merge(runs)
        if draw.random() < 0.2:
            store.compact()
        if draw.random() < 0.15:
            store = store.convert("json" if store.form == "parquet" else "parquet")
    if draw.random() < 0.3:  # runs that are no longer there
        shutil.rmtree(draw.choice(runs).path)
    return work, store


def content(store: ResultsStore) -> list[Path]:
    """The files of a store whose damage must be told."""
    return sorted(path for path in store.path.rglob("*") if path.is_file() and path.name != ".lock")


def flip(draw: random.Random, files: list[Path]) -> str:
    path = draw.choice(files)
    data = bytearray(path.read_bytes())
    bit = draw.randrange(8 * len(data))
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
    return f"bit {bit} of {path}"


def cut(draw: random.Random, files: list[Path]) -> str:
    path = draw.choice(files)
    data = path.read_bytes()
    size = draw.randrange(len(data))
    path.write_bytes(data[:size])
    return f"{path} cut to {size} of {len(data)}"


def zero(draw: random.Random, files: list[Path]) -> str:
    path = draw.choice(files)
    data = bytearray(path.read_bytes())
    size = min(draw.choice((16, 64, 512, 4096)), len(data))
    start = draw.randrange(len(data) - size + 1)
    data[start : start + size] = bytes(size)
    path.write_bytes(data)
    return f"{size} zeros from {start} in {path}"


def delete(draw: random.Random, files: list[Path]) -> str:
    path = draw.choice(files)
    path.unlink()
    return f"{path} deleted"


def swap(draw: random.Random, files: list[Path]) -> str:
    one, other = draw.sample(files, 2)
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    return f"{one} and {other} swapped"


def duplicate(draw: random.Random, files: list[Path]) -> str:
    path = draw.choice([one for one in files if one.stem.startswith("part-")])
    copy = path.with_name(f"part-{draw.randrange(50, 99):06d}{path.suffix}")
    shutil.copy(path, copy)
    return f"{path} copied to {copy}"


def garble(draw: random.Random, files: list[Path]) -> str:
    path = draw.choice(files)
    data = bytearray(path.read_bytes())
    start = draw.randrange(len(data))
    some = draw.randbytes(draw.randrange(1, 200))
    data[start : start + len(some)] = some
    path.write_bytes(data)
    return f"{len(some)} random bytes from {start} in {path}"


def lengthen(draw: random.Random, files: list[Path]) -> str:
    path = draw.choice(files)
    path.write_bytes(path.read_bytes() + draw.choice((b"\0" * 100, b"{}\n", draw.randbytes(9))))
    return f"{path} with more at its end"


CORRUPTIONS = (flip, flip, cut, zero, zero, delete, swap, duplicate, garble, lengthen)


def corrupt(draw: random.Random, store: ResultsStore) -> str:
    """Damage a store in one way, such that some byte of it differs; return how."""
    before = {path: path.read_bytes() for path in content(store)}
    while True:
        how = draw.choice(CORRUPTIONS)(draw, content(store))
        if {path: path.read_bytes() for path in content(store)} != before:
            return how
