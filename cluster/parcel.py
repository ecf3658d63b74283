"""What a node is given to run a shard, and what comes back from it: plain records that Ray carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from processes.messages import Message

JOURNAL = "journal.jsonl"
SHIPPED = (JOURNAL, "shard.log", "stderr.log")
"""The files of a shard that come back, each as far as it has grown."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Bytes made smaller for their way. A journal's are a tenth then, and fit into Ray's messages without its store."""

    size_bytes: int
    content: bytes

    @classmethod
    def of(cls, content: bytes) -> Packed:
        """Pack."""
        import pyarrow as pa

        return cls(len(content), pa.compress(content, codec="zstd", asbytes=True))

    def unpacked(self) -> bytes:
        """Return what was packed."""
        import pyarrow as pa

        content: bytes = pa.decompress(self.content, self.size_bytes, codec="zstd", asbytes=True)
        return content


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """A shard's work. ``token`` names this start of the run on its node.

    ``files`` are laid beside the run's ``run.json`` and ``shard.json``, which speak of them by ``FOLDER``.
    ``variables`` of the environment hold keys, so the repr leaves them out.
    """

    token: str
    run_id: str
    shard: int
    run: bytes
    order: bytes
    bank_name: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What a shard said and wrote since the delivery before.

    ``appended`` maps names of ``SHIPPED`` to bytes; whatever the messages say has ended stands in the journal's.
    ``code`` is None until the process has ended, after which nothing more comes.
    """

    number: int
    messages: tuple[Message, ...]
    appended: Mapping[str, Packed]
    rss_bytes: int
    cpu_percent: float
    code: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReport:
    """What a node has to run shards with."""

    address: str
    host: str
    python: str
    missing: tuple[str, ...]
