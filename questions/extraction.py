"""Finds the answer in a reply: behind thoughts, markers, boxes, fences and LaTeX. Pure text in, text out.

It does not judge what it finds. The order of trust: the last ``\\boxed{}``, then the last marker (``Answer:``, ``The
answer is``, ``答案：``, ``<answer>``, ``####`` on the last line), then the whole reply. A thought is never an answer:
what stands in ``<think>…</think>`` is dropped, and a thought that was cut off (no closing
tag) leaves only what stands before it.
"""

from __future__ import annotations

import re

_ENDING = 16_000
_OPEN = re.compile(r"<think(?:ing)?>", re.IGNORECASE)
_CLOSE = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_BOX = re.compile(r"\\(?:boxed|fbox)\s*(?=[{\w])")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_WORD = re.compile(r"\w+")
_JOINED = re.compile(
    r"[\s$.]*(?:,|，|、|;|\\text\s*\{\s*(?:and|or)\s*\}|\b(?:and|or)\b|和|或|及|与|以及)[\s$\w=]{0,12}"
)
_MARKER = re.compile(
    r"\banswers?\b(?:[ \t]*\([^()\n]{0,30}\))?"
    r"(?:(?:[ \t]+(?!is\b)[\w,'’-]+){0,10}?[ \t]*\*{0,2}[ \t]+"
    r"(?:is|are|was|would[ \t]+be|should[ \t]+be|must[ \t]+be)\b[ \t]*[:：]?"
    r"|[ \t]*(?:\*{1,2}|_{1,2})?[ \t]*(?:[:：=]|\n))"
    r"|答案[^\n。，,:：是为]{0,8}?(?:是|为|：|:|=)[ \t]*[:：]?"
    r"|(?:^|(?<=\n))[ \t]*(?:答|结果|解答)[ \t]*[:：]",
    re.IGNORECASE,
)
_LAST_HASHES = re.compile(r"(?:^|\n)[ \t]*#{4}[ \t]*([^\n#]+)\Z")
_SOLUTION_HASHES = re.compile(r"(?:^|\s)####[ \t]*([^\s#][^\n#]*)\Z")
_FENCE = re.compile(r"```[ \t]*([\w+-]*)[ \t]*\n(.*?)(?:\n[ \t]*)?(?:```|\Z)", re.DOTALL)
_INLINE_FENCE = re.compile(r"```([^`\n]+)```|``([^`\n]+)``|`([^`\n]+)`")
_EMPHASIS = re.compile(r"(?<![\w)}])(?:\*\*|__)|(?:\*\*|__)(?![\w(])")  # 3**2 has none
_TAGGED = re.compile(r"<answer>\s*(.+?)\s*</answer>", re.IGNORECASE | re.DOTALL)
_SENTENCE = re.compile(r"(?<![A-Z])[.!?](?=\s)|[。！？；]")
_DISPLAY = re.compile(r"\$\$(.+?)\$\$|\\\[(.+?)\\\]", re.DOTALL)
_SEGMENT = re.compile(r"\$\$(.+?)\$\$|\\\[(.+?)\\\]|\\\((.+?)\\\)|(?<!\\)\$([^$\n]+?)(?<!\\)\$", re.DOTALL)


def final_text(reply: str) -> str:
    """Return what a reply says after thinking, without white space at its ends."""
    if "think" not in reply.lower():
        return reply.strip()
    opened = _OPEN.search(reply)
    before = reply[: opened.start()] if opened else ""
    closes = list(_CLOSE.finditer(reply))
    after = reply[closes[-1].end() :] if closes else "" if opened else reply
    if unclosed := _OPEN.search(after):
        after = after[: unclosed.start()]
    return after.strip() or before.strip()


def ending(text: str) -> str:
    """Return the last 16,000 characters: where an answer stands, and short enough for every pattern here."""
    return text[-_ENDING:]


def marked_answer(text: str) -> str | None:
    """Return what a final text points out as its answer, on one line; None if it points nothing out."""
    text = ending(text)
    return boxed(text) or after_marker(text)


def boxed(text: str) -> str | None:
    """Return the content of the last complete ``\\boxed{}``; boxes joined by commas or "and" are one answer."""
    if "\\boxed" not in text and "\\fbox" not in text:
        return None
    closing = _closing_braces(text)
    found = [(match.start(), *_content(text, match.end(), closing)) for match in _BOX.finditer(text)]
    found = [(start, end, content) for start, end, content in found if content.strip()]
    if not found:
        return None
    start, _, answer = found.pop()
    while found and found[-1][1] <= start and _JOINED.fullmatch(text, found[-1][1], start):
        start, _, earlier = found.pop()
        answer = f"{earlier.strip()}, {answer.strip()}"
    return answer.strip()


def _closing_braces(text: str) -> dict[int, int]:
    """Return where each brace that is not escaped closes; one pass, however many never do."""
    opened: list[int] = []
    closing: dict[int, int] = {}
    for match in _BRACE.finditer(text):
        if match[0] == "{":
            opened.append(match.start())
        elif match[0] == "}" and opened:
            closing[opened.pop()] = match.start()
    return closing


def _content(text: str, begin: int, closing: dict[int, int]) -> tuple[int, str]:
    """Return (end, content) of the braces that open at ``begin``, or of one word; no content if they never close."""
    if text[begin] == "{":
        end = closing.get(begin)
        return (begin, "") if end is None else (end + 1, text[begin + 1 : end])
    word = _WORD.match(text, begin)
    return (word.end(), word[0]) if word else (begin, "")


def after_marker(text: str) -> str | None:
    """Return the line behind the last answer marker, without markdown around it; None without a marker."""
    if "#### " in text and (hashes := _LAST_HASHES.search(text)):
        return bare(hashes.group(1)) or None
    if "nswer" not in text and "答" not in text and "结果" not in text and "NSWER" not in text:
        return None
    if "</" in text and (tagged := _TAGGED.findall(text)):
        return bare(tagged[-1]) or None
    answer = None
    for match in _MARKER.finditer(text):
        answer = _line_at(text, match.end()) or answer
    return answer


def worked_answer(label: str) -> str:
    """Return what the last line of a worked solution gives behind ``####``; a label of another kind as it is."""
    hashes = _SOLUTION_HASHES.search(label.rstrip()) if "####" in label else None
    return hashes[1].strip() if hashes else label


def _line_at(text: str, begin: int) -> str | None:
    rest = text[begin:].lstrip(" \t\r\n*_:：")
    if fence := _FENCE.match(rest):
        return fence.group(2).strip() or None
    if display := _DISPLAY.match(rest):
        return display.group(0).strip()
    return bare(rest.partition("\n")[0]) or None


def first_sentence(text: str) -> str:
    """Return a text up to the end of its first sentence; initials such as "D.C." end none."""
    end = _SENTENCE.search(text)
    return text[: end.start()].strip() if end else text


def bare(text: str) -> str:
    """Return a text without the markdown, quotes and blanks around it."""
    text = text.strip()
    if "*" in text or "_" in text:
        text = _EMPHASIS.sub("", text).strip()
    if "`" in text:
        text = _INLINE_FENCE.sub(lambda match: match.group(1) or match.group(2) or match.group(3), text).strip()
    if len(text) > 2 and text[0] + text[-1] in ('""', "''", "“”", "‘’", "「」", "《》", "**", "__"):
        return text[1:-1].strip()
    return text


def fences(text: str) -> list[str]:
    """Return the contents of a text's code fences in order; one that was cut off goes to the end."""
    return [match.group(2).strip() for match in _FENCE.finditer(text)] if "```" in text else []


def segments(text: str) -> list[tuple[int, int, str]]:
    """Return (start, end, content) of a text's LaTeX segments: ``$…$``, ``$$…$$``, ``\\(…\\)``, ``\\[…\\]``."""
    if "$" not in text and "\\" not in text:
        return []
    found = []
    for match in _SEGMENT.finditer(text):
        content = next(group for group in match.groups() if group is not None)
        found.append((match.start(), match.end(), content.strip()))
    return found
