"""OpenTelemetry's standard variables: what they switch on, and what is refused before a run."""

from __future__ import annotations

import sys

import pytest

from telemetry.trace_settings import read_settings, trace_secrets
from trials.errors import UsageError

URL = "http://127.0.0.1:4318"
ON = {"OTEL_EXPORTER_OTLP_ENDPOINT": URL}


@pytest.mark.parametrize(
    "off",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "  "},
        {**ON, "OTEL_SDK_DISABLED": "TRUE"},
        {**ON, "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_SERVICE_NAME": "mine", "OTEL_TRACES_SAMPLER": "no such"},
        {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": URL},
    ],
)
def test_without_an_endpoint_traces_are_off(off):
    assert read_settings(off) is None


def test_the_endpoint_for_all_signals_gets_a_path_and_that_for_traces_is_taken_as_it_is():
    assert read_settings(ON).endpoint == f"{URL}/v1/traces"
    assert read_settings({"OTEL_EXPORTER_OTLP_ENDPOINT": f"{URL}/otlp/"}).endpoint == f"{URL}/otlp/v1/traces"
    own = {**ON, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://host/in"}
    assert read_settings(own).endpoint == "https://host/in"


def test_standard_variables_are_heeded():
    settings = read_settings(
        {
            **ON,
            "OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20a%2Cb,x-team=blue",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "2500",
            "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "gzip",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_RESOURCE_ATTRIBUTES": "service.name=other,deployment.environment.name=night%20run",
            "OTEL_SERVICE_NAME": "mine",
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": "0.25",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "OTEL_BSP_MAX_QUEUE_SIZE": "99",
        }
    )
    assert settings.headers == {"authorization": "Bearer a,b", "x-team": "blue"}
    assert (settings.timeout_s, settings.delay_s, settings.queue_size) == (2.5, 0.2, 99)
    assert settings.compression == "gzip"
    assert settings.resource == {"service.name": "mine", "deployment.environment.name": "night run"}
    assert settings.ratio == 0.25


@pytest.mark.parametrize(
    ("sampler", "argument", "ratio"),
    [
        ("", "", 1.0),
        ("always_on", "0.5", 1.0),
        ("always_off", "", 0.0),
        ("parentbased_always_off", "", 0.0),
        ("traceidratio", "", 1.0),
        ("traceidratio", "0", 0.0),
    ],
)
def test_samplers(sampler, argument, ratio):
    given = {**ON, "OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": argument}
    assert read_settings(given).ratio == ratio


def test_a_share_is_taken_by_the_lower_half_of_the_trace_id():
    half = read_settings({**ON, "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5"})
    assert half.sampled((0xFF << 120) + 2**63 - 1)
    assert not half.sampled(2**63)
    assert read_settings(ON).sampled(2**128 - 1)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [("true", True), ("SPAN_ONLY", True), ("span_and_event", True), ("EVENT_ONLY", False), ("", False)],
)
def test_what_was_said_is_asked_for_by_the_conventions_variable_or_the_flag(value, wanted):
    variable = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": value}
    assert read_settings({**ON, **variable}).content is wanted
    assert read_settings({**ON, **variable}, content=True).content is True


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "localhost:4318"}, "OTEL_EXPORTER_OTLP_ENDPOINT must be a URL"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://"}, "must be a URL"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:99999"}, "must be a URL"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://[::1"}, "must be a URL"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "ftp://h"}, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT must be a URL"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://me:s3cret@h"}, "must not hold a user name"),
        ({**ON, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "only http/protobuf"),
        ({**ON, "OTEL_EXPORTER_OTLP_HEADERS": "s3cret"}, "item 1 is not NAME=VALUE"),
        ({**ON, "OTEL_EXPORTER_OTLP_HEADERS": "a=b,x=s3cret%0d%0aHost:%20h"}, "item 2 is not NAME=VALUE"),
        ({**ON, "OTEL_EXPORTER_OTLP_HEADERS": "x=s3crét"}, "characters that no header can carry"),
        ({**ON, "OTEL_RESOURCE_ATTRIBUTES": "service.name"}, "OTEL_RESOURCE_ATTRIBUTES: item 1"),
        ({**ON, "OTEL_TRACES_SAMPLER": "jaeger_remote"}, "OTEL_TRACES_SAMPLER: unknown sampler"),
        ({**ON, "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "5"}, "a number from 0 to 1"),
        ({**ON, "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "nan"}, "a number from 0 to 1"),
        ({**ON, "OTEL_EXPORTER_OTLP_TIMEOUT": "soon"}, "OTEL_EXPORTER_OTLP_TIMEOUT must be a number"),
        ({**ON, "OTEL_EXPORTER_OTLP_COMPRESSION": "zip"}, "choose one of none, gzip, deflate"),
        ({**ON, "OTEL_EXPORTER_OTLP_CERTIFICATE": "/no/such.pem"}, "there is no file"),
        ({**ON, "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "perhaps"}, "choose true"),
    ],
)
def test_what_cannot_be_heeded_is_refused_in_one_line_without_a_secret(wrong, words):
    with pytest.raises(UsageError) as refused:
        read_settings(wrong)
    assert words in str(refused.value)
    assert "s3cr" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_asking_for_content_without_an_endpoint_is_refused():
    with pytest.raises(UsageError, match="--trace-content: nothing is traced"):
        read_settings({}, content=True)


def test_missing_packages_are_told_with_the_command_that_installs_them(monkeypatch):
    for name in ("opentelemetry", "opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match="python -m pip install opentelemetry-sdk"):
        read_settings(ON)
    assert read_settings({}) is None


def test_headers_stand_in_no_repr_and_are_known_as_secrets():
    given = {**ON, "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20t0psecret,x=y%3Dz"}
    assert "t0psecret" not in repr(read_settings(given))
    assert {"Bearer t0psecret", "t0psecret", "y=z"} <= set(trace_secrets(given))
    assert trace_secrets({}) == []
