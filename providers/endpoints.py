"""Where a request goes: what a base URL may look like, and the address of chat completions below it.

Azure addresses a deployment in the path and the API version in the query (Azure OpenAI REST reference, "Chat
completions - Create"); every other provider here uses OpenAI's ``/chat/completions``. Sends nothing.
"""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import quote, urlsplit

from trials.words import Deployment

AZURE, OPENAI = "azure", "openai"
CHAT_PATH = "/chat/completions"


def url_problem(url: str) -> str:
    """Say what is wrong with a base URL, or return an empty string. The answer never quotes the URL."""
    if problem := host_problem(url):
        return problem
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        return "must not hold a user name or password"
    if parts.query or parts.fragment:
        return "must not have a query or fragment (no ? and no #)"
    if parts.path.rstrip("/").endswith(CHAT_PATH):
        return f"must end before {CHAT_PATH}"
    return spelling_problem(url)


def host_problem(url: str) -> str:
    """Say why nobody can be reached over HTTP at a URL, or return an empty string."""
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return "is not a URL"
    if parts.scheme not in ("http", "https") or not has_host:
        return "must start with http:// or https:// and name a host"
    return ""


def spelling_problem(url: str) -> str:
    """Say which characters of a URL cannot be sent as they are, or return an empty string."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return "must not hold blanks, control or non-ASCII characters"
    return ""


@lru_cache(maxsize=256)
def chat_url(deployment: Deployment) -> str:
    """Return the full address of a deployment's chat completions."""
    base = deployment.base_url.rstrip("/")
    if deployment.api != AZURE:
        return base + CHAT_PATH
    name, version = quote(deployment.api_model, safe=""), quote(deployment.api_version, safe="")
    return f"{base}/openai/deployments/{name}{CHAT_PATH}?api-version={version}"
