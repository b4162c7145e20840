import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from autoseg.files import autoseg_home, replacing, write_json, write_text


def test_an_exception_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    file = tmp_path / "a.txt"
    write_text(file, "old")
    with pytest.raises(OSError, match="full"):
        with replacing(file) as temporary:
            temporary.write_text("half")
            raise OSError("full")
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_readers_never_see_half_a_file(tmp_path):
    """A child rewrites a file with all-equal numbers as fast as it can, and is killed in it."""
    file = tmp_path / "numbers.json"
    code = (
        "import itertools, sys; from pathlib import Path; from autoseg.files import write_json\n"
        "for k in itertools.count(): write_json(Path(sys.argv[1]), [k] * 5000)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(file)])
    try:
        seen = set()
        while len(seen) < 50:
            if file.exists():
                values = json.loads(file.read_text())
                assert len(values) == 5000 and len(set(values)) == 1
                seen.add(values[0])
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert len(set(json.loads(file.read_text()))) == 1


def test_folders_are_made_and_text_is_utf8(tmp_path):
    file = tmp_path / "new" / "deep" / "a.json"
    write_json(file, {"name": "Blätter 葉"})
    assert json.loads(file.read_bytes().decode("utf-8")) == {"name": "Blätter 葉"}
    assert "葉" in file.read_text(encoding="utf-8")


def test_home_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("AUTOSEG_HOME", str(tmp_path / "here"))
    assert autoseg_home() == tmp_path / "here"
    monkeypatch.setenv("AUTOSEG_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert autoseg_home() == Path(tmp_path) / ".autoseg"
