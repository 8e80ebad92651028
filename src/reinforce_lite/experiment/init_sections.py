"""The sections of the configuration that `init` writes: what is known of a model, a task, a device and a training."""

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from reinforce_lite import __version__
from reinforce_lite.budget import cards
from reinforce_lite.errors import UserError
from reinforce_lite.experiment import machine
from reinforce_lite.policy import files, hub
from reinforce_lite.tasks import QUESTIONS, REGISTRY, WORDS, own, rows, task_of
from reinforce_lite.tasks import named as task_named

SCRATCH = {"tiny-llama": "llama", "tiny-phi": "phi3"}
"""Models of about a million weights that are made from nothing, and their architectures."""
TASKS = ", ".join(name for name in REGISTRY if name != QUESTIONS)
OWN_MACHINE, PROVIDER, TABLE = "nobody (own machine)", "my provider", "reinforce-lite's table of cards"
Row = tuple[str, Any, str]
"""A key, its value, and what is said of it."""


@dataclass(frozen=True)
class Model:
    """A policy as the configuration names it.

    Attributes:
        name: in the configuration.
        rows: its section.
        billions: of parameters; 0 for one from scratch, which are counted when its words are known.
    """

    name: str
    rows: list[Row]
    billions: float


def given(value: float | None, default: float) -> float:
    """What an option says, 0 too; else the default."""
    return default if value is None else value


def model_of(chosen: str, cuda: bool) -> Model:
    """What is known of a model without its weights.

    Raises:
        UserError: it is absent or damaged, or the hub does not know it or cannot be reached.
    """
    if chosen in SCRATCH:
        start = {"steps": 500, "batch_size": 64, "learning_rate": 0.003}
        made: list[Row] = [
            ("from_scratch", {"architecture": SCRATCH[chosen]}, "about a million weights, made from nothing"),
            ("dtype", "float32", ""),
            ("start", start, "first it learns the worked solutions"),
        ]
        return Model(chosen, made, 0.0)
    place, found = Path(chosen).expanduser(), re.fullmatch(r"([\w.-]+/[\w.-]+)(?:@(.+))?", chosen)
    if place.exists():
        source: list[Row] = [("path", str(place), "")]
        weights, kinds = files.weights(place), _precision(place)
    elif found and not chosen.startswith((".", "~")) and not chosen.endswith(".gguf"):
        source, weights, kinds = _of_hub(found[1], found[2] or "main")
    else:
        raise UserError(f"--model {chosen}: no folder or file, and no owner/name of the hub", "correct it")
    if not weights:
        raise UserError(f"--model {chosen} has no safetensors files, which say how large it is", "choose one that has")
    kept = kinds.most_common(1)[0][0] if kinds else "other kinds"
    dtype = "float32" if not cuda or kept == "F32" else "bfloat16"
    why = f"its files hold {kept}" + ("" if cuda else "; on a CPU as config/smollm.yaml")
    billions = float(f"{weights / 1e9:.4g}")
    about: list[Row] = [("parameters", billions, "in billions, counted"), ("dtype", dtype, why), ("start", None, "")]
    last = place.absolute().name.removesuffix(".gguf") if place.exists() else str(source[0][1]).split("/")[1]
    name = re.sub(r"[^a-z0-9._-]+", "-", last.lower())
    return Model(name.strip("._-") or "model", source + about, billions)


def _precision(place: Path) -> "Counter[str]":
    """How many tensors there are of each type."""
    if place.suffix == ".gguf":
        return Counter()
    every = (path for path in files.weight_files(place) if path.suffix == ".safetensors")
    return Counter(tensor["dtype"] for path in every for tensor in files.safetensors_header(path).values())


def _of_hub(repo: str, revision: str) -> tuple[list[Row], int, "Counter[str]"]:
    """Source, weights and precision of a model on the hub; without an answer, what the cache has of it.

    Raises:
        UserError: neither knows it.
    """
    try:
        info = hub.ask(repo, revision, "model")
    except UserError as error:
        kept = hub.cache() / f"models--{repo.replace('/', '--')}"
        ref = kept / "refs" / revision
        commit = ref.read_text().strip() if ref.is_file() else revision
        place = kept / "snapshots" / commit
        if not place.is_dir():
            raise UserError(error.problem, f"{error.fix}, or give --model a folder with its files") from error
        return _pinned(repo, commit, revision, False), files.weights(place), _precision(place)
    known = getattr(info.safetensors, "parameters", None) or {}
    total = int(getattr(info.safetensors, "total", 0) or 0)
    return _pinned(repo, str(info.sha), revision, bool(info.gated)), total, Counter(known)


def _pinned(repo: str, commit: str, revision: str, gated: bool) -> list[Row]:
    said = "" if commit == revision else f"what {revision} was on {date.today()}"
    licence: list[Row] = [("gated", True, "accept its licence on the hub, and export HF_TOKEN")] if gated else []
    return [("repo", repo, ""), ("revision", commit, said), *licence]


def task_section(task: str, arguments: argparse.Namespace, scratch: bool) -> tuple[list[Row], list[rows.Row]]:
    """The section of the task, and the questions to learn from if they are the user's own.

    Raises:
        UserError: it is unknown, a row of a file is bad, or nothing fits a model from scratch.
    """
    if task in REGISTRY and task != QUESTIONS:
        for key in ("test", "grade"):
            if getattr(arguments, key) is not None:
                raise UserError(f"--{key} is for questions of your own, and not for {task}", "leave it out")
        if scratch and task != WORDS:
            raise UserError(
                f"--task {task}: a model from scratch needs a task in few words",
                f"take --task {WORDS}, questions of your own in its words, or one of config/tiny_*.yaml",
            )
        options = task_named(task).options.model_validate({"name": task, "dev_size": 0})
        made = task_named(task).remote(options) is None
        sizes: list[Row] = [("train_size", 2000, ""), ("test_size", 1000, "")] if made else []
        shown: list[Row] = [("demonstrations", 32000, "worked solutions for the start")] if scratch else []
        prompt = "bare" if scratch else "tagged"
        return [("name", task, ""), ("prompt", prompt, ""), *sizes, ("dev_size", 200, ""), *shown], []
    if not task.endswith(".jsonl"):
        raise UserError(f"--task {task} is unknown", f"take {TASKS}, or a file of your own questions: my.jsonl")
    found = rows.read(Path(task), "--task", "train", {})
    cut: Row = ("test_size", max(1, min(1000, len(found) // 5)), "so many are cut from train")
    grade = arguments.grade or task_named(QUESTIONS).grade_for(row.answer for row in found)
    section: list[Row] = [
        ("name", QUESTIONS, ""),
        ("train", task, f"{len(found):,} questions"),
        ("test", str(arguments.test), "") if arguments.test else cut,
        ("train_size", None, "all that are left"),
        ("dev_size", min(256, len(found) // 20), "never learnt from, never tested"),
        ("grade", grade, "how an answer is read: numeric, exact, choice, or a function of your own"),
        ("prompt", "bare" if scratch else "tagged", "tagged asks for an answer between <answer> and </answer>"),
    ]
    if scratch:
        values = {key: value for key, value, _ in section} | {"vocabulary": WORDS}
        try:
            options = task_named(QUESTIONS).options.model_validate(values)
        except ValidationError as error:
            said = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise UserError(f"task.{said}", "correct the option that says so") from error
        left = [one for one in task_of(options).build(options).train if one.solution]
        if not left:
            raise UserError(
                f"{task}: no row has a `solution`, and {arguments.model} starts from worked solutions",
                'add some ("solution": "18 - 8 = 10 ."), or take a model with weights',
            )
        section += [("demonstrations", len(left), "worked solutions for the start"), ("vocabulary", WORDS, "")]
    return section, found


def price_asked(card: cards.Card | None, cuda: bool) -> str | None:
    """The price if the user says nothing; None for a GPU of this machine, whose price only its renter knows."""
    if card:
        return f"{card.usd_per_hour[0]:g}"
    return None if cuda else "0"


def hardware_section(
    arguments: argparse.Namespace, here: list[machine.Gpu], cuda: bool, card: cards.Card | None, price: float
) -> list[Row]:
    """The device and its price.

    Args:
        arguments: of the command line.
        here: the GPUs of this machine.
        cuda: whether a GPU is the device, else the CPU is.
        card: one to be rented elsewhere.
        price: US dollars for one device and hour.
    """
    by_card = card is not None and arguments.price is None and price == card.usd_per_hour[0]
    source = arguments.price_source or (
        f"{TABLE} ({card.source})" if card and by_card else PROVIDER if price else OWN_MACHINE
    )
    cores = machine.cores()
    name = card.name if card else here[0].name if cuda else f"{machine.processor()}, {cores} cores"
    memory = card.memory_gib if card else here[0].memory_gib if cuda else machine.memory_gib()
    more = f"this machine has {len(here)}" if cuda and not card and len(here) > 1 else ""
    return [
        ("device", "cuda" if cuda else "cpu", ""),
        ("name", name, f"driver {here[0].driver}" if cuda and not card else ""),
        ("count", 1, more),
        ("memory_gib", memory, ""),
        ("usd_per_hour", price, "of one device; the ledger multiplies with it"),
        ("price_source", source, "who asks this price"),
        ("price_date", str(date.today()), "prices move"),
        *([] if cuda else [("cpu_threads", cores, "fixed, so that sums are taken in the same order")]),
    ]


def training_sections(
    model: Model, arguments: argparse.Namespace, cuda: bool, scratch: bool, questions: list[rows.Row]
) -> dict[str, list[Row]]:
    """Sizes that a form of config/ has for such a model on such a device.

    Args:
        model: the policy.
        arguments: of the command line.
        cuda: whether a GPU is the device.
        scratch: whether the model is made from nothing.
        questions: those to learn from, if they are the user's own.

    Returns:
        The sections training, training_variants, evaluation and checkpoint.
    """
    reward = arguments.reward or "strict"
    reward = f"{reward}:score" if reward.endswith(".py") else reward
    # 3e-6 is config.yaml's for 3B; a 1.5B model did best at 6e-6; 1e-5 is that of config/smollm.yaml.
    rate = 5e-5 if scratch else 3e-6 if model.billions > 2.2 else 6e-6 if model.billions > 0.6 else 1e-5
    longest = max((len((row.solution or "").split()) for row in questions), default=0)
    tokens = 1024 if cuda else max(40, longest + 8) if scratch else 256
    steps, asked = (72, 32) if cuda else (60, 16) if scratch else (4, 4)
    training: list[Row] = [
        ("reward", reward, "of your own: a function (completion, problem) in a file" if own.is_own(reward) else ""),
        ("steps", given(arguments.steps, steps), "policy-gradient steps"),
        ("questions_per_step", asked, ""),
        ("group_size", 10, "completions a question"),
        ("max_new_tokens", tokens, "longer ones are cut"),
        ("learning_rate", rate, "the first thing to try another value of"),
        ("micro_batch_tokens", 16384 if cuda else 2048, "memory and speed, not the result"),
        *([] if cuda else [("gradient_checkpointing", not scratch, "")]),
    ]
    evaluation: list[Row] = [
        ("max_new_tokens", tokens, ""),
        *([] if cuda or scratch else [("limit", 50, "only the first test questions: a CPU is slow")]),
        ("noise_floor", cuda, "each baseline a second time, in other batches"),
        ("samples", 0, "answers sampled a question, for avg@k beside the greedy one"),
    ]
    return {
        "training": training,
        "training_variants": [
            ("leave_one_out", {}, "the result: what `training` says"),
            ("random_reward", {"reward": "random"}, "a control: the reward is a coin, and must not help"),
        ],
        "evaluation": evaluation,
        "checkpoint": [("every_seconds", 1200 if cuda else 300 if not scratch else 10, "what a crash loses at most")],
    }


def text(name: str, model: str, sections: dict[str, list[Row]], made: str, cuda: bool) -> str:
    """The configuration with its comments.

    Args:
        name: of the experiment.
        model: the policy's name.
        sections: the rows of each section, under its key.
        made: what wrote it, and when.
        cuda: whether a GPU is the device.
    """
    top: list[Row] = [
        ("experiment", name, "results are in results/<experiment>"),
        ("description", "", "a paragraph for the report: what this is, and what it is not"),
        ("models", [model], ""),
        ("variants", ["leave_one_out", "random_reward"], "the first one is the result, the others are its controls"),
        ("seeds", [0], "training seeds; more of them tell luck from learning"),
        ("control_seeds", None, "those of the controls; null for all"),
    ]
    lines = [f"# Written by {made}. config/README.md says what every key means.", "", *_lines(top, "")]
    for section, content in sections.items():
        lines += ["", f"{section}:", *_lines(content, "    " if "\n" in section else "  ")]
    image = f"docker://reinforce-lite/reinforce-lite:{__version__}{'' if cuda else '-cpu'}"
    last: list[Row] = [("claims", ["accuracy", "reward"], "what the report judges")]
    lines += ["", *_lines(last, ""), "", "container:", *_lines([("image", image, "for --use-singularity")], "  ")]
    return "\n".join(lines) + "\n"


def _lines(content: Iterable[Row], indent: str) -> Iterator[str]:
    for key, value, said in content:
        yield f"{indent}{key}: {in_yaml(value)}{f'  # {said}' if said else ''}"


def in_yaml(value: Any) -> str:
    """A value as YAML 1.1 reads it: 3e-06 would be a text there.

    >>> in_yaml(3e-06), in_yaml({"a": [1.5, None, "x: y"]})
    ('3.0e-06', '{"a": [1.5, null, "x: y"]}')
    """
    if isinstance(value, float):
        return re.sub(r"^(-?\d+)e", r"\1.0e", repr(value))
    return f"{json.dumps(value, ensure_ascii=False)}"
