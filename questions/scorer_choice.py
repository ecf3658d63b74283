"""The scorer for multiple choice: finds the letter that a reply settles on.

The order of trust: the last ``\\boxed{}``; the last explicit statement ("the answer is (C)", "**D** is correct", 选A,
答案是B, "not A but B") that is not denied; a line that is nothing but a letter, the last such; a reply that begins with
a letter and a stop ("B. Paris"); the text of one choice; a letter in brackets if only one occurs. Several letters, in
reply or target ("A, C", "ACD"), are compared as sets, so a reply that leaves it open ("A or B") is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from unicodedata import normalize

from questions.extraction import boxed, ending, final_text, marked_answer
from questions.normalising import normalised
from questions.scorer_text import occurs
from questions.verdicts import BAD_TARGET, NO_ANSWER, Verdict, failed, verdict

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_UNLETTERED = 10
"""How many letters count as choices where none are given (MMLU-Pro has ten)."""

_LATEX = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mathbb|textit|bf|rm)\s*\{([^{}]*)\}")
_DECORATION = re.compile(r"\*+|`+|\$|__|\\[()\[\]]|</?[A-Za-z][A-Za-z0-9]{0,15}>")


class ChoiceScorer:
    """Right if the reply settles on the target: a letter, a choice's text, or its index counted from ``index_base``."""

    name = "choice"

    def __init__(self, index_base: int = 0) -> None:
        self._index_base = index_base

    @property
    def definition(self) -> Mapping[str, Any]:
        return {"scorer": self.name, "version": 1, "index_base": self._index_base}

    def close(self) -> None:
        return None

    def mark(self, reply: str, target: str, choices: Sequence[str] = ()) -> Verdict:
        wanted = target_letters(target, tuple(choices), self._index_base)
        if not wanted:
            return failed(BAD_TARGET, reason=f"the target {target[:40]!r} is none of the choices")
        found = chosen_letters(reply, choices, several=len(wanted) > 1)
        return verdict(set(found) == set(wanted), found) if found else failed(NO_ANSWER, final_text(reply)[-100:])


@lru_cache(maxsize=4096)
def target_letters(target: str, choices: tuple[str, ...], index_base: int = 0) -> str:
    """Return the letter or letters that a target stands for; empty if it is none of the choices."""
    target = normalize("NFKC", target).strip()
    letters = _LETTERS[: len(choices) or _UNLETTERED]
    for place, choice in enumerate(choices):
        if target == choice.strip():
            return _LETTERS[place]
    named = re.sub(r"[\s,、;，；()（）.。]|\band\b|和", "", target).upper()
    if named and len(named) == len(set(named)) and set(named) <= set(letters):
        return "".join(sorted(named))
    if re.fullmatch(r"\d{1,2}(?:\.0)?", target) and 0 <= int(float(target)) - index_base < len(letters):
        return letters[int(float(target)) - index_base]
    alike = [_LETTERS[place] for place, choice in enumerate(choices) if normalised(choice) == normalised(target)]
    if len(alike) == 1:
        return alike[0]
    lead = re.match(r"\(?([A-Z])[.):、:]\s*\S", target)
    return lead[1] if lead and lead[1] in letters else ""


def chosen_letters(reply: str, choices: Sequence[str] = (), several: bool = False) -> str:
    """Return the letters that a reply settles on, sorted; empty if none can be told."""
    text = _undecorated(ending(final_text(reply)))
    patterns = _patterns(len(choices) or _UNLETTERED, several)
    if (alone := patterns.alone.fullmatch(text)) is not None:
        return _sorted(alone[1])
    box = boxed(text)
    if box is not None and (
        found := patterns.alone.fullmatch(_undecorated(box)) or patterns.lead.match(_undecorated(box))
    ):
        return _sorted(found[1])
    if box is not None and (place := _choice_named(box, choices)):
        return place
    return patterns.stated(text) or patterns.on_a_line(text) or _choice_named(text, choices) or patterns.bracketed(text)


def _undecorated(text: str) -> str:
    if not text.isascii():
        text = normalize("NFKC", text)
    if "\\" in text:
        text = _LATEX.sub(r"\1", text)
    return _DECORATION.sub("", text).strip()


def _sorted(letters: str) -> str:
    return "".join(sorted(set(re.sub(r"(?i)\b(?:and|or)\b", "", letters).upper()) & set(_LETTERS)))


def _choice_named(text: str, choices: Sequence[str]) -> str:
    """Return the letter of the one choice whose text is the answer, or the only one that occurs in it."""
    for part in (text, marked_answer(text)):
        if part:
            plain = normalised(part)
            same = [place for place, choice in enumerate(choices) if normalised(choice) == plain]
            if len(same) == 1:
                return _LETTERS[same[0]]
    spelt = [normalised(choice) for choice in choices]
    sentences = map(normalised, _SENTENCES.split(marked_answer(text) or text))
    named = {place for part in sentences if not _DENIED.search(part) for place in _places_within(part, spelt)}
    if len(named) > 1 and not _LABELLED.match(last := text.rstrip().rpartition("\n")[2]) and last != text:
        return _choice_named(last, choices)
    return _LETTERS[named.pop()] if len(named) == 1 else ""


def _places_within(text: str, choices: Sequence[str]) -> list[int]:
    """Return which choices occur in a text, without those that are a part of another that does."""
    within = [place for place, choice in enumerate(choices) if choice and occurs(choice, text)]
    spelt = {choices[place] for place in within}
    return [place for place in within if not any(choices[place] in other for other in spelt - {choices[place]})]


_LABELLED = re.compile(r"[\s(\[-]*[A-Za-z][).:、]")
_SENTENCES = re.compile(r"(?<=[.!?])\s+|[。！？；\n]")
_DENIED = re.compile(
    r"\b(?:not|never|isnt|cannot|cant|neither|nor|none|wrong|incorrect|false)\b|不是|并非|不对|不正确|错"
)


@dataclass(frozen=True, slots=True)
class _Patterns:
    """The compiled patterns for one number of choices."""

    alone: re.Pattern[str]
    lead: re.Pattern[str]
    statement: re.Pattern[str]
    last_line: re.Pattern[str]
    lead_line: re.Pattern[str]
    bracket: re.Pattern[str]

    def stated(self, text: str) -> str:
        """Return the letters of the last statement that is not denied."""
        letters = ""
        for match in self.statement.finditer(text):
            groups = match.groupdict()
            if not any(value for name, value in groups.items() if name.startswith("not")):
                letters = next(value for name, value in groups.items() if name.startswith("at") and value)
        return _sorted(letters)

    def on_a_line(self, text: str) -> str:
        """Return the letter of the last line that is nothing else, or of the only line that begins with one."""
        alone = self.last_line.findall(text)
        if alone:
            return _sorted(alone[-1])
        leading = {match[1].upper() for match in self.lead_line.finditer(text)}
        return _sorted(leading.pop()) if len(leading) == 1 else ""

    def bracketed(self, text: str) -> str:
        """Return the letter in brackets, behind the word option or at the very end, if only one occurs."""
        found = {match[1] or match[2] or match[3] for match in self.bracket.finditer(text)}
        return found.pop() if len(found) == 1 else ""


@lru_cache(maxsize=64)
def _patterns(count: int, several: bool) -> _Patterns:
    any_letter = f"[A-{_LETTERS[count - 1]}]"
    small = f"[a-{_LETTERS[count - 1].lower()}]"
    run = f"{any_letter}+" if several else any_letter
    joint = r"(?:,\s*(?i:and|or)?|、|;|&|/|(?i:and|or)(?=\W)|和|或者?|与|以及)"
    more = rf"(?:\s*{joint}\s*[(\[]?{any_letter}(?![A-Za-z0-9'’])[)\]]?){{0,{count}}}"
    # A lone "A" before a lower-case word is the article, unless the word begins a reason.
    article = r"(?!\s+(?!because|since|as|and|or|but|for|with|given|due|is|which|that|in|by|based|here)[a-z]{2})"
    letter = rf"(?:{run}(?![A-Za-z0-9'’]){article}|{small}(?=\s*(?:[.)\]:,;]|$|\n)))[)\]]?{more}"
    opened = r"[\"'“‘(\[{【「〔\s]{0,8}"  # bounded, as everything is that could repeat for ever
    sure = r"therefore|thus|clearly|definitely|most\s+likely|likely|probably|indeed|simply|actually|both|either"
    filler = rf"(?:(?:{sure})[\s,]+){{0,3}}"
    named = r"(?:(?:the\s+)?(?:options?|choices?|letters?|answers?)\s*)?"
    statements = [
        rf"(?i:(?:\b(?:answers?|choices?|options?|selection|response|conclusion)\b[^.\n:A-Z]{{0,60}}?(?:\b(?:is|are|would\s+be|should\s+be|must\s+be)|'s)\b\s*:?|\b(?:answers?|choice|selection|response|conclusion|(?:correct|right|best|final|chosen)\s+option)[\"']?\s*(?:[:=]|-\s|(?=\s[A-Z]\b)))\s*{filler}(?P<notX>n[o']t\s+|never\s+)?{filler}{named}){opened}(?P<atX>{letter})",
        rf"(?i:(?P<notX>(?:\bnot|n['’]t|\bnever|\bavoid)\s+(?:\w+\s+)?)?\b(?:choos(?:e|ing)|chose|select(?:ed|ing)?|pick(?:ed|ing)?|go(?:ing)?\s+with|opt(?:ed)?\s+for)\s+{named}){opened}(?P<atX>{letter})",
        rf"(?<![A-Za-z0-9'’\\]){opened}(?P<atX>{any_letter}){more}(?:[)\]:.]+\s[^.,;:\n]{{0,60}}?|[)\]]*,?)\s*(?i:\bis|['’]s)(?P<notX>\s*(?:not|n['’]t))?\s+(?i:(?:the|a)\s+)?(?:\w+ly\s+)?(?i:only\s+|single\s+)?(?i:(?:correct|right|best|true|accurate)(?=\s*(?:[.,;:!)]|\Z|\n|answer|choice|option|one\b|because|since|as\b|and\b))|answer|most\b)",
        rf"(?i:\b(?:but|rather|instead|it\s+is|it['’]s)\s+(?:(?:rather|instead|it\s+is|it['’]s|is)\s+){{0,3}}{named}){opened}(?P<atX>{letter})(?=\s*(?:[.,;!]|$|\n))",
        rf"(?:答案|答(?=\s*:)|正确选项|正确的选项|结论)[^。\n:A-Z是为]{{0,12}}?(?P<notX>不|并非|不应)?(?:应该是|应当是|应为|应是|就是|是|为|选择|选|:|】)\s*:?\s*(?P<notY>不是)?(?:选项)?{opened}(?P<atX>{letter})",
        rf"(?P<notX>不能|不可以|不应该?|不要|不会|不|别|排除)?(?:选择|选(?!项)|选项[是为:])\s*:?\s*(?:选项)?{opened}(?P<atX>{letter})",
        rf"(?:而是|应该是|应为|应是|就是|的是|的为)\s*:?\s*(?:选项)?{opened}(?P<atX>{letter})",
        rf"(?<![A-Za-z0-9'’]){opened}(?P<atX>{any_letter})[)\]]?\s*(?:选项|项)?\s*(?:是|才是|为)?(?P<notX>\s*不)?\s*(?:正确|对的|最佳|最合适)(?!吗|么|与否)",
    ]
    numbered = [
        s.replace("atX", f"at{n}").replace("notX", f"not{n}").replace("notY", f"not_{n}")
        for n, s in enumerate(statements)
    ]
    alone = rf"{opened}((?:{run}|{small}){more})(?:选项|项)?[^\w+#]*"
    lead = rf"[(\[]?({any_letter})(?:[)\].:、]|\s*[-–—]\s)\s*(?=\S)"
    return _Patterns(
        alone=re.compile(alone),
        lead=re.compile(lead),
        statement=re.compile("|".join(numbered)),
        last_line=re.compile(rf"^[ \t(\[\"']*((?:{run}){more})[)\]\"'. \t。]*$", re.MULTILINE),
        lead_line=re.compile(rf"^[ \t]*{lead}", re.MULTILINE),
        bracket=re.compile(
            rf"\(({any_letter})\)|(?i:\b(?:option|choice)|选项)\s*({any_letter})(?![A-Za-z0-9'’])|(?:^|\s|是)({any_letter})[.!?。]?\Z"
        ),
    )
