"""What a run over a question bank asks, read from its options: the bank is prepared, and what marks it chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.values import name_of, nearest, pairs, split, whole
from trials.errors import UsageError
from trials.spec import QuestionSpec

if TYPE_CHECKING:
    from questions.bank import Bank, BankSource

ROLES = ("id", "question", "messages", "answer", "choices", "subject", "difficulty", "simulated_truth")
MOST_EPOCHS = 1_000
LABELS_CHECKED = 1_000
_OF_WORKFLOWS = {
    "prompt_types": "--prompt-types",
    "difficulty": "--difficulty",
    "task_types": "--task-types",
    "num_instances": "--num-instances",
    "tool_success_rates": "--tool-success-rate",
    "severity": "--severity",
    "tool_protocol": "--tool-protocol",
    "task_library": "--task-library",
    "tool_registry": "--tool-registry",
}
_OF_QUESTIONS = {
    "columns": "--columns",
    "template": "--template",
    "system": "--system",
    "few_shot": "--few-shot",
    "limit": "--limit",
    "scorer": "--scorer",
    "scorer_options": "--scorer-option",
    "epochs": "--epochs",
    "judge_model": "--judge-model",
}


def refuse_other_kind(values: Mapping[str, Any]) -> None:
    """Raise UsageError for an option of the kind of work that is not asked for: it would silently do nothing."""
    if values["questions"]:
        for name, flag in _OF_WORKFLOWS.items():
            if values[name]:
                hint = " (--limit N asks the first N questions)" if name == "num_instances" else ""
                raise UsageError(f"{flag} is an option of the tool-use benchmark; leave it out with --questions{hint}")
        return
    for name, flag in _OF_QUESTIONS.items():
        if values[name]:
            raise UsageError(f"{flag} goes with a question bank: name it with --questions PATH")


def question_spec(
    values: Mapping[str, Any], banks_dir: Path, tell: Callable[[str], None]
) -> tuple[QuestionSpec, Mapping[str, Any]]:
    """Prepare the bank; return what is asked, and the request parameters that the bank's own file asks for.

    Raises UsageError for the first thing that is wrong with an option or with the bank.
    """
    from questions.bank import prepare_bank
    from questions.scorers import SCORERS, open_scorer

    options = pairs("--scorer-option", values["scorer_options"])
    if values["scorer"]:
        name_of("--scorer", values["scorer"], SCORERS)
    if values["scorer"] or options:
        open_scorer(values["scorer"] or "normalised", options).close()  # before minutes go into a large bank
    epochs = whole("--epochs", values["epochs"] or "1", 1, MOST_EPOCHS)
    if len(split(values["judge_model"])) > 1:
        raise UsageError(f"--judge-model: {values['judge_model']!r} names several models; one marks")
    bank = prepare_bank(bank_source(values), banks_dir, tell)
    scorer = values["scorer"] or _fitting_scorer(bank)
    if not bank.has_targets and scorer != "none" and not values["judge_model"]:
        raise UsageError(
            f"--scorer {scorer}: {bank.source} has no column of answers to mark against; name it with "
            f"--columns answer=NAME, or give --scorer none or --judge-model"
        )
    if bank.has_targets:
        _check_labels(bank, scorer, options)
    spec = QuestionSpec(
        bank=bank.digest,
        name=bank.name,
        questions=len(bank),
        scorer=scorer,
        scorer_options=options,
        epochs=epochs,
        judge=values["judge_model"] or "",
    )
    return spec, bank.parameters


def _check_labels(bank: Bank, scorer: str, options: Mapping[str, str]) -> None:
    """Raise UsageError if a scorer can do nothing with one of the bank's first labels, before anything is paid for."""
    from questions.scorers import open_scorer
    from questions.verdicts import BAD_TARGET

    marker = open_scorer(scorer, options)
    try:
        first = [question for question in map(bank.question, range(min(len(bank), LABELS_CHECKED))) if question.target]
        bad = [
            one for one in first if marker.mark(one.target or "", one.target or "", one.choices).category == BAD_TARGET
        ]
    finally:
        marker.close()
    if bad:
        raise UsageError(
            f"--scorer {scorer} cannot read {len(bad)} of the first {len(first)} labels, such as {bad[0].target!r} of "
            f"question {bad[0].question_id!r}; give another scorer, or say which column is what with --columns"
        )


def bank_source(values: Mapping[str, Any]) -> BankSource:
    """Return where the bank is and how its prompts are made. Raises UsageError."""
    from questions.bank import BankSource

    columns = pairs("--columns", split(values["columns"]))
    for role in columns:
        if role not in ROLES:
            raise UsageError(f"--columns: unknown role {role!r}; {nearest(role, ROLES)}")
    template, name = _template(values["template"], values["scorer"] or "")
    examples, _, count = (values["few_shot"] or "").rpartition(":")
    if not examples or not count.isdigit():
        examples, count = values["few_shot"] or "", "5"
    return BankSource(
        path=values["questions"],
        columns=columns,
        template=template,
        template_name=name,
        system=_text("--system", values["system"] or ""),
        examples_path=examples,
        examples_count=whole("--few-shot", count, 1, 1_000),
        limit=whole("--limit", values["limit"], 1, 10**9) if values["limit"] else None,
        skip_invalid=values["skip_invalid"],
    )


def _fitting_scorer(bank: Bank) -> str:
    """Return the scorer for a bank when none is named."""
    if not bank.has_targets:
        return "none"
    return "choice" if bank.has_choices else "normalised"


def _template(given: str | None, scorer: str) -> tuple[str, str]:
    """Return a template's text and its name. Without one, it is what fits the scorer; the bank may know better."""
    from questions.templates import BUILT_IN

    if not given:
        return "", "math" if scorer in ("math", "numeric") else "auto"
    if given in BUILT_IN:
        return "", given
    if not Path(given).is_file():
        raise UsageError(f"--template: {given!r} is neither a file nor one of {', '.join(BUILT_IN)}")
    text = _read("--template", Path(given))
    if not text.strip():
        raise UsageError(f"--template: {given} is empty")
    return text, Path(given).name


def _text(flag: str, given: str) -> str:
    """Return a text, or that of the file which @FILE names."""
    return _read(flag, Path(given[1:])) if given.startswith("@") else given


def _read(flag: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise UsageError(f"{flag}: cannot read {path}: {getattr(problem, 'strerror', None) or problem}") from problem
