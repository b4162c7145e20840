"""A real huggingface_hub in a process of its own, for it reads its settings when imported."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from loopback_hub import ALICE, LoopbackHub

_START = """
import json, sys
import huggingface_hub
from huggingface_hub import HfApi
api = HfApi()
folder = sys.argv[1]
"""


def start(
    hub: LoopbackHub,
    lines: str,
    *,
    home: Path,
    folder: Path = Path(),
    xet: bool = True,
    token: str = ALICE.token,
) -> subprocess.Popen[str]:
    """Run Python lines that know `api` and `folder` and give `answer` a value."""
    return subprocess.Popen(
        [sys.executable, "-c", f"{_START}{lines}\nprint(json.dumps(answer))", str(folder)],
        env=hub.environment(home, token, xet=xet),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> Any:
    """The value of `answer`."""
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return json.loads(output.splitlines()[-1])


def run(hub: LoopbackHub, lines: str, **options: Any) -> Any:
    return finish(start(hub, lines, **options))
