import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autoseg.files import (
    autoseg_home,
    making_folder,
    replacing,
    replacing_folder,
    restore_folder,
    write_json,
    write_text,
)


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


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "numbers"
    for number in ("1", "2"):
        with replacing_folder(folder) as aside:
            (aside / number).touch()
    with pytest.raises(OSError, match="full"):
        with replacing_folder(folder) as aside:
            (aside / "3").touch()
            raise OSError("full")
    assert os.listdir(folder) == ["2"]
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["numbers"]


def test_a_folder_survives_writers_that_are_killed_at_any_moment(tmp_path):
    """What was deleted before the new one was in its place was lost for good."""
    folder = tmp_path / "numbers"
    code = (
        "import itertools, sys; from pathlib import Path\n"
        "from autoseg.files import replacing_folder\n"
        "for k in itertools.count():\n"
        "    with replacing_folder(Path(sys.argv[1])) as aside:\n"
        "        for name in 'abcdefgh': (aside / name).write_text(str(k))\n"
    )
    for delay_s in (0.013, 0.002, 0.029):
        child = subprocess.Popen([sys.executable, "-c", code, str(folder)])
        try:
            started = folder.stat().st_mtime_ns if folder.is_dir() else 0
            while not folder.is_dir() or folder.stat().st_mtime_ns == started:
                assert child.poll() is None
                time.sleep(delay_s)
        except FileNotFoundError:  # Just between two of them.
            pass
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait()
        restore_folder(folder)
        assert len({file.read_text() for file in folder.iterdir()}) == 1
        assert len(os.listdir(folder)) == 8


def test_a_folder_that_was_moved_aside_by_a_killed_writer_comes_back(tmp_path):
    folder = tmp_path / "numbers"
    with replacing_folder(folder) as aside:
        (aside / "1").touch()
    former = tmp_path / ".numbers.former"
    os.replace(folder, former)
    restore_folder(folder)
    assert os.listdir(folder) == ["1"] and not former.exists()


def test_a_folder_is_made_where_an_empty_one_is_and_never_over_what_is_there(tmp_path):
    folder = tmp_path / "numbers"
    folder.mkdir()
    with making_folder(folder) as aside:
        (aside / "1").touch()
    with pytest.raises(OSError), making_folder(folder) as aside:
        (aside / "2").touch()
    assert os.listdir(folder) == ["1"] and os.listdir(tmp_path) == ["numbers"]


def test_what_killed_writers_left_goes_but_not_what_another_is_writing(tmp_path):
    folder = tmp_path / "numbers"
    old, new = (tmp_path / f".numbers.{name}.part" for name in ("old", "new"))
    for part in (old, new):
        part.mkdir()
    os.utime(old, (time.time() - 7200,) * 2)
    with replacing_folder(folder):
        pass
    assert new.is_dir() and not old.exists()
