"""The README's table of measured performance, made from the files in benchmarks/results.

`python benchmarks/table.py` writes it; with --check it says whether the table is up to date.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from record import ROOT

from reinforce_lite.files import read_json

BEGIN = "<!-- written by python benchmarks/table.py -->"
END = "<!-- end of what benchmarks/table.py writes -->"
TINY = "--policy results/tiny/policies/tiny-llama --config config/tiny.yaml"
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
    """The longest completion by card: of each model, under the scheme that allows it."""
    found = []
    for model in dict.fromkeys(row["model"] for row in result["updates"]):
        rows = [row for row in result["updates"] if row["model"] == model and row["longest"]]
        best = []
        for card in rows[0]["longest"] if rows else ():
            length, scheme = max((row["longest"][card] or 0, row["weights"]) for row in rows)
            best.append(f"{card} GB: {f'{length} ({scheme})' if length else 'none'}")
        found.append(f"{model}: {', '.join(best)}")
    return "; ".join(found)


def growth(result: Result) -> str:
    """Exponents of seconds and memory."""
    return "; ".join(
        f"{factor}: seconds^{slopes['seconds']:.2f}, memory^{slopes['peak_bytes']:.2f}"
        for factor, slopes in result["exponents"].items()
    )


def by_engine(result: Result) -> str:
    """Tokens a second of each engine at its largest group and length, and the share of the memory's bound."""
    rows = {row["engine"]: row for row in result["engines"]}  # the last of an engine is its largest
    size = next(iter(rows.values()))
    told = (
        f"{name} {row['tokens_per_second']['median']:,.0f} ({row['share_of_bound']:.0%})" for name, row in rows.items()
    )
    return f"{size['group']} rows of {size['length']} tokens: {', '.join(told)}"


PUBLISHED, PEERS, ENGINES, LONGEST, GROWTH = (
    "the published loop",
    "TRL's trainers",
    "Tokens a second of each engine (share of what memory bandwidth allows)",
    "Longest completion that one update has memory for",
    "Growth of a step with",
)
ROWS = (
    Row(f"Ours over {PUBLISHED}, tiny-llama", f"python benchmarks/published_loop.py {TINY}", "published_loop.json",
        against_published),
    Row(f"Ours over {PEERS}, tiny-llama", f"python benchmarks/peers.py {TINY}", "peers.json", against_peers),
    Row(f"{ENGINES}, tiny-llama", f"python benchmarks/engines.py {TINY}", "engines.json", by_engine),
    Row(f"{GROWTH} (small shapes)", "python benchmarks/scaling.py", "scaling.json", growth),
    Row(f"Ours over {PUBLISHED}, Llama-3.2-3B's shape", "make bench-gpu", "gpu/published_loop.json",
        against_published),
    Row(f"Ours over {PEERS}, Llama-3.2-3B's shape", "make bench-gpu", "gpu/peers.json", against_peers),
    Row(f"{ENGINES}, Llama-3.2-3B's shape", "make bench-gpu", "gpu/engines.json", by_engine),
    Row(f"{LONGEST}, 3B shapes", "make bench-gpu", "gpu/memory.json", longest),
    Row(f"{GROWTH} (Llama-3.2-3B's shape)", "make bench-gpu", "gpu/scaling.json", growth),
)  # fmt: skip


def table(results: Path) -> str:
    """The table, of what has been measured and what has not."""
    lines = ["| what | figure | machine, date | command |", "| --- | --- | --- | --- |"]
    for row in ROWS:
        figure, made, command = "not yet measured", "", row.command
        if (results / row.file).exists():
            result = read_json(results / row.file)
            figure, command = row.figure(result), result["command"]
            made = f"{result['machine']}, {result['date'][:10]}"
        lines.append(f"| {row.what} | {figure} | {made} | `{command}` |")
    return "\n".join(lines)


def placed(readme: str, made: str) -> str:
    """The README with the table between its marks.

    Raises:
        ValueError: the marks are not there.
    """
    before, found, rest = readme.partition(BEGIN)
    _, also, after = rest.partition(END)
    if not (found and also):
        raise ValueError(f"README.md has no lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{made}\n{END}{after}"


def main() -> None:
    """Write the table, or with --check compare it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    given, readme = parser.parse_args(), ROOT / "README.md"
    old = readme.read_text(encoding="utf-8")
    new = placed(old, table(ROOT / "benchmarks/results"))
    if not given.check:
        readme.write_text(new, encoding="utf-8")
    elif old != new:
        sys.exit("README.md: the table is not what benchmarks/results says; python benchmarks/table.py writes it")


if __name__ == "__main__":
    main()
