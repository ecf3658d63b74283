"""Draw the README's picture of the live table: run the simulator for a while and export what a terminal shows.

python docs/pictures.py
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from telemetry.view import render_view
from trials.progress import RunView

ROOT = Path(__file__).resolve().parent.parent
WIDTH = 118
COMMAND = "--simulate --model qwen2.5-72b-instruct,gpt-4o-mini --prompt-types optimal,cot --num-instances 120"


def view_half_way(directory: Path) -> RunView:
    """Run the command until about a third is done and return what its live table shows then."""
    places = ["--results-dir", str(directory / "results"), "--logs-dir", str(directory / "logs")]
    program = [sys.executable, str(ROOT / "ultra_parallel_runner.py"), *COMMAND.split(), *places]
    process = subprocess.Popen(program, stdout=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            time.sleep(0.5)
            for path in directory.glob("logs/*/status.json"):
                view = RunView.from_json(json.loads(path.read_bytes()))
                if view.scored > view.planned / 3:
                    return view
    finally:
        process.terminate()
        process.wait()
    raise SystemExit("the run ended before its picture was taken")


def main() -> None:
    """Write docs/live-table.svg."""
    with tempfile.TemporaryDirectory() as directory:
        view = view_half_way(Path(directory))
    with open("/dev/null", "w") as nowhere:  # noqa: PTH123
        console = Console(record=True, width=WIDTH, file=nowhere, force_terminal=True)
        console.print(render_view(view, WIDTH))
    target = ROOT / "docs" / "live-table.svg"
    svg = console.export_svg(title="ultra_parallel_runner.py")
    target.write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL))  # no fonts from elsewhere
    print(target)


if __name__ == "__main__":
    main()
