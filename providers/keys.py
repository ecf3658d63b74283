"""The one place that reads the environment and finds keys in it by name; nothing else here ever does.

A key leaves this module only inside a ``Secret``, which prints as ``****``. Keys are not checked with the provider.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from providers.endpoints import url_problem
from trials.errors import UsageError
from trials.words import Deployment

HIDDEN = "****"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(#[0-9]{1,4})?")


class Environment(Mapping[str, str]):
    """Variables by name. Its repr never shows a value, so that it may be printed."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)

    @classmethod
    def read(cls, dotenv: Path = Path(".env")) -> Environment:
        """Return the process's variables laid over those of a ``.env`` file. Raises UsageError if it is unreadable."""
        values = _dotenv(dotenv) if dotenv.exists() else {}
        return cls({**values, **os.environ})

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Environment({len(self)} variables)"


class Secret:
    """A value that shows itself only when asked to."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value itself."""
        return self._value

    def __repr__(self) -> str:
        return HIDDEN

    def __reduce__(self) -> str:
        raise TypeError("a secret is not written to files or pipes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key and the name of the variable it was found under."""

    name: str
    secret: Secret


def key_name_problem(name: str) -> str:
    """Say what is wrong with the name of a key, or return an empty string. The answer never quotes the name.

    Whoever takes the option for the key itself gets told so, and the key is not shown.
    """
    if _VARIABLE.fullmatch(name):
        return ""
    return "must name an environment variable that holds the key (letters, digits, _), not be the key itself"


def find_key(deployment: Deployment, environment: Mapping[str, str]) -> Key | None:
    """Return the first of the deployment's keys that is set, or None. A blank variable counts as not set.

    A simulated deployment gets a made-up key of its own, so that a simulator can limit by key. Raises UsageError
    for a key that cannot be sent.
    """
    if deployment.simulated:
        return Key(name="simulated", secret=Secret(f"sim-{deployment.name}"))
    for name in deployment.key_names:
        value = _look_up(name, environment)
        if value.strip():
            _check_sendable(name, value)
            return Key(name=name, secret=Secret(value))
    return None


def missing_message(deployments: Sequence[Deployment], environment: Mapping[str, str]) -> str:
    """Say in one sentence which keys and endpoints must still be set, or return an empty string."""
    wanted = dict.fromkeys(
        want
        for deployment in deployments
        if not deployment.simulated
        for want in (_wanted_endpoint(deployment, environment), _wanted_key(deployment, environment))
        if want
    )
    if not wanted:
        return ""
    todo = "; ".join(wanted)
    return f"{todo}. Set what is missing in the environment or in .env, or run without a provider: --simulate"


def redact(text: str, secrets: Iterable[Secret]) -> str:
    """Return the text with every secret in it replaced by ``****``."""
    for secret in secrets:
        text = text.replace(secret.reveal(), HIDDEN)
    return text


def _dotenv(path: Path) -> dict[str, str]:
    from dotenv import dotenv_values

    try:
        with path.open(encoding="utf-8") as lines:
            values = dotenv_values(stream=lines)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise UsageError(f"{path} cannot be read: {reason}") from error
    return {name: value for name, value in values.items() if value is not None}


def _look_up(name: str, environment: Mapping[str, str]) -> str:
    variable, _, item = name.partition("#")
    value = environment.get(variable, "")
    if not item:
        return value
    items = value.split(",")
    return items[int(item)].strip() if int(item) < len(items) else ""


def _check_sendable(name: str, value: str) -> None:
    if not value.isascii() or not value.isprintable() or " " in value:
        raise UsageError(
            f"the key in {_spoken(name)} holds blanks, line breaks or non-ASCII characters; paste it again without them"
        )


def _wanted_endpoint(deployment: Deployment, environment: Mapping[str, str]) -> str:
    """An endpoint that could not be resolved is spelt ``$NAME`` (see catalog.deployments_of)."""
    if not deployment.base_url.startswith("$"):
        return ""
    name = deployment.base_url[1:]
    value = environment.get(name, "").strip()
    wrong = url_problem(value) if value else "is not set"
    return f"{name} (endpoint of {deployment.provider}) {wrong}"


def _wanted_key(deployment: Deployment, environment: Mapping[str, str]) -> str:
    if find_key(deployment, environment) is not None:
        return ""
    names = " or ".join(map(_spoken, deployment.key_names))
    return f"{names} (key of {deployment.name}) is not set"


def _spoken(name: str) -> str:
    variable, _, item = name.partition("#")
    return f"item {int(item) + 1} of {variable}" if item else variable
