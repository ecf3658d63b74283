"""A Delta table and the way to it: opens it, and repeats what is done to it after conflicts and refused credentials.

Knows nothing of what is in the table. Dropped connections and 5xx replies of S3 are retried by deltalake itself.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from stores.aws_credentials import AwsAccess, in_short, refusal
from trials.errors import StoreError, UsageError

if TYPE_CHECKING:
    from deltalake import DeltaTable

COMMIT_ATTEMPTS = 30
RENEWALS = 3
"""How often in a row refused credentials are renewed before the refusal is believed."""
_LONGEST_WAIT_S = 2.0
_PATIENT = {"max_retries": "8", "retry_timeout": "60s", "connect_timeout": "10s", "timeout": "120s"}
_HASTY = {"max_retries": "1", "retry_timeout": "10s", "connect_timeout": "5s", "timeout": "20s"}

T = TypeVar("T")
Tell = Callable[[str], None]


@dataclass(slots=True, kw_only=True)
class Target:
    """A table's place (an absolute path or ``s3://bucket/prefix``) and how to get there.

    ``access`` is None for a local one. A ``hasty`` target gives up on a silent S3 after seconds. One thread at a time.
    """

    place: str
    access: AwsAccess | None = None
    tell: Tell = lambda _: None
    hasty: bool = False
    _table: DeltaTable | None = field(default=None, init=False)

    def attempt(self, act: Callable[[DeltaTable | None], T]) -> T:
        """Do something with the newest version of the table, None if there is none; again after conflicts and refusals.

        ``act`` must be able to run again from its start. Raises StoreError when it is of no use to try again.
        """
        from deltalake.exceptions import CommitFailedError, DeltaError

        conflicts = renewals = 0
        while True:
            try:
                return act(self._newest())
            except (UsageError, StoreError):
                raise
            except Exception as problem:  # of deltalake, or pyarrow, whose errors are ValueErrors
                self._table = None
                if why := refusal(problem):
                    renewals += 1
                    self._renew(why, renewals)
                elif isinstance(problem, (CommitFailedError, CreatedMeanwhile)) and conflicts < COMMIT_ATTEMPTS:
                    conflicts += 1
                    self._wait(conflicts)
                elif isinstance(problem, (DeltaError, OSError, ValueError, CreatedMeanwhile)):
                    raise StoreError(self._gist(problem)) from None
                else:
                    raise

    def _newest(self) -> DeltaTable | None:
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        if self._table is not None:
            self._table.update_incremental()
            return self._table
        try:
            self._table = DeltaTable(self.place, storage_options=self.options())
        except TableNotFoundError:
            return None
        return self._table

    def options(self) -> dict[str, str] | None:
        """Return deltalake's storage options, None for a local table."""
        return None if self.access is None else self.access.options() | (_HASTY if self.hasty else _PATIENT)

    def _renew(self, why: str, renewals: int) -> None:
        if self.access is None or not self.access.renewable or renewals > RENEWALS:
            raise StoreError(
                f"{self.place}: access was refused ({why}); check that the credentials (AWS_ACCESS_KEY_ID and "
                f"AWS_SECRET_ACCESS_KEY, or AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE) are valid and may list, "
                f"read and write this bucket"
            )
        self.tell(f"{self.place}: access was refused ({why}); renewing the credentials")
        self.access.renew()

    def _wait(self, conflicts: int) -> None:
        if conflicts == 1:
            self.tell(f"{self.place}: another process writes to this table, too; trying again")
        time.sleep(random.uniform(0, min(_LONGEST_WAIT_S, 0.05 * 2**conflicts)))

    def _gist(self, problem: Exception) -> str:
        from deltalake.exceptions import CommitFailedError

        if isinstance(problem, CommitFailedError):
            return f"{self.place}: other processes wrote to this table at each of {COMMIT_ATTEMPTS} attempts"
        hint = "" if self.access is None else "; check AWS_ENDPOINT_URL, AWS_REGION and the name of the bucket"
        return f"{self.place} cannot be read or written ({in_short(problem)}){hint}"


class CreatedMeanwhile(Exception):
    """Another process made the table first."""
