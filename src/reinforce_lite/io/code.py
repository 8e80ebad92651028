"""Python files of the user's own: each is read once a process, and what was read is what runs, is hashed and copied."""

import hashlib
import sys
import traceback
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

from reinforce_lite.errors import UserError
from reinforce_lite.io.files import atomic_text

FIX = "correct the file, or the key of the configuration that names it"


@dataclass(frozen=True)
class Code:
    """A file that has been loaded, with its text as it was then."""

    path: Path
    text: str
    module: ModuleType

    @property
    def sha256(self) -> str:
        """Of the file."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def copy(self, folder: Path) -> None:
        """Write the file to a folder, in which no other Python file stays.

        Raises:
            UserError: it cannot be written.
        """
        for other in folder.glob("*.py"):
            other.unlink()
        with atomic_text(folder / self.path.name) as handle:
            handle.write(self.text)

    def place(self, error: BaseException) -> str:
        """The file, with the line of it where an error was raised."""
        lines = [one.lineno for one in traceback.extract_tb(error.__traceback__) if one.filename == str(self.path)]
        if isinstance(error, SyntaxError) and error.filename == str(self.path):
            lines.append(error.lineno)
        return f"{self.path}:{lines[-1]}" if lines else str(self.path)


def code(path: Path) -> Code:
    """Load a Python file, which runs as the user's own code; a second time in a process it is not read again.

    Raises:
        UserError: it cannot be read, or ends with an error.
    """
    return _code(path.expanduser().absolute())


@cache
def _code(path: Path) -> Code:
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise UserError(f"{path} cannot be loaded: {error.strerror}", FIX) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} cannot be loaded: it is not UTF-8", "save the file as UTF-8") from error
    loaded = Code(path, text, ModuleType(f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"))
    loaded.module.__file__ = str(path)
    sys.modules[loaded.module.__name__] = loaded.module  # where dataclasses look for the module of a class
    try:
        exec(compile(text.removeprefix("\ufeff"), path, "exec"), loaded.module.__dict__)
    except (Exception, SystemExit) as error:  # it is the user's own code
        raise UserError(f"{loaded.place(error)} cannot be loaded: {type(error).__name__}: {error}", FIX) from error
    return loaded
