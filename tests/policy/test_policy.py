from pathlib import Path

import pytest
import torch

from reinforce_lite.config import PolicySettings, Scratch, Start
from reinforce_lite.errors import UserError
from reinforce_lite.io.files import write_json
from reinforce_lite.learning.supervised import supervised_start
from reinforce_lite.optim.optimizer import learning_rate
from reinforce_lite.policy import Policy, fetch, load, render_prompt, scratch
from reinforce_lite.policy.logprobs import check_head, chosen_logprobs, completion_logprobs, pad_right, shares_prompts
from reinforce_lite.tasks import Demonstration
from reinforce_lite.tasks.word_world import VOCABULARY
from toys import WORLD, toy_policy

SCRATCH = PolicySettings(
    from_scratch=Scratch(architecture="llama"), start=Start(steps=1, learning_rate=1e-3), dtype="float32"
)


def test_prompt_has_one_bos_and_no_unknown_word(policy: Policy) -> None:
    ids = policy.prompt_ids(WORLD.messages("bare", "tom has 3 apples . how many apples now ?"))
    tokenizer = policy.tokenizer
    assert ids.count(tokenizer.bos_token_id) == 1 and ids[0] == tokenizer.bos_token_id
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.convert_ids_to_tokens(ids[-1]) == scratch.REPLY


def test_prefilled_answer_is_continued_not_closed(policy: Policy) -> None:
    ids = policy.prompt_ids([{"role": "user", "content": "tom ?"}, {"role": "assistant", "content": "3 +"}])
    assert policy.tokenizer.convert_ids_to_tokens(ids)[-2:] == ["3", "+"]


def test_the_prompt_does_not_change_overnight(policy: Policy) -> None:
    # The clause of Llama 3.2's own template.
    policy.tokenizer.chat_template = (
        "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
        "Today Date: {{ date_string }}"
    )
    assert render_prompt(policy.tokenizer, WORLD.messages("bare", "tom ?")) == "Today Date: 26 Jul 2024"


def test_words_survive_the_tokenizer(policy: Policy) -> None:
    text = " ".join(VOCABULARY)
    assert policy.text(policy.tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_pad_is_never_a_stop_id(policy: Policy) -> None:
    assert policy.pad_id not in policy.stop_ids
    policy.model.generation_config.eos_token_id = [policy.pad_id, 2]
    rebuilt = load.assemble(policy.model, policy.tokenizer)
    assert rebuilt.stop_ids == {policy.pad_id, 2}  # every id of the list, as Phi-3.5 needs
    assert rebuilt.pad_id not in rebuilt.stop_ids


def test_chosen_logprobs_match_a_full_softmax_without_padding(policy: Policy) -> None:
    rows = [([1, 5, 9], [7, 8, 2]), ([1], [4, 2]), ([1, 30, 31, 32], [33])]
    ours, entropies = chosen_logprobs(policy, pad_right(rows, policy.pad_id, policy.device), chunk_tokens=2)
    expected, expected_entropy = [], []
    for prompt, completion in rows:
        logprobs = policy.model(torch.tensor([prompt + completion])).logits[0].log_softmax(-1)
        for t, token in enumerate(completion):
            row = logprobs[len(prompt) - 1 + t]
            expected.append(row[token])
            expected_entropy.append(torch.distributions.Categorical(logits=row).entropy())
    assert torch.allclose(ours, torch.stack(expected), atol=1e-5)
    assert torch.allclose(entropies, torch.stack(expected_entropy), atol=1e-5)


def test_prompts_computed_once_give_the_same_logprobs_and_gradients(policy: Policy) -> None:
    group, other = [1, 5, 9], [1, 30, policy.pad_id, 32, 7]
    rows = [(group, [7, 8, 2]), (other, [4]), (group, [2]), (other, [6, 5, 4, 3, 2]), ([9], [8, 2])]
    found = {}
    for name, logprobs in (
        ("once", completion_logprobs(policy, rows, chunk_tokens=4)[0]),
        ("each", chosen_logprobs(policy, pad_right(rows, policy.pad_id, policy.device), chunk_tokens=4)[0]),
    ):
        policy.model.zero_grad()
        (logprobs * torch.linspace(-1, 1, len(logprobs))).sum().backward()
        found[name] = [logprobs.detach(), *(weight.grad.clone() for weight in policy.model.parameters())]
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*found.values(), strict=True))


def test_a_completion_of_one_token_needs_its_prompt_only(policy: Policy) -> None:
    rows = [([1, 5], [2]), ([1, 5], [7])]
    expected = policy.model(torch.tensor([[1, 5]])).logits[0, -1].log_softmax(-1)[[2, 7]]
    assert torch.allclose(completion_logprobs(policy, rows, chunk_tokens=8)[0], expected, atol=1e-5)


def test_layers_that_are_recomputed_share_no_prompt(policy: Policy) -> None:
    assert shares_prompts(policy)
    policy.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    for model in (policy.model.train(), policy.model.eval()):  # the update, and the measurement of drift
        assert not shares_prompts(Policy(model, policy.tokenizer, policy.stop_ids, policy.pad_id))


def test_the_pad_id_may_stand_in_a_prompt(policy: Policy) -> None:
    rows = [([1, policy.pad_id, 9], [7, 2])]
    padded_more = [*rows, ([1] * 9, [3])]
    alone, _ = chosen_logprobs(policy, pad_right(rows, policy.pad_id, policy.device), 8)
    beside, _ = chosen_logprobs(policy, pad_right(padded_more, policy.pad_id, policy.device), 8)
    assert torch.allclose(alone, beside[:2], atol=1e-5)


def test_check_head_refuses_scaled_logits(policy: Policy) -> None:
    check_head(policy)

    class Scaled(torch.nn.Module):
        def __init__(self, inner: torch.nn.Module) -> None:
            super().__init__()
            self.inner, self.base_model, self.config = inner, inner.base_model, inner.config
            self.get_output_embeddings = inner.get_output_embeddings

        def forward(self, **inputs: object) -> object:
            out = self.inner(**inputs)
            out.logits = out.logits * 8
            return out

    with torch.no_grad():
        for weight in policy.model.parameters():
            weight.mul_(20)  # an untrained head is so flat that scaling would hardly show
    with pytest.raises(ValueError, match="changes its logits"):
        check_head(Policy(Scaled(policy.model), policy.tokenizer, policy.stop_ids, policy.pad_id))


def test_save_and_load_give_the_same_policy(policy: Policy, tmp_path: Path) -> None:
    load.save(policy, tmp_path, {"model": "toy"})
    settings = PolicySettings(path=tmp_path, dtype="float32")
    loaded = load.load(tmp_path, settings, "cpu")
    assert loaded.stop_ids == policy.stop_ids and loaded.pad_id == policy.pad_id
    question = WORLD.messages("bare", "tom has 3 apples . how many apples now ?")
    assert loaded.prompt_ids(question) == policy.prompt_ids(question)
    for (name, a), (_, b) in zip(policy.model.named_parameters(), loaded.model.named_parameters(), strict=True):
        assert torch.equal(a, b), name


def test_absent_weights_name_path_and_fix(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere.*\n  fix: .*path"):
        load.local(tmp_path / "nowhere", SCRATCH, "cpu")
    write_json(tmp_path / "policy.json", {"weights": {"folder": "weights"}})
    with pytest.raises(UserError, match="cannot load"):
        load.load(tmp_path, SCRATCH, "cpu")


def test_describe_counts_parameters(policy: Policy) -> None:
    described = fetch.describe(policy, SCRATCH)
    assert described["parameters"] == sum(w.numel() for w in policy.model.parameters())
    assert described["dtype"] == "float32" and described["source"] == "from scratch"


def test_supervised_start_learns_its_demonstrations(policy: Policy) -> None:
    demonstrations = [Demonstration(f"tom has {i} apples .", f"<answer> {i} </answer>") for i in range(4)]
    history = supervised_start(policy, demonstrations, WORLD, "bare", Start(steps=60, batch_size=4, learning_rate=1e-2))
    assert history[0]["loss"] > 3 and history[-1]["loss"] < 0.7
    assert history[0]["learning_rate"] < 1e-2 == pytest.approx(max(row["learning_rate"] for row in history))


def test_supervised_start_is_repeatable() -> None:
    demonstrations = [Demonstration("tom has 3 apples .", "<answer> 3 </answer>")]
    settings = Start(steps=3, batch_size=2, learning_rate=1e-2)
    runs = [supervised_start(toy_policy("llama"), demonstrations, WORLD, "bare", settings) for _ in range(2)]
    assert runs[0] == runs[1]


def test_learning_rate_warms_up_and_decays_to_zero() -> None:
    assert [learning_rate(2.0, "linear", step, 4, warmup=2) for step in range(5)] == [1.0, 2.0, 2.0, 1.0, 0.0]
    assert [learning_rate(2.0, "constant", step, 4) for step in range(4)] == [2.0] * 4
