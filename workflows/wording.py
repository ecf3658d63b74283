"""How a task is put into words: from plain ones to jargon. All difficulties say the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workflows.tasks import Task

PLAIN, NEUTRAL, JARGON = 0, 1, 2

PHRASES: Mapping[str, tuple[str, str, str]] = {
    "file_operations_reader": ("read the file", "load the file's content", "ingest the source artefact"),
    "file_operations_scanner": (
        "look for the newest file in the folder",
        "locate the newest matching file in the folder",
        "resolve the latest artefact by glob discovery",
    ),
    "file_operations_writer": (
        "save the result to a file",
        "store the result as a file in the given format",
        "persist the output to the designated sink path",
    ),
    "file_operations_converter": (
        "change the text into the other format",
        "convert the text into the target format",
        "transcode the payload to the target serialisation",
    ),
    "file_operations_compressor": (
        "pack the file into an archive",
        "compress the file at the given level",
        "deflate the artefact into an archive at the prescribed effort",
    ),
    "data_processing_parser": (
        "turn the text into a table of records",
        "parse the text into records",
        "deserialise the payload into a record set",
    ),
    "data_processing_transformer": (
        "tidy up the records in the way that is asked for",
        "apply the given transformation to the records",
        "apply the prescribed transform operator to the record set",
    ),
    "data_processing_validator": (
        "check the records and keep the good ones",
        "validate the records against the schema",
        "enforce schema conformance on the record set",
    ),
    "data_processing_filter": (
        "keep only the records that meet the condition",
        "filter the records by the condition",
        "apply the selection predicate to the record set",
    ),
    "data_processing_aggregator": (
        "group the records and sum up each group",
        "aggregate the records by the given field",
        "reduce the record set along the grouping key",
    ),
    "network_fetcher": (
        "get the text from the web address",
        "fetch the resource over HTTP",
        "pull the upstream representation over HTTP",
    ),
    "network_poster": (
        "send the result to the web address",
        "post the result to the target address",
        "push the payload to the downstream endpoint",
    ),
    "network_monitor": (
        "watch whether the web address stays up",
        "monitor the endpoint for the given number of checks",
        "probe endpoint liveness over the prescribed sampling count",
    ),
    "network_router": (
        "find out at which web address the service answers",
        "look up the service's address in the region",
        "resolve the regional ingress of the service",
    ),
    "network_validator": (
        "check that the answer from the web is all right",
        "validate the response by the given rule",
        "assert response integrity under the prescribed rule",
    ),
    "computation_calculator": (
        "work out the number",
        "calculate the expression over the records",
        "evaluate the scalar expression over the record set",
    ),
    "computation_analyzer": (
        "find out what is in the records",
        "analyse the records by the given method",
        "run the prescribed analytic over the record set",
    ),
    "computation_predictor": (
        "guess how the numbers will go on",
        "forecast the records over the given horizon",
        "extrapolate the series over the forecast horizon",
    ),
    "computation_simulator": (
        "try out many possible outcomes",
        "simulate the given number of scenarios",
        "draw a scenario ensemble of the prescribed size",
    ),
    "computation_optimizer": (
        "find the best setting",
        "optimise for the given objective",
        "solve for the optimum of the stated objective",
    ),
    "integration_authenticator": (
        "sign in to the service",
        "obtain an access token for the service",
        "acquire a scoped bearer credential",
    ),
    "integration_connector": (
        "connect to the service",
        "open a connection to the service",
        "establish a session with the service backend",
    ),
    "integration_mapper": (
        "rename the fields for the other system",
        "map the records' fields to the other system",
        "project the record set through the field mapping",
    ),
    "integration_queue": (
        "put the result into the queue",
        "hand the result to the message queue",
        "enqueue the payload on the message broker",
    ),
    "integration_scheduler": (
        "plan the job for later",
        "schedule the job at the given time",
        "register the recurring job with the scheduler",
    ),
    "utility_logger": (
        "note in the log what was done",
        "write an audit log entry",
        "emit an audit trail event",
    ),
    "utility_cache": (
        "keep the result at hand for later",
        "cache the result under the given key",
        "materialise the result in the cache tier",
    ),
    "utility_tracker": (
        "write down the number",
        "record the value under the metric's name",
        "publish the measurement to the metric stream",
    ),
    "utility_helper": (
        "answer the simple question about the records",
        "answer the given question about the records",
        "produce the requested record set synopsis",
    ),
    "utility_notifier": (
        "tell the person who needs to know",
        "notify the recipient",
        "dispatch a notification to the stakeholder",
    ),
}

_REGISTER = {"very_easy": PLAIN, "easy": PLAIN, "medium": NEUTRAL, "hard": JARGON, "very_hard": JARGON}
FRAMES: Mapping[str, str] = {
    "very_easy": "Please help with {subject} (work order {code}). {steps}",
    "easy": "Work order {code} is about {subject}. What is needed: {steps}.",
    "medium": "Work order {code}, concerning {subject}: {steps}.",
    "hard": "Execute work order {code} against {subject}: {steps}.",
    "very_hard": "WO {code}; scope: {subject}; end state: {steps}; all precursors implied.",
}


def describe(task: Task, difficulty: str) -> str:
    """Return the task's description in a difficulty's words."""
    phrases = [phrase(task, index, _REGISTER[difficulty]) for index in range(len(task.steps))]
    return FRAMES[difficulty].format(subject=task.subject, code=task.code, steps=_STEPS[difficulty](phrases))


def phrase(task: Task, index: int, register: int) -> str:
    """Say in a few words what a step does."""
    tool = task.steps[index].tool
    known = PHRASES.get(tool)
    return known[register] if known else task.toolset[tool].description.rstrip(".").lower()


def _first_then(phrases: list[str]) -> str:
    starts = ["First"] + ["Then"] * (len(phrases) - 2) + ["Finally"] * (len(phrases) > 1)
    return " ".join(f"{start}, {one}." for start, one in zip(starts, phrases, strict=True))


def _listed(phrases: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(phrases[:-1]), phrases[-1]]))


def _backwards(phrases: list[str]) -> str:
    """Name the end first, as a terse order would."""
    return "; preceded by: ".join(reversed(phrases))


_STEPS = {
    "very_easy": _first_then,
    "easy": _listed,
    "medium": lambda phrases: ", then ".join(phrases),
    "hard": _listed,
    "very_hard": _backwards,
}
