"""The README's tables of measured performance, made from the files in benchmarks/results.

`python benchmarks/table.py` writes them; with --check it says whether they are up to date.
"""

import argparse
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machinery import METHODS as VARIANTS
from record import ROOT

from reinforce_lite.io.files import read_json
from reinforce_lite.resources.memory import BYTES

BEGIN = "<!-- written by python benchmarks/table.py -->"
END = "<!-- end of what benchmarks/table.py writes -->"
TINY = "--policy results/tiny/policies/tiny-llama --config config/tiny.yaml"
TRAINED = "<!-- methods, written by python benchmarks/table.py -->"
MACHINERY = "<!-- machinery, written by python benchmarks/table.py -->"
GONE = ("continuous",)
"""Engines that the project had when a file was written, and has no longer."""
Result = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One row: what is to be measured, by which command, the file in benchmarks/results, and how its figure reads."""

    what: str
    command: str
    file: str
    figure: Callable[[Result], str]


def times(ratio: dict[str, float] | None) -> str:
    """A ratio with its range.

    >>> times({"median": 8.684, "min": 7.19, "max": 10.18})
    'x 8.7 (7.2 to 10.2)'
    """
    return "nothing to compare" if ratio is None else "x {median:.1f} ({min:.1f} to {max:.1f})".format(**ratio)


def against_published(result: Result) -> str:
    """Ours over the published loop."""
    figures = [f"completions/s {times(result['completions_ratio'])}"]
    if result["gradient_ratio"]:
        figures.append("with a gradient x {median:.0f}".format(**result["gradient_ratio"]))
    if result["peak_memory_ratio"]:
        figures.append("peak memory x {median:.2f}".format(**result["peak_memory_ratio"]))
    return "; ".join(figures)


def against_peers(result: Result) -> str:
    """Ours over each trainer, and by phase over the fastest."""
    names = result["against"].items()
    whole = ", ".join(f"{name} {times(ratios['completions_ratio'])}" for name, ratios in names)
    parts = ((name, ratio) for name, ratio in result["phases"].items() if ratio)
    phases = ", ".join(f"{name} x {ratio['median']:.1f}" for name, ratio in parts)
    memory = result["peak_memory_ratio"]
    held = f"; peak memory x {memory['median']:.2f}" if memory else ""
    return f"completions/s: {whole}; of {result['fastest_peer']} by phase: {phases}{held}"


def longest(result: Result) -> str:
    """The longest completion by card: of each model, under the best scheme of those that allow it."""
    found = []
    for model in dict.fromkeys(row["model"] for row in result["updates"]):
        rows = [row for row in result["updates"] if row["model"] == model and row["longest"]]
        by_card = [f"{card} GB {on_card(rows, card)}" for card in (rows[0]["longest"] if rows else ())]
        found.append(f"{model}: {', '.join(by_card)}")
    schemes = ", ".join(dict.fromkeys(row["weights"] for row in result["updates"]))
    return f"{'; '.join(found)} (tokens after a prompt of {result['prompt_tokens']}; schemes tried: {schemes})"


def on_card(rows: list[Result], card: str) -> str:
    """The longest completion of a model on a card; `or more` where the search had no longer one.

    >>> tried = {"lengths": [{"length": 1024}, {"length": 4096}]}
    >>> on_card([{"weights": "8bit", "longest": {"48": 4096}, **tried}], "48")
    '4,096 or more by 8bit'
    """
    order = {scheme: -place for place, scheme in enumerate(BYTES)}  # of equal lengths, the scheme that loses least
    best = max(rows, key=lambda row: (row["longest"][card] or 0, order[row["weights"]]))
    length, asked = best["longest"][card], max((at["length"] for at in best["lengths"]), default=None)
    return f"{length:,}{' or more' if length == asked else ''} by {best['weights']}" if length else "none"


def growth(result: Result) -> str:
    """Exponents of seconds and memory."""
    return "; ".join(
        f"{factor}: seconds^{slopes['seconds']:.2f}, memory^{slopes['peak_bytes']:.2f}"
        for factor, slopes in result["exponents"].items()
    )


def by_engine(result: Result) -> str:
    """Tokens a second of each engine at its largest batch and length, and the share of the memory's bound."""
    rows = {row["engine"]: row for row in result["engines"] if row["engine"] not in GONE}  # the last is the largest
    size = next(iter(rows.values()))
    told = (
        f"{name} {row['tokens_per_second']['median']:,.0f} ({row['share_of_bound']:.0%})" for name, row in rows.items()
    )
    return f"{size.get('questions', 1) * size['group']} rows of {size['length']} tokens: {', '.join(told)}"


def optimiser_steps(result: Result) -> str:
    """Seconds of an optimiser step by model and scheme, and how they compare with `stochastic`."""
    told: dict[str, list[str]] = {}
    for row in result["steps"]:
        figure = "no memory" if row["seconds"] is None else f"{row['seconds']['median']:.2f} s"
        ratio = f" (x {row['over_stochastic']:.1f})" if row["over_stochastic"] else ""
        told.setdefault(row["model"], []).append(f"{row['weights']} {figure}{ratio}")
    return "; ".join(f"{model}: {', '.join(figures)}" for model, figures in told.items())


def start_steps(result: Result) -> str:
    """Seconds of a step of the supervised start."""
    seconds = "{median:.2f} s a step ({min:.2f} to {max:.2f})".format(**result["seconds_per_step"])
    return f"{result['batch']} rows in {result['dtype']}: {seconds}, {result['tokens_per_second']:,.0f} tokens/s"


def probed_rollout(result: Result) -> str:
    """Tokens a second of the rollout as the probe measured them by hand."""
    rows = result["rows"]
    own = next(row for row in rows if row["what"] == "generate")
    modes = {(row["deterministic"], row["fill"]): row["tok_s"] for row in rows if row["what"] == "generate_fill"}
    vllm = max((row for row in rows if row["what"] == "vllm" and "tok_s" in row), key=lambda row: row["tok_s"])
    return (
        f"{own['rows']} rows of {own['length']} tokens: generate in deterministic mode {own['tok_s']:,.0f} "
        f"({own['tok_s'] / own['bound']:.0%}), without it {modes[False, False]:,.0f}; vllm, which crashed in "
        f"deterministic mode, without it {vllm['tok_s']:,.0f} ({vllm['tok_s'] / vllm['bound']:.0%})"
    )


def probed_step(result: Result) -> str:
    """The published loop and the update as the probe measured them by hand."""
    theirs = next(row for row in result["rows"] if row["what"] == "published_loop")
    updates = [row for row in result["rows"] if row["what"] == "update" and row["checkpointing"]]
    told = ", ".join(f"{row['scheme']} {row['gradient_s']:.2f} s + step {row['descend_s']:.2f} s" for row in updates)
    return (
        f"all in deterministic mode: published loop {theirs['completions_s']:.2f} completions/s of {theirs['length']} "
        f"tokens; update of {updates[0]['tokens']:,} tokens: {told}"
    )


def shown_command(result: Result) -> str:
    """The command of a result without the place of its file, which differs by machine; how else it was measured.

    >>> shown_command({"command": "python a.py --output /some/where.json --rounds 3"})
    '`python a.py --rounds 3`'
    """
    if "command" not in result:
        return f"by hand, on tree {result['tree']}: `benchmarks/results/gpu/probe.json`"
    return f"`{re.sub(r' --output [^ ]+', '', result['command'])}`"


PUBLISHED, PEERS, ENGINES, LONGEST, GROWTH = (
    "the published loop",
    "TRL's trainers",
    "Tokens a second of each engine (share of what memory bandwidth allows)",
    "Longest completion that one update has memory for",
    "Growth of a step with",
)


def books(result: Result) -> str:
    """Seconds, GiB and growth of each reader at the largest size."""
    parts = []
    for name, case in result["cases"].items():
        largest = case["sizes"][-1]
        parts.append(f"{name} {largest['seconds']:.3g} s, {largest['peak_gib']:.2f} GiB, ^{case['growth_seconds']:.2f}")
    return "; ".join(parts)


ROWS = (
    Row(f"Ours over {PUBLISHED}, tiny-llama", f"python benchmarks/published_loop.py {TINY}", "published_loop.json",
        against_published),
    Row(f"Ours over {PEERS}, tiny-llama", f"python benchmarks/peers.py {TINY}", "peers.json", against_peers),
    Row(f"{ENGINES}, tiny-llama", f"python benchmarks/engines.py {TINY}", "engines.json", by_engine),
    Row(f"{GROWTH} (small shapes)", "python benchmarks/scaling.py", "scaling.json", growth),
    Row("Reading 10^6 rows of a ledger, 2,000 attempts, 10^5 steps, 13,000 x 4 sampled answers (growth with size)",
        "python benchmarks/books.py", "books.json", books),
    Row(f"Ours over {PUBLISHED}, Llama-3.2-3B's shape", "make bench-gpu", "gpu/published_loop.json",
        against_published),
    Row(f"Ours over {PEERS}, Llama-3.2-3B's shape", "make bench-gpu", "gpu/peers.json", against_peers),
    Row(f"{ENGINES}, Llama-3.2-3B's shape", "make bench-gpu", "gpu/engines.json", by_engine),
    Row(f"{LONGEST}, 3B shapes", "make bench-gpu", "gpu/memory.json", longest),
    Row(f"{GROWTH} (Llama-3.2-3B's shape)", "make bench-gpu", "gpu/scaling.json", growth),
    Row("One step of the optimiser by scheme (over stochastic), 3B shapes", "make bench-gpu", "gpu/optimizer.json",
        optimiser_steps),
    Row("Supervised start of SmolLM2-135M on GSM8K's solutions", "make bench-gpu", "gpu/start.json", start_steps),
    Row("Before: rollout as it was at tree 86ae0d2, Llama-3.2-3B's shape, tokens/s (share of the bound)", "by hand",
        "gpu/probe.json", probed_rollout),
    Row("Before: published loop and update as they were at tree 86ae0d2", "by hand", "gpu/probe.json", probed_step),
)  # fmt: skip


def table(results: Path) -> str:
    """The table, of what has been measured and what has not."""
    lines = ["| what | figure | machine, date | command |", "| --- | --- | --- | --- |"]
    for row in ROWS:
        figure, made, command = "not yet measured", "", f"`{row.command}`"
        if (results / row.file).exists():
            result = read_json(results / row.file)
            figure, command = row.figure(result), shown_command(result)
            made = f"{result['machine']}, {result['date'][:10]}"
        lines.append(f"| {row.what} | {figure} | {made} | {command} |")
    return "\n".join(lines)


METHODS = {"tiny-llama": (f"python benchmarks/machinery.py {TINY}", "machinery.json"),
           "Llama-3.2-3B's shape": ("python benchmarks/machinery.py --shape 3b", "gpu/machinery.json")}  # fmt: skip
"""What a step of each method was measured on: by which command, the file in benchmarks/results."""


def machinery(results: Path) -> str:
    """The table of methods: what a step of each holds and takes."""
    lines = [
        "| a step of | networks | seconds (over the first) | peak memory | lines of code |",
        "|---|---|---|---|---|",
    ]
    for world, (command, file) in METHODS.items():
        if not (results / file).exists():
            lines.append(f"| {world}: not yet measured, `{command}` | | | | |")
            continue
        result = read_json(results / file)
        for name, row in result["methods"].items():
            kinds = [kind for kind, count in row["networks"].items() if count]
            ratio = "" if row["seconds_ratio"]["max"] == 1 else f" ({times(row['seconds_ratio'])})"
            seconds = f"{row['seconds']['median']:.2g}{ratio}"
            figures = f"{seconds} | {row['peak_bytes'] / 1e6:,.0f} MB | {row['lines']}"
            lines.append(f"| {name}, {world} | {len(kinds)}: {', '.join(kinds)} | {figures} |")
        made = f"{result['machine']}, {result['date'][:10]}, {result['completions']} completions"
        lines.append(f"| {made}: {shown_command(result)} | | | | |")
    return "\n".join(lines)


WORLDS = {"tiny": "word world", "tiny_countdown": "Countdown", "tiny_knights": "knights and knaves"}
"""The worlds of benchmarks/methods.py, in words."""


def trained(results: Path) -> str:
    """The table of accuracies: what each method makes of the tiny worlds."""
    if not (results / "methods.json").exists():
        return "Not yet measured: `python benchmarks/methods.py`"
    result = read_json(results / "methods.json")
    worlds = {WORLDS[name]: figures for name, figures in result["worlds"].items()}
    before = (f"{one['baseline']:.1%} of {one['n']:,}" for one in worlds.values())
    lines = [
        f"| right answers, strict; cost of the training; swings of its reward | {' | '.join(worlds)} |",
        f"|{'---|' * (1 + len(worlds))}",
        f"| before training | {' | '.join(before)} |",
    ]
    for name, variant in VARIANTS.items():
        cells = (_trained(figures["runs"].get(variant)) for figures in worlds.values())
        lines.append(f"| {name} | {' | '.join(cells)} |")
    made = f"{result['machine']}, {result['date'][:10]}, one training seed"
    return "\n".join([*lines, f"| {made}: `python benchmarks/methods.py` |{' |' * len(worlds)}"])


def _trained(row: dict[str, Any] | None) -> str:
    if row is None:
        return "not run"
    low, high = (f"{100 * end:+.1f}" for end in row["ci95"])
    return f"{row['trained']:.1%} ({low} to {high} points); ${row['usd']:.4f}; {row['swings']:.3f}"


def placed(readme: str, made: str, begin: str = BEGIN) -> str:
    """The README with a table between its marks.

    Raises:
        ValueError: the marks are not there.
    """
    before, found, rest = readme.partition(begin)
    _, also, after = rest.partition(END)
    if not (found and also):
        raise ValueError(f"README.md has no lines {begin} and {END}")
    return f"{before}{begin}\n{made}\n{END}{after}"


def main() -> None:
    """Write the tables, or with --check compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    given, readme = parser.parse_args(), ROOT / "README.md"
    old = readme.read_text(encoding="utf-8")
    results = ROOT / "benchmarks/results"
    new = placed(placed(old, table(results)), machinery(results), MACHINERY)
    new = placed(new, trained(results), TRAINED)
    if not given.check:
        readme.write_text(new, encoding="utf-8")
    elif old != new:
        sys.exit("README.md: the table is not what benchmarks/results says; python benchmarks/table.py writes it")


if __name__ == "__main__":
    main()
