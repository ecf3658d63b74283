"""Access to S3 by the AWS variables, and credentials that are renewed when they expire or are refused.

deltalake (object_store) signs, retries 5xx and dropped connections, and takes credentials from profiles and machine
roles by itself, but it keeps the ones it has until the end it was told of: a 403 before that is an error to it. So a
web identity (AWS_ROLE_ARN, AWS_WEB_IDENTITY_TOKEN_FILE) is exchanged here, by AssumeRoleWithWebIdentity of the AWS
Security Token Service API (2011-06-15), which needs no signature; deltalake is handed the keys.
"""

from __future__ import annotations

import ipaddress
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from xml.etree import ElementTree

from trials.errors import StoreError, UsageError

RENEW_BEFORE_S = 300.0
"""Credentials that expire sooner are renewed before they are used."""
STS_TIMEOUT_S = 10.0
STS_ATTEMPTS = 3
_REFUSED = (
    "ExpiredToken|ExpiredTokenException|InvalidToken|TokenRefreshRequired|InvalidAccessKeyId|AccessDenied|"
    "SignatureDoesNotMatch|RequestExpired|InvalidClientTokenId|UnrecognizedClientException|AllAccessDisabled"
)
_CODE = re.compile(r"<Code>\s*(\w+)\s*</Code>")
_REFUSAL = re.compile(rf"<Code>\s*({_REFUSED})\s*</Code>|\b(40[13]) (?:Forbidden|Unauthorized)", re.IGNORECASE)
_FORGOTTEN = ("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_STS")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Credentials:
    """Keys and when they expire, in Unix seconds. Its repr shows none of them."""

    key_id: str
    secret: str
    token: str = ""
    expires_at: float = float("inf")


def refusal(problem: Exception) -> str:
    """Return why S3 refused credentials, as its error code or the HTTP status; empty if that is not the problem.

    deltalake hands on what the server said as text alone, in errors of several classes, so the text it is.
    """
    found = _REFUSAL.search(str(problem))
    return "" if found is None else found[1] or _code_in(str(problem)) or f"HTTP {found[2]}"


def in_short(problem: Exception) -> str:
    """Return the gist of an error of deltalake in one line, without the server's own words, which may hold a key."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(problem))
    code = _code_in(text)
    said = re.split(r"<\?xml|<Error|<html", text, maxsplit=1)[0]
    line = " ".join(re.sub(r"[│↳├└─]", " ", said).split())
    line = re.sub(r"(https?://[^\s?]+)\?\S*", r"\1", line)
    line = line if len(line) <= 300 else f"{line[:140]} … {line[-150:]}"
    return f"{code}: {line}" if code else line


def _code_in(text: str) -> str:
    found = _CODE.search(text)
    return found[1] if found else ""


class AwsAccess:
    """What deltalake needs to reach S3, out of variables. One thread at a time."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Read the variables. Raises UsageError for an endpoint that would be called without encryption."""
        self._variables = {name: value for name, value in environment.items() if name.startswith("AWS_") and value}
        self._endpoint = self._endpoint_of("S3")
        self._credentials = self._given()

    @property
    def renewable(self) -> bool:
        """Whether there is a web identity to renew credentials by."""
        return bool(self._variables.get("AWS_ROLE_ARN") and self._variables.get("AWS_WEB_IDENTITY_TOKEN_FILE"))

    def options(self) -> dict[str, str]:
        """Return deltalake's storage options, with fresh credentials if those at hand are about to expire.

        Raises StoreError if they cannot be renewed.
        """
        options = {name: value for name, value in self._variables.items() if name not in _FORGOTTEN}
        if self._endpoint:
            options["AWS_ENDPOINT_URL"] = self._endpoint
            options.setdefault("AWS_REGION", self._region())
            if self._endpoint.startswith("http:"):
                options["AWS_ALLOW_HTTP"] = "true"
        if self.renewable and (
            self._credentials is None or self._credentials.expires_at < time.time() + RENEW_BEFORE_S
        ):
            self.renew()
        if self._credentials is not None:
            options["AWS_ACCESS_KEY_ID"] = self._credentials.key_id
            options["AWS_SECRET_ACCESS_KEY"] = self._credentials.secret
            options.pop("AWS_SESSION_TOKEN", None)
            if self._credentials.token:
                options["AWS_SESSION_TOKEN"] = self._credentials.token
        return options

    def renew(self) -> None:
        """Exchange the web identity's token, read anew from its file, for credentials. Raises StoreError."""
        endpoint = self._endpoint_of("STS") or f"https://sts.{self._region()}.amazonaws.com"
        path = Path(self._variables["AWS_WEB_IDENTITY_TOKEN_FILE"])
        try:
            token = path.read_text().strip()
        except (OSError, ValueError) as problem:
            why = getattr(problem, "strerror", None) or "it is no text"
            raise StoreError(f"AWS_WEB_IDENTITY_TOKEN_FILE: {path} cannot be read ({why})") from None
        form = {
            "Action": "AssumeRoleWithWebIdentity",
            "Version": "2011-06-15",
            "RoleArn": self._variables["AWS_ROLE_ARN"],
            "RoleSessionName": self._variables.get("AWS_ROLE_SESSION_NAME", "ultra-parallel-runner"),
            "WebIdentityToken": token,
        }
        self._credentials = _credentials_in(_post(endpoint, form))

    def _given(self) -> Credentials | None:
        key_id, secret = (self._variables.get(f"AWS_{name}", "") for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"))
        if not key_id or not secret:
            return None
        return Credentials(key_id=key_id, secret=secret, token=self._variables.get("AWS_SESSION_TOKEN", ""))

    def _region(self) -> str:
        return self._variables.get("AWS_REGION") or self._variables.get("AWS_DEFAULT_REGION") or "us-east-1"

    def _endpoint_of(self, service: str) -> str:
        name = f"AWS_ENDPOINT_URL_{service}"
        name = name if name in self._variables else "AWS_ENDPOINT_URL"
        url = self._variables.get(name, "").rstrip("/")
        if not url:
            return ""
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise UsageError(f"{name} must be a URL like https://host:port, without a user name")
        allowed = self._variables.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true", "yes", "on")
        if parts.scheme == "http" and not allowed and not _is_loopback(parts.hostname):
            raise UsageError(
                f"{name} is not encrypted (http://{parts.hostname}): use https, or set AWS_ALLOW_HTTP=true"
            )
        return url


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _post(endpoint: str, form: Mapping[str, str]) -> bytes:
    """Send a form to the token service, again if it is down. Raises StoreError, without a word of what was sent."""
    host = urllib.parse.urlsplit(endpoint).hostname or ""
    request = urllib.request.Request(f"{endpoint}/", urllib.parse.urlencode(form).encode())
    # A proxy that the machine is set up with cannot know what stands on this machine's own loopback.
    opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if _is_loopback(host) else []))
    why = ""
    for attempt in range(STS_ATTEMPTS):
        time.sleep(attempt)
        try:
            with opener.open(request, timeout=STS_TIMEOUT_S) as response:
                content: bytes = response.read()
            return content
        except urllib.error.HTTPError as problem:
            why = _code_in(problem.read().decode(errors="replace")) or f"HTTP {problem.code}"
            if problem.code < 500:
                break
        except OSError as problem:
            why = str(getattr(problem, "reason", problem))
    raise StoreError(
        f"the AWS token service at {host} gave no credentials ({why}): "
        f"check AWS_ROLE_ARN, AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ENDPOINT_URL_STS"
    )


def _credentials_in(reply: bytes) -> Credentials:
    try:
        found = ElementTree.fromstring(reply).find(".//{*}Credentials")
        values = {} if found is None else {each.tag.rpartition("}")[2]: each.text or "" for each in found}
        expires = datetime.fromisoformat(values["Expiration"].replace("Z", "+00:00"))
        if expires.tzinfo is None:
            expires = expires.replace(tzinfo=timezone.utc)
        return Credentials(
            key_id=values["AccessKeyId"],
            secret=values["SecretAccessKey"],
            token=values["SessionToken"],
            expires_at=expires.timestamp(),
        )
    except (ElementTree.ParseError, KeyError, ValueError):
        raise StoreError("the AWS token service sent no credentials that can be read") from None
