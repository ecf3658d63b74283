"""Throws garbage at the parser: ``python tests/workflows/fuzz.py 1000000`` (with the repository on PYTHONPATH)."""

from __future__ import annotations

import json
import sys
from random import Random

from trials.words import Completion, ToolCall
from workflows.dialects import DIALECTS, write_call
from workflows.parsing import ParsedReply, parse_reply

SHARDS = (
    *("<tool_call>", "</tool_call>", "<tool_call ", "< Tool_Call>", "<tool_call/>", "<finish>", "</finish>"),
    *(
        "<tool_search>",
        "</tool_search>",
        "<tool_info>",
        "<function=",
        '<invoke name="',
        "<parameter=a>",
        "</",
    ),
    *(
        "<arg_key>",
        "</arg_key>",
        "<arg_value>",
        "<think>",
        "</think>",
        "◁think▷",
        "```json",
        "```",
        "`",
        "\n",
    ),
    *(
        "<|python_tag|>",
        "[TOOL_CALLS]",
        "[ARGS]",
        "<｜tool▁call▁begin｜>",
        "<｜tool▁sep｜>",
        "<|tool_call_begin|>",
    ),
    *(
        "<|tool_call_argument_begin|>",
        "to=functions.",
        "<|message|>",
        "<|call|>",
        "function",
        "a_b",
        "a_b(",
        ")",
    ),
    *(
        '{"name":',
        '"a_b"',
        ',"arguments":',
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        '"',
        "'",
        "\\",
        '\\"',
        "\\u00",
        "\\ud800",
    ),
    *(
        "null",
        "None",
        "1e999",
        "-",
        "NaN",
        "9" * 50,
        " ",
        "\t",
        "x=",
        "=",
        "(",
        ">",
        "<",
        "\x00",
        "\ud800",
        "é",
        "𝄞",
    ),
    *('{"function_call":', '{"tool_calls":[', '{"function":', "<name>", "</name>", "<arguments>"),
)


def garbage(rng: Random) -> Completion:
    """Make a reply of shards, half of the time around a damaged real call."""
    pieces = [rng.choice(SHARDS) for _ in range(rng.randrange(1, 25))]
    if rng.random() < 0.5:
        said = write_call(rng.choice(list(DIALECTS)), "a_b", {"k": rng.choice(SHARDS).replace("\ud800", "")})
        text = said.text or said.tool_calls[0].arguments
        cut = rng.randrange(len(text) + 1)
        pieces.insert(rng.randrange(len(pieces)), text[:cut] + rng.choice(SHARDS) + text[cut:])
    text = "".join(pieces)
    if rng.random() < 0.1:
        return Completion(text="", tool_calls=(ToolCall(id=text[:3], name=text[:9], arguments=text),))
    return Completion(text=text)


def check(reply: ParsedReply) -> None:
    """Raise unless the reply can be stored and sent on."""
    for request in reply.requests:
        json.dumps([request.name, request.arguments], ensure_ascii=False, allow_nan=False).encode()


def fuzz(count: int, seed: int = 0) -> int:
    """Parse this many pieces of garbage; return how many requests were found. Raises what the parser raises."""
    rng = Random(seed)
    found = 0
    for _ in range(count):
        reply = parse_reply(garbage(rng))
        check(reply)
        found += len(reply.requests)
    return found


if __name__ == "__main__":
    replies = int(sys.argv[1])
    print(f"{replies:,} replies, 0 exceptions, {fuzz(replies):,} requests found")
