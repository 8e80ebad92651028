"""The prompts, as chat messages. The tagged one and the strict parser agree; a test holds them together."""

from reinforce_lite.errors import UserError

TAGGED_EXAMPLE = "<answer>42</answer>"
TAGGED = (
    "{question}\n\n"
    "Reason step by step. Then write the final number alone, without units or words, between <answer> and </answer>, "
    f"for example {TAGGED_EXAMPLE}"
)

# The three texts of the released code, word for word: qflow/data_processor.py of Raj-08/Q-Flow (MIT, (c) 2024 Raj).
RELEASED_SYSTEM = (
    "You are a helpful assistant. You first thinks about the reasoning process in the mind "
    "and then provides the user with the answer."
)
RELEASED_SUFFIX = (
    "\nShow your work in <think> </think> tags and return the final numerical answer in <answer> </answer> tags."
)
RELEASED_PREFILL = "Let me solve this step by step.\n<think>"

# One worked example of our own, of no data set, for the prompts that show the format instead of asking for it.
EXAMPLE_QUESTION = "A baker makes 4 trays of 6 rolls and sells 15 of them. How many rolls are left?"
EXAMPLE_REPLY = "4 trays of 6 rolls are 4 * 6 = 24 rolls. 24 - 15 = 9 of them are left. <answer>9</answer>"
WORLD_EXAMPLE_QUESTION = "leo has 4 boxes of 6 nuts each . then leo sells 9 . then leo sells 6 . how many nuts now ?"
WORLD_EXAMPLE_REPLY = "4 * 6 = 24 . 24 - 9 = 15 . 15 - 6 = 9 . <answer> 9 </answer>"


def messages(prompt: str, question: str) -> list[dict[str, str]]:
    """The chat messages that put a question to a policy.

    If the last message is the assistant's (`released`), the policy continues it: apply the chat template with
    `continue_final_message`, otherwise with `add_generation_prompt`.

    Args:
        prompt: a value of `task.prompt`: `bare`, `tagged`, `released`, `one_shot` or `one_shot_bare`.
        question: the text of the problem; braces and tags in it are kept as they are.

    Returns:
        Messages of `role` and `content`, in order.

    Raises:
        UserError: there is no prompt of this name.
    """
    if prompt == "bare":
        return [{"role": "user", "content": question}]
    if prompt == "tagged":
        return [{"role": "user", "content": TAGGED.replace("{question}", question, 1)}]
    if prompt == "one_shot":
        shown = [*messages("tagged", EXAMPLE_QUESTION), {"role": "assistant", "content": EXAMPLE_REPLY}]
        return [*shown, *messages("tagged", question)]
    if prompt == "one_shot_bare":
        shown = [*messages("bare", WORLD_EXAMPLE_QUESTION), {"role": "assistant", "content": WORLD_EXAMPLE_REPLY}]
        return [*shown, *messages("bare", question)]
    if prompt == "released":
        return [
            {"role": "system", "content": RELEASED_SYSTEM},
            {"role": "user", "content": question + RELEASED_SUFFIX},
            {"role": "assistant", "content": RELEASED_PREFILL},
        ]
    raise UserError(f"task.prompt: '{prompt}' is unknown", "use one of tagged, released, bare, one_shot, one_shot_bare")
