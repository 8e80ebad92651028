import sys
from pathlib import Path

import pytest

from reinforce_lite.io.snakemake_options import check

FILES = {
    "good.yaml": b"training: {steps: 3}\n",
    "latin.yaml": b"seeds: [0]\ndescription: caf\xe9\n",
    "tab.yaml": b"training:\n\tsteps: 3\n",
    "twice.yaml": b"seeds: [0]\nseeds: [1]\n",
    "list.yaml": b"- training\n",
    "empty.yaml": b"",
    "bad.json": b'{"experiment": "a",\n}',
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.setattr(sys, "argv", ["snakemake", *line.split()])
    check()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--configfile none.yaml", "none.yaml does not exist"),
        ("--configfile good.yaml none.yaml", "none.yaml does not exist"),
        ("--configfiles .", ". is a folder"),
        ("--configfile=latin.yaml", "latin.yaml:2: not UTF-8 (byte 0xe9)"),
        ("--configfile tab.yaml", "tab.yaml:2: not valid YAML"),
        ("--configfile twice.yaml", "twice.yaml:2: seeds stands twice, first in line 1"),
        ("--configfile list.yaml", "list.yaml holds no mapping of keys"),
        ("--configfile empty.yaml", "empty.yaml is empty"),
        ("--configfile bad.json", "bad.json:2: not valid JSON"),
        ("--config training.steps=20", "--config: 'training.steps' is no key"),
        ("--config training.steps=20", """fix: write keys of keys as YAML: --config 'training={"steps": ...}'"""),
        ("-C seeds=[0] 9lives=1", "--config: '9lives' is no key\n  fix: correct the key"),
        ("--config =3", "--config: '' is no key"),
        ("--config good.yaml", "--config: 'good.yaml' has no value\n  fix: write key=value; --configfile names files"),
        ("--config training= {steps:3}", "--config: '{steps:3}' has no value"),
        ("--config tracking.uri=https://ana:s3cr3t@example.org", "--config: 'tracking.uri' is no key"),
        ("--config tracking.uri https://ana:s3cr3t@example.org", "--config: 'tracking.uri' has no value"),
        ("--config https://ana:s3cr3t@example.org", "--config: an address has no value"),
    ],
)
def test_what_snakemake_cannot_read_is_said_with_its_place(
    line: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit) as left:
        call(monkeypatch, line)
    assert said in str(left.value) and "\n  fix: " in str(left.value)
    assert "s3cr3t" not in str(left.value)


@pytest.mark.parametrize(
    "line", ["--cores 1", "-n all", "--configfile good.yaml", "--config seeds=[1] training={steps:3} models="]
)
def test_what_it_can_read_passes(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    call(monkeypatch, line)
