"""The words of a finding follow from its numbers, adjusted as the claims are."""

from typing import Any

import pytest

from reinforce_lite.report.findings import adjusted, change, format_remark, of_model, sentence


def by(delta: float, p: float) -> dict[str, Any]:
    return {"delta": delta, "ci95": [-0.1, 0.1], "discordant": {"gained": 0, "lost": 0}, "mcnemar_p": p}


def run(strict: dict[str, Any], flexible: dict[str, Any], variant: str = "ours", seed: int = 0) -> dict[str, Any]:
    base = {"strict": 0.5, "flexible": 0.5, "truncated": 0.0, "length": 10.0}
    who = {"variant": variant, "seed": seed, "not_run": None, "n": 1319}
    return {**who, "under_read": None, "baseline": base, "trained": base, **strict, "flexible": flexible}


def model(*runs: dict[str, Any], over_seeds: Any = (), noise: Any = None) -> dict[str, Any]:
    return {**runs[0], "runs": list(runs), "over_seeds": list(over_seeds), "published": None, "noise_floor": noise}


@pytest.mark.parametrize(
    ("delta", "p", "kind", "start"),
    [
        (0.139, 0.00001, "rose", "Rose: 95% interval [-10.0, +10.0], adjusted p < 0.0001"),
        (-0.02, 0.04, "fell", "Fell: 95% interval [-10.0, +10.0], adjusted p = 0.040"),
        (0.02, 0.05, "same", "No significant change: 95% interval"),
        (0.0, 1.0, "same", "No significant change"),
    ],
)
def test_a_finding_follows_from_the_numbers(delta: float, p: float, kind: str, start: str) -> None:
    found = change(run(by(delta, p), by(0, 1)), "strict", p, 0.05, 0.0)
    assert found.kind == kind
    assert sentence(found).startswith(start) and "n = 1,319" in sentence(found)
    assert found.words.startswith(
        f"from 50.0% to {0.5 + delta:.1%} ({100 * delta:+.1f} points, 95% interval [-10.0, +10.0]"
    )


@pytest.mark.parametrize(
    ("strict", "flexible", "word", "warns"),
    [
        (by(0.1, 0.001), by(0.1, 0.001), "format: the same.", False),
        (by(0.1, 0.001), by(0.2, 0.001), "it rose", False),
        (by(0.1, 0.001), by(0.01, 0.5), "no significant change", True),
        (by(0.1, 0.001), by(-0.1, 0.001), "it fell", True),
        (by(0.0, 1.0), by(0.0, 1.0), "format: the same.", False),
    ],
)
def test_format_remark(strict: dict[str, Any], flexible: dict[str, Any], word: str, warns: bool) -> None:
    both = run(strict, flexible)
    sides = (
        change(both, name, own["mcnemar_p"], 0.05, 0.0) for name, own in (("strict", strict), ("flexible", flexible))
    )
    text = format_remark(*sides, None)
    assert word in text
    assert ("matter of the answer's format" in text) == warns


def test_cards_need_what_claims_need() -> None:
    models = {
        "a": model(run(by(0.1, 0.03), by(0.1, 0.03)), run(by(0.1, 0.02), by(0, 1), "coin")),
        "b": model(run(by(0.1, 0.04), by(0.1, 0.9)), run(by(0.1, 0.5), by(0, 1), "coin"), run(by(0, 1), by(0, 1), "x")),
    }
    p_values = adjusted(models)
    # Holm over the two results: 2 x 0.03, and no less for the other; over the three other runs: 3 x 0.02.
    assert p_values["a", "ours", 0, "strict"] == p_values["b", "ours", 0, "strict"] == pytest.approx(0.06)
    assert p_values["a", "coin", 0, "strict"] == pytest.approx(0.06)
    shown = of_model("a", models["a"], p_values, 0.05)
    assert shown["kind"] == "same" and shown["sentence"].startswith("No significant change: 95% interval")
    assert [(row["variant"], row["p"], row["found"]) for row in shown["runs"]] == [
        ("ours", pytest.approx(0.06), "no significant change"), ("coin", pytest.approx(0.06), "no significant change")
    ]  # fmt: skip


def test_several_seeds_decide_together() -> None:
    over = {"seeds": [0, 1, 2], "mean": 0.04, "ci95": [0.01, 0.07], "adjusted": [-0.01, 0.08]}
    row = {**over, "variant": "ours", "flexible": {**over, "adjusted": [0.005, 0.075]}}
    one = model(run(by(0.2, 0.001), by(0.2, 0.001)), over_seeds=[row])
    shown = of_model("a", one, adjusted({"a": one}), 0.05)
    assert shown["kind"] == "same", "the adjusted interval holds 0, whatever the first seed says"
    assert (
        "from 50.0% to 54.0% (+4.0 points" in shown["headline"].words and "over 3 training seeds" in shown["sentence"]
    )
    assert "it rose" in shown["remark"]


def floor(high: float) -> dict[str, Any]:
    changed = {"changed": {"count": 3, "share": high / 2, "ci95": [0.0, high]}}
    return {"strict": changed, "flexible": changed}


@pytest.mark.parametrize(("high", "kind"), [(0.009, "rose"), (0.01, "same"), (0.03, "same")])
def test_a_card_needs_more_than_noise(high: float, kind: str) -> None:
    one = model(run(by(0.01, 0.001), by(0.01, 0.001)), noise=floor(high))
    shown = of_model("a", one, adjusted({"a": one}), 0.05)
    assert shown["kind"] == kind
    assert ("no more than two evaluations of the base may differ" in shown["sentence"]) == (kind == "same")


def test_a_gain_of_the_format_is_named_if_only_the_parser_missed_the_base() -> None:
    change = by(0.0, 1.0)
    one = run(by(0.1, 0.001), by(0.1, 0.001))
    missed = {"baseline": {"share": 0.1}, "trained": {"share": 0.0}, "change": change}
    figures = {**model({**one, "under_read": missed}), "under_read": missed}
    remark = of_model("a", figures, adjusted({"a": figures}), 0.05)["remark"]
    assert "If the answers that it misses counted" in remark and "from 60.0% to 60.0% (+0.0 points)" in remark
    assert "matter of the answer's format" in remark
