"""Imports go one way: who may know whom."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src/reinforce_lite"
PACKAGES = ("tasks", "policy", "rollout", "learning", "evaluation", "accounting", "report")
MAY_IMPORT = {
    "tasks": set(),
    "accounting": set(),
    "policy": {"tasks"},
    "rollout": {"policy"},
    "learning": {"policy", "rollout", "tasks"},
    "evaluation": {"accounting", "policy", "rollout", "tasks"},
    "report": {"accounting", "evaluation", "tasks"},
}


def imported(path: Path) -> set[str]:
    """The project's packages that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "reinforce_lite" and len(parts) > 1 and parts[1] in PACKAGES:
                found.add(parts[1])
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_one_way(package: str) -> None:
    for path in (SOURCE / package).rglob("*.py"):
        assert imported(path) - {package} <= MAY_IMPORT[package], path


@pytest.mark.parametrize("package", ["tasks", "accounting", "report"])
def test_no_torch_where_none_is_needed(package: str) -> None:
    for path in (SOURCE / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == "torch" for name in names), path


def test_the_command_line_imports_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "mlflow", "lm_eval")
    code = f"import reinforce_lite.cli, sys; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
