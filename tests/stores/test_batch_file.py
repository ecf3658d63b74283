"""The file in OpenAI's batch form: one line for every row that counts, whole or not there at all."""

from __future__ import annotations

import json
import stat

import pytest
from sample_runs import row

from stores import output
from stores.journal import JournalWriter
from stores.output import check_output, write_output
from stores.parts import CONVERSATIONS, part_paths
from stores.results import open_store
from trials.errors import StoreError, UsageError


def end(run, shard, *rows, reply=lambda one: {"role": "assistant", "content": f"reply to {one['trial_key']} é\n"}):
    journal = JournalWriter(run.journal_path(shard))
    for number, one in enumerate(rows):
        said = [{"role": "user", "content": "?"}, *([reply(one)] if one["status"] == "scored" else [])]
        detail = {"finish_reason": "length"} if one["trial_key"].endswith("cut") else {}
        journal.append({"kind": "begun", "number": number, "trial_key": one["trial_key"]})
        journal.append({"kind": "ended", "number": number, "row": one, "conversation": said, "detail": detail})
    journal.close()


@pytest.fixture
def store(work):
    return open_store(work.results, simulated=True, form="parquet")


@pytest.fixture
def write(store, tmp_path):
    """Write a run's file and return its lines."""

    def write(run, **more) -> list[dict]:
        path = tmp_path / "out.jsonl"
        count = write_output(f"openai-batch:{path}", store, run, environment={}, tell=print, **more)
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert count == len(lines)
        return lines

    return write


def test_a_line_has_the_form_of_a_batch_output(work, store, write):
    run = work.run()
    asked = row("a", ended_at=7.9) | {"prompt_tokens": 3, "completion_tokens": 4, "reported_model": "m-2"}
    end(run, 1, asked, row("b-cut"), row("c", status="provider_error") | {"error_category": "timeout"})
    store.merge([run])
    answered, cut, failed = write(run)
    assert answered == {
        "id": "batch_req_a",
        "custom_id": "task a",
        "response": {
            "status_code": 200,
            "request_id": answered["response"]["request_id"],
            "body": {
                "id": "chatcmpl-a",
                "object": "chat.completion",
                "created": 7,
                "model": "m-2",
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": "reply to a é\n"},
                        "finish_reason": "stop",
                    }
                ],
                "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
            },
        },
        "error": None,
    }
    assert cut["response"]["body"]["choices"][0]["finish_reason"] == "length"
    assert cut["response"]["body"]["model"] == "m"
    assert (failed["custom_id"], failed["response"]) == ("task c", None)
    assert failed["error"] == {"code": "timeout", "message": "größer als 0, 错误\n"}


def test_the_reply_is_that_of_the_row_that_counts(work, store, write, monkeypatch):
    monkeypatch.setattr(output, "SPOOL_GROUP_ROWS", 3)
    run, fresh = work.run(), work.run(fresh=True)
    for turn in range(3):
        for shard in (1, 2):
            some = [row(f"{shard}{n}", ended_at=float(turn), status="scored") for n in range(turn, turn + 6)]
            end(run, shard, *some, reply=lambda one, turn=turn: {"role": "assistant", "content": f"turn {turn}"})
        store.merge([run])
    end(fresh, 1, row("13", ended_at=0.5), row("24", status="provider_error"))
    store.merge([fresh])
    texts = {line["custom_id"]: line["response"]["body"]["choices"][0]["message"]["content"] for line in write(run)}
    expected = {f"task {shard}{n}": f"turn {min(n, 2)}" for shard in (1, 2) for n in range(8)}
    assert texts == expected
    told = {line["custom_id"]: line["error"] and line["error"]["code"] for line in write(fresh)}
    assert told == {"task 13": None, "task 24": "provider_error"}


def test_only_rows_of_the_plan_are_written(work, store, write):
    run = work.run()
    end(run, 1, row("a"), row("b"))
    store.merge([run])
    lines = write(run, wanted=lambda keys: [key == "b" for key in keys])
    assert [line["custom_id"] for line in lines] == ["task b"]


def test_conversations_that_stand_twice_or_not_at_all(work, store, write):
    run = work.run()
    end(run, 1, row("a"), row("b"))
    store.merge([run])
    (part,) = part_paths(store.path / CONVERSATIONS, "parquet")
    part.with_name("part-000002.parquet").write_bytes(part.read_bytes())
    assert [line["custom_id"] for line in write(run)] == ["task a", "task b"]
    for each in part_paths(store.path / CONVERSATIONS, "parquet"):
        each.unlink()
    assert [line["error"]["code"] for line in write(run)] == ["no_conversation"] * 2


def test_tool_calls_and_reasoning_of_a_reply_are_kept(work, store, write):
    run = work.run()
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    reply = {"role": "assistant", "content": None, "tool_calls": calls, "reasoning_content": "hm"}
    end(run, 1, row("a"), reply=lambda _: reply)
    store.merge([run])
    assert write(run)[0]["response"]["body"]["choices"][0]["message"] == reply


def test_a_run_without_rows_makes_an_empty_file(work, store, write):
    assert write(work.run()) == []


def test_the_file_is_for_its_user_alone_and_replaced_whole(work, store, write, tmp_path):
    run = work.run()
    end(run, 1, row("a"))
    store.merge([run])
    (tmp_path / "out.jsonl").write_text("an older and much longer one" * 1000)
    write(run)
    assert stat.S_IMODE((tmp_path / "out.jsonl").stat().st_mode) == 0o600
    (part,) = part_paths(store.path / CONVERSATIONS, "parquet")
    before = (tmp_path / "out.jsonl").read_bytes()
    part.write_bytes(b"damaged")
    with pytest.raises(StoreError, match=f"{part.name}.*rows are safe"):
        write(run)
    assert (tmp_path / "out.jsonl").read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["logs", "out.jsonl", "results"]


def test_places_that_cannot_be_written_to_are_told_before_the_run(tmp_path):
    (tmp_path / "file").write_text("")
    for name, told in [("file/out.jsonl", "cannot be written"), (".", "directory")]:
        with pytest.raises(UsageError, match=told):
            check_output(f"openai-batch:{tmp_path / name}", {})
    check_output(f"openai-batch:{tmp_path / 'new' / 'out.jsonl'}", {})
