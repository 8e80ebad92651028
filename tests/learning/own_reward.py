"""A reward as a user writes one."""


def score(completion, problem):
    return completion.count("tom") - 0.1 * len(completion.split()) + (problem.answer in completion)
