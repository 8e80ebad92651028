"""Where an answer ends: at the token that the chat template writes after a message of the assistant.

A model's files often name another one. Phi-3.5's tokenizer ends a text with `<|endoftext|>`, its template a turn with
`<|end|>`: a policy that stops only at the first writes every answer to the limit.
"""

from collections.abc import Collection
from typing import Any, NamedTuple

from reinforce_lite.errors import UserError
from reinforce_lite.policy import render_prompt

REPLY = "q7w2reply"
"""Stands for the assistant's message; no template has it by itself."""
FIX = "use an instruction-tuned model with its own tokenizer"


class Stops(NamedTuple):
    """All ids that end an answer, whether the template's had to be added, and all of it in a sentence."""

    ids: frozenset[int]
    added: bool
    note: str


def stops(tokenizer: Any, named: int | Collection[int] | None, words: int) -> Stops:
    """What ends an answer of a model that can write `words` ids.

    `named` are the end-of-sequence ids of its generation_config.json; None stands for those of the tokenizer.

    Raises:
        UserError: as `end_of_turn`, or the model cannot write the end of a turn, or there is no id at all.
    """
    named = tokenizer.eos_token_id if named is None else named
    known = frozenset([] if named is None else [named] if isinstance(named, int) else named)
    shown = ", ".join(f"{_text(tokenizer, token)} ({token})" for token in sorted(known)) or "none"
    end = end_of_turn(tokenizer)
    if end is None:
        if not known:
            raise UserError(
                "neither the chat template nor a file says what ends an answer",
                "set eos_token_id in the policy's generation_config.json",
            )
        return Stops(known, False, f"the chat template writes no end of turn, so answers end at {shown}")
    template = f"the chat template ends a turn with {_text(tokenizer, end)} ({end})"
    if end >= words:
        raise UserError(f"{template}, and the model can write {words} ids only", FIX)
    if end in known:
        return Stops(known, False, f"answers end at {shown}")
    return Stops(known | {end}, True, f"{template}, which is not among the policy's stop ids ({shown}): it is added")


def end_of_turn(tokenizer: Any) -> int | None:
    """Id of the first special token that the chat template writes after a message of the assistant.

    None if it writes nothing there, as for the tiny models: then only the files can say what ends an answer.

    Raises:
        UserError: there is no template, it takes no message of the assistant, or it writes mere text after one, which
            no stop id can find.
    """
    after = _after_reply(tokenizer)
    special = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()} - {tokenizer.unk_token_id}
    end = next((int(i) for i in tokenizer(after, add_special_tokens=False)["input_ids"] if i in special), None)
    if end is None and after:
        raise UserError(
            f"the chat template ends a turn with {after!r}, which the tokenizer has no special token for: no stop id "
            "could end an answer",
            FIX,
        )
    return end


def _after_reply(tokenizer: Any) -> str:
    """What the chat template writes after a message of the assistant, at the end of a dialogue."""
    if not tokenizer.chat_template:
        raise UserError("the policy's tokenizer has no chat template", FIX)
    dialogue = [{"role": "user", "content": "q"}, {"role": "assistant", "content": REPLY}]
    try:
        _, reply, after = render_prompt(tokenizer, dialogue, whole=True).rpartition(REPLY)
    except Exception as error:  # a template is the model's own code
        raise UserError(f"the chat template takes no answer: {str(error).partition(chr(10))[0]}", FIX) from error
    if not reply:
        raise UserError("the chat template leaves the answer out", FIX)
    return after.strip()


def _text(tokenizer: Any, token: int) -> str:
    return str(tokenizer.convert_ids_to_tokens(token))
