"""The package as a library: a small surface that costs nothing to import, and a wheel that holds all it needs."""

import ast
import inspect
import re
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_bytes
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import reinforce_lite

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src/reinforce_lite"
HEAVY = ("torch", "transformers", "mlflow", "lm_eval", "pydantic", "numpy")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_importing_the_package_imports_nothing_else() -> None:
    code = f"import reinforce_lite, sys; print([m for m in {HEAVY} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("name", reinforce_lite.__all__)
def test_every_name_is_there_and_says_what_it_is(name: str) -> None:
    value = getattr(reinforce_lite, name)
    assert callable(value) and value.__module__.startswith("reinforce_lite."), value
    assert inspect.getdoc(value), name
    assert re.search(rf"`{name}`|^{name} ", str(reinforce_lite.__doc__), re.MULTILINE), "the docstring leaves it out"


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(reinforce_lite, "nothing")
    assert set(reinforce_lite.__all__) <= set(dir(reinforce_lite))


def test_type_checkers_see_the_same_names_in_the_same_places() -> None:
    tree = ast.parse((SOURCE / "__init__.py").read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname or alias.name: f"{node.module}:{alias.name}"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    where = {
        name: f"reinforce_lite.{place if ':' in place else f'{place}:{name}'}"
        for name, place in reinforce_lite._WHERE.items()
    }
    assert seen == where and sorted(seen) == reinforce_lite.__all__


def test_whatever_is_imported_is_declared() -> None:
    """`pip install .` gets what the package imports by itself, and not only because something else brings it."""
    lists = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    declared = {re.split(r"[^\w.-]", line)[0].replace("_", "-").lower() for lines in lists for line in lines}
    distributions = packages_distributions()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for package in {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"reinforce_lite"}:
                known = {one.replace("_", "-").lower() for one in distributions.get(package, [package])}
                assert known & declared, f"{path.relative_to(ROOT)} imports {package}: add it to pyproject.toml"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """What `pip install .` installs, built from a copy of the files that git would check out."""
    clone, folder = tmp_path_factory.mktemp("clone"), tmp_path_factory.mktemp("wheel")
    for name in ("src", "pyproject.toml", "README.md", "LICENSE"):
        subprocess.run(["cp", "-r", ROOT / name, clone], check=True)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, "."]
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (built,) = folder.glob("*.whl")
    return zipfile.ZipFile(built)


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    ours = (path for path in SOURCE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert held == {str(path.relative_to(SOURCE.parent)) for path in ours}


def test_the_wheel_says_what_it_needs_and_brings_the_command(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    told = message_from_bytes(wheel.read(name))
    needed = {re.split(r"[^\w.-]", line)[0] for line in told.get_all("Requires-Dist", []) if "extra ==" not in line}
    assert needed == {re.split(r"[^\w.-]", line)[0] for line in PROJECT["dependencies"]} and "torch" in needed
    assert told["Requires-Python"].replace(" ", "") in (">=3.11,<3.13", "<3.13,>=3.11")
    (name,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "reinforce-lite = reinforce_lite.cli:entry" in wheel.read(name).decode()


def test_the_wheel_works_without_the_checkout(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    code = "import reinforce_lite as r; print(r.__file__, r.load_settings, r.named_task('word_world').scores)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=True, env={"PYTHONPATH": str(tmp_path)}
    )
    assert done.stdout.startswith(str(tmp_path)) and "correct" in done.stdout
