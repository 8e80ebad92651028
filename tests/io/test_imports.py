"""Large libraries are imported quickly, and nothing stays as it should not."""

import gc
import subprocess
import sys

import pytest

from reinforce_lite.io import imports

FRESH = """
import sys
from transformers import utils
from reinforce_lite.io import imports
before = utils.is_sklearn_available
with imports.quick():
    imports.models()
assert utils.is_sklearn_available is before and before(), "scikit-learn is installed, and everybody else sees it"
assert "transformers.models.llama.modeling_llama" in sys.modules
import reinforce_lite.evaluation.harness
print("sklearn" in sys.modules)
"""


def test_the_collector_waits_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gc.isenabled()
    with pytest.raises(ImportError), imports.quick():
        assert not gc.isenabled()
        raise ImportError
    assert gc.isenabled()
    monkeypatch.setattr(gc, "isenabled", lambda: False)
    with imports.quick():
        pass
    monkeypatch.undo()
    assert not gc.isenabled(), "whoever has switched it off does not get it back"
    gc.enable()


def test_a_stage_imports_no_scikit_learn() -> None:
    done = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr
