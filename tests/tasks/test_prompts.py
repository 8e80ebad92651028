from decimal import Decimal

import pytest

from reinforce_lite.errors import UserError
from reinforce_lite.tasks import REGISTRY, answers, named, numeric, word_world
from toys import WORLD

QUESTION = "Tom has {3} eggs & <b>2</b> more.\nHow many?"


def test_bare_is_the_question():
    assert WORLD.messages("bare", QUESTION) == [{"role": "user", "content": QUESTION}]


def test_tagged_asks_for_what_the_parser_reads():
    [message] = WORLD.messages("tagged", QUESTION)
    assert message["role"] == "user"
    assert message["content"].startswith(QUESTION)
    instruction = message["content"].removeprefix(QUESTION)
    assert numeric.TAGGED_EXAMPLE in instruction
    assert answers.strict(numeric.TAGGED_EXAMPLE) == Decimal(42)
    assert answers.strict(instruction) == Decimal(42)
    assert "boxed" not in instruction


def test_a_question_that_looks_like_the_template_is_kept():
    [message] = WORLD.messages("tagged", "What is {question}?")
    assert message["content"].count("{question}") == 1


@pytest.mark.parametrize(("one_shot", "like"), [("one_shot", "tagged"), ("one_shot_bare", "bare")])
def test_one_shot_shows_a_worked_example_before_the_question(one_shot: str, like: str):
    asked, reply, *question = WORLD.messages(one_shot, QUESTION)
    assert [asked["role"], reply["role"]] == ["user", "assistant"]
    assert question == WORLD.messages(like, QUESTION)
    assert answers.strict(reply["content"]) == Decimal(9)
    assert asked["content"].split("\n")[0] in (numeric.EXAMPLE_QUESTION, word_world.EXAMPLE_QUESTION)


def test_the_example_of_the_word_world_is_in_its_words_and_no_question_of_its_own():
    shown = f"{word_world.EXAMPLE_QUESTION} {word_world.EXAMPLE_REPLY}".split()
    assert set(shown) <= set(word_world.VOCABULARY)
    assert word_world.EXAMPLE_QUESTION.count("then") == 2, "questions of the world take one change or two sums"
    left, *sums = word_world.EXAMPLE_REPLY.split(" . ")[:3]
    for written in (left, *sums):
        terms, result = written.split(" = ")
        assert eval(terms) == int(result)


def test_released_prefills_the_assistant():
    system, user, assistant = WORLD.messages("released", QUESTION)
    assert [system["role"], user["role"], assistant["role"]] == ["system", "user", "assistant"]
    assert system["content"].startswith("You are a helpful assistant. You first thinks about")
    assert user["content"] == (
        QUESTION + "\nShow your work in <think> </think> tags and "
        "return the final numerical answer in <answer> </answer> tags."
    )
    assert assistant["content"] == "Let me solve this step by step.\n<think>"


@pytest.mark.parametrize("task", REGISTRY)
def test_every_prompt_of_a_task_puts_the_question(task: str):
    for name in named(task).prompts:
        assert any(QUESTION in message["content"] for message in named(task).messages(name, QUESTION))


def test_messages_are_fresh():
    WORLD.messages("released", QUESTION)[0]["content"] = "changed"
    assert WORLD.messages("released", QUESTION)[0]["content"] == numeric.RELEASED_SYSTEM


def test_unknown_prompt():
    with pytest.raises(UserError, match=r"'poem' is unknown\n  fix: use one of tagged"):
        WORLD.messages("poem", QUESTION)
