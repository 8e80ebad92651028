import json
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from jsonschema import Draft202012Validator

from reinforce_lite.config import Training, json_schema, load, merge, validate
from reinforce_lite.errors import UserError
from reinforce_lite.tasks import named

ROOT = Path(__file__).parents[1]
BASE = ROOT / "config/config.yaml"
OVERLAYS = ("tiny", "smollm", "smollm_gpu", "as_published", "tinyzero", "logic_rl")
FORMS = ("tinyzero", "logic_rl")


def changed(path: str, value: Any) -> dict[str, Any]:
    """The paper's configuration with one key replaced, or removed if `value` is ..."""
    config: dict[str, Any] = yaml.safe_load(BASE.read_text())
    *parents, last = path.split("/" if "/" in path else ".")
    section = config
    for key in parents:
        section = section[key]
    if value is ...:
        del section[last]
    else:
        section[last] = value
    return config


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_configuration_is_valid(name: str) -> None:
    assert load([BASE, ROOT / f"config/{name}.yaml"]).experiment == name


def test_the_paper_is_what_the_article_used() -> None:
    settings = load([BASE])
    policies = [settings.policies[name] for name in settings.models]
    assert [p.repo for p in policies] == ["meta-llama/Llama-3.2-3B-Instruct", "microsoft/Phi-3.5-mini-instruct"]
    assert [(p.published.baseline, p.published.trained) for p in policies if p.published] == [
        (0.705, 0.725),
        (0.834, 0.84),
    ]
    assert settings.budget.limit_usd == 10 and settings.hardware.name == "NVIDIA RTX A6000"


def test_as_published_is_as_published() -> None:
    settings = load([BASE, ROOT / "config/as_published.yaml"])
    training = settings.variant(settings.variants[0])
    assert (training.estimator, training.reward) == ("as_published", "published")
    assert (training.temperature, training.top_p) == (0.7, 0.9)
    assert (training.questions_per_step, training.group_size) == (1, 10)
    assert (training.steps, training.learning_rate, training.shuffle) == (558, 1e-6, False)


def test_tinyzero_is_what_its_authors_ran_as_far_as_thirty_dollars_go() -> None:
    settings = load([BASE, ROOT / "config/tinyzero.yaml"])
    assert [settings.policies[name].repo for name in settings.models] == ["Qwen/Qwen2.5-3B", "Qwen/Qwen2.5-0.5B"]
    training = settings.variant(settings.variants[0])
    assert (training.reward, training.max_new_tokens, training.learning_rate) == ("tinyzero", 1024, 1e-6)
    assert training.questions_per_step * training.group_size == 256 and training.temperature == 1
    assert (settings.task.prompt, settings.test_problems) == ("tinyzero", 1024)
    assert {settings.variant(name).kl_coefficient for name in ("grpo", "ppo")} == {0.001}
    assert settings.budget.limit_usd == 30 and settings.hardware.memory_gib == 80 and settings.hardware.count == 1


def test_logic_rl_has_the_values_of_its_paper() -> None:
    settings = load([BASE, ROOT / "config/logic_rl.yaml"])
    assert [settings.policies[name].repo for name in settings.models] == ["Qwen/Qwen2.5-7B-Instruct-1M"]
    training = settings.variant(settings.variants[0])
    assert (training.estimator, training.reward, training.steps) == ("reinforce_pp", "logic_rl", 3600)
    assert (training.questions_per_step, training.group_size, training.max_new_tokens) == (8, 8, 4096)
    assert (training.learning_rate, training.temperature, training.kl_coefficient) == (4e-7, 0.7, 0.001)
    assert not training.shuffle and settings.variant("mixed") == training.model_copy(update={"shuffle": True})
    assert settings.task.train_size == training.steps * training.questions_per_step, "once from 3 to 7 people"


@pytest.mark.parametrize("name", FORMS)
def test_a_paper_form_is_pinned_and_whole_without_the_base(name: str, tmp_path: Path) -> None:
    form = ROOT / f"config/{name}.yaml"
    alone, laid = load([form]), load([BASE, form])
    assert [alone.variant(one) for one in alone.variants] == [laid.variant(one) for one in laid.variants]
    assert alone.models == laid.models and alone.runs == laid.runs and alone.task == laid.task
    for model in alone.models:
        (tmp_path / "unpinned.yaml").write_text(yaml.safe_dump({"policies": {model: {"revision": None}}}))
        with pytest.raises(UserError, match=rf"(?s)policies\.{model}: revision is needed .*\n  fix: "):
            load([BASE, form, tmp_path / "unpinned.yaml"])


def test_a_dataset_that_is_not_pinned_is_named(tmp_path: Path) -> None:
    (tmp_path / "unpinned.yaml").write_text("task: {revision: null}")
    settings = load([BASE, ROOT / "config/tinyzero.yaml", tmp_path / "unpinned.yaml"])
    with pytest.raises(UserError, match=r"task\.revision: Jiayi-Pan/Countdown-Tasks-3to4 is not pinned"):
        named(settings.task.name).preflight(settings.task)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("budgett", 3, "budgett: unknown key"),
        ("training.lerning_rate", 1e-3, "training.lerning_rate: unknown key"),
        ("training.steps", "many", "training.steps: .*integer.*it is 'many'"),
        ("training.steps", -1, "training.steps: .*greater than or equal to 0"),
        ("training.steps", 0, "variants: the first one is the result, and 'leave_one_out' takes no step"),
        ("training_variants.leave_one_out", {"same_cost_as": "x"}, "'x' is not one of the `variants` that are run"),
        (
            "training_variants.leave_one_out",
            {"same_cost_as": "leave_one_out"},
            r"leave_one_out.same_cost_as: 'leave_one_out' has no cost of its own",
        ),
        ("budget.limit_usd", -1, "budget.limit_usd: .*greater than 0.*it is -1"),
        ("hardware.price_date", ..., "hardware.price_date: this key is needed"),
        ("hardware.price_date", "soon", "hardware.price_date: .*date"),
        ("hardware.price_source", "", "hardware.price_source: "),
        ("hardware.device", "tpu", "hardware.device: .*'cuda' or 'cpu'"),
        ("models", ["gpt"], "models: 'gpt' is not one of llama"),
        ("models", [], "models: .*at least 1"),
        ("variants", ["x"], "variants: 'x' is not one of as_published"),
        ("seeds", [0, 0], "seeds: a seed stands twice"),
        ("control_seeds", [0, 0], "control_seeds: a seed stands twice"),
        ("control_seeds", [0, 7], r"control_seeds: 7 is not one of `seeds`, \[0, 1, 2\]"),
        ("control_seeds", [1], "control_seeds: 0 is the first of `seeds`"),
        ("control_seeds", [], "control_seeds: .*at least 1"),
        ("experiment", "../escape", "experiment: .*pattern"),
        ("training_variants.leave_one_out", {"stepz": 3}, r"training_variants.leave_one_out.stepz"),
        ("policies/phi-3.5-mini-instruct/revision", ..., "policies.phi-3.5-mini-instruct: revision is needed"),
        ("training.top_p", 0, "training.top_p: .*greater than 0"),
        ("task.name", "gsm9k", "task.name: 'gsm9k' is not one of .*gsm8k, .*, and no path of a Python file"),
        ("task.name", "none/of/mine.py", "task.name: .*none/of/mine.py cannot be loaded: .*No such file"),
        ("task.prompt", "poem", "task.prompt: gsm8k has the prompts tagged, .*it is 'poem'"),
        ("task.sizes", 3, "task.sizes: unknown key"),
        ("task", {"name": "word_world", "dev_size": 1, "path": "/x"}, "task.path: unknown key"),
        ("task.dev_size", -1, "task.dev_size: .*greater than or equal to 0"),
        ("training.reward", "kind", "training.reward: 'kind' is not one of correct, flexible, .*, strict, random"),
        ("training.reward", {"kind": 1.0}, "training.reward: 'kind' is not one of correct, .*, strict"),
        ("training.reward", {"random": 1.0}, "training.reward: 'random' is not one of"),
        ("training.reward", {}, "training.reward.*at least 1"),
        ("training_variants.random_reward", {"reward": "kind"}, "training_variants.random_reward.reward: 'kind' is"),
        ("training_variants.prompt_only", {"prompt": "poem"}, "training_variants.prompt_only.prompt: 'poem' is not"),
        ("training.estimator", "none", "training.estimator: it is not one of leave_one_out, .*it is 'none'"),
        ("training.engine", "none", "training.engine: .*'vllm'.*it is 'none'"),
        (
            "training_variants.ppo",
            {"estimator": "critic", "weights": "lora"},
            "training_variants.ppo.weights: lora trains adapters of one network, and estimator: critic has two",
        ),
        ("training_variants.ppo.critic", {"rate": 1}, "training_variants.ppo.critic.rate"),
    ],
)
def test_bad_values_name_the_key(path: str, value: Any, said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        validate(changed(path, value))
    assert len(str(error.value).splitlines()) <= 24, "one screen"
    assert "fix:" in str(error.value)


def test_names_of_a_catalogue_that_is_not_run_may_be_those_of_another_task() -> None:
    changes = {"variants": ["leave_one_out"], "control_seeds": None}
    assert validate({**changed("training_variants.prompt_only", {"prompt": "poem", "reward": "kind"}), **changes})


def test_a_cross_check_needs_a_task_of_the_harness() -> None:
    with pytest.raises(UserError, match=r"evaluation.cross_check: lm-eval has no task of its own like word_world"):
        validate({**changed("evaluation.cross_check", True), "task": {"name": "word_world", "dev_size": 1}})
    assert validate(changed("evaluation.cross_check", True)).evaluation.cross_check


def test_names_that_are_checked_here_are_those_of_the_registries() -> None:
    from reinforce_lite.learning import ESTIMATORS
    from reinforce_lite.learning.estimators import Estimator, estimator
    from reinforce_lite.rollout.registry import ROWS

    fields = Training.model_fields
    assert all(isinstance(estimator(name), Estimator) for name in ESTIMATORS)
    assert set(get_args(fields["engine"].annotation)) == {"auto", *ROWS}


def test_controls_have_the_seeds_that_are_theirs() -> None:
    chosen = {"variants": ["leave_one_out", "supervised", "prompt_only"], "seeds": [4, 5, 6]}
    some = validate({**changed("control_seeds", [4, 6]), **chosen})
    first = [("leave_one_out", 4), ("leave_one_out", 5), ("leave_one_out", 6)]
    assert some.runs == [*first, ("supervised", 4), ("supervised", 6), ("prompt_only", 4), ("prompt_only", 6)]
    every = validate({**changed("control_seeds", None), **chosen})
    assert [seed for _, seed in every.runs] == [4, 5, 6] * 3
    turned = {**chosen, "variants": ["supervised", "leave_one_out"]}
    with pytest.raises(UserError, match="same_cost_as: 'leave_one_out' is not trained with seed 5; set control_seeds"):
        validate({**changed("control_seeds", [4]), **turned})


def test_every_bad_key_is_told_at_once() -> None:
    config = changed("budget.limit_usd", -1)
    config["training"]["steps"] = -1
    with pytest.raises(UserError, match=r"(?s)budget.limit_usd.*training.steps"):
        validate(config)


@pytest.mark.parametrize(
    ("text", "said"), [(None, "does not exist"), ("a: [", "not valid YAML"), ("- 1", "no mapping")]
)
def test_unreadable_files_are_named(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "x.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=rf"x\.yaml.*{said}"):
        load([path])


def test_merge_replaces_lists_and_merges_mappings() -> None:
    assert merge({"a": {"b": 1, "c": [1]}}, {"a": {"c": [2]}, "d": 1}) == {"a": {"b": 1, "c": [2]}, "d": 1}


def test_a_variant_changes_only_its_keys() -> None:
    settings = load([BASE])
    plain, coin = settings.variant("leave_one_out"), settings.variant("random_reward")
    differing = {key for key, value in plain.model_dump().items() if coin.model_dump()[key] != value}
    assert differing == {"reward"} and coin.reward == "random"


def test_the_resolved_configuration_reads_back(tmp_path: Path) -> None:
    settings = load([BASE, ROOT / "config/tiny.yaml"])
    path = tmp_path / "config.json"
    path.write_text(json.dumps(settings.model_dump(mode="json")))
    assert load([path]) == settings
    path.write_text("{")
    with pytest.raises(UserError, match=r"config\.json:1: not valid JSON"):
        load([path])


QWEN = {"models": ["qwen"], "policies": {"qwen": {"repo": "Qwen/Qwen2.5-0.5B-Instruct", "revision": "a" * 40}}}
JSONL = {"name": "jsonl", "train": "my.jsonl", "train_size": None, "test_size": 40, "dev_size": 10, "demonstrations": 9,
         "vocabulary": "word_world"}  # fmt: skip


@pytest.mark.parametrize(
    ("below", "own", "takes_over"),
    [
        (["config"], {"experiment": "qwen", **QWEN}, False),
        (["config"], QWEN, True),
        (["config"], {"experiment": "again", "training": {"steps": 5}}, True),
        (["config", "tiny"], {"experiment": "smaller", "models": ["tiny-phi"]}, True),
        (["config", "tiny"], {"experiment": "mine", "task": JSONL}, False),
    ],
)
def test_another_experiment_has_its_own_description_and_claims(
    tmp_path: Path, below: list[str], own: dict[str, Any], takes_over: bool
) -> None:
    files = [ROOT / f"config/{name}.yaml" for name in below]
    before, mine = load(files), tmp_path / "mine.yaml"
    mine.write_text(yaml.safe_dump(own))
    found = load([*files, mine])
    assert found.description == (before.description if takes_over else "") and before.description
    assert found.claims == (before.claims if takes_over else None)
    mine.write_text(yaml.safe_dump({**own, "description": "Mine.", "claims": ["accuracy"]}))
    found = load([*files, mine])
    assert (found.description, found.claims) == ("Mine.", ["accuracy"])
    written = tmp_path / "config.json"
    written.write_text(json.dumps(found.model_dump(mode="json")))
    assert load([written]) == found


def test_generated_schema_and_tables_are_up_to_date() -> None:
    import sys

    assert (ROOT / "workflow/schemas/config.schema.json").read_text() == json_schema(), "run make schema"
    sys.path.insert(0, str(ROOT / "config"))
    try:
        import document
    finally:
        sys.path.pop(0)
    text = document.README.read_text()
    assert document.documented(text) == text, "run make schema"


def test_the_schema_accepts_every_configuration_and_refuses_an_unknown_key() -> None:
    import jsonschema

    schema = json.loads(json_schema())
    base = yaml.safe_load(BASE.read_text())
    for name in OVERLAYS:
        overlaid = merge(base, yaml.safe_load((ROOT / f"config/{name}.yaml").read_text()))
        jsonschema.validate(json.loads(json.dumps(overlaid, default=str)), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(json.dumps({**base, "x": 1}, default=str)), schema)


@pytest.mark.parametrize("key", ["policies/phi-3.5-mini-instruct/revision", "task/revision"])
@pytest.mark.parametrize(
    "revision", ["main", "v1.0", "2fe1924", "refs/pr/1", "2FE192450127E6A83F7441AEF6E3CA586C338B77"]
)
def test_what_may_move_is_no_revision(key: str, revision: str) -> None:
    with pytest.raises(UserError, match=rf"{revision} is no commit .*repo_info\('REPO', revision='{revision}'"):
        validate(changed(key, revision))
    assert list(Draft202012Validator(json.loads(json_schema())).iter_errors(plain(changed(key, revision))))


SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("tracking", {"uri": f"https://ana:{SECRET}@mlflow.example"}, "tracking.uri: a user or a password"),
        ("tracking", {"uri": f"https://{SECRET}@mlflow.example"}, "tracking.uri: a user or a password"),
        ("tracking", {"uri": f"postgresql://ana:{SECRET}@db/mlflow"}, "tracking.uri: a user or a password"),
        ("tracking", {"uri": f"postgresql+psycopg2://ana:x/{SECRET}@db/mlflow"}, "tracking.uri: a user or a password"),
        ("tracking", {"uri": f"mysql://db/m?user=ana&password={SECRET}"}, "tracking.uri: password in the address"),
        ("tracking", {"artifacts": f"https://a.example/x?X-Amz-Signature={SECRET}"}, "tracking.artifacts: X-Amz-Sig"),
        ("http_proxy", f"http://ana:{SECRET}@proxy:3128", "http_proxy: a user or a password"),
        ("task/path", f"https://a.example/?access_token={SECRET}", "task.path: access_token in the address"),
        ("container", {"image": f"docker://ana:{SECRET}@registry.example/image"}, "container.image: a user"),
        ("models", [f"https://u:{SECRET}@x"], "models.0: a user or a password"),
        ("policies/phi-3.5-mini-instruct/gated", f"hf_{SECRET}{SECRET}{SECRET}", "gated: a token of the hub"),
    ],
)
def test_secrets_are_refused_and_not_repeated(key: str, value: Any, said: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(changed(key, value)))
    with pytest.raises(UserError, match=rf"(?s)must stay secret.*{said}.*\n  fix: .*MLFLOW_TRACKING_TOKEN") as error:
        load([tmp_path / "c.yaml"])
    assert SECRET not in str(error.value)
    if key == "tracking" or key == "container":
        refused = Draft202012Validator(json.loads(json_schema())).iter_errors(plain(changed(key, value)))
        assert any(part.validator == "pattern" for part in refused) or "x/" in str(value), "where the package is not"


def test_a_line_that_is_no_yaml_is_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(f"tracking:\n  uri: https://ana:{SECRET}@host: 5\n")
    with pytest.raises(UserError, match=r"c.yaml:2: not valid YAML: ") as error:
        load([tmp_path / "c.yaml"])
    assert SECRET not in str(error.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tracking", {"uri": "sqlite:////home/ana@work/mlflow.db"}),
        ("tracking", {"uri": "https://mlflow.example:5000", "artifacts": "s3://bucket/a@b"}),
        ("container", {"image": f"docker://registry.example/image@sha256:{'0' * 64}"}),
        ("description", "Read https://medium.example/@author?page=2, or write to ana@example.org"),
    ],
)
def test_what_holds_no_secret_passes(key: str, value: Any) -> None:
    validate(changed(key, value))
    assert not list(Draft202012Validator(json.loads(json_schema())).iter_errors(plain(changed(key, value))))


def plain(config: dict[str, Any]) -> Any:
    return json.loads(json.dumps(config, default=str))
