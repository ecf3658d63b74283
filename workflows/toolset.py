"""The thirty built-in tools, as data: six categories of five operations each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from workflows.tools import INVALID_INPUT, Parameter, ReturnField, Tool, ToolFault

VERSION = "1.0.0"

_COMMON = {
    INVALID_INPUT: "An argument is missing, of the wrong type, or outside its limits.",
    "OPERATION_FAILED": "The operation was begun and did not complete.",
    "TIMEOUT": "The operation took longer than it may.",
}
_OWN = {
    "file_operations": {
        "FILE_NOT_FOUND": "No file or folder has this path.",
        "PERMISSION_DENIED": "The file or folder may not be used.",
    },
    "network": {
        "NETWORK_ERROR": "The host could not be reached.",
        "INVALID_RESPONSE": "The host's reply could not be understood.",
    },
    "computation": {
        "CALCULATION_ERROR": "The numbers do not allow this calculation.",
        "OVERFLOW": "A value became too large.",
    },
}
_REFERENCES = {
    "content": "Reference to a text",
    "records": "Reference to a set of records",
    "report": "Reference to a report",
    "url": "Full address",
    "path": "Absolute path",
    "token": "Access token",
    "connection": "Reference to an open connection",
    "number": "The number",
    "receipt": "Receipt",
}


def thirty_tools() -> list[Tool]:
    """Build all tools, category by category."""
    return [
        *_file_operations(),
        *_data_processing(),
        *_network(),
        *_computation(),
        *_integration(),
        *_utility(),
    ]


def _tool(
    name: str,
    description: str,
    parameters: Iterable[Parameter],
    returns: Iterable[ReturnField],
    after: tuple[str, ...] = (),
) -> Tool:
    category, operation = name.rsplit("_", 1)
    faults = {**_COMMON, **_OWN.get(category, {})}
    return Tool(
        name=name,
        description=description,
        parameters=tuple(parameters),
        returns=tuple(returns),
        errors=tuple(ToolFault(code=code, description=text) for code, text in faults.items()),
        dependencies=after,
        metadata={"category": category, "operation": operation, "version": VERSION},
    )


def _given(name: str, description: str, type_: str = "string", **constraints: Any) -> Parameter:
    """A required parameter whose value the task states."""
    return Parameter(name=name, type=type_, description=description, constraints=constraints)


def _option(name: str, description: str, type_: str, default: Any, **constraints: Any) -> Parameter:
    return Parameter(
        name=name,
        type=type_,
        description=description,
        required=False,
        default=default,
        constraints=constraints,
    )


def _words(name: str, description: str) -> Parameter:
    """A required parameter that takes the model's own words."""
    limits = {"min_length": 1, "max_length": 500}
    return Parameter(name=name, type="string", description=description, constraints=limits, free=True)


def _data(name: str, *accepts: str, required: bool = True, **constraints: Any) -> Parameter:
    """A parameter that takes what another tool returned."""
    what = " or ".join(_REFERENCES[kind][0].lower() + _REFERENCES[kind][1:] for kind in accepts)
    return Parameter(
        name=name,
        type="number" if accepts == ("number",) else "string",
        description=f"{what[0].upper()}{what[1:]}, as returned by another tool or given.",
        required=required,
        constraints=constraints or ({} if accepts == ("number",) else {"min_length": 1}),
        accepts=accepts,
    )


def _result(name: str, kind: str) -> ReturnField:
    type_ = "number" if kind == "number" else "string"
    return ReturnField(name=name, type=type_, description=f"{_REFERENCES[kind]}.", kind=kind)


def _count(name: str, description: str) -> ReturnField:
    return ReturnField(name=name, type="integer", description=description, kind="count")


def _flag(name: str, description: str) -> ReturnField:
    return ReturnField(name=name, type="boolean", description=description, kind="flag")


def _file_operations() -> list[Tool]:
    return [
        _tool(
            "file_operations_reader",
            "Read a file and hand back its text.",
            [
                _data("path", "path", prefix=["/"]),
                _option("encoding", "Text encoding.", "string", "utf-8", enum=["utf-8", "latin-1", "utf-16"]),
            ],
            [_result("content", "content"), _count("size_bytes", "Size of the file.")],
            ("file_operations_scanner",),
        ),
        _tool(
            "file_operations_scanner",
            "Search a folder for files and hand back the newest match.",
            [
                _given("directory", "Absolute path of the folder.", prefix=["/"]),
                _given("name_pattern", "Pattern of file names, such as *.csv.", min_length=1),
                _option("recursive", "Whether to look into sub-folders.", "boolean", False),
            ],
            [_result("path", "path"), _count("matches", "Number of files found.")],
        ),
        _tool(
            "file_operations_writer",
            "Write data to a file.",
            [
                _data("data", "records", "report", "content"),
                _given("destination", "Absolute path of the file to write.", prefix=["/"]),
                _given("output_format", "Format of the file.", enum=["json", "csv", "parquet", "txt"]),
            ],
            [_result("written_path", "path"), _count("bytes_written", "Size of what was written.")],
        ),
        _tool(
            "file_operations_converter",
            "Convert a text from its format into another one.",
            [
                _data("content", "content"),
                _given("target_format", "Format to convert into.", enum=["json", "csv", "xml", "yaml"]),
            ],
            [_result("converted", "content")],
            ("file_operations_reader",),
        ),
        _tool(
            "file_operations_compressor",
            "Pack a file into an archive.",
            [
                _data("file", "path", prefix=["/"]),
                _given("level", "Effort, 1 (fast) to 9 (small).", "integer", minimum=1, maximum=9),
            ],
            [_result("archive_path", "path"), _count("saved_bytes", "Bytes saved.")],
            ("file_operations_writer",),
        ),
    ]


def _data_processing() -> list[Tool]:
    return [
        _tool(
            "data_processing_parser",
            "Turn a text into structured records.",
            [
                _data("content", "content"),
                _given("source_format", "Format of the text.", enum=["json", "csv", "xml", "yaml"]),
            ],
            [_result("records", "records"), _count("parsed", "Number of records.")],
            ("file_operations_reader", "network_fetcher"),
        ),
        _tool(
            "data_processing_transformer",
            "Reshape a set of records.",
            [
                _data("records", "records"),
                _given(
                    "transformation",
                    "What to do.",
                    enum=["normalise", "flatten", "pivot", "deduplicate", "sort"],
                ),
            ],
            [_result("transformed", "records")],
            ("data_processing_parser",),
        ),
        _tool(
            "data_processing_validator",
            "Check records against a schema and hand back those that conform.",
            [
                _data("records", "records"),
                _given("schema", "Name of the schema.", min_length=1),
                _option("strict", "Whether one bad record fails all.", "boolean", False),
            ],
            [_result("valid_records", "records"), _count("rejected", "Number of records left out.")],
            ("data_processing_parser", "data_processing_transformer"),
        ),
        _tool(
            "data_processing_filter",
            "Keep the records that meet a condition.",
            [
                _data("records", "records"),
                _given("field", "Field to compare.", min_length=1),
                _given("operator", "Comparison.", enum=["equals", "differs", "above", "below", "contains"]),
                _given("operand", "What to compare with.", min_length=1),
            ],
            [_result("kept", "records"), _count("dropped", "Number of records dropped.")],
            ("data_processing_parser",),
        ),
        _tool(
            "data_processing_aggregator",
            "Group records and summarise each group.",
            [
                _data("records", "records"),
                _given("group_by", "Field to group by.", min_length=1),
                _given("function", "How to summarise.", enum=["sum", "mean", "count", "min", "max"]),
            ],
            [_result("groups", "records")],
            ("data_processing_parser",),
        ),
    ]


def _network() -> list[Tool]:
    web = ["https://", "http://"]
    return [
        _tool(
            "network_fetcher",
            "Fetch a resource over HTTP and hand back its text.",
            [
                _data("url", "url", prefix=web),
                _data("token", "token", required=False),
                _option("timeout_s", "Longest wait in seconds.", "integer", 30, minimum=1, maximum=120),
            ],
            [_result("response", "content"), _count("status_code", "HTTP status.")],
            ("integration_authenticator",),
        ),
        _tool(
            "network_poster",
            "Send data to an address over HTTP.",
            [
                _data("payload", "records", "report", "content"),
                _given("target_url", "Address to send to.", prefix=web),
                _data("token", "token", required=False),
            ],
            [_result("receipt", "receipt"), _count("status_code", "HTTP status.")],
            ("integration_authenticator",),
        ),
        _tool(
            "network_monitor",
            "Watch an address for a while and report its health.",
            [
                _given("endpoint", "Address to watch.", prefix=web),
                _given("checks", "Number of checks.", "integer", minimum=1, maximum=100),
            ],
            [_result("health_report", "report"), _flag("healthy", "Whether all checks passed.")],
            ("network_poster",),
        ),
        _tool(
            "network_router",
            "Find the address under which a service answers in a region.",
            [
                _given("service", "Name of the service.", min_length=1),
                _given("region", "Region.", enum=["eu-west", "us-east", "ap-south", "sa-east"]),
            ],
            [_result("url", "url")],
        ),
        _tool(
            "network_validator",
            "Check a fetched response and hand it back if it is sound.",
            [
                _data("response", "content"),
                _given("rule", "What to check.", enum=["status", "schema", "signature", "freshness"]),
            ],
            [_result("checked_response", "content"), _flag("sound", "Whether it passed.")],
            ("network_fetcher",),
        ),
    ]


def _computation() -> list[Tool]:
    return [
        _tool(
            "computation_calculator",
            "Calculate one number from a set of records.",
            [
                _data("data", "records"),
                _given("expression", "Formula over field names, such as sum(amount).", min_length=3),
            ],
            [_result("result", "number")],
        ),
        _tool(
            "computation_analyzer",
            "Analyse a set of records and report what is in them.",
            [
                _data("data", "records"),
                _given("method", "Analysis.", enum=["trend", "correlation", "outliers", "summary"]),
            ],
            [_result("analysis", "report")],
            ("data_processing_transformer",),
        ),
        _tool(
            "computation_predictor",
            "Predict how a set of records goes on.",
            [
                _data("data", "records"),
                _given("horizon_days", "Days to look ahead.", "integer", minimum=1, maximum=365),
            ],
            [_result("forecast", "records")],
            ("computation_analyzer",),
        ),
        _tool(
            "computation_simulator",
            "Play through scenarios based on records and report the spread of outcomes.",
            [
                _data("data", "records"),
                _given("runs", "Number of scenarios.", "integer", minimum=10, maximum=100000),
            ],
            [_result("scenario_report", "report")],
            ("computation_predictor",),
        ),
        _tool(
            "computation_optimizer",
            "Find the best setting for an objective.",
            [
                _data("basis", "report", "records"),
                _given("objective", "What to improve.", enum=["cost", "speed", "quality", "energy"]),
                _option("rounds", "Rounds of search.", "integer", 50, minimum=1, maximum=1000),
            ],
            [_result("solution", "report")],
            ("computation_analyzer", "computation_simulator"),
        ),
    ]


def _integration() -> list[Tool]:
    return [
        _tool(
            "integration_authenticator",
            "Sign in to a service and obtain an access token.",
            [
                _given("service", "Name of the service.", min_length=1),
                _given("scope", "Right to ask for.", enum=["read", "write", "admin"]),
            ],
            [_result("token", "token")],
        ),
        _tool(
            "integration_connector",
            "Open a connection to a service.",
            [
                _given("service", "Name of the service.", min_length=1),
                _data("token", "token", required=False),
            ],
            [_result("connection", "connection")],
            ("integration_authenticator",),
        ),
        _tool(
            "integration_mapper",
            "Rename and rearrange the fields of records for another system.",
            [_data("records", "records"), _given("mapping", "Name of the field mapping.", min_length=1)],
            [_result("mapped", "records")],
            ("data_processing_parser",),
        ),
        _tool(
            "integration_queue",
            "Put data into a message queue.",
            [
                _data("payload", "records", "report", "content"),
                _given("queue_name", "Name of the queue.", min_length=1),
                _data("connection", "connection", required=False),
            ],
            [_result("message_id", "receipt")],
            ("integration_connector",),
        ),
        _tool(
            "integration_scheduler",
            "Schedule a job to run again later.",
            [
                _given("job_name", "Name of the job.", min_length=1),
                _given("run_at", "Time of day, HH:MM.", min_length=5, max_length=5),
                _data("connection", "connection", required=False),
            ],
            [_result("schedule_id", "receipt")],
            ("integration_connector", "file_operations_writer", "network_poster"),
        ),
    ]


def _utility() -> list[Tool]:
    return [
        _tool(
            "utility_logger",
            "Write an entry to the audit log.",
            [
                _words("message", "What happened, in a few words."),
                _given("severity", "Weight of the entry.", enum=["debug", "info", "warning", "error"]),
            ],
            [_result("log_id", "receipt")],
            ("network_poster", "file_operations_writer"),
        ),
        _tool(
            "utility_cache",
            "Keep data in the cache under a key.",
            [
                _data("data", "records", "report", "content"),
                _given("cache_key", "Key to store under.", min_length=1),
                _option("ttl_s", "Seconds to keep it.", "integer", 3600, minimum=1, maximum=604800),
            ],
            [_result("cache_receipt", "receipt")],
        ),
        _tool(
            "utility_tracker",
            "Record the value of a metric.",
            [_data("measure", "number"), _given("metric", "Name of the metric.", min_length=1)],
            [_result("tracking_id", "receipt")],
            ("computation_calculator",),
        ),
        _tool(
            "utility_helper",
            "Answer a simple question about a set of records.",
            [
                _data("data", "records"),
                _given("question", "What to find out.", enum=["describe", "sample", "size", "fields"]),
            ],
            [_result("answer", "report")],
        ),
        _tool(
            "utility_notifier",
            "Send a message to a person or team.",
            [
                _given("recipient", "Address of the person or team.", min_length=3),
                _words("text", "What to tell them."),
                _data("attachment", "report", "path", required=False),
            ],
            [_result("notification_id", "receipt")],
            ("file_operations_writer", "network_poster", "integration_queue"),
        ),
    ]
