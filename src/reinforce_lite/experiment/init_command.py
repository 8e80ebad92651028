"""The subcommand `init`: one commented configuration for a model, a task and a machine, and whether that fits."""

import argparse
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

from reinforce_lite import __version__
from reinforce_lite.budget import cards
from reinforce_lite.budget.plan import dollars
from reinforce_lite.config import Settings, named
from reinforce_lite.errors import UserError
from reinforce_lite.experiment import checks, init_sections, machine
from reinforce_lite.experiment.estimate import estimate
from reinforce_lite.experiment.fits import memory
from reinforce_lite.experiment.init_sections import SCRATCH, TASKS
from reinforce_lite.experiment.places import disk, existing
from reinforce_lite.experiment.questions import task as questions_of
from reinforce_lite.experiment.rewards import rewards
from reinforce_lite.experiment.weights import policies
from reinforce_lite.io.files import atomic_text
from reinforce_lite.policy.size import sized
from reinforce_lite.resources.memory import GIB
from reinforce_lite.tasks import task_of

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
    model = init_sections.model_of(chosen, cuda)
    stem = Path(task).stem if task.endswith(".jsonl") else task
    name = arguments.name or re.sub(r"[^a-zA-Z0-9._-]+", "-", f"{stem}-{model.name}").strip("._-")[:64]
    output = arguments.output or Path(f"{name}.yaml")
    for place in (output, Path("results") / name):
        if place.exists():
            raise UserError(f"{place} exists, and is not overwritten", "give another --name, or move it away")
    asked, questions = init_sections.task_section(task, arguments, scratch)
    card = cards.find(arguments.gpu) if cuda and arguments.gpu else None
    price = _price(arguments, init_sections.price_asked(card, cuda))
    limit = init_sections.given(arguments.limit, 10.0 if cuda else 1.0)
    content = {
        "hardware": init_sections.hardware_section(arguments, here, cuda, card, price),
        "budget": [("limit_usd", limit, "of the whole, in US dollars")],
        "task": asked,
        f"policies:\n  {init_sections.in_yaml(model.name)}": model.rows,
        **init_sections.training_sections(model, arguments, cuda, scratch, questions),
    }
    with atomic_text(output) as file:
        made = f"reinforce-lite {__version__} init, {date.today()}"
        file.write(init_sections.text(name, model.name, content, made, cuda))
    try:
        settings = named([output])
    except UserError as error:
        output.unlink()
        raise UserError(error.problem, f"correct the option that says so; {output} was not kept") from error
    print(f"wrote    {output}: {model.name} on {task}, experiment {name}, results in {settings.folder}")
    return _told(settings, output, arguments, here if cuda and not arguments.gpu else [])


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


def _price(arguments: argparse.Namespace, default: str | None) -> float:
    """US dollars for one device and hour.

    Raises:
        UserError: it is needed and cannot be asked, or is no number.
    """
    text = _asked(arguments, "price", "price: US dollars for one hour of it, 0 if it is yours", default)
    try:
        return float(text)
    except ValueError as error:
        raise UserError(f"the price {text!r} is no number", "write it as 0.55") from error


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
