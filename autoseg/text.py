"""Text that strangers wrote, as a terminal, a page and a file system may have it."""

import re
import unicodedata

from autoseg.errors import ConfigError

MAX_NAME_LENGTH = 64
"""Most characters in the name of a data set or a run."""


def printable(text: str) -> str:
    """Text without control characters, line breaks or half surrogates."""
    return "".join(character if character.isprintable() else " " for character in text)


def clean_name(text: str) -> str:
    """The nearest name that is safe as a folder: letters, digits, dot, dash and underscore.

    Raises:
        ConfigError: Nothing is left of it.
    """
    words = re.sub(r"[^\w.-]+", "-", unicodedata.normalize("NFC", text))
    name = words[:MAX_NAME_LENGTH].strip(".-")
    if not name:
        raise ConfigError(f"{text!r} is no name. Use letters, digits, dots, dashes, underscores.")
    return name
