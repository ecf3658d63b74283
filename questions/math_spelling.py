"""One spelling for mathematical answers, as LaTeX that math-verify reads, and the parts that lists and sets have."""

from __future__ import annotations

import re
from unicodedata import normalize

_SYMBOLS = {
    "π": r"\pi ",
    "∞": r"\infty ",
    "×": r"\times ",
    "·": r"\cdot ",
    "⋅": r"\cdot ",
    "÷": "/",
    "≤": r"\le ",
    "≥": r"\ge ",
    "无穷大": r"\infty ",
    "正无穷": r"\infty ",
    "负无穷": r"-\infty ",
    "≠": r"\ne ",
    "∪": r"\cup ",
    "∩": r"\cap ",
    "∈": r"\in ",
    "∅": r"\emptyset ",
    "±": r"\pm ",
    "°": r"^\circ ",
    "θ": r"\theta ",
    "α": r"\alpha ",
    "β": r"\beta ",
    "−": "-",
    "–": "-",
    "⁄": "/",
    "ℝ": r"\mathbb{R}",
    "∠": r"\angle ",
    "≈": "=",
    "∛": r"\sqrt[3]",
}
_SYMBOL = re.compile("|".join(_SYMBOLS))
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n")
_RAISED = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ]+")
_VULGAR = re.compile("[¼½¾⅐-⅞]")
_ROOT = re.compile(r"√\s*(?:\(([^()]*)\)|\{([^{}]*)\}|(\d+(?:\.\d+)?|[a-z]))")
_SQRT_CALL = re.compile(r"\\?\bsqrt\s*\(((?:[^()]|\([^()]*\))*)\)")
_E_NOTATION = re.compile(r"(?<![A-Za-z\d.])(\d+(?:\.\d+)?)[eE]([-+]?\d+)(?![A-Za-z\d])")
_POWER = re.compile(r"(?:\^|\*\*)\s*(?:\(([^()]+)\)|(-?\d+(?:\.\d+)?)|\{([^{}]*)\})")
_FUNCTION = re.compile(
    r"(?<![\\A-Za-z])(sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|sinh|cosh|tanh|ln|log|exp|det|max|min)(?![A-Za-z])"
)
_CONSTANT = re.compile(r"(?<![\\A-Za-z])(pi|infty|infinity|inf|oo)(?![A-Za-z])", re.IGNORECASE)
_DEGREES = re.compile(r"(\\(?:sin|cos|tan|cot|sec|csc))\s*(\()?\s*(\d+(?:\.\d+)?)\s*\^\s*(?:\{\s*)?\\circ(?:\s*\})?")
_SPACING = re.compile(r"\\(?:left|right|displaystyle|big|Big|bigg|Bigg|[,;:! ]|quad|qquad)(?![A-Za-z])|~|\$")
_STYLED = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox|textrm|operatorname|textit|boldsymbol|bold)\s*\{([^{}]*)\}")
_SHORT_FRACTION = re.compile(r"\\frac\s*(\d)\s*(\d)(?!\d)")
_MATRIX = re.compile(r"\s*\\begin\{([pb]?matrix)\}((?:(?!\\begin).)*)\\end\{\1\}\s*", re.DOTALL)
_CONNECTOR = re.compile(
    r"\s*(?:,|;|、)\s*(?:and|or)\s+|(?<=[\s\d)}])\s*\b(?:and|or)\b\s+|\s*(?:和|或|及|或者|以及)\s*|\s*[;、]\s*"
)
_NAMED = re.compile(r"\s*(?P<name>[A-Za-z](?:_(?:\w|\{\w+\}))?(?:\([a-z]\))?)\s*(?:=|\\in\b)\s*(?P<value>[^=<>]+)\Z")
_GROUPING = re.compile(r"(?<=\d)(?:\\[,!;: ]|\{,\}|[\u00a0\u2009\u202f])(?=\d{3}(?!\d))")


def latex(text: str) -> str:
    """Return a mathematical text as LaTeX: Unicode symbols, calls such as sqrt(2), 1e5 and matrices rewritten."""
    text = text.strip()
    if not text.isascii():
        text = _VULGAR.sub(lambda match: " " + normalize("NFKC", match[0]).replace("⁄", "/"), text)
        text = _RAISED.sub(lambda match: "^{" + match[0].translate(_SUPERSCRIPTS) + "}", text)
        text = normalize("NFKC", _SYMBOL.sub(lambda match: _SYMBOLS[match[0]], _GROUPING.sub("", text)))
        text = _ROOT.sub(lambda match: r"\sqrt{" + (match[1] or match[2] or match[3]) + "}", text)
    text = _STYLED.sub(r" \1 ", _GROUPING.sub("", text))
    if (matrix := _MATRIX.fullmatch(text)) is not None:
        text = _nested(matrix[2])
    text = (
        _SPACING.sub(" ", text).replace(r"\dfrac", r"\frac").replace(r"\tfrac", r"\frac").replace(r"\cfrac", r"\frac")
    )
    text = re.sub(r"\^\s*\{\s*\\circ\s*\}|\\degrees?\b", r"^\\circ", text)
    text = text.replace(r"\leq", r"\le").replace(r"\geq", r"\ge").replace("<=", r"\le ").replace(">=", r"\ge ")
    text = _SHORT_FRACTION.sub(r"\\frac{\1}{\2}", text)
    text = _E_NOTATION.sub(lambda match: rf"{match[1]}\times 10^{{{int(match[2])}}}", text)
    text = _CONSTANT.sub(lambda match: r"\pi " if match[1].lower() == "pi" else r"\infty ", text)
    text = _SQRT_CALL.sub(r"\\sqrt{\1}", _FUNCTION.sub(r"\\\1", text))
    text = _POWER.sub(lambda match: "^{" + (match[1] or match[2] or match[3] or "") + "}", text)
    text = _DEGREES.sub(_radians, text)
    return " ".join(text.replace("*", r" \cdot ").split()).rstrip(".。 ")


def _nested(body: str) -> str:
    rows = [
        [cell.strip() for cell in row.split("&")]
        for row in re.split(r"\\\\", body.replace(r"\hline", ""))
        if row.strip()
    ]
    return "[" + ", ".join("[" + ", ".join(row) + "]" for row in rows) + "]"


def _radians(match: re.Match[str]) -> str:
    return rf"{match[1]}(\frac{{{match[3]}\pi}}{{180}}{')' if not match[2] else ''}"


def squeezed(text: str) -> str:
    """Return LaTeX without blanks, and without braces and brackets around a single sign: for a first look."""
    text = re.sub(r"\{(\w)\}", r"\1", text.replace(" ", ""))
    return text[1:-1] if re.fullmatch(r"\(\w\)", text) else text


def unnamed(text: str) -> tuple[str, str]:
    """Return (name, value) of "x = 3", "x in (1,2)"; the name is empty for anything else."""
    match = _NAMED.match(text)
    return (match["name"], match["value"].strip()) if match else ("", text)


def parts(text: str) -> tuple[str, list[str]] | None:
    """Return (brackets, members) of a tuple, interval, set or list; brackets are empty for "1, 2" and "±2".

    None for anything with one member that stands in no square or curly brackets.
    """
    inner, kind = text.strip(), ""
    for opened, closed, found in (
        (r"\{", r"\}", "{}"),
        ("{", "}", "{}"),
        ("(", ")", "()"),
        ("[", "]", "[]"),
        ("(", "]", "(]"),
        ("[", ")", "[)"),
    ):
        if inner.startswith(opened) and inner.endswith(closed) and _closes_last(inner, len(opened), len(closed)):
            inner, kind = inner[len(opened) : -len(closed)], found
            break
    members = _split(inner if kind else _CONNECTOR.sub(", ", inner))
    if not kind and len(members) == 1 and inner.count(r"\pm") == 1:
        return "", [inner.replace(r"\pm", "+").lstrip("+ "), inner.replace(r"\pm", "-")]
    if not all(members) or (len(members) == 1 and kind in ("", "()", "(]", "[)")):
        return None
    return kind, members


def _closes_last(text: str, begin: int, end: int) -> bool:
    depth = 0
    for mark in text[begin : len(text) - end]:
        depth += (mark in "([{") - (mark in ")]}")
        if depth < 0:
            return False
    return True


def _split(text: str) -> list[str]:
    depth, members, begin = 0, [], 0
    for place, mark in enumerate(text):
        depth += (mark in "([{") - (mark in ")]}")
        if mark == "," and depth <= 0:
            members.append(text[begin:place].strip())
            begin = place + 1
    return [*members, text[begin:].strip()]
