"""The options of Snakemake that hold configuration, checked before Snakemake reads them."""

import sys

from reinforce_lite.errors import UserError
from reinforce_lite.io import layers


def check() -> None:
    """Check the files of --configfile and the entries of --config; profiles/default/profile.v9+.yaml calls it.

    Snakemake ends with a Python traceback where a file is absent or an entry has no key, before it reads the Snakefile.

    Raises:
        SystemExit: one cannot be read; the message names it, with its line, and the fix.
    """
    from snakemake.cli import get_argument_parser

    given = get_argument_parser().parse_args()
    try:
        for path in given.configfile:
            layers.read(path)
        for entry in given.config or []:
            _check_entry(entry)
    except UserError as error:
        sys.exit(str(error))


def _check_entry(entry: str) -> None:
    """Check one entry of --config, key=value, by Snakemake's own rule.

    Raises:
        UserError: Snakemake would refuse it.
    """
    from snakemake.cli import parse_config

    try:
        parse_config([entry])
    except ValueError as error:
        key, equals, _ = entry.partition("=")
        if not equals:
            what = "an address" if "://" in entry else repr(entry)  # it may hold a password
            raise UserError(f"--config: {what} has no value", "write key=value; --configfile names files") from error
        above, dot, name = key.partition(".")
        fix = f"""write keys of keys as YAML: --config '{above}={{"{name}": ...}}'""" if dot else "correct the key"
        raise UserError(f"--config: {key!r} is no key", fix) from error
