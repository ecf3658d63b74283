"""Messages between supervisor and shards: one JSON object a line, over the shard's standard input and output.

    supervisor → shard   assign {trials, begun}   set_aside {reasons, begun}   recall {count, running}
                         drop {trials}   drain {}   finish {}   beat {}   lease {scope, grant}
    shard → supervisor   ready {}   want {count}   ended {endings}   returned {numbers}   progress {progress}
                         fatal {message, everyone}   lease {scope, report}

``assign.trials`` are trial numbers; ``begun`` maps a number to the completions it already has. ``set_aside.reasons``
maps trials that kill their process to why they end as errors without being run. ``drop.trials`` have an
answer from another shard, and hold nobody up any more. ``ended.endings`` maps how trials ended (a counting field of
ShardProgress) to their numbers, sent only once the journal has them on disk. ``lease`` is for who keeps a limit that
nodes share, and comes from there; what it says stands in providers/rate_leases.py. Silence, or end of file, means that
the other side is gone.
"""

from __future__ import annotations

from typing import Any

import orjson

Message = dict[str, Any]
BEAT_EVERY_S = 1.0


def pack(kind: str, **fields: Any) -> bytes:
    """Return the line of a message."""
    return orjson.dumps({"type": kind, **fields}, option=orjson.OPT_NON_STR_KEYS) + b"\n"


def unpack(line: bytes) -> Message | None:
    """Return the message of a line, or None for anything that is none (a stray print of a library, say)."""
    try:
        message = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return message if isinstance(message, dict) and isinstance(message.get("type"), str) else None
