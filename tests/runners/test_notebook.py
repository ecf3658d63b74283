"""The notebook that ships runs from its first cell to its last."""

from __future__ import annotations

import nbformat
import pytest
from nbclient import NotebookClient
from real_runs import ROOT

pytestmark = pytest.mark.slow


def test_the_quickstart_notebook_runs(monkeypatch, tmp_path):
    for name in ("IPYTHONDIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    notebook = nbformat.read(ROOT / "examples" / "quickstart.ipynb", as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}).execute()
    said = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", ()))
    assert said.count("60 planned = 60 scored") == 2
