"""The thirty built-in tools, as data: six categories of five operations each."""

from __future__ import annotations

from workflows.toolparts import count, data, flag, given, option, result, tool, words
from workflows.tools import Tool


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


def _file_operations() -> list[Tool]:
    return [
        tool(
            "file_operations_reader",
            "Read a file and hand back its text.",
            [
                data("path", "path", prefix=["/"]),
                option("encoding", "Text encoding.", "string", "utf-8", enum=["utf-8", "latin-1", "utf-16"]),
            ],
            [result("content", "content"), count("size_bytes", "Size of the file.")],
            ("file_operations_scanner",),
        ),
        tool(
            "file_operations_scanner",
            "Search a folder for files and hand back the newest match.",
            [
                given("directory", "Absolute path of the folder.", prefix=["/"]),
                given("name_pattern", "Pattern of file names, such as *.csv.", min_length=1),
                option("recursive", "Whether to look into sub-folders.", "boolean", False),
            ],
            [result("path", "path"), count("matches", "Number of files found.")],
        ),
        tool(
            "file_operations_writer",
            "Write data to a file.",
            [
                data("data", "records", "report", "content"),
                given("destination", "Absolute path of the file to write.", prefix=["/"]),
                given("output_format", "Format of the file.", enum=["json", "csv", "parquet", "txt"]),
            ],
            [result("written_path", "path"), count("bytes_written", "Size of what was written.")],
        ),
        tool(
            "file_operations_converter",
            "Convert a text from its format into another one.",
            [
                data("content", "content"),
                given("target_format", "Format to convert into.", enum=["json", "csv", "xml", "yaml"]),
            ],
            [result("converted", "content")],
            ("file_operations_reader",),
        ),
        tool(
            "file_operations_compressor",
            "Pack a file into an archive.",
            [
                data("file", "path", prefix=["/"]),
                given("level", "Effort, 1 (fast) to 9 (small).", "integer", minimum=1, maximum=9),
            ],
            [result("archive_path", "path"), count("saved_bytes", "Bytes saved.")],
            ("file_operations_writer",),
        ),
    ]


def _data_processing() -> list[Tool]:
    return [
        tool(
            "data_processing_parser",
            "Turn a text into structured records.",
            [
                data("content", "content"),
                given("source_format", "Format of the text.", enum=["json", "csv", "xml", "yaml"]),
            ],
            [result("records", "records"), count("parsed", "Number of records.")],
            ("file_operations_reader", "network_fetcher"),
        ),
        tool(
            "data_processing_transformer",
            "Reshape a set of records.",
            [
                data("records", "records"),
                given(
                    "transformation",
                    "What to do.",
                    enum=["normalise", "flatten", "pivot", "deduplicate", "sort"],
                ),
            ],
            [result("transformed", "records")],
            ("data_processing_parser",),
        ),
        tool(
            "data_processing_validator",
            "Check records against a schema and hand back those that conform.",
            [
                data("records", "records"),
                given("schema", "Name of the schema.", min_length=1),
                option("strict", "Whether one bad record fails all.", "boolean", False),
            ],
            [result("valid_records", "records"), count("rejected", "Number of records left out.")],
            ("data_processing_parser", "data_processing_transformer"),
        ),
        tool(
            "data_processing_filter",
            "Keep the records that meet a condition.",
            [
                data("records", "records"),
                given("field", "Field to compare.", min_length=1),
                given("operator", "Comparison.", enum=["equals", "differs", "above", "below", "contains"]),
                given("operand", "What to compare with.", min_length=1),
            ],
            [result("kept", "records"), count("dropped", "Number of records dropped.")],
            ("data_processing_parser",),
        ),
        tool(
            "data_processing_aggregator",
            "Group records and summarise each group.",
            [
                data("records", "records"),
                given("group_by", "Field to group by.", min_length=1),
                given("function", "How to summarise.", enum=["sum", "mean", "count", "min", "max"]),
            ],
            [result("groups", "records")],
            ("data_processing_parser",),
        ),
    ]


def _network() -> list[Tool]:
    web = ["https://", "http://"]
    return [
        tool(
            "network_fetcher",
            "Fetch a resource over HTTP and hand back its text.",
            [
                data("url", "url", prefix=web),
                data("token", "token", required=False),
                option("timeout_s", "Longest wait in seconds.", "integer", 30, minimum=1, maximum=120),
            ],
            [result("response", "content"), count("status_code", "HTTP status.")],
            ("integration_authenticator",),
        ),
        tool(
            "network_poster",
            "Send data to an address over HTTP.",
            [
                data("payload", "records", "report", "content"),
                given("target_url", "Address to send to.", prefix=web),
                data("token", "token", required=False),
            ],
            [result("receipt", "receipt"), count("status_code", "HTTP status.")],
            ("integration_authenticator",),
        ),
        tool(
            "network_monitor",
            "Watch an address for a while and report its health.",
            [
                given("endpoint", "Address to watch.", prefix=web),
                given("checks", "Number of checks.", "integer", minimum=1, maximum=100),
            ],
            [result("health_report", "report"), flag("healthy", "Whether all checks passed.")],
            ("network_poster",),
        ),
        tool(
            "network_router",
            "Find the address under which a service answers in a region.",
            [
                given("service", "Name of the service.", min_length=1),
                given("region", "Region.", enum=["eu-west", "us-east", "ap-south", "sa-east"]),
            ],
            [result("url", "url")],
        ),
        tool(
            "network_validator",
            "Check a fetched response and hand it back if it is sound.",
            [
                data("response", "content"),
                given("rule", "What to check.", enum=["status", "schema", "signature", "freshness"]),
            ],
            [result("checked_response", "content"), flag("sound", "Whether it passed.")],
            ("network_fetcher",),
        ),
    ]


def _computation() -> list[Tool]:
    return [
        tool(
            "computation_calculator",
            "Calculate one number from a set of records.",
            [
                data("data", "records"),
                given("expression", "Formula over field names, such as sum(amount).", min_length=3),
            ],
            [result("result", "number")],
        ),
        tool(
            "computation_analyzer",
            "Analyse a set of records and report what is in them.",
            [
                data("data", "records"),
                given("method", "Analysis.", enum=["trend", "correlation", "outliers", "summary"]),
            ],
            [result("analysis", "report")],
            ("data_processing_transformer",),
        ),
        tool(
            "computation_predictor",
            "Predict how a set of records goes on.",
            [
                data("data", "records"),
                given("horizon_days", "Days to look ahead.", "integer", minimum=1, maximum=365),
            ],
            [result("forecast", "records")],
            ("computation_analyzer",),
        ),
        tool(
            "computation_simulator",
            "Play through scenarios based on records and report the spread of outcomes.",
            [
                data("data", "records"),
                given("runs", "Number of scenarios.", "integer", minimum=10, maximum=100000),
            ],
            [result("scenario_report", "report")],
            ("computation_predictor",),
        ),
        tool(
            "computation_optimizer",
            "Find the best setting for an objective.",
            [
                data("basis", "report", "records"),
                given("objective", "What to improve.", enum=["cost", "speed", "quality", "energy"]),
                option("rounds", "Rounds of search.", "integer", 50, minimum=1, maximum=1000),
            ],
            [result("solution", "report")],
            ("computation_analyzer", "computation_simulator"),
        ),
    ]


def _integration() -> list[Tool]:
    return [
        tool(
            "integration_authenticator",
            "Sign in to a service and obtain an access token.",
            [
                given("service", "Name of the service.", min_length=1),
                given("scope", "Right to ask for.", enum=["read", "write", "admin"]),
            ],
            [result("token", "token")],
        ),
        tool(
            "integration_connector",
            "Open a connection to a service.",
            [
                given("service", "Name of the service.", min_length=1),
                data("token", "token", required=False),
            ],
            [result("connection", "connection")],
            ("integration_authenticator",),
        ),
        tool(
            "integration_mapper",
            "Rename and rearrange the fields of records for another system.",
            [data("records", "records"), given("mapping", "Name of the field mapping.", min_length=1)],
            [result("mapped", "records")],
            ("data_processing_parser",),
        ),
        tool(
            "integration_queue",
            "Put data into a message queue.",
            [
                data("payload", "records", "report", "content"),
                given("queue_name", "Name of the queue.", min_length=1),
                data("connection", "connection", required=False),
            ],
            [result("message_id", "receipt")],
            ("integration_connector",),
        ),
        tool(
            "integration_scheduler",
            "Schedule a job to run again later.",
            [
                given("job_name", "Name of the job.", min_length=1),
                given("run_at", "Time of day, HH:MM.", min_length=5, max_length=5),
                data("connection", "connection", required=False),
            ],
            [result("schedule_id", "receipt")],
            ("integration_connector", "file_operations_writer", "network_poster"),
        ),
    ]


def _utility() -> list[Tool]:
    return [
        tool(
            "utility_logger",
            "Write an entry to the audit log.",
            [
                words("message", "What happened, in a few words."),
                given("severity", "Weight of the entry.", enum=["debug", "info", "warning", "error"]),
            ],
            [result("log_id", "receipt")],
            ("network_poster", "file_operations_writer"),
        ),
        tool(
            "utility_cache",
            "Keep data in the cache under a key.",
            [
                data("data", "records", "report", "content"),
                given("cache_key", "Key to store under.", min_length=1),
                option("ttl_s", "Seconds to keep it.", "integer", 3600, minimum=1, maximum=604800),
            ],
            [result("cache_receipt", "receipt")],
        ),
        tool(
            "utility_tracker",
            "Record the value of a metric.",
            [data("measure", "number"), given("metric", "Name of the metric.", min_length=1)],
            [result("tracking_id", "receipt")],
            ("computation_calculator",),
        ),
        tool(
            "utility_helper",
            "Answer a simple question about a set of records.",
            [
                data("data", "records"),
                given("question", "What to find out.", enum=["describe", "sample", "size", "fields"]),
            ],
            [result("answer", "report")],
        ),
        tool(
            "utility_notifier",
            "Send a message to a person or team.",
            [
                given("recipient", "Address of the person or team.", min_length=3),
                words("text", "What to tell them."),
                data("attachment", "report", "path", required=False),
            ],
            [result("notification_id", "receipt")],
            ("file_operations_writer", "network_poster", "integration_queue"),
        ),
    ]
