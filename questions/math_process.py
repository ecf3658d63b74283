"""The process that compares expressions with math-verify and sympy, one request a line, and can be killed at any time.

Run by ``questions.comparing``; nothing else imports it. A line in is ``[gold, answer]``, a line out ``{"same": bool}``.
It ends when its standard input does, and by its own alarm when a comparison takes longer than its limit: the signal's
default action needs no interpreter, so it also ends one that is lost in the arithmetic of huge numbers.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
from functools import lru_cache
from typing import Any


def serve(limit_s: float, memory_bytes: int) -> None:
    """Answer requests until standard input ends. ``limit_s`` is for one comparison, ``memory_bytes`` for all."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    # A mark must not depend on the machine's luck: whoever runs out of memory leaves no core and takes nobody along.
    for kind, limit in ((resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_CORE, 0)):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (limit, limit))
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # what a library prints must not end up between the answers
    try:
        compare = _comparer()
    except ImportError as error:
        print(json.dumps({"error": str(error)}), file=answers, flush=True)
        return
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        gold, answer = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, limit_s)
        same = compare(gold, answer)
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(json.dumps({"same": same}), file=answers, flush=True)


def _comparer() -> Any:
    import logging

    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    logging.disable(logging.CRITICAL)
    kinds = [LatexExtractionConfig(), ExprExtractionConfig()]

    @lru_cache(maxsize=1024)
    def parsed(text: str) -> list[Any]:
        # No limit of math-verify's own: the alarm above does it, also outside of Python code.
        found = [value for value in parse(f"${text}$", kinds, parsing_timeout=None) if not isinstance(value, str)]
        return [value.xreplace({sign: _meant(sign) for sign in value.free_symbols}) for value in found]

    def compare(gold: str, answer: str) -> bool:
        golds, answers = parsed(gold), parsed(answer)
        if verify(golds, answers, timeout_seconds=None, allow_set_relation_comp=True):
            return True
        return any(_near(left, right) for left in answers for right in golds)

    return compare


def _meant(sign: Any) -> Any:
    """Return what a symbol stands for: i is the imaginary unit, and of one name there is one symbol, a real one."""
    from sympy import I, Symbol

    return I if sign.name == "i" else Symbol(sign.name, real=True)


def _near(left: Any, right: Any) -> bool:
    """Tell whether two expressions without unknowns are within 1e-6 of each other, as ``questions.maths`` has it."""
    from sympy import Expr

    if not all(isinstance(value, Expr) and value.is_number and value.is_finite for value in (left, right)):
        return False
    if left.is_integer and right.is_integer:
        return False  # exactly equal ones have been found
    distance, size = abs((left - right).evalf(30)), abs(right.evalf(30))
    return bool(distance <= 1e-6 * min(1, size))
