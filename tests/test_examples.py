"""What the README shows of the library: the example without the workflow, and the order in which to read."""

import re
import subprocess
import sys
from pathlib import Path

from reinforce_lite import learning

ROOT = Path(__file__).parents[1]


def test_the_example_learns() -> None:
    command = [sys.executable, str(ROOT / "examples/train.py")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    first, last = map(float, re.findall(r"[+-]\d\.\d\d", printed))
    assert -1 <= first < -0.7 and last > 0, printed


def test_readme_and_package_name_the_same_files_in_the_same_order() -> None:
    numbered = re.findall(r"^\d\. `(\w+)`", str(learning.__doc__), re.MULTILINE)
    sentence = re.search(r"read in this order: ([^.]*?\.py`(?:,\s+`\w+\.py`)*)", (ROOT / "README.md").read_text())
    assert sentence is not None and re.findall(r"`(\w+)\.py`", sentence[1]) == numbered != []
    folder = Path(learning.__file__).parent
    assert {path.stem for path in folder.glob("*.py")} == {"__init__", *re.findall(r"`(\w+)`", str(learning.__doc__))}
