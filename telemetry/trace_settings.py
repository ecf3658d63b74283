"""What the environment says of traces: OpenTelemetry's standard variables, checked before a run starts.

Only what was asked for is done: without an endpoint there are no settings and nothing of OpenTelemetry is imported.
Sampling goes by trace id, so that every process of a run comes to the same answer for a trial, and a run that is
resumed to the same answer as before.

Source: OpenTelemetry specification, "Environment Variable Specification", "OTLP Exporter", "TraceIdRatioBased".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

from trials.errors import UsageError

_OTLP = "OTEL_EXPORTER_OTLP_"
_CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_CONTENT_ON = ("true", "span_only", "span_and_event")
_CONTENT_OFF = ("", "false", "no_content", "event_only")
_SAMPLERS = ("always_on", "always_off", "traceidratio")
_PACKAGES = "opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"
_IDS = 2**64
"""A trace is sampled by the lower half of its id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSettings:
    """Where spans go, and which. ``headers`` may hold a key, so the repr leaves them out.

    ``ratio`` is the share of trials that are traced. ``content`` says whether prompts and replies are, too.
    ``delay_s`` is how long a span may wait for others to be sent with, ``queue_size`` how many may wait.
    """

    endpoint: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_s: float = 10.0
    compression: str = "none"
    certificate: str = ""
    client_certificate: str = ""
    client_key: str = ""
    resource: Mapping[str, str] = field(default_factory=dict)
    ratio: float = 1.0
    content: bool = False
    delay_s: float = 1.0
    queue_size: int = 4096

    @property
    def host(self) -> str:
        """The endpoint as it may be shown."""
        parts = urlsplit(self.endpoint)
        return f"{parts.scheme}://{parts.netloc}"

    def sampled(self, trace_id: int) -> bool:
        """Return whether a trace of this id is kept."""
        return trace_id % _IDS < self.ratio * _IDS


def read_settings(environment: Mapping[str, str], *, content: bool = False) -> TraceSettings | None:
    """Return what is to be done about traces, None for nothing. ``content`` asks for prompts and replies.

    Raises UsageError for values that cannot be heeded, and if the packages that send traces are not installed.
    """
    settings = _settings(environment, content=content)
    if settings is not None and not _installed():
        raise UsageError(
            f"{_OTLP}ENDPOINT asks for traces, and what sends them is not installed: python -m pip install {_PACKAGES} "
            f"(or run without traces: OTEL_SDK_DISABLED=true)"
        )
    if settings is None and content:
        raise UsageError(
            f"--trace-content: nothing is traced; name where traces go in {_OTLP}ENDPOINT, e.g. http://127.0.0.1:4318"
        )
    return settings


def trace_secrets(environment: Mapping[str, str]) -> list[str]:
    """Return what of these variables must never be shown. Never raises."""
    texts = (environment.get(_OTLP + name, "") for name in ("HEADERS", "TRACES_HEADERS"))
    values = [unquote(pair.partition("=")[2]).strip() for text in texts for pair in text.split(",")]
    return [part for value in values for part in (value, value.rpartition(" ")[2]) if part]


def _settings(environment: Mapping[str, str], *, content: bool) -> TraceSettings | None:
    wanted = (environment.get("OTEL_TRACES_EXPORTER") or "otlp").lower().split(",")
    name, endpoint = _endpoint(environment)
    if not endpoint or "otlp" not in map(str.strip, wanted) or _disabled(environment):
        return None
    _check_endpoint(name, endpoint)
    _check_protocol(environment)
    files = {
        "certificate": _file(environment, "CERTIFICATE"),
        "client_certificate": _file(environment, "CLIENT_CERTIFICATE"),
        "client_key": _file(environment, "CLIENT_KEY"),
    }
    return TraceSettings(
        endpoint=endpoint,
        headers=_pairs(*_named(environment, "HEADERS"), secret=True),
        timeout_s=_number(*_named(environment, "TIMEOUT"), default=10_000, low=1, high=3.6e6) / 1000,
        compression=_one_of(*_named(environment, "COMPRESSION"), ("none", "gzip", "deflate")),
        resource=_resource(environment),
        ratio=_ratio(environment),
        content=content or _wants_content(environment),
        delay_s=_number(*_plain(environment, "OTEL_BSP_SCHEDULE_DELAY"), default=1000, low=1, high=3.6e6) / 1000,
        queue_size=round(_number(*_plain(environment, "OTEL_BSP_MAX_QUEUE_SIZE"), default=4096, low=1, high=1e6)),
        **files,
    )


def _endpoint(environment: Mapping[str, str]) -> tuple[str, str]:
    """Return the variable that names the endpoint and the whole address; that for traces alone is taken as it is."""
    own, common = f"{_OTLP}TRACES_ENDPOINT", f"{_OTLP}ENDPOINT"
    if environment.get(own, "").strip():
        return own, environment[own].strip()
    base = environment.get(common, "").strip()
    return common, f"{base.rstrip('/')}/v1/traces" if base else ""


def _disabled(environment: Mapping[str, str]) -> bool:
    return environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def _check_endpoint(name: str, url: str) -> None:
    """Raise UsageError for an address that no request can be sent to. It is not quoted: it may hold a key."""
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        parts, sound = urlsplit(""), False
    if not sound or not url.isascii() or not url.isprintable() or " " in url:
        raise UsageError(f"{name} must be a URL like http://127.0.0.1:4318 (http:// or https://, and a host)")
    if parts.username is not None or parts.password is not None:
        raise UsageError(f"{name} must not hold a user name or password; put it in {_OTLP}HEADERS")


def _check_protocol(environment: Mapping[str, str]) -> None:
    name, protocol = _named(environment, "PROTOCOL")
    if protocol not in ("", "http/protobuf"):
        raise UsageError(
            f"{name}: only http/protobuf is spoken here (most collectors take it on port 4318); set it to that, "
            f"or run without traces: OTEL_SDK_DISABLED=true"
        )


def _ratio(environment: Mapping[str, str]) -> float:
    """Return the share of trials that a sampler keeps. A trial has no parent, so ``parentbased_`` changes nothing."""
    name = "OTEL_TRACES_SAMPLER"
    sampler = environment.get(name, "").strip().lower().removeprefix("parentbased_") or "always_on"
    if sampler not in _SAMPLERS:
        raise UsageError(f"{name}: unknown sampler; choose one of {', '.join(_SAMPLERS)}, or parentbased_ before it")
    if sampler != "traceidratio":
        return float(sampler == "always_on")
    return _number(*_plain(environment, f"{name}_ARG"), default=1, low=0, high=1)


def _wants_content(environment: Mapping[str, str]) -> bool:
    name, value = _plain(environment, _CONTENT)
    if value.lower() not in _CONTENT_ON + _CONTENT_OFF:
        raise UsageError(f"{name}: choose true, SPAN_ONLY or SPAN_AND_EVENT to send prompts and replies, else false")
    return value.lower() in _CONTENT_ON


def _resource(environment: Mapping[str, str]) -> dict[str, str]:
    named = environment.get("OTEL_SERVICE_NAME", "").strip()
    found = _pairs(*_plain(environment, "OTEL_RESOURCE_ATTRIBUTES"))
    return {**found, "service.name": named} if named else found


def _pairs(name: str, text: str, *, secret: bool = False) -> dict[str, str]:
    """Read ``key=value,key=value``, values percent-encoded. Header names are in lower case."""
    found = {}
    for number, pair in enumerate(filter(str.strip, text.split(",")), 1):
        key, equals, value = (unquote(part).strip() for part in pair.partition("="))
        if not key or not equals or not f"{key}{value}".isprintable():
            raise UsageError(f"{name}: item {number} is not NAME=VALUE")
        if secret and not f"{key}{value}".isascii():
            raise UsageError(f"{name}: item {number} holds characters that no header can carry")
        found[key.lower() if secret else key] = value
    return found


def _named(environment: Mapping[str, str], name: str) -> tuple[str, str]:
    """Return a variable of the exporter and its value: the one for traces alone, else the common one."""
    own = f"{_OTLP}TRACES_{name}"
    return _plain(environment, own if environment.get(own, "").strip() else _OTLP + name)


def _plain(environment: Mapping[str, str], name: str) -> tuple[str, str]:
    return name, environment.get(name, "").strip()


def _number(name: str, text: str, *, default: float, low: float, high: float) -> float:
    try:
        value = float(text or default)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise UsageError(f"{name} must be a number from {low:g} to {high:g}")
    return value


def _one_of(name: str, text: str, valid: tuple[str, ...]) -> str:
    if text.lower() not in ("", *valid):
        raise UsageError(f"{name}: choose one of {', '.join(valid)}")
    return text.lower() or valid[0]


def _file(environment: Mapping[str, str], name: str) -> str:
    variable, path = _named(environment, name)
    if path and not Path(path).exists():
        raise UsageError(f"{variable}: there is no file {path}")
    return path


def _installed() -> bool:
    try:
        return all(find_spec(name) for name in ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"))
    except ModuleNotFoundError:
        return False
