"""The subcommand `status`: what runs, how far it is, what it costs, when it ends, and what to do next."""

import argparse
import os
import shlex
import shutil
import sys
import textwrap
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import pairwise, zip_longest
from math import isfinite
from pathlib import Path
from statistics import fmean

from reinforce_lite.budget.plan import dollars
from reinforce_lite.budget.standing import WORKFLOW_LOCK, Observer, Standing, Steps
from reinforce_lite.config import NAMED, Settings, load, named
from reinforce_lite.errors import UserError
from reinforce_lite.io.files import read_json, read_jsonl
from reinforce_lite.io.interrupt import Interrupted
from reinforce_lite.stages import Job, Layout

WIDTH = 80
BLOCKS = "▁▂▃▄▅▆▇█"
PLAIN_BLOCKS = "_.-~=+*#"
"""For an output that has no such characters."""
CURVE = 40
"""Columns of a sparkline and of a bar."""
WATCH_SECONDS = 1.5
INDENT = 12
NARROW = 30
"""A terminal with fewer columns does not break the lines further; they are cut."""

EPILOG = """\
It reads the results folder only: it works beside a run, after a crash, and on a copy elsewhere.

  reinforce-lite status                            the experiment under results/ that was started last
  reinforce-lite status --watch results/paper      until it is finished, or Ctrl-C
  reinforce-lite status --config config/config.yaml config/tiny.yaml    also before anything was started
"""


def add_options(command: argparse.ArgumentParser) -> None:
    """Give the subcommand its options and its help."""
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.epilog = EPILOG
    which = command.add_mutually_exclusive_group()
    which.add_argument("folder", type=Path, nargs="?", help="results/<experiment>, a copy of it, or as --config")
    which.add_argument("--config", type=Path, nargs="+", metavar="FILE", help=NAMED)
    command.add_argument("--watch", action="store_true", help="show it again and again until it is finished")


def run(arguments: argparse.Namespace) -> None:
    """Show how an experiment stands, once or until it is finished.

    Raises:
        UserError: there is no experiment, or its ledger or a result cannot be read.
    """
    settings = _settings(arguments)
    observer, files = Observer(settings), arguments.config or ()
    with suppress(Interrupted, BrokenPipeError):  # Ctrl-C is the way to leave
        if arguments.watch:
            return _watch(settings, observer, files)
        print("\n".join(screen(settings, observer.look(), _size().columns, files)), flush=True)


def _settings(arguments: argparse.Namespace) -> Settings:
    if arguments.config:
        return named(arguments.config)
    folder = arguments.folder or _latest()
    if folder.is_file():
        return named([folder])
    if not (folder / "config.json").exists():
        raise UserError(
            f"{folder} holds no config.json: no experiment was started there",
            "name results/<experiment>, or give --config with the files of the experiment",
        )
    settings = load([folder / "config.json"])
    folder = folder.absolute()  # a copy may have another name
    return settings.model_copy(update={"results": folder.parent, "experiment": folder.name})


def _latest() -> Path:
    """Folder of the experiment that was started last."""
    started = sorted(Path("results").glob("*/config.json"), key=lambda path: path.stat().st_mtime)
    if not started:
        raise UserError("results/ holds no experiment that was started", "name its folder, or give --config")
    return started[-1].parent


def _watch(settings: Settings, observer: Observer, files: Sequence[Path]) -> None:
    """Draw it again and again until the experiment is finished; lines that say what changed if there is no terminal."""
    terminal, before = sys.stdout.isatty(), ""
    lines: list[str] = []
    try:
        print("\x1b[?1049h" if terminal else "", end="")  # a screen of its own
        while True:
            standing = observer.look()
            size = _size()
            lines = screen(settings, standing, size.columns, files)
            if terminal:
                print("\x1b[H\x1b[J" + "\n".join(lines[: size.lines - 1]), end="", flush=True)
            elif (what := progress(standing)) != before:
                print(f"{datetime.now():%H:%M:%S} {what}, {_money(settings, standing)}", flush=True)
                before = what
            if standing.state in ("finished", "refused"):
                return
            time.sleep(WATCH_SECONDS)
    finally:
        if terminal:
            print("\x1b[?1049l" + "\n".join(lines), flush=True)  # the last screen stays


def _size() -> os.terminal_size:
    return shutil.get_terminal_size((WIDTH, 24))


def screen(settings: Settings, standing: Standing, columns: int = WIDTH, files: Sequence[Path] = ()) -> list[str]:
    """The lines of the screen, none wider than the terminal or 80 columns.

    Args:
        settings: the experiment.
        standing: how it stands.
        columns: of the terminal.
        files: the configuration, if it was given as files.
    """
    width = min(columns, WIDTH)
    room = max(width, NARROW) - INDENT
    lines: list[str] = []
    for name, text in _rows(settings, standing, files):
        parts = textwrap.wrap(text, room, break_on_hyphens=False) or [""]
        lines += [f"{head:<{INDENT}}{part}"[:width] for head, part in zip_longest([name], parts, fillvalue="")]
    return lines


def _rows(settings: Settings, standing: Standing, files: Sequence[Path]) -> Iterable[tuple[str, str]]:
    """Names and texts of the screen."""
    now, last = datetime.now(), standing.last
    yield "experiment", f"{settings.experiment}: {standing.state}, {now:%H:%M:%S}"
    if standing.job is not None:
        yield "stage", str(standing.job)
    elif standing.state == "running":
        yield "stage", "none on the device just now"
    if standing.steps is not None and standing.steps.of:
        yield from _steps(standing.steps)
    for job, steps in standing.beside:
        yield "stage", str(job)
        yield from _steps(steps) if steps is not None and steps.of else ()
    if last is not None and standing.state != "running" and last.outcome in ("failed", "interrupted", "killed"):
        how = "its process has gone without a word" if last.outcome == "killed" else (last.error or "").splitlines()[0]
        yield "last", f"{last.job} {last.outcome}: {how}"
    yield "dollars", _money(settings, standing)
    if standing.all_seconds is not None:
        which = "the first stage" if standing.beside else "this stage"
        stage = "" if standing.stage_seconds is None else f"{which} {_when(now, standing.stage_seconds)}, "
        yield "ends", f"{stage}all of it {_when(now, standing.all_seconds)}"
    if standing.checkpoint is not None and standing.steps is not None:
        step, age = standing.checkpoint
        yield "checkpoint", f"after {standing.steps.unit} {step:,}, {_long(age)} ago"
    counts = {how: standing.states.count(how) for how in ("done", "not run")}
    refused = f", {counts['not run']} not run" if counts["not run"] else ""
    yield "stages", f"{counts['done']} of {len(standing.states)} done on the device{refused}"
    if standing.reason:
        yield "budget", standing.reason
    if standing.state == "finished":
        yield from _gains(settings)
    yield "next", _next(settings, standing, files)


def _steps(steps: Steps) -> Iterable[tuple[str, str]]:
    share = steps.done / steps.of
    full = round(CURVE * min(1.0, share))
    yield steps.unit, f"{_blocks()[-1] * full}{'.' * (CURVE - full)} {steps.done:,}/{steps.of:,} ({share:.0%})"
    known = [mean for mean in column_means(steps.values) if mean is not None]
    if steps.curve and known:
        yield steps.curve, f"{sparkline(steps.values)} {known[-1]:.3g}, from {known[0]:.3g}"


def _money(settings: Settings, standing: Standing) -> str:
    limit = f"{dollars(settings.budget.limit_usd)} limit"
    spent = f"{dollars(standing.spent_usd)} now"
    if standing.state == "finished":
        return f"{dollars(standing.spent_usd)} spent in {standing.device_hours:.2f} device hours, {limit}"
    if standing.expected_usd is None:
        return f"{spent}, expected is not known yet: `reinforce-lite estimate` prices it, {limit}"
    return f"{spent}, {dollars(standing.expected_usd)} expected in all, {limit}"


def _gains(settings: Settings) -> Iterable[tuple[str, str]]:
    """The reward of every training of the result, and what it has gained."""
    layout = Layout.of(settings)
    for model in settings.models:
        for variant, seed in settings.runs:
            path = layout.comparison(model, variant, seed)
            compared = read_json(path) if path.exists() else {}
            if variant == settings.variants[0] and "delta" in compared:
                rows = read_jsonl(layout.path(Job("train", model, variant, seed), "metrics"))
                low, high = (100 * end for end in compared["ci95"])
                curve = sparkline([row["reward_mean"] for row in rows], CURVE // 2)
                gain = f"{100 * compared['delta']:+z.1f} [{low:+z.1f}, {high:+z.1f}] points"
                yield "reward", f"{curve} {model} seed{seed} {gain}"


def _next(settings: Settings, standing: Standing, files: Sequence[Path]) -> str:
    """The next command."""
    if standing.state == "running":
        return "nothing: it runs"
    if standing.state == "finished":
        return f"read {_seen(Layout.of(settings).path(Job('report'), 'html'))}"
    command = _command(settings, files)
    return f"change the budget as said above, then {command}" if standing.state == "refused" else command


def _command(settings: Settings, files: Sequence[Path]) -> str:
    """The command that goes on: the last one, if Snakemake was called; else one that takes the same settings."""
    lock, config = settings.folder / WORKFLOW_LOCK, settings.folder / "config.json"
    lines = lock.read_text().splitlines() if lock.exists() else []
    if len(lines) > 1:
        return lines[1]
    cores = str(settings.hardware.jobs_at_once)
    return shlex.join(["snakemake", "--cores", cores, "--configfile", *map(str, files or [_seen(config)])])


def progress(standing: Standing) -> str:
    """What an experiment is at, without what changes by itself."""
    parts: list[str] = [standing.state]
    for job, steps in ((standing.job, standing.steps), *standing.beside):
        parts.append(str(job or ""))
        if steps is not None and steps.of:
            known = [value for value in steps.values if value is not None]
            parts.append(f"{steps.unit} {steps.done}/{steps.of}")
            parts += [f"{steps.curve} {known[-1]:.3g}"] if steps.curve and known else []
    return ", ".join(filter(None, parts))


def column_means(values: Sequence[float | None], columns: int = CURVE) -> list[float | None]:
    """The mean of as many values as share a column; None where none is a number."""
    width = min(columns, len(values))
    ends = [len(values) * n // width for n in range(width + 1)] if width else []
    parts = [[v for v in values[a:b] if v is not None and isfinite(v)] for a, b in pairwise(ends)]
    return [fmean(part) if part else None for part in parts]


def sparkline(values: Sequence[float | None], columns: int = CURVE) -> str:
    """A curve as blocks, with a blank where no step has a number.

    >>> sparkline([0.0, 0.5, None, 1.0])
    '▁▅ █'
    """
    means, blocks = column_means(values, columns), _blocks()
    known = [mean for mean in means if mean is not None]
    low, span = (min(known), max(known) - min(known)) if known else (0.0, 0.0)
    scale = (len(blocks) - 1) / span if span else 0.0
    return "".join(" " if mean is None else blocks[round((mean - low) * scale)] for mean in means)


def _blocks() -> str:
    try:
        BLOCKS.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return PLAIN_BLOCKS
    return BLOCKS


def _seen(path: Path) -> Path:
    """A path as it is seen from the working directory, if it lies there."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _when(now: datetime, seconds: float) -> str:
    """A time of the clock, with its day unless it is today, and how far away it is."""
    end = now + timedelta(seconds=seconds)
    return f"at {end:%H:%M}{'' if end.date() == now.date() else f' on {end:%a %d %b}'} (in {_long(seconds)})"


def _long(seconds: float) -> str:
    """A duration in words.

    >>> [_long(seconds) for seconds in (7.4, 600, 14100, 400000)]
    ['7 s', '10 min', '3 h 55 min', '4.6 days']
    """
    if seconds < 100:
        return f"{max(0.0, seconds):.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{seconds / 86400:.1f} days"
