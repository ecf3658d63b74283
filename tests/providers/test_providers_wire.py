"""What is sent, and what every kind of reply is read as."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.keys import Key, Secret
from providers.rate_hints import retry_after_s
from providers.transport import HttpReply
from providers.wire import build_request, read_reply
from trials.errors import ProviderError
from trials.words import Completion, Deployment, Sampling, ToolCall

Make = Callable[..., Deployment]
KEY = Key(name="IDEALLAB_API_KEY_0", secret=Secret("sk-hidden"))
MESSAGES = [{"role": "user", "content": "hello"}]
CALL = {"id": "c1", "type": "function", "function": {"name": "reader", "arguments": '{"path": "a"}'}}


def reply(status: int, body: Any, **headers: str) -> HttpReply:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpReply(
        status=status, headers={name.replace("_", "-"): value for name, value in headers.items()}, body=payload
    )


def said(message: Any, **choice: Any) -> HttpReply:
    return reply(200, {"model": "m-1", "choices": [{"message": message, "finish_reason": "stop", **choice}]})


@pytest.fixture
def read(deployment_with: Make) -> Callable[[HttpReply], Completion]:
    return lambda received: read_reply(received, deployment_with(), KEY)


@pytest.fixture
def error_of(read: Callable[[HttpReply], Completion]) -> Callable[[HttpReply], ProviderError]:
    def error_of(received: HttpReply) -> ProviderError:
        with pytest.raises(ProviderError) as caught:
            read(received)
        return caught.value

    return error_of


ErrorOf = Callable[[HttpReply], ProviderError]
Read = Callable[[HttpReply], Completion]


@pytest.mark.parametrize("slash", ["", "/"])
def test_openai_form_of_a_request(deployment_with: Make, slash: str) -> None:
    request = build_request(
        deployment_with(base_url=f"https://lab/v1{slash}"), KEY, MESSAGES, None, Sampling(temperature=0.5, max_tokens=9)
    )
    assert request.url == "https://lab/v1/chat/completions"
    assert request.headers["Authorization"] == "Bearer sk-hidden"
    assert json.loads(request.body) == {
        "model": "qwen2.5-72b-instruct",
        "messages": MESSAGES,
        "temperature": 0.5,
        "max_tokens": 9,
    }


@pytest.mark.parametrize("slash", ["", "/"])
def test_azure_form_of_a_request(deployment_with: Make, slash: str) -> None:
    azure = deployment_with(
        api="azure", base_url=f"https://me.azure.com{slash}", api_model="gpt 4/o", api_version="2025-04-01-preview"
    )
    request = build_request(azure, KEY, MESSAGES, None, Sampling())
    assert request.url == (
        "https://me.azure.com/openai/deployments/gpt%204%2Fo/chat/completions?api-version=2025-04-01-preview"
    )
    assert request.headers["api-key"] == "sk-hidden"
    assert "Authorization" not in request.headers


def test_fields_are_renamed_left_out_and_added_as_the_catalog_says(deployment_with: Make) -> None:
    picky = deployment_with(max_tokens_field="max_completion_tokens", omit=("temperature",))
    tools = [{"type": "function", "function": {"name": "reader"}}]
    body = json.loads(
        build_request(picky, KEY, MESSAGES, tools, Sampling(max_tokens=7, extra={"prefix_cache": True})).body
    )
    assert body == {
        "model": "qwen2.5-72b-instruct",
        "messages": MESSAGES,
        "max_completion_tokens": 7,
        "tools": tools,
        "prefix_cache": True,
    }
    bare = deployment_with(max_tokens_field="max_completion_tokens", omit=("max_tokens", "model", "temperature"))
    assert json.loads(build_request(bare, KEY, MESSAGES, None, Sampling()).body) == {"messages": MESSAGES}


def test_only_a_simulator_is_told_which_trial_it_is(deployment_with: Make) -> None:
    for simulated, expected in ((True, '{"seed":1}'), (False, None)):
        request = build_request(deployment_with(simulated=simulated), KEY, MESSAGES, None, Sampling(), '{"seed":1}')
        assert request.headers.get("x-simulated-trial") == expected


def test_half_a_surrogate_pair_can_be_sent_and_received(deployment_with: Make, read: Read) -> None:
    messages = [{"role": "user", "content": "cut \ud83d here"}]
    assert json.loads(build_request(deployment_with(), KEY, messages, None, Sampling()).body)["messages"][0][
        "content"
    ].startswith("cut ")
    received = reply(200, b'{"choices": [{"message": {"content": "cut \\ud83d"}, "finish_reason": "length"}]}')
    text = read(received).text
    assert text.startswith("cut ")
    assert text.encode()


def test_completion_holds_text_usage_and_names(read: Read) -> None:
    body = {
        "model": "qwen-2.5-72b-0919",
        "choices": [{"message": {"content": "hi", "reasoning_content": "hmm"}, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 3},
    }
    assert read(reply(200, body)) == Completion(
        text="hi",
        finish_reason="length",
        reported_model="qwen-2.5-72b-0919",
        prompt_tokens=12,
        completion_tokens=3,
        deployment="qwen-key0",
    )


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": ""}, ""),
        ({"content": "a\nb"}, "a\nb"),
        ({"content": [{"type": "text", "text": "a"}, "b", {"type": "image"}, {"text": "c"}, 3]}, "abc"),
        ({"content": None, "refusal": "I will not"}, "I will not"),
        ({"content": None, "reasoning_content": "still thinking"}, ""),
        ({"role": "assistant"}, ""),
    ],
)
def test_text_is_read_in_every_form(read: Read, message: Any, text: str) -> None:
    assert read(said(message)).text == text


@pytest.mark.parametrize(
    ("message", "calls"),
    [
        ({"content": None, "tool_calls": [CALL]}, [ToolCall(id="c1", name="reader", arguments='{"path": "a"}')]),
        (
            {"content": "x", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}, CALL]},
            [
                ToolCall(id="call_0", name="f", arguments='{"a":1}'),
                ToolCall(id="c1", name="reader", arguments='{"path": "a"}'),
            ],
        ),
        (
            {"content": None, "function_call": {"name": "old", "arguments": "{"}},
            [ToolCall(id="call_0", name="old", arguments="{")],
        ),
        ({"content": "x", "tool_calls": None}, []),
        ({"tool_calls": [{"id": 7, "function": {"name": "f"}}]}, [ToolCall(id="call_0", name="f", arguments="")]),
    ],
)
def test_tool_calls_are_read_in_every_form(read: Read, message: Any, calls: list[ToolCall]) -> None:
    assert list(read(said(message, finish_reason=None)).tool_calls) == calls


@pytest.mark.parametrize(
    "received",
    [
        reply(200, b""),
        reply(200, b"<html>gateway</html>"),
        reply(200, b'{"choices": [{"message": {"content": "cut'),
        reply(200, b"[" * 200_000),
        reply(200, [1]),
        reply(200, {}),
        reply(200, {"choices": []}),
        reply(200, {"choices": ["x"]}),
        reply(200, {"choices": [{"message": None}]}),
        reply(200, {"choices": [{"message": {"content": None}}]}),
        reply(200, {"choices": [{"message": {"content": 7}, "finish_reason": "stop"}]}),
        reply(200, {"choices": [{"message": {"content": "x", "tool_calls": "y"}}]}),
        reply(200, {"choices": [{"message": {"content": "x", "tool_calls": [{"function": {}}]}}]}),
        reply(200, {"error": {"message": "overloaded"}}),
        reply(204, b""),
    ],
    ids=lambda received: repr(received.body[:60]),
)
def test_good_status_without_a_completion_is_a_bad_reply_worth_another_try(
    error_of: ErrorOf, received: HttpReply
) -> None:
    error = error_of(received)
    assert (error.kind, error.retryable, error.fatal) == ("bad_reply", True, False)
    assert error.status == received.status
    assert str(error).startswith(f"ideallab qwen-key0: HTTP {received.status}")


def test_error_inside_a_good_status_is_quoted(error_of: ErrorOf) -> None:
    assert "model is overloaded" in str(error_of(reply(200, {"error": {"message": "model is overloaded"}})))


@pytest.mark.parametrize(
    ("status", "kind", "retryable", "fatal"),
    [
        (429, "rate_limited", True, False),
        (408, "timeout", True, False),
        (409, "server_error", True, False),
        (500, "server_error", True, False),
        (503, "server_error", True, False),
        (529, "server_error", True, False),
        (401, "access", False, True),
        (402, "access", False, True),
        (403, "access", False, True),
        (404, "access", False, True),
        (400, "rejected", False, False),
        (413, "rejected", False, False),
        (422, "rejected", False, False),
        (418, "rejected", False, False),
        (302, "bad_reply", False, False),
        (307, "bad_reply", False, False),
    ],
)
def test_each_status_has_its_kind(error_of: ErrorOf, status: int, kind: str, retryable: bool, fatal: bool) -> None:
    error = error_of(reply(status, {"error": {"message": "own words"}}))
    assert (error.kind, error.status, error.retryable, error.fatal) == (kind, status, retryable, fatal)
    assert f"ideallab qwen-key0: HTTP {status}" in str(error)


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "own words"}},
        {"error": "own words"},
        {"message": "own words"},
        {"detail": "own words"},
        {"error": {"code": 7, "detail": "own words"}},
        {"unknown": "own words"},
        b"own words",
        b"own\x00\x1b words"[:3] + b" words",
    ],
)
def test_providers_own_words_are_quoted(error_of: ErrorOf, body: Any) -> None:
    assert "own words" in str(error_of(reply(400, body)))


def test_quoted_words_are_one_short_printable_line_without_the_key(error_of: ErrorOf) -> None:
    body = {"error": {"message": "bad key sk-hidden\n\x1b[31m\x00 " + "very " * 100_000}}
    for received in (reply(500, body), reply(500, b"sk-hidden" * 1000), reply(302, b"", location="http://x/sk-hidden")):
        text = str(error_of(received))
        assert "hidden" not in text
        assert text.isprintable()
        assert len(text) < 400


def test_key_is_hidden_even_where_the_text_is_cut(error_of: ErrorOf) -> None:
    for blanks in range(4980, 5005):
        assert "sk-h" not in str(error_of(reply(500, b" " * blanks + b"sk-hidden")))


def test_redirect_says_where_it_would_have_led(error_of: ErrorOf) -> None:
    assert "http://elsewhere/" in str(error_of(reply(301, b"", location="http://elsewhere/")))


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"retry-after": "300"}, 300.0),
        ({"retry-after": "0"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "864000"}, None),
        ({"retry-after": "1e999"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "x", "retry-after": "9"}, 9.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT", "date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT", "date": "Wed, 21 Oct 2015 07:28:30 GMT"}, None),
        ({"retry-after": "Sat, 31 Oct 2015 07:28:00 GMT", "date": "Wed, 21 Oct 2015 07:28:00 GMT"}, None),
        ({"retry-after": "Wed, 99 Oct 2015 07:28:00 GMT"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, None),
    ],
)
def test_retry_after_is_read_where_it_can_be_believed(headers: dict[str, str], wait_s: float | None) -> None:
    assert retry_after_s(headers) == wait_s


def test_retry_after_date_without_the_servers_date_goes_by_our_clock() -> None:
    wait_s = retry_after_s({"retry-after": formatdate(time.time() + 100, usegmt=True)})
    assert wait_s is not None
    assert 0 < wait_s <= 101


def test_retry_after_travels_with_the_error(error_of: ErrorOf) -> None:
    assert error_of(reply(429, b"", retry_after="12")).retry_after_s == 12
    assert error_of(reply(429, b"", retry_after="garbage")).retry_after_s is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "tool_calls", "function", "name", "error", "usage"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
DEPLOYED = Deployment(
    name="d", provider="p", model="m", api_model="m", family="f", api="openai", base_url="http://h", key_names=("K",),
    workers=1, qps=1.0, timeout_s=1.0, max_attempts=1, scope="s",
)  # fmt: skip


@given(body=st.binary(max_size=50) | JSON.map(lambda value: json.dumps(value).encode()), status=st.integers(200, 599))
def test_whatever_comes_back_is_a_completion_or_a_provider_error(body: bytes, status: int) -> None:
    with suppress(ProviderError):
        assert isinstance(read_reply(HttpReply(status=status, headers={}, body=body), DEPLOYED, KEY).text, str)
