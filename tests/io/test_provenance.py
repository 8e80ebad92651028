import json
import platform
import shutil
import subprocess
from importlib import metadata

import pytest

from reinforce_lite.io import provenance

NAMES = ("REINFORCE_LITE_COMMIT", "REINFORCE_LITE_IMAGE", "REINFORCE_LITE_CONTENTS", "APPTAINER_CONTAINER")


@pytest.fixture(autouse=True)
def _no_image(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def git(folder, *arguments):
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout of its own that the module is made to believe it lies in."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    file = tmp_path / "provenance.py"
    file.write_text("one\n")
    git(tmp_path, "init", "-q")
    monkeypatch.setattr(provenance, "__file__", str(file))
    return tmp_path


def test_environment_names_what_runs():
    found = provenance.environment()
    assert found["python"] == platform.python_version()
    assert found["packages"]["transformers"] == metadata.version("transformers")
    assert set(found["packages"]) == set(provenance.PACKAGES)
    assert found["memory_gib"] > 0 and found["cpu"] and found["image"] is None
    assert json.loads(json.dumps(found)) == found


def test_a_package_that_is_not_installed_has_no_version(monkeypatch):
    monkeypatch.setattr(provenance, "PACKAGES", ("no-such-package-at-all",))
    assert provenance.environment()["packages"] == {"no-such-package-at-all": None}


def test_commit_and_changes_of_a_checkout(checkout):
    assert provenance.git_commit() is None  # the file is not tracked: the checkout is somebody else's
    git(checkout, "add", ".")
    git(checkout, "commit", "-q", "-m", "one")
    commit = git(checkout, "rev-parse", "HEAD")
    assert provenance.git_commit() == commit
    (checkout / "notes.txt").write_text("not tracked\n")
    assert provenance.environment()["git_dirty"] is False
    (checkout / "provenance.py").write_text("two\n")
    assert provenance.git_commit() == f"{commit}-dirty"
    found = provenance.environment()
    assert (found["git_commit"], found["git_dirty"]) == (commit, True)


def test_outside_a_checkout_the_commit_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    found = provenance.environment()
    assert (found["git_commit"], found["git_dirty"]) == (None, None)


def test_without_git_the_commit_is_unknown(checkout, monkeypatch):
    monkeypatch.setenv("PATH", str(checkout))
    assert provenance.git_commit() is None


def test_an_image_says_its_own_commit(monkeypatch):
    monkeypatch.setenv("REINFORCE_LITE_COMMIT", "abc123")
    assert provenance.git_commit() == "abc123"
    monkeypatch.setenv("REINFORCE_LITE_COMMIT", "abc123-dirty")
    found = provenance.environment()
    assert (found["git_commit"], found["git_dirty"]) == ("abc123", True)
    assert provenance.git_commit() == "abc123-dirty"


@pytest.mark.parametrize(
    ("apptainer", "own", "expected"),
    [("/a.sif", "", "/a.sif"), ("/a.sif", "ghcr.io/x:1", "ghcr.io/x:1"), ("", "", None)],
)
def test_image(monkeypatch, apptainer, own, expected):
    monkeypatch.setenv("APPTAINER_CONTAINER", apptainer)
    monkeypatch.setenv("REINFORCE_LITE_IMAGE", own)
    assert provenance.environment()["image"] == expected


def test_an_image_is_named_by_its_contents(monkeypatch, tmp_path):
    (tmp_path / "sum").write_text("ab12\n")
    monkeypatch.setenv("REINFORCE_LITE_CONTENTS", str(tmp_path / "sum"))
    assert provenance.image() == "unnamed contents sha256:ab12"
    monkeypatch.setenv("REINFORCE_LITE_IMAGE", "docker://x/y:1")
    monkeypatch.setenv("REINFORCE_LITE_COMMIT", "abc")
    assert provenance.origin() == {"git_commit": "abc", "image": "docker://x/y:1 contents sha256:ab12"}
    monkeypatch.setenv("REINFORCE_LITE_CONTENTS", str(tmp_path / "none"))
    assert provenance.image() == "docker://x/y:1"


def test_sha256_of_abc(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")  # the example of FIPS 180-2
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert provenance.sha256_file(tmp_path / "f") == expected
