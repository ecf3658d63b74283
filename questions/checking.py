"""Whether prepared banks still are what their names say: the digest is made again from the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson

from questions.stored import KEY_BYTES, SUMMARY, VERSION, bank_schema
from trials.digest import digest

_TEXTS = ("question_id", "question", "target", "truth")
_DECIDE = ("template", "system", "examples", "parameters")


def check_banks(directory: Path) -> Iterator[tuple[Path, str]]:
    """Yield the damaged ones among the banks of a directory, and what is wrong with each. Memory stays flat."""
    for path in sorted(directory.glob("*.arrow")):
        try:
            _check(path)
        except (OSError, ValueError, KeyError, TypeError, IndexError) as problem:  # pyarrow's errors are among these
            yield path, " ".join(str(problem).split())[:200]


def _check(path: Path) -> None:
    import pyarrow as pa

    with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
        last = reader.num_record_batches - 1
        summary = orjson.loads(reader.get_batch_with_custom_metadata(last).custom_metadata[SUMMARY])
        if summary["version"] != VERSION:
            return
        if not reader.schema.equals(bank_schema()):
            raise ValueError("its columns are not those of a bank")
        read = _Read([tuple(cell[:2]) for cell in summary["cells"]])
        for place in range(last):
            batch = reader.get_batch(place)
            batch.validate(full=True)
            read.take(batch)
    asks = [VERSION, read.input.hexdigest(), *(summary[name] for name in _DECIDE)]
    if digest([*asks, read.keys.hexdigest()], KEY_BYTES) != path.stem or summary["digest"] != path.stem:
        raise ValueError("its rows are not those its name stands for")
    counts = [[*cell, read.counts[place]] for place, cell in enumerate(read.cells)]
    if counts != summary["cells"] or read.targets != summary["targets"]:
        raise ValueError("its rows are not those its summary counts")


class _Read:
    """What was read of a bank so far; digests are made as its writer makes them."""

    def __init__(self, cells: list[tuple[str, str]]) -> None:
        self.cells = cells
        self.counts: Counter[int] = Counter()
        self.targets = 0
        self.keys = blake2b(digest_size=KEY_BYTES)
        self.input = blake2b(digest_size=KEY_BYTES)

    def take(self, batch: Any) -> None:
        columns = batch.to_pydict()
        for key, cell, more, *texts in zip(*(columns[name] for name in ("key", "cell", "more", *_TEXTS)), strict=True):
            self.keys.update(key)
            self.input.update(orjson.dumps([*texts, *self.cells[cell]]) + (more or "").encode() + b"\n")
            self.counts[cell] += 1
            self.targets += texts[2] is not None
