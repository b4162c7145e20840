"""The page: `python app.py`, with the options of `autoseg app`."""

import sys
import time

from autoseg import cli

if __name__ == "__main__":
    cli.run(time.monotonic(), ["app", *sys.argv[1:]])
