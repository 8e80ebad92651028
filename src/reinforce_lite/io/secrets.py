"""Passwords and tokens in a configuration would end in the report, the crate and the logs: here they are found."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/?#]*@", re.IGNORECASE)
DATABASE = re.compile(r"(?!sqlite|file)[a-z][a-z0-9+.-]*://.*@", re.IGNORECASE)
"""Of tracking.uri: a password of a database may hold a slash."""
WORDS = "token|passw|pwd|secret|api.?key|access.?key|credential|signature|auth"
QUERY = re.compile(rf"[?&;](?P<key>[^=&;\s]*(?:{WORDS})[^=&;\s]*)=[^&;\s]", re.IGNORECASE)
TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{16,}")
ANY_CASE = re.sub("[a-z]", lambda letter: f"[{letter[0]}{letter[0].upper()}]", WORDS)
SCHEMA = rf"^(?![A-Za-z][A-Za-z0-9+.-]*://[^/?#]*@)(?!.*[?&;][^=]*({ANY_CASE})[^=]*=)"
"""The same for a JSON schema, whose patterns know no flags: of addresses that hold none."""


def found(value: Any, key: str = "") -> Iterator[str]:
    """A line for each secret in a configuration: its key, and what it looks like, but not the secret itself.

    >>> list(found({"tracking": {"uri": "https://ana:1234@example.org", "artifacts": "s3://a?X-Token=5"}}))
    ['tracking.uri: a user or a password before the @', 'tracking.artifacts: X-Token in the address']
    """
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from found(part, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for place, part in enumerate(value):
            yield from found(part, f"{key}.{place}")
    elif isinstance(value, str):
        if ADDRESS.search(value) or (key == "tracking.uri" and DATABASE.match(value)):
            yield f"{key}: a user or a password before the @"
        if query := QUERY.search(value):
            yield f"{key}: {query['key']} in the address"
        if TOKEN.search(value):
            yield f"{key}: a token of the hub"
