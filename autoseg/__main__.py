"""`python -m autoseg` and the console script `autoseg`."""

import time

_STARTED_AT = time.monotonic()  # Before the heavy imports: a budget counts them too.

from autoseg.cli import run  # noqa: E402 - after the clock has started


def main() -> None:
    """Run the command line."""
    run(_STARTED_AT)


if __name__ == "__main__":
    main()
