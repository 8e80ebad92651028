"""What a user may get wrong before anything runs: each mistake, and the words that name its place and its fix.

`python tests/io/test_mistakes.py` prints every mistake with its message.
"""

import contextlib
import io
import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from reinforce_lite.cli import main

ROOT = Path(__file__).parents[2]
COMMIT = "0" * 40
PRICE = "price_source: a shop, price_date: 2026-11-01"

OVERLAYS: list[tuple[str, str]] = [
    # text of my.yaml, and what is said behind its name
    ("trainning:\n  steps: 3\n", ":1: trainning: unknown key; did you mean training?"),
    ("training:\n  # a comment\n  stepss: 3\n", ":3: training.stepss: unknown key; did you mean steps?"),
    ("training.steps: 20\n", ":1: training.steps: unknown key; keys of keys are written as YAML: 'training={"),
    ("training: {critic: {learning_rat: 1.0}}\n", ":1: training.critic.learning_rat: unknown key; did you mean learn"),
    ("budget:\n  limit_usd: 5\n  currency: EUR\n", ":3: budget.currency: unknown key"),
    ("experiment: a\nexperiment: b\n", ":2: experiment stands twice, first in line 1\n  fix: take one of the two out"),
    ("training:\n  steps: 3\n  steps: 4\n", ":3: training.steps stands twice, first in line 2"),
    ("training: {steps: 3\n", ":2: not valid YAML: expected ',' or '}'"),
    ("training:\n\tsteps: 3\n", ":2: not valid YAML: found character '\\t'"),
    ("description: a: b\n", ":1: not valid YAML: mapping values are not allowed here"),
    ("price_source: @home\n", ":1: not valid YAML: found character '@'"),
    ("", " is empty\n  fix: write keys"),
    ("# only a comment\n", " is empty\n  fix: write keys"),
    ("- training\n- steps\n", " holds no mapping of keys"),
    ("hello\n", " holds no mapping of keys"),
    ("hardware:\n  price_date: 2026-13-45\n", ":2: cannot be read: month must be in 1..12"),
    ("training:\n  steps: many\n", ":2: training.steps: must be an integer (it is 'many')"),
    ("training: {steps: 2.5}\n", ":1: training.steps: must be an integer, written without a point (it is 2.5)"),
    ("training: {steps: -1}\n", ":1: training.steps: must be greater than or equal to 0 (it is -1)"),
    ("training: {steps: 0}\n", ": variants: the first one is the result, and 'leave_one_out' takes no step"),
    ("training: {steps: null}\n", ":1: training.steps: must be an integer (it is None)"),
    ("training: {learning_rate: 1e-6x}\n", ":1: training.learning_rate: must be a number (it is '1e-6x')"),
    ("training: {learning_rate: .nan}\n", ":1: training.learning_rate: must be a finite number (it is nan)"),
    ("training: {top_p: 2}\n", ":1: training.top_p: must be less than or equal to 1 (it is 2)"),
    ("training: {gradient_checkpointing: maybe}\n", ":1: training.gradient_checkpointing: must be true or false"),
    ("training: {estimator: best}\n", ":1: training.estimator: it is not one of leave_one_out, "),
    ("training: {engine: vlm}\n", ":1: training.engine: must be 'auto', 'generate' or 'vllm' (it is 'vlm')"),
    ("training: {rollout_batch: many}\n", ":1: training.rollout_batch: must be an integer, or must be 'auto'"),
    ("training: {lora: 16}\n", ":1: training.lora: must be a mapping of keys (it is 16)"),
    ("training:\n  reward: kind\n", ":2: training.reward: 'kind' is not one of correct, flexible, "),
    ("training: {reward: {kind: 1.0}}\n", ":1: training.reward: 'kind' is not one of correct, flexible, "),
    (
        "training: {reward: 3}\n",
        ":1: training.reward: must be a text; write a number that is meant as one in quotes, or",
    ),
    ("budget: {limit_usd: .inf}\n", ":1: budget.limit_usd: must be a finite number (it is inf)"),
    ("budget: {limit_usd: ten}\n", ":1: budget.limit_usd: must be a number (it is 'ten')"),
    ("budget: {limit_usd: 0}\n", ":1: budget.limit_usd: must be greater than 0 (it is 0)"),
    ("budget:\n", ":1: budget: must be a mapping of keys (it is None)"),
    ("results: ~/x\n", ":1: results: ~ is not followed here; write the folder out (it is '~/x')"),
    ("seeds: [1.0]\n", ":1: seeds.0: must be an integer, written without a point (it is 1.0)"),
    ("seeds: [0, 0]\ncontrol_seeds: null\n", ":1: seeds: a seed stands twice"),
    ("seeds: 0\n", ":1: seeds: must be a list: [one, another] (it is 0)"),
    ("seeds: [-1]\n", ":1: seeds.0: must be greater than or equal to 0 (it is -1)"),
    ("control_seeds: [7]\n", ":1: control_seeds: 7 is not one of `seeds`, [0, 1, 2]"),
    (
        "experiment: 2025\n",
        ":1: experiment: must be a text; write a number that is meant as one in quotes (it is 2025)",
    ),
    ("experiment: my run\n", ":1: experiment: must be made of letters, digits, '.', '_' and '-'"),
    ("description: [a, b]\n", ":1: description: must be a text"),
    ("models: [gpt]\n", ":1: models: 'gpt' is not one of llama-3.2-3b-instruct, phi-3.5-mini-instruct"),
    ("models: phi-3.5-mini-instruct\n", ":1: models: must be a list: [one, another] (it is 'phi-3.5-mini-instruct')"),
    ("models: []\n", ":1: models: must have at least 1 item"),
    ("variants: [x]\n", ":1: variants: 'x' is not one of as_published, "),
    ("variants: [leave_one_out, leave_one_out]\n", ":1: variants: a name stands twice"),
    ("hardware: {device: gpu}\n", ":1: hardware.device: must be 'cuda' or 'cpu' (it is 'gpu')"),
    ("hardware: {count: 2.0}\n", ":1: hardware.count: must be an integer, written without a point (it is 2.0)"),
    ("hardware: {memory_gib: 48 GB}\n", ":1: hardware.memory_gib: must be a number (it is '48 GB')"),
    ("hardware: {price_date: soon}\n", ":1: hardware.price_date: must be a date (YYYY-MM-DD) (it is 'soon')"),
    ('hardware: {price_source: ""}\n', ":1: hardware.price_source: must have at least 1 character (it is '')"),
    ("hardware: 4090\n", ":1: hardware: must be a mapping of keys (it is 4090)"),
    (
        "hardware: {name: RTX 4090}\n",
        ":1: hardware.name is another device than 'NVIDIA RTX A6000', whose usd_per_hour, ",
    ),
    (
        "hardware:\n  usd_per_hour: 0.4\n  name: RTX 4090\n",
        ":3: hardware.name is another device than 'NVIDIA RTX A6000'",
    ),
    ("hardware: {name: 4090, usd_per_hour: 0.4, " + PRICE + "}\n", ":1: hardware.name: must be a text; write a number"),
    ("task: {name: gsm9k}\n", ":1: task.name: 'gsm9k' is not one of countdown, gsm8k, "),
    ("task: {name: mine.py}\n", ":1: task.name: "),
    ("task: {name: jsonl}\n", ":1: task: train, a file, or repo, a dataset on the hub, is needed, and not both"),
    ("task: {name: jsonl, train: a.jsonl, test_size: 1, grade: fuzzy}\n", ":1: task.grade: 'fuzzy' is not one of"),
    ("task:\n  name: word_world\n  path: /x\n", ":3: task.path: unknown key"),
    ("task: {prompt: poem}\n", ":1: task.prompt: gsm8k has the prompts tagged, "),
    ("task: {dev_size: -1}\n", ":1: task.dev_size: must be greater than or equal to 0 (it is -1)"),
    ("task: {revision: main}\n", ":1: task.revision: main is no commit (40 digits of 0-9a-f)"),
    ("policies:\n  m: {repo: a/b}\nmodels: [m]\n", ":2: policies.m: revision is needed with repo: pin a commit"),
    ("policies:\n  m: {repo: a/b, revision: v1.0}\n", ":2: policies.m.revision: v1.0 is no commit"),
    ("policies: {m: {path: ~/m}}\n", ":1: policies.m.path: ~ is not followed here"),
    ("policies: {m: {}}\n", ":1: policies.m: one of repo, path or from_scratch is needed"),
    (
        "policies: {m: {from_scratch: {architecture: gpt2}}}\n",
        ":1: policies.m.from_scratch.architecture: must be 'llama'",
    ),
    (
        "policies: {m: {from_scratch: {architecture: llama}}}\n",
        ":1: policies.m: a model from scratch needs a supervised",
    ),
    ("policies: {m: {path: x, start: {}}}\n", ":1: policies.m.start.steps: this key is needed"),
    ("training_variants:\n  mine: {stepz: 3}\n", ":2: training_variants.mine.stepz: unknown key; did you mean steps?"),
    ("training_variants:\n  mine: {steps: many}\n", ":2: training_variants.mine.steps: must be an integer"),
    (
        "training_variants: {grpo: {same_cost_as: x}}\nvariants: [leave_one_out, grpo]\n",
        "grpo.same_cost_as: 'x' is not",
    ),
    ("evaluation: {limit: 0}\n", ":1: evaluation.limit: must be greater than or equal to 1 (it is 0)"),
    ("protocol: {alpha: 5}\n", ":1: protocol.alpha: must be less than"),
    ("tracking:\n  uri: https://ana:s3cr3t@mlflow.example\n", "tracking.uri: a user or a password"),
    ("container: {}\nimage: x\n", ":2: image: unknown key"),
]

LINE = '{"question": "2 + 3 ?", "answer": "5"}\n'
CALLS: list[tuple[str, dict[str, str | bytes], str]] = [
    # arguments, files, and what is said
    ("power --config none.yaml", {}, "none.yaml does not exist\n  fix: name a file"),
    ("power --config training.steps=20", {}, "training.steps=20 does not exist"),
    ("power --config folder", {"folder/x": ""}, "folder is a folder\n  fix: name a file in it"),
    ("power --config my.yaml", {"my.yaml": b"seeds: [0]\ndescription: caf\xe9\n"}, "my.yaml:2: not UTF-8 (byte 0xe9)"),
    ("power --config config.json", {"config.json": '{"experiment": "a",\n}'}, "config.json:2: not valid JSON"),
    ("power --config config.json", {"config.json": '{"experiment": "a"}'}, "models: this key is needed"),
    (
        "power --config my.yaml {config}/tiny.yaml", {"my.yaml": "experiment: mine\nseeds: [4]\n"},
        "my.yaml has no effect: every key of it is set again by",
    ),
    ("train --config my.yaml --model gpt --variant v --seed 0", {"my.yaml": "seeds: [0]\n"}, "--model gpt is unknown"),
    (
        "evaluate --config my.yaml --model phi-3.5-mini-instruct --variant grpo", {"my.yaml": "seeds: [0]\n"},
        "--variant comes with --seed",
    ),
    ("verify nowhere", {}, "nowhere"),
    ("status nowhere", {}, "nowhere holds no config.json"),
    ("ui --results nowhere", {}, "mlflow.db does not exist: nothing has been run\n  fix: run make tiny first"),
    ("init", {}, "--model is needed"),
    ("init --model tiny-llama", {}, "--task is needed"),
    ("init --model nosuch --task gsm8k", {}, "--model nosuch: no folder or file, and no owner/name of the hub"),
    ("init --model folder --task gsm8k", {"folder/x": ""}, "cannot read folder/config.json"),
    ("init --model tiny-llama --task gsm8k", {}, "--task gsm8k: a model from scratch needs a task in few words"),
    ("init --model tiny-llama --task poems", {}, "--task poems is unknown\n  fix: take "),
    ("init --model tiny-llama --task my.jsonl", {}, "--task: cannot read my.jsonl: No such file"),
    ("init --model tiny-llama --task my.jsonl", {"my.jsonl": LINE + "{"}, "my.jsonl:2: not valid JSON"),
    ("init --model tiny-llama --task my.jsonl", {"my.jsonl": LINE}, "my.jsonl"),
    ("init --model tiny-llama --task word_world --name w", {"w.yaml": "x"}, "w.yaml exists, and is not overwritten"),
    ("init --model tiny-llama --task word_world --name w", {"results/w/x": ""}, "results/w exists, and is not overwr"),
    ("init --model tiny-llama --task word_world --name 'a b'", {}, "a b.yaml:3: experiment: must be made of letters"),
    ("init --model tiny-llama --task word_world --price x", {}, "--price"),
    ("init --model tiny-llama --task word_world --gpu 4090", {}, "--gpu 4090: tiny-llama runs on a CPU"),
    ("init --model tiny-llama --task word_world --limit 0", {}, "budget.limit_usd: must be greater than 0"),
    ("init --model tiny-llama --task word_world --steps 0", {}, "'leave_one_out' takes no step"),
    ("init --model tiny-llama --task word_world --grade exact", {}, "--grade is for questions of your own"),
    ("init --model tiny-llama --task my.jsonl --grade poem", {"my.jsonl": LINE}, "task.grade: 'poem' is not one of"),
]  # fmt: skip
MISTAKES: list[tuple[str, dict[str, str | bytes], str]] = [
    *(("power --config my.yaml", {"my.yaml": text}, said) for text, said in OVERLAYS),
    *CALLS,
]


def told(command: str, files: dict[str, str | bytes]) -> str:
    """What the command says in a folder with these files, where it must end with code 2."""
    for name, content in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    words = re.findall(r"'[^']*'|\S+", command.format(config=ROOT / "config"))
    with contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            code = main([word.strip("'") for word in words])
        except SystemExit as error:  # of the parser
            code = int(error.code or 0)
    assert code == 2, f"{command}: {code}\n{said.getvalue()}"
    return said.getvalue()


def name_of(mistake: tuple[str, dict[str, str | bytes], str]) -> str:
    command, files, _ = mistake
    text = next((one for one in files.values() if one), "")
    return f"{command} | {text.decode('latin-1') if isinstance(text, bytes) else text}".replace("\n", "; ").strip(" |;")


@pytest.mark.parametrize("mistake", MISTAKES, ids=name_of)
def test_a_mistake_is_told_with_its_place_and_its_fix(
    mistake: tuple[str, dict[str, str | bytes], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    command, files, said = mistake
    message = told(command, files)
    place = (
        f"my.yaml{said}" if said.startswith((":", " ")) and "my.yaml" in files and ": variants" not in said else said
    )
    assert place in message, message
    assert "\n  fix: " in message or "usage:" in message, message
    for foreign in ("Traceback", "Input should", "Value error", "validation error", "pydantic", "s3cr3t"):
        assert foreign not in message
    assert len(message.splitlines()) <= 24, "one screen"


def test_there_are_more_than_sixty_and_none_twice() -> None:
    names = [name_of(mistake) + mistake[2] for mistake in MISTAKES]
    assert len(set(names)) == len(names) > 60


def show(write: Callable[[str], object]) -> None:
    """Each mistake with its message, one a line."""
    for command, files, _ in MISTAKES:
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            message = told(command, files).replace(str(ROOT) + os.sep, "").strip()
        write(f"{name_of((command, files, ''))}\n    => {' / '.join(map(str.strip, message.splitlines()))}")


if __name__ == "__main__":
    sys.stdin = io.StringIO()
    show(print)
