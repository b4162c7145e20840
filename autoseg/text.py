"""Text that strangers wrote, as a terminal and a page may show it."""


def printable(text: str) -> str:
    """Text without control characters, line breaks or half surrogates."""
    return "".join(character if character.isprintable() else " " for character in text)
