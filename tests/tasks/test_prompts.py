from decimal import Decimal
from typing import get_args

import pytest

from reinforce_lite.errors import UserError
from reinforce_lite.settings import TaskSettings
from reinforce_lite.tasks import answers, prompts, word_world

QUESTION = "Tom has {3} eggs & <b>2</b> more.\nHow many?"


def test_bare_is_the_question():
    assert prompts.messages("bare", QUESTION) == [{"role": "user", "content": QUESTION}]


def test_tagged_asks_for_what_the_parser_reads():
    [message] = prompts.messages("tagged", QUESTION)
    assert message["role"] == "user"
    assert message["content"].startswith(QUESTION)
    instruction = message["content"].removeprefix(QUESTION)
    assert prompts.TAGGED_EXAMPLE in instruction
    assert answers.strict(prompts.TAGGED_EXAMPLE) == Decimal(42)
    assert answers.strict(instruction) == Decimal(42)
    assert "boxed" not in instruction


def test_a_question_that_looks_like_the_template_is_kept():
    [message] = prompts.messages("tagged", "What is {question}?")
    assert message["content"].count("{question}") == 1


@pytest.mark.parametrize(("one_shot", "like"), [("one_shot", "tagged"), ("one_shot_bare", "bare")])
def test_one_shot_shows_a_worked_example_before_the_question(one_shot: str, like: str):
    asked, reply, *question = prompts.messages(one_shot, QUESTION)
    assert [asked["role"], reply["role"]] == ["user", "assistant"]
    assert question == prompts.messages(like, QUESTION)
    assert answers.strict(reply["content"]) == Decimal(9)
    assert asked["content"].split("\n")[0] in (prompts.EXAMPLE_QUESTION, prompts.WORLD_EXAMPLE_QUESTION)


def test_the_example_of_the_word_world_is_in_its_words_and_no_question_of_its_own():
    shown = f"{prompts.WORLD_EXAMPLE_QUESTION} {prompts.WORLD_EXAMPLE_REPLY}".split()
    assert set(shown) <= set(word_world.VOCABULARY)
    assert prompts.WORLD_EXAMPLE_QUESTION.count("then") == 2, "questions of the world take one change or two sums"
    left, *sums = prompts.WORLD_EXAMPLE_REPLY.split(" . ")[:3]
    for written in (left, *sums):
        terms, result = written.split(" = ")
        assert eval(terms) == int(result)


def test_released_prefills_the_assistant():
    system, user, assistant = prompts.messages("released", QUESTION)
    assert [system["role"], user["role"], assistant["role"]] == ["system", "user", "assistant"]
    assert system["content"].startswith("You are a helpful assistant. You first thinks about")
    assert user["content"] == (
        QUESTION + "\nShow your work in <think> </think> tags and "
        "return the final numerical answer in <answer> </answer> tags."
    )
    assert assistant["content"] == "Let me solve this step by step.\n<think>"


def test_every_prompt_of_the_configuration_exists():
    for name in get_args(TaskSettings.model_fields["prompt"].annotation):
        assert any(QUESTION in message["content"] for message in prompts.messages(name, QUESTION))


def test_messages_are_fresh():
    prompts.messages("released", QUESTION)[0]["content"] = "changed"
    assert prompts.messages("released", QUESTION)[0]["content"] == prompts.RELEASED_SYSTEM


def test_unknown_prompt():
    with pytest.raises(UserError, match=r"task\.prompt.*poem"):
        prompts.messages("poem", QUESTION)
