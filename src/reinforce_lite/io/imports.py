"""Imports of large libraries: most of what a short stage takes."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quick() -> Iterator[None]:
    """Imports inside take a fifth less: Python's collector does not search again and again what they make and keep."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def models() -> None:
    """Import of transformers what loads and runs a policy.

    transformers (5.19) also imports scikit-learn, for assisted generation: half a second for what no stage uses. So for
    this import it is not there.
    """
    from transformers import utils

    available = utils.is_sklearn_available
    utils.is_sklearn_available = lambda: False
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, Phi3ForCausalLM  # noqa: F401
    finally:
        utils.is_sklearn_available = available
