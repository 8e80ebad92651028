"""The one exception a user is meant to read."""


class UserError(Exception):
    """Something the user can mend: the message names the file or key, and the fix.

    The command line prints it without a traceback and exits with code 2, before anything is spent.
    """

    def __init__(self, problem: str, fix: str = "") -> None:
        super().__init__(problem if not fix else f"{problem}\n  fix: {fix}")
        self.problem, self.fix = problem, fix
