"""`python -m autoseg` and the console script `autoseg`."""

import os
import time

_STARTED_AT = time.monotonic()  # Before the heavy imports: a budget counts them too.

# OpenMP threads that spin while they wait cost little alone and a factor of 3 to 7 per training
# step beside one other busy process (measured on 2 cores). torch reads this when it is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from autoseg.cli import run  # noqa: E402 - after the clock has started


def main() -> None:
    """Run the command line."""
    run(_STARTED_AT)


if __name__ == "__main__":
    main()
