"""Imports go one way: who may know whom."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src/reinforce_lite"
ORDER = (
    "errors", "io", "tasks", "config", "stages", "policy", "optim", "rollout", "resources", "budget", "evaluation",
    "learning", "report", "experiment", "cli",
)  # fmt: skip
"""Each may import what stands before it."""
REGISTRY = "reinforce_lite.learning.ESTIMATORS"
"""The names of the estimators, without their code: the configuration is checked by it."""


def parts() -> set[str]:
    """Packages and modules of the first level."""
    return {
        path.stem for path in SOURCE.iterdir() if path.stem != "__init__" and (path.is_dir() or path.suffix == ".py")
    }


def imported(path: Path) -> Iterator[str]:
    """What a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_no_module_stands_outside_a_package_but_four() -> None:
    assert parts() - {"__pycache__"} == set(ORDER)
    assert {name for name in parts() if (SOURCE / f"{name}.py").exists()} == {"cli", "config", "errors", "stages"}


@pytest.mark.parametrize("part", ORDER)
def test_imports_go_one_way(part: str) -> None:
    later = ORDER[ORDER.index(part) + 1 :]
    for path in [SOURCE / f"{part}.py"] if (SOURCE / f"{part}.py").exists() else (SOURCE / part).rglob("*.py"):
        for name in imported(path):
            known = name.split(".")
            assert known[0] != "reinforce_lite" or known[1] not in later or name == REGISTRY, (path, name)


@pytest.mark.parametrize("part", ["tasks", "resources", "budget", "report"])
def test_no_torch_where_none_is_needed(part: str) -> None:
    for path in (SOURCE / part).rglob("*.py"):
        assert not any(name.split(".")[0] == "torch" for name in imported(path)), path


def test_no_group_has_a_possessive_quantifier() -> None:
    """Python 3.11.0 to 3.11.4 match it wrongly (gh-106052, gh-100061), and Debian has 3.11.2: write `(?>(?:...)*)`."""
    for path in SOURCE.rglob("*.py"):
        found = re.search(r"\)(?:[*+?]|\{[0-9,]*\})\+", path.read_text())
        assert found is None, (path, found)


def test_only_tasks_and_claims_know_the_puzzles() -> None:
    """The task's files, the registry among them, and the files of claims."""
    for path in (path for path in SOURCE.rglob("*") if path.suffix in {".py", ".j2", ".js", ".css", ".json"}):
        if path.parent != SOURCE / "tasks" and not path.name.endswith("_claims.py"):
            found = re.search("countdown|knight|knave", path.read_text(encoding="utf-8"), re.IGNORECASE)
            assert found is None, (path, found)


def test_the_command_line_imports_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "mlflow", "lm_eval")
    code = f"import reinforce_lite.cli, sys; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
