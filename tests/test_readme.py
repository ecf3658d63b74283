"""What the README says is there, is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    "README.md",
    "README.zh-CN.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    *(f"docs/{one.name}" for one in (ROOT / "docs").glob("*.md")),
]


def tree_paths() -> list[str]:
    blocks = re.findall(r"^```\w*\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    (tree,) = [block for block in blocks if block.startswith("ultra_parallel_runner.py")]
    return [line.split()[0] for line in tree.splitlines()]


@pytest.mark.parametrize("path", tree_paths())
def test_every_path_of_the_file_tree_exists(path):
    assert (ROOT / path).exists()
    assert (ROOT / path).is_dir() == path.endswith("/")


def test_every_folder_and_program_is_in_the_file_tree():
    there = {f"{path.parent.name}/" for path in ROOT.glob("*/__init__.py")} | {path.name for path in ROOT.glob("*.py")}
    assert there - set(tree_paths()) == set()


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_leads_somewhere(page):
    text = (ROOT / page).read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    for link in links:
        assert ((ROOT / page).parent / link).exists(), link


def test_every_option_in_the_readme_is_an_option_of_a_program():
    from click.testing import CliRunner

    from simulator.__main__ import main as simulator
    from ultra_parallel_runner import cli

    runner = CliRunner()
    commands = [["--help"], *([name, "--help"] for name in cli.commands)]
    known = "".join(runner.invoke(cli, command).output for command in commands)
    known += runner.invoke(simulator, ["--help"]).output + "--deployment --count"
    for page in PAGES[:2]:
        text = re.sub(
            r"\bray (start|stop|get-auth-token) .*$", "", (ROOT / page).read_text(), flags=re.MULTILINE
        )  # another program's options
        for option in set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)):
            assert option in known, f"{page}: {option}"
