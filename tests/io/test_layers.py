"""What is wrong with a configuration file is said with its line."""

from pathlib import Path

import pytest

from reinforce_lite.config import load, named
from reinforce_lite.errors import UserError
from reinforce_lite.io import layers

ROOT = Path(__file__).parents[2]
BASE = ROOT / "config/config.yaml"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("experiment: a\nexperiment: b\n", "x.yaml:2: experiment stands twice, first in line 1"),
        ("training:\n  steps: 3\n  steps: 4\n", "x.yaml:3: training.steps stands twice, first in line 2"),
        ("policies:\n  a: &a {path: x}\n  b: {<<: *a, path: y, path: z}\n", "x.yaml:3: policies.b.path stands twice"),
        ("training: {steps: 3\n", "x.yaml:2: not valid YAML: expected ',' or '}'"),
        ("training:\n\tsteps: 3\n", "x.yaml:2: not valid YAML: found character '\\t'"),
        ("", "x.yaml is empty"),
        ("- a\n", "x.yaml holds no mapping of keys"),
        ("price_date: 2026-13-45\n", "x.yaml:1: cannot be read: month must be in 1..12"),
        ("a: " + "[" * 5000, "x.yaml"),
        ("trainning: {steps: 3}\n", "x.yaml:1: trainning: unknown key; did you mean training?"),
        ("training:\n  # a comment\n  stepss: 3\n", "x.yaml:3: training.stepss: unknown key; did you mean steps?"),
        ("training: {critic: {learning_rat: 1.0}}\n", "x.yaml:1: training.critic.learning_rat: unknown key; did you"),
        (
            "policies:\n  m:\n    dtype: float32\n    start: {stps: 1}\n",
            "x.yaml:4: policies.m.start.stps: unknown key; did you mean steps?",
        ),
        ("zzz: 1\n", "x.yaml:1: zzz: unknown key\n"),
        ("budget:\n  limit_usd: .inf\n", "x.yaml:2: budget.limit_usd: must be a finite number (it is inf)"),
        ("training: {learning_rate: .nan}\n", "x.yaml:1: training.learning_rate: must be a finite number"),
        ("hardware: {name: RTX 4090}\n", "x.yaml:1: hardware.name is another device than 'NVIDIA RTX A6000'"),
        ("results: ~/x\n", "x.yaml:1: results: ~ is not followed"),
    ],
)
def test_a_mistake_has_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        load([BASE, Path("x.yaml")])
    assert said in f"{caught.value.problem}\n" and caught.value.fix, caught.value


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"experiment: a\ndescription: caf\xe9\n")
    for path, said in (
        (latin, r"latin\.yaml:2: not UTF-8 \(byte 0xe9\)"),
        (tmp_path, "is a folder\n  fix: name a file in it"),
        (tmp_path / "none.yaml", r"none\.yaml does not exist"),
    ):
        with pytest.raises(UserError, match=said):
            layers.read(path)


def test_a_byte_order_mark_and_an_alias_are_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: &one\n  x: 1\nb: *one\nc: {<<: *one, y: 2}\n")
    layer = layers.read(path)
    assert layer.values == {"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 1, "y": 2}}
    assert layer.lines[("b",)] == 3 and layer.lines[("a", "x")] == 2 and ("b", "x") not in layer.lines


def test_another_device_with_its_price_is_none(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("hardware: {name: RTX 4090, usd_per_hour: 0.4, price_source: a page, price_date: 2026-11-01}\n")
    assert load([BASE, path]).hardware.name == "RTX 4090"
    path.write_text("hardware: {name: NVIDIA RTX A6000}\n")
    assert load([BASE, path]).hardware.name == "NVIDIA RTX A6000"


def test_a_price_without_its_source_is_the_other_card_s(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("hardware: {name: RTX 4090, usd_per_hour: 0.4}\n")
    with pytest.raises(
        UserError, match=r"x\.yaml:1: .*whose price_source, price_date would be .*\n  fix: set price_so"
    ):
        load([BASE, path])


def test_a_file_that_changes_nothing_is_refused_unless_it_only_says_the_same(tmp_path: Path) -> None:
    mine, tiny = tmp_path / "mine.yaml", ROOT / "config/tiny.yaml"
    mine.write_text("experiment: mine\ntask: {train_size: 50}\n")
    with pytest.raises(UserError, match=r"mine\.yaml has no effect: .*tiny\.yaml\n  fix: name it last"):
        load([BASE, mine, tiny])
    assert load([BASE, tiny, mine]).experiment == "mine"
    mine.write_text("experiment: mine\nprotocol: {alpha: 0.01}\n")
    assert load([BASE, mine, tiny]).protocol.alpha == 0.01
    assert load([BASE, tiny, tiny]).experiment == "tiny"


def test_what_is_named_is_an_overlay_a_written_configuration_or_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mine = Path("mine.yaml")
    mine.write_text("experiment: mine\n")
    overlay = named([mine])
    assert overlay == load([BASE, mine]) == named([BASE, mine]) and overlay.experiment == "mine"
    written = Path("results/mine/config.json")
    written.parent.mkdir(parents=True)
    written.write_text(overlay.model_dump_json())
    assert named([written.parent]) == named([written]) == overlay
    written.parent.rename("results/copy")
    copied = named([Path("results/copy")])
    assert copied.folder == tmp_path / "results/copy" and copied.task == overlay.task


def test_the_working_directory_s_own_base_goes_before_the_checkout_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config").mkdir()
    Path("config/config.yaml").write_text(BASE.read_text().replace("limit_usd: 10.0", "limit_usd: 3.0"))
    Path("mine.yaml").write_text("experiment: mine\n")
    assert named([Path("mine.yaml")]).budget.limit_usd == 3.0


def test_the_price_belongs_to_the_device_that_it_was_set_with(tmp_path: Path) -> None:
    path, tiny = tmp_path / "x.yaml", ROOT / "config/tiny.yaml"
    path.write_text("hardware: {name: core of a 2 vCPU virtual machine}\n")
    assert load([BASE, tiny, path]).hardware.usd_per_hour == 0.0408
    path.write_text("hardware: {name: NVIDIA RTX A6000}\n")
    with pytest.raises(UserError, match=r"x\.yaml:1: hardware\.name is another device than 'core of a 2 vCPU virtual"):
        load([BASE, tiny, path])
