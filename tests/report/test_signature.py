"""The manifest as a command prints it, a root that was published, and a signature of it."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from planted import TRAINED, change_row
from reinforce_lite.cli import main
from reinforce_lite.io.files import read_json
from reinforce_lite.io.provenance import sha256_file
from reinforce_lite.report.manifest import Manifest, seal

needs_ssh = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")


def test_the_manifest_is_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(folder), "--manifest"]) == 0
    *lines, _, results, whole = capsys.readouterr().out.splitlines()
    names = [line[66:] for line in lines]
    assert names == sorted(names) and "config.json" in names and "report.html" in names
    assert any(name.endswith("weights/model.safetensors") for name in names)
    assert all(line[:64] == sha256_file(folder / line[66:]) for line in lines)
    sealed = read_json(folder / "summary.json")["provenance"]["manifest"]
    assert sealed["root"] in results and sealed["root"] in (folder / "report.html").read_text()
    written = Manifest.read(folder)
    assert written is not None and written.root in whole
    assert lines == (folder / "manifest.sha256").read_text().splitlines(), "as sha256sum -c reads it"
    assert main(["verify", str(folder), "--manifest", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["root"] == written.root


def test_a_published_root(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = Manifest.read(folder)
    assert written is not None
    assert main(["verify", str(folder), "--root", written.root]) == 0
    with pytest.raises(SystemExit, match="1"):
        main(["verify", str(folder), "--root", "0" * 64])
    assert f"manifest.sha256: root is {written.root}, derived {'0' * 64}" in capsys.readouterr().out


@needs_ssh
def test_a_signature(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for who in ("ada", "bob"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / who)], check=True)
        key = (tmp_path / f"{who}.pub").read_text()
        (tmp_path / f"{who}.signers").write_text(f"{who}@example.org {key}")
    ada, bob = ["--signer", str(tmp_path / "ada.signers")], ["--signer", str(tmp_path / "bob.signers")]
    assert main(["verify", str(folder), *ada]) == 2, "nobody has signed"
    assert main(["verify", str(folder), "--sign", str(tmp_path / "ada")]) == 0
    assert main(["verify", str(folder), *ada]) == 0
    assert "signed by ada@example.org: agree" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="1"):
        main(["verify", str(folder), *bob])
    change_row(folder / TRAINED / "items.jsonl", 3, lambda row: {"length": row["length"] + 1})
    seal(folder)
    with pytest.raises(SystemExit, match="1"):
        main(["verify", str(folder), *ada])
    assert "signature" in capsys.readouterr().out


@needs_ssh
def test_what_differs_is_not_signed(folder: Path, tmp_path: Path) -> None:
    change_row(folder / TRAINED / "items.jsonl", 3, lambda row: {"strict": not row["strict"]})
    with pytest.raises(SystemExit, match="1"):
        main(["verify", str(folder), "--sign", str(tmp_path / "key")])
    assert not (folder / "manifest.root").exists()
