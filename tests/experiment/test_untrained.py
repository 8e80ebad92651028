"""A training of no steps points to the weights that it started from."""

from pathlib import Path

import torch

from reinforce_lite.config import load as load_config
from reinforce_lite.experiment.run import Run
from reinforce_lite.experiment.train import untrained
from reinforce_lite.io.files import read_json, read_jsonl
from reinforce_lite.policy.load import load, save
from reinforce_lite.resources import keys
from reinforce_lite.stages import Job, Layout
from toys import toy_policy

ROOT = Path(__file__).parents[2]


def test_its_policy_is_the_start_policy(tmp_path: Path) -> None:
    layers = [ROOT / "config/config.yaml", ROOT / "config/tiny.yaml"]
    config = load_config(layers).model_copy(update={"results": tmp_path})
    layout = Layout.of(config)
    start = toy_policy("llama")
    save(start, layout.policy("tiny-llama"), {"model": "tiny-llama", "key": "of the start"})
    layout.data.mkdir(parents=True)
    (layout.data / "train.jsonl").write_text("{}\n")

    untrained(Run(config, Job("train", "tiny-llama", "prompt_only", 0)))

    folder = layout.train("tiny-llama", "prompt_only", 0)
    again = load(folder, config.policies["tiny-llama"], "cpu")
    for mine, theirs in zip(again.model.parameters(), start.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert not list(folder.rglob("*.safetensors")), "nothing was copied"
    told = read_json(folder / "training.json")
    assert (told["steps"], told["completions"], told["weights_changed"], told["stopped"]) == (0, 0, None, None)
    assert read_jsonl(folder / "metrics.jsonl") == [] == read_jsonl(folder / "completions.jsonl")
    assert read_json(folder / "policy.json")["training"]["prompt"] == "one_shot_bare"
    assert keys.is_done(config, Job("train", "tiny-llama", "prompt_only", 0))
