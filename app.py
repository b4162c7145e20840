"""The page: `python app.py`, with the options of `autoseg app`."""

import time

from autoseg import cli, cli_app

if __name__ == "__main__":
    cli.run(time.monotonic(), cli_app.alone)
