"""lm-eval: a task of its own over a local file, asked by ``local-chat-completions``, all samples logged."""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from asked import KEY, MAX_TOKENS, MODEL, Job, lines, main, prompt

TASK = """\
task: orders
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}, cache_dir: {cache}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: [], do_sample: false, max_gen_toks: {tokens}}}
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true}}
"""


def run(job: Job) -> None:
    """Ask everything, through its command line."""
    job.folder.mkdir(parents=True, exist_ok=True)
    os.environ.update(OPENAI_API_KEY=KEY, HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TQDM_DISABLE="1")
    data = job.folder / "orders.jsonl"
    with data.open("w") as file:
        file.writelines(json.dumps({"question": prompt(number), "answer": "order"}) + "\n" for number in range(job.n))
    cache = job.folder / "cache"
    (job.folder / "orders.yaml").write_text(TASK.format(data=data, cache=cache, tokens=MAX_TOKENS))
    model_args = f"model={MODEL},base_url={job.url},num_concurrent={job.concurrency},max_retries=3"
    sys.argv = ["lm_eval", "run", "--model", "local-chat-completions", "--model_args", model_args]
    sys.argv += ["--tasks", "orders", "--include_path", str(job.folder), "--apply_chat_template"]
    sys.argv += ["--log_samples", "--output_path", str(job.folder / "out")]
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()


def count(folder: Path) -> int:
    """Return how many samples it logged."""
    return lines((folder / "out").rglob("samples_*.jsonl"))


if __name__ == "__main__":
    main(run, count)
