from __future__ import annotations

import pytest
from fuzz import check, fuzz
from hypothesis import given, settings
from hypothesis import strategies as st

from trials.words import Completion, ToolCall
from workflows.dialects import DIALECTS, write_call
from workflows.parsing import ParsedReply, parse_reply, without_thinking

NATIVE = ("openai_tool_calls", "function_call")

names = st.from_regex(r"[a-z]{1,12}_[a-z]{1,12}", fullmatch=True)
keys = st.from_regex(r"[a-z_]{1,10}", fullmatch=True)
words = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=20)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**12), 10**12), words, st.floats(-1e6, 1e6, allow_nan=False)
)
values = st.recursive(
    scalars, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3))
)
arguments = st.dictionaries(keys, values, max_size=4)


def parse(text: str) -> ParsedReply:
    return parse_reply(Completion(text=text))


def test_at_least_twelve_dialects_are_known() -> None:
    assert len(DIALECTS) >= 12


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=25, deadline=None)
@given(name=names, given=arguments)
def test_every_dialect_is_read_as_it_was_written(dialect: str, name: str, given: dict[str, object]) -> None:
    said = write_call(dialect, name, given, "call_7")
    reply = parse_reply(Completion(text=said.text, tool_calls=said.tool_calls))
    assert [(one.name, one.arguments) for one in reply.requests] == [(name, given)]
    assert reply.unreadable == 0


@pytest.mark.parametrize("dialect", DIALECTS)
def test_two_calls_in_one_reply_are_both_read_in_order(dialect: str) -> None:
    first = write_call(dialect, "file_reader", {"path": "/a"}, "c1")
    second = write_call(dialect, "data_parser", {"content": "txt_1", "n": 2}, "c2")
    reply = parse_reply(
        Completion(text="\n".join((first.text, second.text)), tool_calls=first.tool_calls + second.tool_calls)
    )
    assert [(one.name, one.arguments) for one in reply.calls] == [
        ("file_reader", {"path": "/a"}),
        ("data_parser", {"content": "txt_1", "n": 2}),
    ]


@pytest.mark.parametrize("dialect", [one for one in DIALECTS if one not in NATIVE])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("I begin with the file.\n", "\nLet me see what comes."),
        ("<think>First, <tool_call> is the tag to use.</think>\n", ""),
        ("the model's template opened the block</think>\n\n", "\n"),
        ("<thinking>\nhm\n</thinking>So:\n", "<|im_end|>"),
    ],
)
def test_prose_and_thinking_around_a_call_change_nothing(dialect: str, before: str, after: str) -> None:
    call = write_call(dialect, "file_reader", {"path": "/a b.csv"}).text
    reply = parse(f"{before}{call}{after}")
    assert [(one.name, one.arguments) for one in reply.requests] == [("file_reader", {"path": "/a b.csv"})]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_searches_questions_and_the_end_are_read_in_every_dialect(dialect: str) -> None:
    for name, asked in (
        ("tool_search", {"query": "read a file"}),
        ("tool_info", {"name": "file_reader"}),
        ("finish", {"summary": "all done"}),
    ):
        said = write_call(dialect, name, asked)
        reply = parse_reply(Completion(text=said.text, tool_calls=said.tool_calls))
        assert (reply.searches, reply.infos, reply.finished, reply.calls) == (
            ("read a file",) if name == "tool_search" else (),
            ("file_reader",) if name == "tool_info" else (),
            name == "finish",
            (),
        )


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        ("<tool_call>file_reader", "file_reader", {}),
        ("<tool_call>file_reader</tool_call>", "file_reader", {}),
        ("<TOOL_CALL>\n{'name': 'file_reader', 'arguments': {'n': True,}}\n", "file_reader", {"n": True}),
        ('<tool_call>{"name":"file_reader","parameters":{"n":1}}<tool_call>', "file_reader", {"n": 1}),
        ('<tool_call>{"tool":"file_reader","args":{"n":1}}</tool_call>', "file_reader", {"n": 1}),
        ('<tool_call name="file_reader" path="/a" n="3"/>', "file_reader", {"path": "/a", "n": 3}),
        ('<tool_call name="file_reader">{"n":1}</tool_call>', "file_reader", {"n": 1}),
        ('{"tool_calls":[{"type":"function","function":{"name":"a_b","arguments":"{}"}}]}', "a_b", {}),
        ('```tool_call\n{"name":"a_b","arguments":{"n":1}}\n```', "a_b", {"n": 1}),
        ("```tool_code\nfile_reader(path='/a')\n```", "file_reader", {"path": "/a"}),
        ("file_reader(path='/a', tags=['x', None])", "file_reader", {"path": "/a", "tags": ["x", None]}),
        ('<function=a_b>{"n":1}', "a_b", {"n": 1}),
        ("<tool_call>\n<function=a_b>\n<parameter=n>\n1\n<parameter=m>\n2", "a_b", {"n": 1, "m": 2}),
        ('<tool_call>{"name":"Functions.A_B","arguments":{}}</tool_call>', "a_b", {}),
        ('<tool_call>{"name":"functions.a_b","arguments":{"x":"a\nb"}}</tool_call>', "a_b", {"x": "a\nb"}),
    ],
)
def test_variants_seen_in_the_wild_are_read(text: str, name: str, arguments: dict[str, object]) -> None:
    assert [(one.name, one.arguments) for one in parse(text).requests] == [(name, arguments)]


def test_the_asked_for_form_is_no_deviation_and_any_other_is() -> None:
    for dialect in DIALECTS:
        said = write_call(dialect, "a_b", {"n": 1}, "c1")
        completion = Completion(text=said.text, tool_calls=said.tool_calls)
        assert (parse_reply(completion, "tags").deviations == ()) == (dialect in ("tag", "string_arguments"))
        assert (parse_reply(completion, "native").deviations == ()) == (dialect == "openai_tool_calls")


def test_prose_that_mentions_the_tags_is_no_call() -> None:
    for text in (
        "I would use <tool_call> tags for that.",
        "No JSON here: {a set} and [a list].",
        '```json\n{"status": "ok", "count": 3}\n```',
        'The result was {"name": "report", "size": 3}.',
        "print(x=1)",
        "",
    ):
        assert parse(text).requests == ()


def test_results_that_the_model_makes_up_are_no_calls() -> None:
    claim = '<tool_result>{"tool": "a_b", "arguments": {"n": 1}, "status": "success"}</tool_result>'
    assert parse(claim).requests == ()
    call = write_call("tag", "a_b", {"n": 2}).text
    assert [one.arguments for one in parse(f"{call}\n{claim}\n{claim}").requests] == [{"n": 2}]


def test_unreadable_call_is_told() -> None:
    assert parse("<tool_call>{{{</tool_call>").unreadable == 1
    assert parse("<tool_call>please read the file</tool_call>").unreadable == 1


def test_native_arguments_that_are_no_object_are_read_as_none() -> None:
    for raw, read in (
        ("", {}),
        ("{}", {}),
        ("null", None),
        ("[1]", None),
        ("oops", None),
        ('{"a":1', {"a": 1}),
    ):
        call = ToolCall(id="c", name="a_b", arguments=raw)
        assert parse_reply(Completion(text="", tool_calls=(call,))).calls[0].arguments == read


def test_native_calls_win_over_text() -> None:
    call = ToolCall(id="c", name="a_b", arguments="{}")
    reply = parse_reply(Completion(text=write_call("tag", "c_d", {}).text, tool_calls=(call,)))
    assert [one.name for one in reply.requests] == ["a_b"]


def test_thinking_is_taken_out_and_unclosed_thinking_is_read_on() -> None:
    assert without_thinking("a<think>b</think>c<think>d</think>e") == "ace"
    assert without_thinking("b</think>c") == "c"
    assert without_thinking("a<think>b") == "ab"
    assert without_thinking("a < b") == "a < b"


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_no_text_raises(text: str) -> None:
    check(parse(text))


def test_no_garbage_raises() -> None:
    assert fuzz(20_000, seed=1) > 1_000


@pytest.mark.parametrize(
    "unit",
    [
        *(
            "<tool_call>",
            '<tool_call>{"',
            '<tool_call>{"name":"',
            "<tool_call>{'",
            "<tool_call>[",
            "<tool_call>a_b(",
        ),
        *(
            '<tool_call a="',
            "<tool_call a='x' ",
            '<tool_call>{":0,"',
            "<function=a>",
            "<parameter=a>",
            "<invoke ",
        ),
        *(
            "[TOOL_CALLS]",
            "<|python_tag|>{",
            "<|tool_call_begin|>",
            "<｜tool▁call▁begin｜>",
            "to=functions.a",
            "```",
        ),
        *(
            "{",
            "[",
            "(",
            '{"name":',
            '{"a":',
            '"',
            "'",
            "\\",
            "[a_b(",
            "a_b(x=",
            "\na_b(x=",
            "<",
            "< ",
            " ",
            "\n",
        ),
        *(
            "<think>",
            "</think>",
            "<tool_search>",
            "</tool_search>",
            "<arg_key>",
            "<name>",
            "<tool_call><name>a",
        ),
        *(
            '<tool_call>{"name":"a_b","arguments":{}}</tool_call>',
            '{"name":"a_b","arguments":{}}\n',
            "a",
            "1",
        ),
    ],
)
def test_repeating_any_unit_takes_linear_work(unit: str) -> None:
    """A quarter of a megabyte of anything is read in the time that one test may take, quadratic work would not be."""
    check(parse(unit * (250_000 // len(unit))))
    check(parse('<tool_call>{"name": "' + unit * (250_000 // len(unit))))


@pytest.mark.parametrize("text", ["a_b(q='\\ud800')", "[a_b(q='\\ud800')]", "a_b(q='\ud800')"])
def test_half_a_character_in_a_bare_call_is_read(text):
    (call,) = parse_reply(Completion(text=text)).calls
    assert call.name == "a_b"
    assert len(call.arguments["q"]) == 1
