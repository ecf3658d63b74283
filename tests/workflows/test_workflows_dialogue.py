from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import knowing, make_trial, obeying, saying, spoken

from trials.words import Completion, Message, ToolCall
from workflows.answers import HINTS, call_answer, in_tags, read_results
from workflows.dialects import DIALECTS
from workflows.dialogue import DONE, FINISHED, MOST_REQUESTS, OUT_OF_TURNS, converse
from workflows.prompts import opening
from workflows.sandbox import OK, UNKNOWN, CallRecord
from workflows.tasks import Task, builtin_library


@pytest.fixture(scope="module")
def task() -> Task:
    return next(task for task in builtin_library() if len(task.steps) == 5 and all(map(len, task.data_needs[1:])))


@pytest.mark.parametrize("protocol", ["tags", "native"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_leads_to_the_same_calls(task: Task, dialect: str, protocol: str) -> None:
    plain = converse(task, make_trial(task), spoken(knowing))
    other = converse(task, make_trial(task, tool_protocol=protocol), spoken(knowing, dialect))
    assert other.calls == plain.calls
    assert (other.turns, other.ended) == (plain.turns, plain.ended)
    assert other.unreadable == 0


@pytest.mark.parametrize("protocol", ["tags", "native"])
def test_results_are_read_from_the_conversation_as_they_happened(task: Task, protocol: str) -> None:
    dialect = "tag" if protocol == "tags" else "openai_tool_calls"
    for mind in (knowing, obeying):
        trial = make_trial(task, tool_protocol=protocol, prompt_type="flawed_sequence_disorder", severity="light")
        transcript = converse(task, trial, spoken(mind, dialect))
        assert [
            (one.tool, dict(one.arguments), one.ok, one.error_code, dict(one.outputs))
            for one in read_results(transcript.messages)
        ] == [(one.tool, dict(one.arguments), one.ok, one.error_code, dict(one.outputs)) for one in transcript.calls]


@given(
    st.text(),
    st.dictionaries(st.text(), st.one_of(st.text(), st.integers(), st.none()), max_size=3),
)
def test_no_text_in_an_answer_can_break_out_of_its_tag(tool: str, arguments: dict[str, object]) -> None:
    record = CallRecord(turn=1, tool=tool[:80], arguments=arguments, end=UNKNOWN, reason="</tool_result>\n")
    messages = [
        {"role": "assistant", "content": ""},
        {"role": "user", "content": f"{in_tags(call_answer(record))}\nA hint."},
    ]
    (result,) = read_results(messages)
    echoed = arguments if len(json.dumps(arguments)) <= 1000 else {}  # long ones are not repeated
    assert (result.tool, result.arguments) == (tool[:80], echoed)


def test_what_the_model_claims_to_have_got_is_no_result(task: Task) -> None:
    record = CallRecord(turn=1, tool="file_operations_reader", arguments={}, end=OK)
    transcript = converse(task, make_trial(task), saying(in_tags(call_answer(record))))
    assert read_results(transcript.messages) == []


def test_every_reply_enters_the_conversation_and_gets_an_answer(task: Task) -> None:
    replies = ["Hello.", "", "<tool_call>", "ok", "<tool_call>no_such_tool</tool_call>", "Bye."]
    transcript = converse(task, make_trial(task), saying(*replies))
    spoken_by = [message["role"] for message in transcript.messages[2:]]
    assert spoken_by == ["assistant", "user"] * 10
    assert [one["content"] for one in transcript.messages[2:14:2]] == [one or "(no text)" for one in replies]
    assert transcript.ended == OUT_OF_TURNS
    assert transcript.turns == 10


@pytest.mark.parametrize("protocol", ["tags", "native"])
def test_a_reply_without_a_request_gets_a_hint_that_names_no_tool(task: Task, protocol: str) -> None:
    transcript = converse(task, make_trial(task, tool_protocol=protocol), saying("I am not sure."))
    assert {one["content"] for one in transcript.messages[3::2]} == {HINTS[protocol]}
    assert not any(name in HINTS[protocol] for name in task.toolset)
    assert transcript.idle == 10


def test_the_trial_ends_at_once_when_all_tools_succeeded(task: Task) -> None:
    transcript = converse(task, make_trial(task, tool_success_rate=1.0), spoken(knowing))
    assert (transcript.ended, transcript.turns) == (DONE, 5)
    assert transcript.messages[-1]["role"] == "user"


def test_a_model_may_finish_early_but_only_alone(task: Task) -> None:
    assert converse(task, make_trial(task), saying("<finish>I give up</finish>")).ended == FINISHED
    both = saying("<tool_call>no_such_tool</tool_call><finish>done</finish>", "<finish>done</finish>")
    transcript = converse(task, make_trial(task), both)
    assert (transcript.ended, transcript.turns, len(transcript.calls)) == (FINISHED, 2, 1)
    assert HINTS["not_alone"] in str(transcript.messages[3]["content"])


def test_several_calls_in_one_reply_are_carried_out_in_order_up_to_a_limit(task: Task) -> None:
    calls = "".join(f"<tool_call>tool_{number}</tool_call>" for number in range(MOST_REQUESTS + 5))
    transcript = converse(task, make_trial(task, max_turns=1), saying(calls))
    assert [call.tool for call in transcript.calls] == [f"tool_{number}" for number in range(MOST_REQUESTS)]
    assert HINTS["too_many"].format(limit=MOST_REQUESTS) in str(transcript.messages[-1]["content"])


def test_search_finds_the_right_tool_among_five_that_the_prompt_shows(task: Task) -> None:
    text = "<tool_search>parse text into structured records</tool_search>"
    transcript = converse(task, make_trial(task, max_turns=1), saying(text))
    answer = json.loads(str(transcript.messages[-1]["content"]).split(">", 1)[1].rsplit("<", 1)[0])
    assert len(answer["found"]) == 5
    assert set(answer["found"]) <= set(task.visible_tools("easy"))
    assert next(iter(answer["found"])) == "data_processing_parser"
    assert transcript.searches == 1


def test_info_tells_every_parameter_of_a_shown_tool_and_nothing_of_others(task: Task) -> None:
    shown = task.required_tools[0]
    hidden = next(name for name in task.toolset if name not in task.visible_tools("easy"))
    text = f"<tool_info>{shown}</tool_info><tool_info>{hidden}</tool_info>"
    transcript = converse(task, make_trial(task, max_turns=1), saying(text))
    first, second = str(transcript.messages[-1]["content"]).split("\n")
    assert all(f'"{one.name}"' in first for one in task.toolset[shown].parameters)
    assert "there is no such tool" in second
    assert transcript.infos == 2


def test_a_tool_the_prompt_does_not_show_does_not_exist(task: Task) -> None:
    hidden = next(name for name in task.toolset if name not in task.visible_tools("easy"))
    transcript = converse(task, make_trial(task, max_turns=1), saying(f"<tool_call>{hidden}</tool_call>"))
    assert [call.end for call in transcript.calls] == [UNKNOWN]


def test_thinking_is_not_sent_back(task: Task) -> None:
    transcript = converse(task, make_trial(task, max_turns=1), saying("<think>secret</think>Hello."))
    assert transcript.messages[2]["content"] == "Hello."


def test_native_calls_are_answered_one_by_one_under_usable_ids(task: Task) -> None:
    calls = (
        ToolCall(id="a", name="no tool!", arguments="{oops"),
        ToolCall(id="a", name="tool_search", arguments='{"query": "x"}'),
        ToolCall(id="", name="finish", arguments=""),
    )

    def chat(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None = None) -> Completion:
        assert tools
        return Completion(text="", tool_calls=calls)

    transcript = converse(task, make_trial(task, tool_protocol="native", max_turns=1), chat)
    echo, *answers = transcript.messages[2:]
    ids = [one["id"] for one in echo["tool_calls"]]
    assert len(set(ids)) == 3
    assert ids[0] == "a"
    assert [one.get("tool_call_id") for one in answers[:3]] == ids
    for one in echo["tool_calls"]:
        assert one["function"]["name"].replace("_", "").isalnum()
        assert isinstance(json.loads(one["function"]["arguments"]), dict)


def test_native_calls_under_the_tag_protocol_are_sent_back_as_text(task: Task) -> None:
    transcript = converse(task, make_trial(task), spoken(knowing, "openai_tool_calls"))
    assert not any("tool_calls" in message or message["role"] == "tool" for message in transcript.messages)
    assert "<tool_call>" in str(transcript.messages[2]["content"])
    assert transcript.deviations == ("openai_tool_calls",)


def test_the_opening_is_never_read_as_a_result(task: Task) -> None:
    trial = make_trial(task)
    assert read_results(opening(task, trial.cell)) == []


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=60), min_size=1, max_size=4))
def test_no_reply_breaks_a_conversation(task: Task, replies: list[str]) -> None:
    for protocol in ("tags", "native"):
        transcript = converse(task, make_trial(task, tool_protocol=protocol, max_turns=4), saying(*replies))
        json.dumps(transcript.messages, ensure_ascii=False).encode()
        read_results(transcript.messages)
