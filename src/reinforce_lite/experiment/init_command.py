"""The subcommand `init`: one commented configuration for a model, a task and a machine, and whether that fits."""

import argparse
import json
import re
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from reinforce_lite import __version__
from reinforce_lite.budget import cards
from reinforce_lite.budget.plan import dollars
from reinforce_lite.config import Settings, named
from reinforce_lite.errors import UserError
from reinforce_lite.experiment import checks, machine
from reinforce_lite.experiment.estimate import estimate
from reinforce_lite.experiment.fits import memory
from reinforce_lite.experiment.places import disk, existing
from reinforce_lite.experiment.questions import task as questions_of
from reinforce_lite.experiment.rewards import rewards
from reinforce_lite.experiment.weights import policies
from reinforce_lite.io.files import atomic_text
from reinforce_lite.policy import files, hub
from reinforce_lite.policy.size import sized
from reinforce_lite.resources.memory import GIB
from reinforce_lite.tasks import QUESTIONS, REGISTRY, WORDS, own, rows, task_of
from reinforce_lite.tasks import named as task_named

EPILOG = """\
On a terminal it asks for what is not given; elsewhere --model and --task are needed, and --price for a GPU.
It downloads no weights: a model's size, precision and commit are read from the hub's description of it, or
from the headers of the files in a folder. The configuration is written once and never over another file.

  reinforce-lite init
  reinforce-lite init --model Qwen/Qwen2.5-0.5B-Instruct --task gsm8k --gpu 4090 --price 0.35
  reinforce-lite init --model ./my-model --task my.jsonl --test my_test.jsonl --price 1.99
  reinforce-lite init --model tiny-llama --task my.jsonl --reward my_reward.py --name mine

Exit code 0 if it fits, 1 if it was written and does not fit.
"""
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


def add_options(command: argparse.ArgumentParser) -> None:
    """Give the subcommand its options and its help."""
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.epilog = EPILOG
    scratch = " or ".join(SCRATCH)
    command.add_argument(
        "--model",
        help=f"owner/name on the hub (@revision behind it), a folder, a .gguf file, or {scratch} from scratch",
    )
    command.add_argument("--task", help=f"{TASKS}, or a file of your own questions, such as my.jsonl")
    command.add_argument(
        "--test", type=Path, metavar="FILE", help="own questions of the test (default: cut from --task)"
    )
    command.add_argument("--grade", help="how own answers are read: numeric, exact, choice, or my.py:function")
    command.add_argument("--reward", help="a score of the task, or my_reward.py:function (default: strict)")
    command.add_argument("--gpu", metavar="NAME", help="a card to be rented elsewhere (default: what this machine has)")
    command.add_argument(
        "--price", type=float, metavar="USD", help="US dollars for one device and hour; 0 if it is yours"
    )
    command.add_argument("--price-source", metavar="TEXT", help="who asks that price")
    command.add_argument("--limit", type=float, metavar="USD", help="what the whole may cost (default: 10; on a CPU 1)")
    command.add_argument("--steps", type=int, metavar="N", help="policy-gradient steps")
    command.add_argument("--name", help="of the experiment (default: made of task and model)")
    command.add_argument("--output", type=Path, metavar="FILE", help="what is written (default: <name>.yaml)")


def run(arguments: argparse.Namespace) -> int:
    """Write the configuration and say whether it fits; 0 if it does, else 1.

    Raises:
        UserError: something is needed and cannot be asked, is unknown or cannot be read; or the file is there already.
    """
    chosen, here = _asked(arguments, "model", "model: owner/name on the hub, a folder, or tiny-llama"), machine.gpus()
    task = _asked(arguments, "task", f"task: {TASKS}, or your questions, such as my.jsonl")
    scratch, cuda = chosen in SCRATCH, bool(arguments.gpu or here) and chosen not in SCRATCH
    if scratch and arguments.gpu:
        raise UserError(f"--gpu {arguments.gpu}: {chosen} runs on a CPU", "leave --gpu out, or take another --model")
    model = _model(chosen, cuda)
    stem = Path(task).stem if task.endswith(".jsonl") else task
    name = arguments.name or re.sub(r"[^a-zA-Z0-9._-]+", "-", f"{stem}-{model.name}").strip("._-")[:64]
    output = arguments.output or Path(f"{name}.yaml")
    for place in (output, Path("results") / name):
        if place.exists():
            raise UserError(f"{place} exists, and is not overwritten", "give another --name, or move it away")
    asked, questions = _task(task, arguments, scratch)
    sections = {
        "hardware": _hardware(arguments, here, cuda),
        "budget": [("limit_usd", _given(arguments.limit, 10.0 if cuda else 1.0), "of the whole, in US dollars")],
        "task": asked,
        f"policies:\n  {_value(model.name)}": model.rows,
        **_training(model, arguments, cuda, scratch, questions),
    }
    with atomic_text(output) as file:
        file.write(_text(name, model.name, sections, f"reinforce-lite {__version__} init, {date.today()}", cuda))
    try:
        settings = named([output])
    except UserError as error:
        output.unlink()
        raise UserError(error.problem, f"correct the option that says so; {output} was not kept") from error
    print(f"wrote    {output}: {model.name} on {task}, experiment {name}, results in {settings.folder}")
    return _told(settings, output, arguments, here if cuda and not arguments.gpu else [])


def _given(value: float | None, default: float) -> float:
    """What an option says, 0 too; else the default."""
    return default if value is None else value


def _asked(arguments: argparse.Namespace, key: str, question: str, default: str | None = None) -> str:
    """What an option says, or the user on a terminal.

    Raises:
        UserError: neither does.
    """
    if (given := getattr(arguments, key)) is not None:
        return str(given)
    try:
        if sys.stdin.isatty() and (said := input(f"{question}{f' [{default}]' if default else ''}: ").strip()):
            return said
    except EOFError:
        print()
    if default is None:
        raise UserError(f"--{key} is needed ({question})", "give it, or start it on a terminal, where it asks")
    return default


def _model(chosen: str, cuda: bool) -> Model:
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


def _task(task: str, arguments: argparse.Namespace, scratch: bool) -> tuple[list[Row], list[rows.Row]]:
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


def _hardware(arguments: argparse.Namespace, here: list[machine.Gpu], cuda: bool) -> list[Row]:
    """The device and its price.

    Raises:
        UserError: the card is unknown, or the price is needed.
    """
    card = cards.find(arguments.gpu) if cuda and arguments.gpu else None
    asked = None if cuda and card is None else f"{card.usd_per_hour[0]:g}" if card else "0"
    text = _asked(arguments, "price", "price: US dollars for one hour of it, 0 if it is yours", asked)
    try:
        price = float(text)
    except ValueError as error:
        raise UserError(f"the price {text!r} is no number", "write it as 0.55") from error
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


def _training(
    model: Model, arguments: argparse.Namespace, cuda: bool, scratch: bool, questions: list[rows.Row]
) -> dict[str, list[Row]]:
    """Sizes that a form of config/ has for such a model on such a device."""
    reward = arguments.reward or "strict"
    reward = f"{reward}:score" if reward.endswith(".py") else reward
    # 3e-6 is config.yaml's for 3B; a 1.5B model did best at 6e-6; 1e-5 is that of config/smollm.yaml.
    rate = 5e-5 if scratch else 3e-6 if model.billions > 2.2 else 6e-6 if model.billions > 0.6 else 1e-5
    longest = max((len((row.solution or "").split()) for row in questions), default=0)
    tokens = 1024 if cuda else max(40, longest + 8) if scratch else 256
    steps, asked = (72, 32) if cuda else (60, 16) if scratch else (4, 4)
    training: list[Row] = [
        ("reward", reward, "of your own: a function (completion, problem) in a file" if own.is_own(reward) else ""),
        ("steps", _given(arguments.steps, steps), "policy-gradient steps"),
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


def _text(name: str, model: str, sections: dict[str, list[Row]], made: str, cuda: bool) -> str:
    """The configuration with its comments."""
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
        yield f"{indent}{key}: {_value(value)}{f'  # {said}' if said else ''}"


def _value(value: Any) -> str:
    """A value as YAML 1.1 reads it: 3e-06 would be a text there.

    >>> _value(3e-06), _value({"a": [1.5, None, "x: y"]})
    ('3.0e-06', '{"a": [1.5, null, "x: y"]}')
    """
    if isinstance(value, float):
        return re.sub(r"^(-?\d+)e", r"\1.0e", repr(value))
    return f"{json.dumps(value, ensure_ascii=False)}"


def _told(settings: Settings, output: Path, arguments: argparse.Namespace, here: list[machine.Gpu]) -> int:
    """Print the machine, whether the experiment fits, what it will cost and what comes next; 1 if it does not fit."""
    hardware, problems, said = settings.hardware, list[str](), list[str]()
    free = shutil.disk_usage(existing(settings.results)).free / GIB
    driver = f", driver {here[0].driver}" if here else ""
    where = " (to be rented)" if arguments.gpu and hardware.device == "cuda" else ""
    print(f"machine  {hardware.name}, {hardware.memory_gib:g} GiB{driver}{where}")
    print(f"         here {machine.memory_gib():g} GiB of memory, and {free:.0f} GiB free on the disk")
    if here and (major := re.match(r"\d+", here[0].driver)) and int(major[0]) < machine.DRIVER:
        problems.append(f"NVIDIA's driver is {here[0].driver}\n  fix: CUDA 13 needs {machine.DRIVER} or later")
    looks: dict[str, Callable[[Settings], str]] = {
        "price": checks.price, "task": questions_of, "policy": policies, "claims": checks.claims,
    }  # fmt: skip
    if not where:
        looks |= {"memory": memory, "disk": disk}
    counted = sized(settings)
    if task_of(settings.task).remote(settings.task) is None:
        looks["reward"] = rewards
    for name, look in looks.items():
        try:
            said.append(f"{name:<8} {look(counted)}")
        except UserError as error:
            problems += [str(error)] if str(error) not in problems else []
    cost = _cost(settings, problems)
    for text in problems:
        print(f"does not fit, because {text}")
    if not problems:
        print("fits     " + "\n         ".join(said))
    print(f"costs    {cost}")
    config = shlex.quote(str(output))
    print(f"next     {'mend that, then ' * bool(problems)}snakemake -n --cores 1{_snakefile()} --configfile {config}")
    print("         says what will run; the same without -n runs it, after a preflight that measures and prices it")
    return int(bool(problems))


def _cost(settings: Settings, problems: list[str]) -> str:
    """What the experiment is expected to cost, as far as data sheets tell; a card that cannot hold it is a problem."""
    hardware = settings.hardware
    try:
        one = estimate(settings, cards.find(hardware.name)) if hardware.device == "cuda" else None
    except UserError:  # a card or a model of which nothing is known
        one = None
    if one is None:
        limit = dollars(settings.budget.limit_usd)
        return f"${hardware.usd_per_hour:g} an hour, {limit} at the most; how many hours, preflight measures"
    if one.lacking:
        problems.append(f"{one.lacking}\n  fix: rent a larger card, or take a smaller model")
    low, usd, high = (dollars(part) for part in (one.usd.low, one.usd.expected, one.usd.high))
    return f"about {usd} ({low} to {high}) in {one.seconds.expected / 3600:.1f} hours, computed from data sheets"


def _snakefile() -> str:
    """The option that names the workflow, where it does not lie here."""
    if Path("Snakefile").exists() or Path("workflow/Snakefile").exists():
        return ""
    checkout = Path(__file__).absolute().parents[3] / "Snakefile"
    return f" --snakefile {shlex.quote(str(checkout))}" if checkout.exists() else " --snakefile <clone>/Snakefile"
