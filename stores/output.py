"""Where a run's rows go beside the results store: a Delta table, or a file in OpenAI's batch form.

    delta:PATH, delta:s3://bucket/prefix, s3://bucket/prefix    a Delta table (stores/delta_output.py)
    openai-batch:FILE.jsonl                                     a file (stores/batch_file.py)

The store stays the truth. Writing starts from its rows that count, whatever was written before, and may be repeated.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING

from stores.parts import schema_of
from stores.results import ResultsStore
from stores.run_directory import RunDirectory, make_directory
from trials.errors import StoreError, UsageError
from trials.rows import FIELDS

if TYPE_CHECKING:
    import pyarrow as pa

    from stores.delta_table import Target

FORMS = "delta:PATH, s3://BUCKET/PREFIX, delta:s3://BUCKET/PREFIX or openai-batch:FILE.jsonl"
DELTA, BATCH_FILE = "delta", "openai-batch"
SPOOL_GROUP_ROWS = 1 << 13
_S3 = re.compile(r"s3://[A-Za-z0-9][A-Za-z0-9._-]{1,254}(/[^/\s?#%\\@]+)+/?")
_DOTS = re.compile(r"/\.{1,2}(/|$)")

Wanted = Callable[[Sequence[str]], Sequence[bool]]
"""Says of trial keys which ones belong to the run's plan."""
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What ``--output`` names: a form, and an absolute path or an ``s3://`` address."""

    form: str
    address: str

    @property
    def is_remote(self) -> bool:
        """Whether it is on S3."""
        return self.address.startswith("s3://")


def parse_output(url: str) -> Place:
    """Read ``--output``. Raises UsageError, which never quotes what may hold a key."""
    form, colon, rest = url.partition(":")
    if form == "s3":
        form, rest = DELTA, url
    if not colon or form not in (DELTA, BATCH_FILE) or not rest.strip() or "\0" in rest:
        raise UsageError(f"--output must be {FORMS}")
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", rest):
        path = str(Path(rest).expanduser().resolve())
        if form == DELTA and "%" in path:  # deltalake would take it for the beginning of an escaped character
            raise UsageError(f"--output: a Delta table cannot be in a path with % ({path}); choose another directory")
        return Place(form=form, address=path)
    if form != DELTA or not rest.startswith("s3://"):
        raise UsageError(f"--output: {rest.partition('://')[0]}:// is no place for {form}; it must be {FORMS}")
    if not _S3.fullmatch(rest) or _DOTS.search(rest):
        raise UsageError(
            "--output must be s3://BUCKET/PREFIX with a plain prefix (none of ? # % @ \\, spaces, empty or dotted "
            "parts); credentials go into the AWS variables"
        )
    return Place(form=form, address=rest.rstrip("/"))


def check_output(url: str, environment: Mapping[str, str]) -> None:
    """Look before a run whether its rows can be written there, without writing any.

    Takes some seconds if S3 does not answer. Raises UsageError for an unknown form, a missing package, a path that
    cannot be written to, a bucket that cannot be reached or is refused, and a table of another schema.
    """
    place = parse_output(url)
    if place.form == BATCH_FILE:
        if Path(place.address).is_dir():
            raise UsageError(f"--output: {place.address} is a directory; name a file in it")
        return make_directory(Path(place.address).parent)
    if find_spec("deltalake") is None:
        raise UsageError("--output: Delta tables need the package deltalake; install it with: pip install deltalake")
    if not place.is_remote:
        _check_directory(Path(place.address))
    from stores.delta_output import check_table

    try:
        return check_table(_target(place, environment, hasty=True))
    except (StoreError, UsageError) as problem:
        raise UsageError(f"--output: {problem}") from None


def write_output(
    url: str,
    store: ResultsStore,
    run: RunDirectory,
    *,
    environment: Mapping[str, str],
    tell: Tell,
    wanted: Wanted | None = None,
) -> int:
    """Write the rows that count for a run; return how many the output did not have before (of a file, all).

    Call it after the merge. ``wanted`` picks the rows of the run's plan out of a store that holds other runs' too. The
    store is locked only while the rows are copied to a temporary file, not while they are sent. Safe to repeat after a
    crash anywhere, and from several processes at once. Raises StoreError; the rows are then still in the store.
    """
    place = parse_output(url)
    if not place.is_remote:
        make_directory(Path(place.address).parent if place.form == BATCH_FILE else Path(place.address))
    with _spool(store, run, wanted) as rows:
        try:
            if place.form == BATCH_FILE:
                from stores.batch_file import write_batch_file

                return write_batch_file(Path(place.address), rows, store.path)
            from stores.delta_output import write_table

            # Rows of a fresh run that older ones beat stand in history/, out of the order that marks rest upon.
            writer = f"{run.run_id}@{run.created_at:.3f}"
            return write_table(_target(place, environment, tell), _tables(rows), writer=writer, marks=not run.fresh)
        except (StoreError, OSError) as problem:
            raise StoreError(
                f"--output: {problem}. The rows are safe in {store.path}; "
                f"the same command writes those that are missing here, and asks nothing again"
            ) from None


def _target(place: Place, environment: Mapping[str, str], tell: Tell | None = None, *, hasty: bool = False) -> Target:
    from stores.aws_credentials import AwsAccess
    from stores.delta_table import Target

    access = AwsAccess(environment) if place.is_remote else None
    return Target(place=place.address, access=access, tell=tell or (lambda _: None), hasty=hasty)


def _check_directory(path: Path) -> None:
    make_directory(path)
    others = sorted(each.name for each in path.iterdir() if each.name != "_delta_log")
    if others and not (path / "_delta_log").is_dir():
        raise UsageError(
            f"--output: {path} holds other files ({others[0]}); a Delta table needs a directory of its own"
        )


@contextmanager
def _spool(store: ResultsStore, run: RunDirectory, wanted: Wanted | None) -> Iterator[IO[bytes]]:
    """Copy the rows that count to a temporary Parquet file, which is gone when it is closed, by ``kill -9`` too."""
    import pyarrow.parquet as pq

    with tempfile.TemporaryFile(dir=store.path) as file:
        with pq.ParquetWriter(file, schema_of(FIELDS)) as writer:
            for table in store.counting_tables(run):
                chosen = table if wanted is None else table.filter(list(wanted(table["trial_key"].to_pylist())))
                if chosen.num_rows:
                    writer.write_table(chosen, row_group_size=SPOOL_GROUP_ROWS)
        yield file


def _tables(file: IO[bytes]) -> Iterator[pa.Table]:
    import pyarrow.parquet as pq

    rows = pq.ParquetFile(file)
    for group in range(rows.num_row_groups):
        yield rows.read_row_group(group)
