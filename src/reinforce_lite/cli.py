"""The command `reinforce-lite`: one subcommand for each stage of the workflow, and some that only look.

`init` writes a configuration, `estimate` computes what it would cost on another GPU, `ledger` shows what was spent,
`status` what runs, `power` what a comparison can see, `traces` how the policies reason, `verify` whether a report
follows from its files.

Imports of torch, lm-eval and MLflow are inside the stages, so that `--help` and errors come at once.
"""

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

from reinforce_lite import __version__
from reinforce_lite.budget import decision
from reinforce_lite.config import NAMED, Settings, named
from reinforce_lite.errors import UserError
from reinforce_lite.evaluation import power_command
from reinforce_lite.experiment import (
    estimate_command,
    frame,
    init_command,
    ledger_command,
    status_command,
    ui_command,
)
from reinforce_lite.io import interrupt
from reinforce_lite.io.interrupt import Interrupted
from reinforce_lite.io.keyed import ACCEPT
from reinforce_lite.io.shown import shown
from reinforce_lite.report import claims_command, eee_command, traces_command, verify_command
from reinforce_lite.stages import STAGES, Job, Layout, Stage

Arguments = argparse.Namespace

COMMANDS = {
    "preflight": "Check everything before anything is spent, rehearse a few steps, and plan what the rest may cost.",
    "prepare-dataset": "Write the splits, the demonstrations and a manifest with counts, sums and source.",
    "fetch-policy": "Fetch a policy at its pinned revision, and give it its supervised start if it has one.",
    "evaluate": "Evaluate a policy on the test split with lm-eval: the baseline, or a trained one with --variant.",
    "evaluate-again": "Evaluate a policy before training a second time, in other batches: what differs is noise.",
    "train": "Train a policy with Reinforce-Lite; one of several processes if accelerate launch has started them.",
    "compare": "Compare a trained policy with its baseline, question by question.",
    "report": "Write report.html for people, and summary.json, verdicts.json and traces.json for machines.",
    "crate": "Describe the results and where they came from as an RO-Crate: ro-crate-metadata.json.",
}
"""Help of the stages' commands."""
LAST = ("report", "crate")
"""Stages after which nothing has to follow."""


def stage(arguments: Arguments) -> None:
    """Run the stage of a command; of those that share one, the one of a training if --variant names it."""
    config, given = named(arguments.config), vars(arguments)
    _check_names(arguments, config)
    per = "run" if given.get("variant") is not None else "model" if "model" in given else "experiment"
    row = next(row for row in _stages(arguments.command) if row.per == per)
    job = Job(row.name, given.get("model", ""), given.get("variant"), given.get("seed"))
    options = {name: given[name] for name in row.options}
    arguments.last_line = still_rented(config)  # unless it ends as it should, and another one follows
    if given.get("accept_other_numbers"):
        os.environ[ACCEPT] = "1"
    frame.execute(config, job, given.get("round"), **options)
    decided = decision.read(Layout.of(config).decision(job)) if row.device else None
    if row.name not in LAST and not (decided and decided.unfinished):
        arguments.last_line = None


def still_rented(config: Settings) -> str | None:
    """What a rented machine costs from now on; None if it costs nothing."""
    hardware = config.hardware
    usd = hardware.usd_per_hour * hardware.count
    what = f"{hardware.count} x " * (hardware.count > 1) + hardware.name
    return f"{what} still costs ${usd:g} an hour until you give it back" if usd else None


def claims(arguments: Arguments) -> int:
    """Show the claims table; exit code 4 if a claim is contradicted, else 3 if one is not decided, else 0."""
    return claims_command.run(named(arguments.config))


def ledger(arguments: Arguments) -> None:
    """Show what was spent, attempt by attempt; or check the ledger, or make MLflow's view anew from it."""
    config = named(arguments.config)
    ledger_command.run(config, arguments)
    if arguments.rebuild_mlflow and Layout.of(config).path(Job("report")).exists():
        from reinforce_lite.experiment.report import show

        show(config)


def estimate(arguments: Arguments) -> None:
    """Show what every stage would take and cost on a GPU that is not here, and what would fit into the budget."""
    estimate_command.run(named(arguments.config), arguments)


def export_eee(arguments: Arguments) -> None:
    """Write the per-item results in the shared format of Every Eval Ever, schema 0.3."""
    eee_command.run(named(arguments.config), arguments)


def init(arguments: Arguments) -> int:
    """Write a configuration for your model, your task and this machine, and say whether that fits."""
    return init_command.run(arguments)


def power(arguments: Arguments) -> None:
    """Show how small a gain the comparison can see, before money is spent on it."""
    power_command.run(named(arguments.config), arguments)


def status(arguments: Arguments) -> None:
    """Show what runs, how far it is, what it has cost and will, when it ends, and what to do next."""
    status_command.run(arguments)


def traces(arguments: Arguments) -> None:
    """Count behaviours such as verification and backtracking in the completions, before and after training."""
    traces_command.run(arguments)


def ui(arguments: Arguments) -> None:
    """Serve MLflow's pages, and print where the runs and the reports are."""
    ui_command.run(arguments)


def verify(arguments: Arguments) -> None:
    """Derive every number of a finished report again, from the per-item files up, and say what differs."""
    from reinforce_lite.experiment.replay import replay  # torch, if at all

    verify_command.run(arguments, replay)


def _stages(command: str) -> list[Stage]:
    """The stages that a command runs."""
    return [row for row in STAGES.values() if (row.command or row.name).replace("_", "-") == command]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    root = argparse.ArgumentParser(
        prog="reinforce-lite",
        description="One subcommand for each stage of the workflow. Snakemake calls them in order "
        "(snakemake --cores 2 --configfile config/tiny.yaml); by hand they do the same. `init` writes a configuration, "
        "`estimate` computes what it would cost on a GPU that is not here, `ledger` shows what was spent, `status` "
        "what runs and when it ends, `power` what a comparison can see, `traces` how the policies reason, `verify` "
        "whether a report follows from its files.",
    )
    root.add_argument("--version", action="version", version=f"reinforce-lite {__version__}")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, function: Callable[[Arguments], int | None], summary: str) -> argparse.ArgumentParser:
        """A subcommand that calls a function; all but four, which may take something else, read a configuration."""
        command = commands.add_parser(name, help=summary, description=summary)
        command.set_defaults(function=function)
        if function not in (init, status, ui, verify):
            command.add_argument("--config", type=Path, nargs="+", required=True, metavar="FILE", help=NAMED)
        return command

    for row in STAGES.values():
        name = (row.command or row.name).replace("_", "-")
        if name not in commands.choices:
            _add_stage_options(add(name, stage, COMMANDS.get(name, row.message)), _stages(name))
    others: tuple[Callable[[Arguments], int | None], ...] = (
        claims, estimate, export_eee, init, ledger, power, status, traces, ui, verify,
    )  # fmt: skip
    for function in others:
        command = add(function.__name__.replace("_", "-"), function, str(function.__doc__).strip())
        if function is not claims:
            OPTIONS[function.__name__](command)
    return root


OPTIONS: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "estimate": estimate_command.add_options,
    "export_eee": eee_command.add_options,
    "init": init_command.add_options,
    "ledger": ledger_command.add_options,
    "power": power_command.add_options,
    "status": status_command.add_options,
    "traces": traces_command.add_options,
    "ui": ui_command.add_options,
    "verify": verify_command.add_options,
}


def _add_stage_options(command: argparse.ArgumentParser, rows: list[Stage]) -> None:
    """Give the command of some stages the options that say whose job it is."""
    pers = {row.per for row in rows}
    if pers != {"experiment"}:
        command.add_argument("--model", required=True, help="a name under `policies`")
    if "run" in pers:
        needed = pers == {"run"}
        command.add_argument("--variant", required=needed, help="a name under `training_variants`")
        command.add_argument("--seed", type=int, required=needed, help="training seed")
    if any(row.device for row in rows):
        text = "go on with what was begun with other libraries, on another device or from other policy files"
        command.add_argument("--accept-other-numbers", action="store_true", help=text)
        command.add_argument("--round", type=int, help="how often the budget was changed; the workflow counts")
    if any("workflow" in row.options for row in rows):
        where = "folder of the Snakefile that was run; a copy of it becomes part of the crate"
        command.add_argument("--workflow", type=Path, default=Path("workflow"), metavar="FOLDER", help=where)


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand; a user's error is one screen on stderr and exit code 2, a signal to stop is code 75."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # what it cannot write, it spells
        sys.stdout.reconfigure(errors="backslashreplace")
    arguments = parser().parse_args(argv)
    arguments.last_line = None
    interrupt.install()
    try:
        return _ended(arguments)
    finally:
        with contextlib.suppress(OSError):  # the reader of our output may have ended before us
            if arguments.last_line:
                print(arguments.last_line, file=sys.stderr, flush=True)


def _ended(arguments: Arguments) -> int:
    try:
        return arguments.function(arguments) or 0
    except UserError as error:
        print(shown(f"reinforce-lite {arguments.command}: {error}"), file=sys.stderr)
        return 2
    except OSError as error:
        if error.filename is None:
            raise
        print(f"reinforce-lite {arguments.command}: {error.filename}: {error.strerror}", file=sys.stderr)
        print("  fix: see that it is there, that this user may use it, and that its disk has room", file=sys.stderr)
        return 2
    except Interrupted:
        with contextlib.suppress(OSError):
            print(f"reinforce-lite {arguments.command}: interrupted; the same command continues", file=sys.stderr)
        return interrupt.EXIT_CODE


def wait_briefly() -> None:
    """Let threads that wait for each other sleep soon; the OpenMP that torch loads reads this once.

    They spin for much longer by default. On a core that another program uses too, the one that works has then to wait
    for the one that spins. What the user has set stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def entry() -> None:
    """Entry point of the console command.

    Leaves at once when all is written: taking torch and MLflow apart would cost another second of rented time a rule.
    """
    wait_briefly()
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)


def _check_names(arguments: Arguments, config: Settings) -> None:
    """Refuse a model or variant that the configuration does not have."""
    for key, catalogue in (("model", config.policies), ("variant", config.training_variants)):
        name = getattr(arguments, key, None)
        if name is not None and name not in catalogue:
            raise UserError(f"--{key} {name} is unknown", f"use one of {', '.join(sorted(catalogue))}")
    if getattr(arguments, "variant", None) is not None and arguments.seed is None:
        raise UserError("--variant comes with --seed", "add --seed 0")


if __name__ == "__main__":
    entry()
