"""Writes examples/questions.parquet: a small bank of mathematics questions of our own, with worked-out answers.

python examples/make_questions.py
"""

from __future__ import annotations

from fractions import Fraction
from math import comb, gcd, lcm
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).resolve().parent


class Item(NamedTuple):
    """A question, its answer, and where it is filed."""

    id: str
    question: str
    answer: str
    subject: str
    level: str


def algebra() -> list[Item]:
    items = [
        Item("algebra-01", "If a + b = 3 and a² + b² = 7, find ab.", "1", "algebra", "medium"),
        Item("algebra-02", "Solve 2x + 7 = 19 for x.", "6", "algebra", "easy"),
        Item("algebra-03", "Solve x² − 5x + 6 = 0. Give both solutions as a set.", r"\{2, 3\}", "algebra", "medium"),
        Item("algebra-04", "Simplify (x² − 9)/(x − 3) for x ≠ 3.", "x + 3", "algebra", "medium"),
        Item("algebra-05", "Expand (x + 2)².", "x^2 + 4x + 4", "algebra", "easy"),
        Item("algebra-06", "For which x is 3x − 4 > 11? Answer with an interval.", r"(5, \infty)", "algebra", "hard"),
        Item("algebra-07", "若 a+b=3，a²+b²=7，求 ab 的值。", "1", "algebra", "medium"),
        Item("algebra-08", "已知 f(x)=2x−1，求 f(5)。", "9", "algebra", "easy"),
        Item("algebra-09", "What is the sum of the roots of 2x² − 8x + 3 = 0?", "4", "algebra", "medium"),
        Item("algebra-10", "Write √50 in simplest form.", r"5\sqrt{2}", "algebra", "medium"),
    ]
    for n, (a, b) in enumerate([(12, 30), (8, 45), (21, 14), (9, 24), (35, 50)], 11):
        x = Fraction(b, a)
        items.append(
            Item(f"algebra-{n}", f"Solve {a}x = {b} for x, as a fraction in lowest terms.", str(x), "algebra", "easy")
        )
    return items


def arithmetic() -> list[Item]:
    items = []
    for n, (a, b, c) in enumerate([(17, 23, 4), (125, 8, 39), (64, 12, 7), (99, 101, 50), (36, 15, 6)], 1):
        items.append(Item(f"arithmetic-{n:02d}", f"Compute {a} × {b} − {c}.", str(a * b - c), "arithmetic", "easy"))
    for n, (p, q, r, s) in enumerate([(1, 2, 1, 3), (3, 4, 5, 6), (2, 7, 3, 5), (7, 8, 1, 6), (5, 9, 4, 27)], 6):
        total = Fraction(p, q) + Fraction(r, s)
        items.append(Item(f"arithmetic-{n:02d}", f"Compute {p}/{q} + {r}/{s}.", str(total), "arithmetic", "medium"))
    for n, (share, whole) in enumerate([(15, 240), (8, 1250), (62, 350), (120, 45), (5, 18)], 11):
        value = Fraction(share * whole, 100)
        items.append(
            Item(f"arithmetic-{n:02d}", f"What is {share} % of {whole}?", f"{float(value):g}", "arithmetic", "easy")
        )
    return items


def numbers() -> list[Item]:
    items = []
    for n, (a, b) in enumerate([(84, 126), (91, 65), (144, 60), (221, 299), (75, 45)], 1):
        items.append(
            Item(
                f"numbers-{n:02d}",
                f"What is the greatest common divisor of {a} and {b}?",
                str(gcd(a, b)),
                "number theory",
                "easy",
            )
        )
    for n, (a, b) in enumerate([(12, 18), (21, 6), (14, 35), (9, 16), (24, 36)], 6):
        items.append(Item(f"numbers-{n:02d}", f"求 {a} 和 {b} 的最小公倍数。", str(lcm(a, b)), "number theory", "easy"))
    for n, (base, power, modulus) in enumerate([(7, 100, 5), (3, 50, 7), (2, 31, 11), (5, 17, 13), (11, 9, 8)], 11):
        rest = pow(base, power, modulus)
        question = f"What is the remainder when {base}^{power} is divided by {modulus}?"
        items.append(Item(f"numbers-{n:02d}", question, str(rest), "number theory", "hard"))
    return items


def chance() -> list[Item]:
    items = []
    for n, (total, drawn) in enumerate([(5, 2), (8, 3), (10, 4), (12, 2), (7, 5)], 1):
        question = f"In how many ways can {drawn} people be chosen from {total}?"
        items.append(Item(f"chance-{n:02d}", question, str(comb(total, drawn)), "probability", "medium"))
    for n, (red, blue) in enumerate([(3, 5), (4, 6), (2, 10), (7, 7), (1, 8)], 6):
        question = (
            f"A bag holds {red} red and {blue} blue balls. What is the probability that a ball drawn at random is red?"
        )
        items.append(Item(f"chance-{n:02d}", question, str(Fraction(red, red + blue)), "probability", "easy"))
    for n, throws in enumerate([2, 3, 4, 5, 6], 11):
        question = f"A fair coin is thrown {throws} times. What is the probability of no heads at all?"
        items.append(Item(f"chance-{n:02d}", question, str(Fraction(1, 2**throws)), "probability", "medium"))
    return items


def main() -> None:
    """Write the bank."""
    items = [*algebra(), *arithmetic(), *numbers(), *chance()]
    table = pa.table({name: [getattr(item, name) for item in items] for name in Item._fields})
    pq.write_table(table, HERE / "questions.parquet", compression="zstd")
    print(f"{len(items)} questions in {HERE / 'questions.parquet'}")


if __name__ == "__main__":
    main()
