"""The example of the README: the library without the workflow."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_example_learns() -> None:
    command = [sys.executable, str(ROOT / "examples/train.py")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    first, last = map(float, re.findall(r"[+-]\d\.\d\d", said))
    assert -1 <= first < -0.8 and last > 0, said
