"""TinyZero's and Logic-RL's claims about small experiments whose figures are planted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_claims import judged, with_variant

from conftest import QUESTIONS, config, write_folder
from reinforce_lite.config import Settings, load, validate
from reinforce_lite.errors import UserError
from reinforce_lite.io.files import read_json, read_jsonl, write_json, write_jsonl
from reinforce_lite.report import claims
from reinforce_lite.report.articles import ARTICLES, chosen
from reinforce_lite.report.compare import compare
from reinforce_lite.report.summary import BOOTSTRAP_SEED
from reinforce_lite.stages import Layout
from reinforce_lite.tasks import named

pytestmark = pytest.mark.usefixtures("spent", "drawn_once")

ROOT = Path(__file__).parents[2]
PUZZLE = {"question": "make 14 from 3 4 2", "answer": "14 from 3 4 2"}
SEARCHES = "3 + 4 = 7 ; 7 + 2 = 9 no 3 + 4 = 7 ; 7 * 2 = 14 yes <answer> ( 3 + 4 ) * 2 </answer>"
GUESSES = "<answer> ( 3 * 4 ) * 2 </answer>"
Row = dict[str, Any]


def rewrite(settings: Settings, side: tuple[str, ...], new: Callable[[int, Row], Row]) -> None:
    """Change the items of an evaluation, and what states their means."""
    layout = Layout.of(settings)
    folder = layout.evaluation(*side, *([0] if side[1:] else []))
    rows = [{**row, **new(i, row)} for i, row in enumerate(read_jsonl(folder / "items.jsonl"))]
    write_jsonl(folder / "items.jsonl", rows)
    means = {key: sum(row[key] for row in rows) / len(rows) for key in ("strict", "flexible")}
    write_json(folder / "evaluation.json", {**read_json(folder / "evaluation.json"), **means})


def compare_again(settings: Settings) -> None:
    layout = Layout.of(settings)
    for model in settings.models:
        for variant in settings.variants:
            path = layout.comparison(model, variant, 0)
            sides = layout.evaluation(model), layout.evaluation(model, variant, 0)
            figures = compare(*(side / "items.jsonl" for side in sides), resamples=500, seed=BOOTSTRAP_SEED)
            write_json(path, {**read_json(path), **figures})


@pytest.fixture
def searching(fresh: Settings) -> Settings:
    """Puzzles: nobody searches before training, after it llama does in 30 of 120 answers and in 2 with a coin."""
    task = {
        "name": "countdown",
        "dev_size": 0,
        "train_size": 10,
        "test_size": QUESTIONS,
        "tiny": True,
        "prompt": "bare",
    }
    settings = validate({**fresh.model_dump(mode="json"), "task": task, "claims": ["tinyzero"]})
    counts = {("tiny-llama", "leave_one_out"): 30, ("tiny-llama", "random_reward"): 2}
    for model in settings.models:
        for side in ((model,), (model, "leave_one_out"), (model, "random_reward")):
            many = counts.get(side, 0)  # type: ignore[call-overload]
            rewrite(
                settings, side, lambda i, row, many=many: {**PUZZLE, "completion": SEARCHES if i < many else GUESSES}
            )
    write_jsonl(Layout.of(settings).data / "train.jsonl", [{"id": "train-0", **PUZZLE, "solution": None}])
    return settings


def test_search_is_measured_by_the_tasks_own_check_against_base_and_coin(searching: Settings) -> None:
    rows = judged(searching)
    assert [name for name, about in rows if about is None] == [
        "smallest model",
        "instruct",
        "any algorithm",
        "thirty dollars",
    ]
    row = rows["search", "tiny-llama"]
    assert row["verdict"] == "supported"
    assert "+25.0 points over the base (0.0%, ours 25.0%)" in row["why"]
    assert "+23.3 points over random_reward (1.7%, ours 25.0%)" in row["why"]
    assert row["runs"] == ["tiny-llama, leave_one_out, seed 0", "tiny-llama, random_reward, seed 0"]
    assert rows["search", "tiny-phi"]["verdict"] == "contradicted", "nobody searches: the interval leaves no rise"
    alone = validate({**searching.model_dump(mode="json"), "variants": ["leave_one_out"]})
    row = judged(alone)["search", "tiny-llama"]
    assert row["verdict"] == "undecidable" and row["decides"] == "a training with random reward"


def test_the_smallest_model_is_the_one_with_the_fewest_weights(searching: Settings) -> None:
    row = judged(searching)["smallest model", None]
    assert row["verdict"] == "not applicable" and "`models` needs two whose `parameters` differ" in row["why"]
    raw = searching.model_dump(mode="json")
    raw["policies"]["tiny-llama"]["parameters"], raw["policies"]["tiny-phi"]["parameters"] = 0.003, 0.001
    row = judged(validate(raw))["smallest model", None]
    assert row["verdict"] == "supported", "95 of 120 against 65, and 30 searches against none"
    assert "+25.0 points over tiny-phi, right (54.2%, ours 79.2%)" in row["why"]
    assert "over tiny-phi, rejecting an attempt (0.0%, ours 25.0%)" in row["why"]
    raw["policies"]["tiny-llama"]["parameters"] = 0.0005
    assert judged(validate(raw))["smallest model", None]["verdict"] == "contradicted"


def test_all_algorithms_have_to_be_run_to_be_judged(searching: Settings) -> None:
    row = judged(searching)["any algorithm", None]
    assert row["verdict"] == "not applicable"
    assert "no GRPO (ratio_clip and scale_by_std), no PPO (estimator: critic); `variants` needs" in row["why"]
    settings = with_variant(searching, "grpo", {"ratio_clip": 0.2, "scale_by_std": True}, like="leave_one_out")
    settings = with_variant(
        settings, "ppo", {"estimator": "critic", "ratio_clip": 0.2, "passes": 2}, like="leave_one_out"
    )
    row = judged(settings)["any algorithm", None]
    assert row["verdict"] == "undecidable" and "the base with grpo, tiny-llama (50.0%, ours 79.2%)" in row["why"]
    assert len(row["runs"]) == 6, "phi's 5 questions of 120 decide nothing"
    raw = settings.model_dump(mode="json")
    raw["policies"]["tiny-llama"]["parameters"], raw["policies"]["tiny-phi"]["parameters"] = 0.003, 0.001
    row = judged(validate(raw))["any algorithm", None]
    assert row["verdict"] == "supported" and "tiny-phi" not in row["why"], "the smallest is said to fail"
    worse = with_variant(searching, "grpo", {"ratio_clip": 0.2, "scale_by_std": True}, like="random_reward")
    worse = with_variant(worse, "ppo", {"estimator": "critic", "ratio_clip": 0.2}, like="leave_one_out")
    assert "the base with grpo, tiny-llama (50.0%, ours 48.3%)" in judged(worse)["any algorithm", None]["why"]


def test_the_price_is_that_of_the_originals_model_on_a_rented_gpu(searching: Settings) -> None:
    assert judged(searching)["thirty dollars", None]["verdict"] == "not applicable"
    raw = searching.model_dump(mode="json")
    raw["hardware"]["device"] = "cuda"
    raw["policies"]["tiny-llama"].update(
        from_scratch=None, start=None, repo="Qwen/Qwen2.5-3B", revision="0" * 40, parameters=3.09
    )
    row = judged(validate(raw))["thirty dollars", None]
    assert row["verdict"] == "supported" and "of $30.00" in row["why"]


def test_an_instruct_model_is_known_by_its_name(tmp_path: Path) -> None:
    raw = config(tmp_path)
    raw["models"] = ["base", "base-instruct"]
    raw["policies"] = dict(zip(raw["models"], raw["policies"].values(), strict=True))
    settings = validate({**raw, "claims": ["instruct"]})
    write_folder(settings, settings.folder)
    row = judged(settings)["instruct", None]
    assert row["verdict"] == "contradicted" and "-25.0 points against base" in row["why"], "it ends at 65, not at 95"
    rewrite(settings, ("base-instruct", "leave_one_out"), lambda i, row: {"strict": False, "flexible": False})
    rewrite(settings, ("base", "leave_one_out"), lambda i, row: {"strict": False, "flexible": False})
    path = Layout.of(settings).train("base-instruct", "leave_one_out", 0) / "metrics.jsonl"
    write_jsonl(path, [{**row, "reward_mean": row["reward_mean"] + 0.6} for row in read_jsonl(path)])
    compare_again(settings)
    row = judged(settings)["instruct", None]
    assert row["verdict"] == "supported" and "mean reward of base-instruct's first third and base's: " in row["why"]
    write_jsonl(path, [{**row, "reward_mean": row["reward_mean"] - 1.2} for row in read_jsonl(path)])
    assert judged(settings)["instruct", None]["verdict"] == "contradicted"
    one = validate({**settings.model_dump(mode="json"), "models": ["base"]})
    assert "`<name>` and `<name>-instruct`" in judged(one)["instruct", None]["why"]


@pytest.fixture
def islanders(fresh: Settings) -> Settings:
    """Puzzles of three and of four people, of which only those of three are trained on; nobody solves one before."""
    task = {
        "name": "knights_knaves", "form": "words", "prompt": "bare", "people": [3], "test_people": [3, 4],
        "train_size": 10, "dev_size": 0, "test_size": QUESTIONS,
    }  # fmt: skip
    settings = validate({**fresh.model_dump(mode="json"), "task": task, "claims": ["logic_rl"]})
    data = named("knights_knaves").build(settings.task)
    asked = [{"question": problem.question, "answer": problem.answer} for problem in data.test]
    solved = {("tiny-llama", "leave_one_out"): 20, ("tiny-llama", "random_reward"): 3}
    for model in settings.models:
        for side in ((model,), (model, "leave_one_out"), (model, "random_reward")):
            left = {3: 10, 4: solved.get(side, 0)} if side[1:] else {3: 0, 4: 0}  # type: ignore[call-overload]

            def answered(i: int, row: Row, left: dict[int, int] = left) -> Row:
                people = asked[i]["answer"].count("\n") + 1
                left[people] -= 1
                right = left[people] >= 0
                return {**asked[i], "completion": "<answer> </answer>", "strict": right, "flexible": right}

            rewrite(settings, side, answered)
    rows = [{"id": problem.id, "question": problem.question, "answer": problem.answer} for problem in data.train]
    write_jsonl(Layout.of(settings).data / "train.jsonl", rows)
    sampled(settings, lambda i, row: {key: rows[0][key] for key in ("question", "answer")})
    compare_again(settings)
    return settings


def test_accuracy_by_kind_and_out_of_distribution(islanders: Settings) -> None:
    rows = judged(islanders)
    summary = read_json(islanders.folder / "summary.json")["models"]["tiny-llama"]
    three, four = summary["by_kind"]
    assert (three["kind"], three["n"], three["in_training"]) == ("3 people", 60, True)
    assert (four["kind"], four["n"], four["in_training"]) == ("4 people", 60, False)
    assert four["baseline"] == {"count": 0, "share": 0.0, "ci95": [0.0, pytest.approx(1 - 0.025 ** (1 / 60))]}
    assert [(run["variant"], run["trained"]["count"]) for run in four["runs"]] == [
        ("leave_one_out", 20),
        ("random_reward", 3),
    ]
    assert four["runs"][0]["delta"] == pytest.approx(20 / 60) and four["runs"][0]["ci95"][0] > 0.2
    page = " ".join((islanders.folder / "report.html").read_text(encoding="utf-8").split())
    assert "4 people, n = 60, outside of training" in page and "3 people, n = 60<" in page
    row = rows["out of distribution", "tiny-llama"]
    assert row["verdict"] == "supported" and "over the base on 4 people (0.0%, ours 33.3%)" in row["why"]
    assert rows["out of distribution", "tiny-phi"]["verdict"] == "contradicted", "10 of three people are no evidence"
    assert rows["generalisation", "tiny-llama"]["verdict"] == "not applicable"
    supervised = {"estimator": "supervised", "same_cost_as": "leave_one_out"}
    more = with_variant(islanders, "supervised", supervised, like="random_reward")
    row = judged(more)["generalisation", "tiny-llama"]
    assert row["verdict"] == "supported" and "over supervised on 4 people (5.0%, ours 33.3%)" in row["why"]
    trained = read_jsonl(Layout.of(islanders).data / "train.jsonl")
    items = read_jsonl(Layout.of(islanders).evaluation("tiny-llama") / "items.jsonl")
    write_jsonl(Layout.of(islanders).data / "train.jsonl", trained + [{**item} for item in items])
    assert "needs test problems of a kind" in judged(islanders)["out of distribution", "tiny-llama"]["why"]


def test_a_gold_answer_that_is_none_of_the_task_is_named(islanders: Settings) -> None:
    for side in (("tiny-llama",), ("tiny-llama", "leave_one_out"), ("tiny-llama", "random_reward")):
        rewrite(islanders, side, lambda i, row: {"answer": "nobody"} if i == 5 else {})
    with pytest.raises(UserError, match="'nobody' is no answer of knights_knaves"):
        judged(islanders)


def test_what_is_not_run_is_not_applicable_and_says_what_it_needs(islanders: Settings) -> None:
    rows = judged(islanders)
    needs = {
        "algorithms": "no REINFORCE++ (estimator: reinforce_pp), no GRPO",
        "thinking words": "no two completions to one question differ in these words",
        "language mixing": "differ in another script",
        "no aha moment": "sampled one of these words",
        "memorisation": "no problem of train was asked; set evaluation.memorisation",
        "curriculum": "two that differ in `shuffle` alone, and `task.order: curriculum`",
        "cold start": "two of `policies` that differ in `start` alone",
    }
    for name, said in needs.items():
        assert rows[name, None]["verdict"] == "not applicable" and said in rows[name, None]["why"], name
    assert rows["length no cause", None]["verdict"] != "not applicable"


def sampled(settings: Settings, new: Callable[[int, Row], Row]) -> None:
    """Change what the trainings of the result sampled; groups are of 4, a step of 8."""
    for model in settings.models:
        path = Layout.of(settings).train(model, "leave_one_out", 0) / "completions.jsonl"
        write_jsonl(path, [{**row, **new(i, row)} for i, row in enumerate(read_jsonl(path))])


def test_words_are_judged_by_what_completions_to_the_same_question_earn(islanders: Settings) -> None:
    texts = ["let me verify", "so", "I recheck", "so"]
    rewards = [1.0, -1.0, -1.0, 0.5]
    sampled(islanders, lambda i, row: {"completion": texts[i % 4], "reward": rewards[i % 4], "length": 9 - i % 4})
    rows = judged(islanders)
    row = rows["thinking words", None]
    assert (
        row["verdict"] == "supported"
        and "verify: mean reward 1.00 of the 160 completions with it, -0.50 without" in row["why"]
    )
    assert "recheck" in row["why"] and "re-evaluate" not in row["why"], "it does not occur"
    assert rows["language mixing", None]["verdict"] == "not applicable"
    assert rows["length no cause", None]["verdict"] == "contradicted", "the longer two earn 0, the shorter ones -0.25"
    sampled(islanders, lambda i, row: {"reward": -rewards[i % 4]})
    assert judged(islanders)["thinking words", None]["verdict"] == "contradicted"
    assert judged(islanders)["length no cause", None]["verdict"] == "supported"
    mixed = ["\u6211\u4eec", "so"]
    sampled(islanders, lambda i, row: {"completion": mixed[i % 2], "reward": [-1.0, 1.0][i % 2]})
    assert judged(islanders)["language mixing", None]["verdict"] == "supported"


def test_a_word_that_jumps_is_an_aha_moment(islanders: Settings) -> None:
    sampled(islanders, lambda i, row: {"completion": "wait" if row["step"] >= 20 else "so"})
    row = judged(islanders)["no aha moment", None]
    assert row["verdict"] == "contradicted" and "(at 50% of the steps)" in row["why"]
    sampled(islanders, lambda i, row: {"completion": "wait" if i % 8 < row["step"] / 5 else "so"})
    assert judged(islanders)["no aha moment", None]["verdict"] == "supported"
    sampled(islanders, lambda i, row: {"completion": "so" if row["step"] >= 20 else "wait"})
    assert judged(islanders)["no aha moment", None]["verdict"] == "supported", "it goes away"


def test_where_nobody_speaks_the_tasks_own_check_shows_a_jump(searching: Settings) -> None:
    settings = validate({**searching.model_dump(mode="json"), "claims": ["no aha moment"]})
    sampled(settings, lambda i, row: {**PUZZLE, "completion": SEARCHES if row["step"] >= 10 else GUESSES})
    row = judged(settings)["no aha moment", None]
    assert row["verdict"] == "contradicted" and "rejected attempts: from 0.0% to 100.0%" in row["why"]
    assert "(at 25% of the steps)" in row["why"]


def test_algorithms_are_held_against_each_other(islanders: Settings) -> None:
    raw = islanders.model_dump(mode="json")
    raw["training_variants"]["leave_one_out"] = {"estimator": "reinforce_pp", "ratio_clip": 0.2}
    settings = with_variant(validate(raw), "grpo", {"ratio_clip": 0.2, "scale_by_std": True}, like="random_reward")
    settings = with_variant(
        settings, "ppo", {"estimator": "critic", "ratio_clip": 0.2, "passes": 4}, like="leave_one_out"
    )
    row = judged(settings)["algorithms", None]
    assert row["verdict"] == "contradicted", "PPO is no better than REINFORCE++: [0, 0]"
    assert "+0.0 points over leave_one_out, ppo of tiny-llama (25.0%, ours 25.0%)" in row["why"]
    assert "+14.2 points over grpo, leave_one_out of tiny-llama (10.8%, ours 25.0%)" in row["why"]
    assert "tiny-llama, seconds a step of ppo and leave_one_out: 0.72 against 0.72" in row["why"]


def test_a_curriculum_is_held_against_the_same_puzzles_mixed(islanders: Settings) -> None:
    raw = islanders.model_dump(mode="json")
    raw["task"]["order"] = "curriculum"
    raw["training_variants"]["leave_one_out"] = {"shuffle": False}
    settings = validate(raw)
    equal = with_variant(settings, "mixed", {"shuffle": True}, like="leave_one_out")
    row = judged(equal)["curriculum", None]
    assert row["verdict"] == "supported" and len(row["runs"]) == 4
    worse = with_variant(settings, "worse", {"shuffle": True}, like="random_reward")
    assert judged(worse)["curriculum", None]["verdict"] == "contradicted", "the curriculum is 14 points better"


def test_a_cold_start_is_two_starts_of_one_model(islanders: Settings) -> None:
    raw = islanders.model_dump(mode="json")
    raw["policies"]["tiny-phi"] = {**raw["policies"]["tiny-llama"], "start": {"steps": 900, "learning_rate": 1e-3}}
    settings = validate({**raw, "claims": ["cold start"]})
    row = judged(settings)["cold start", None]
    assert row["verdict"] == "undecidable", "tiny-llama rises with the shorter start, and both learn alike"
    assert "over its base, tiny-llama (0.0%, ours 25.0%)" in row["why"]
    path = Layout.of(settings).train("tiny-phi", "leave_one_out", 0) / "metrics.jsonl"
    write_jsonl(path, [{**row, "reward_mean": row["reward_mean"] + 0.6} for row in read_jsonl(path)])
    assert judged(settings)["cold start", None]["verdict"] == "supported"


def test_three_articles_are_chosen_by_name(fresh: Settings) -> None:
    assert ARTICLES == ("article", "tinyzero", "logic_rl")
    names = {article: {one.name for one in claims.CLAIMS if one.article == article} for article in ARTICLES}
    assert sum(map(len, names.values())) == len(set().union(*names.values())), "no name stands for two claims"
    raw = fresh.model_dump(mode="json")
    both = [one.name for one in chosen(validate({**raw, "claims": ["logic_rl", "tinyzero", "accuracy"]}))]
    assert both[0] == "accuracy" and set(both) == {"accuracy"} | names["tinyzero"] | names["logic_rl"]
    assert both.index("search") < both.index("algorithms"), "article by article"
    for name in ("tinyzero", "logic_rl"):
        paper = load([ROOT / "config/config.yaml", ROOT / f"config/{name}.yaml"])
        assert names[name] <= {one.name for one in chosen(paper)}
    assert chosen(load([ROOT / "config/config.yaml"]))[0].name == "accuracy"


def test_a_world_without_an_exact_check_cannot_show_search(fresh: Settings) -> None:
    rows = judged(validate({**fresh.model_dump(mode="json"), "claims": ["tinyzero", "out of distribution"]}))
    for name in (("search", "tiny-llama"), ("smallest model", None)):
        assert rows[name]["verdict"] == "not applicable" and "no exact check of attempts" in rows[name]["why"]
    assert rows["out of distribution", "tiny-phi"]["verdict"] == "not applicable"
    assert "by_kind" not in read_json(fresh.folder / "summary.json")["models"]["tiny-llama"]
