"""What ends an answer, for the kinds of models there are."""

from pathlib import Path

import pytest

from reinforce_lite.config import PolicySettings
from reinforce_lite.errors import UserError
from reinforce_lite.learning.supervised import preferred_stop
from reinforce_lite.policy import Policy, load
from reinforce_lite.policy.turns import end_of_turn, stops
from toys import CHATML, chat_tokenizer, toy_policy, write_gguf

EACH = "{% for m in messages %}"
PHI = (
    EACH + "<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}"
)
LLAMA_3 = EACH + "<|header|>{{ m['role'] }}<|end_header|>\n\n{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
GEMMA = EACH + "<start_of_turn>{{ m['role'] }}\n{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
MISTRAL = (
    EACH + "{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
    "{% else %} {{ m['content'] }} {{ eos_token }}{% endif %}{% endfor %}"
)
FAMILIES = {
    "phi-3.5": (PHI, "<|endoftext|>", ("<|user|>", "<|assistant|>", "<|end|>"), "<|end|>"),
    "llama-3": (
        LLAMA_3, "<|end_of_text|>", ("<|header|>", "<|end_header|>", "<|eot_id|>"), "<|eot_id|>",
    ),
    "chatml": (CHATML, "<|endoftext|>", ("<|im_start|>", "<|im_end|>"), "<|im_end|>"),
    "gemma": (GEMMA, "<eos>", ("<start_of_turn>", "<end_of_turn>"), "<end_of_turn>"),
    "mistral": (MISTRAL, "</s>", ("[INST]", "[/INST]"), "</s>"),
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_an_answer_ends_where_the_template_ends_it(family: str) -> None:
    template, eos, special, end = FAMILIES[family]
    tokenizer = chat_tokenizer(template, eos, special)
    own, ending = tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(end)
    assert end_of_turn(tokenizer) == ending
    for named in (None, own, [own]):
        found = stops(tokenizer, named, len(tokenizer))
        assert found.ids == {own, ending} and found.added == (end != eos)
    assert (f"ends a turn with {end} ({ending})" in found.note) == found.added
    complete = stops(tokenizer, [own, ending], len(tokenizer))
    assert complete.ids == {own, ending} and not complete.added


def test_a_policy_stops_there_and_is_taught_to(policy: Policy, capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = policy.tokenizer
    tokenizer.chat_template = "{{ bos_token }} {% for m in messages %}{{ m['content'] }} <reply> {% endfor %}"
    end = tokenizer.convert_tokens_to_ids("<reply>")
    built = load.assemble(policy.model, tokenizer)
    assert built.stop_ids == {tokenizer.eos_token_id, end} and preferred_stop(built) == end
    assert f"<reply> ({end}), which is not among the policy's stop ids (<eos> (2)): it is added" in (
        capsys.readouterr().err
    )
    assert built.model.generation_config.eos_token_id == sorted(built.stop_ids)


def test_a_template_without_end_says_so_and_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    policy = toy_policy("llama")
    eos = policy.tokenizer.eos_token_id
    assert policy.stop_ids == {eos} and preferred_stop(policy) == eos
    assert policy.model.generation_config.eos_token_id == eos and capsys.readouterr().err == ""
    found = stops(policy.tokenizer, None, len(policy.tokenizer))
    assert found == ({eos}, False, "the chat template writes no end of turn, so answers end at <eos> (2)")


@pytest.mark.parametrize(
    ("template", "eos", "special", "words", "problem"),
    [
        (None, "</s>", (), 99, "no chat template"),
        (EACH + "{{ m['content'] }} {% endfor %}", None, (), 99, "neither the chat template nor a file says"),
        (CHATML, "</s>", ("<|im_start|>",), 99, r"ends a turn with '<\|im_end\|>', which the tokenizer has no special"),
        (CHATML, "</s>", ("<|im_start|>", "<|im_end|>"), 5, r"<\|im_end\|> \(7\), and the model can write 5 ids only"),
        ("{{ raise_exception('only user') }}", "</s>", (), 99, "the chat template takes no answer: only user"),
        ("{{ messages[0]['content'] }}", "</s>", (), 99, "the chat template leaves the answer out"),
    ],
)
def test_what_cannot_end_is_refused(
    template: str | None, eos: str | None, special: tuple[str, ...], words: int, problem: str
) -> None:
    with pytest.raises(UserError, match=rf"{problem}.*\n  fix: "):
        stops(chat_tokenizer(template, eos, special), None, words)


def test_a_gguf_file_stops_where_its_template_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_gguf(tmp_path / "toy.gguf")
    policy = load.local(tmp_path / "toy.gguf", PolicySettings(path=tmp_path / "toy.gguf", dtype="float32"), "cpu")
    assert policy.tokenizer.convert_ids_to_tokens(sorted(policy.stop_ids)) == ["<|endoftext|>", "<|im_end|>"]
    assert "<|im_end|> (259), which is not among the policy's stop ids" in capsys.readouterr().err
    load.save(policy, tmp_path, {})
    assert load.load(tmp_path, PolicySettings(path=tmp_path, dtype="float32"), "cpu").stop_ids == policy.stop_ids
