import os
import stat
import subprocess
import zipfile

import pytest

from autoseg.data import archives
from autoseg.data.archives import extract_zip, extract_zips
from autoseg.errors import DatasetError


def make_zip(path, entries, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return path


def listed(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_a_plain_zip_is_unpacked_without_what_systems_leave_in_it(tmp_path):
    entries = [("images/a.png", "1"), ("masks/a.png", "2"), ("__MACOSX/images/._a.png", "3")]
    path = make_zip(tmp_path / "x.zip", [*entries, ("images/.DS_Store", "4")])
    folder = extract_zip(path, tmp_path / "out")
    assert folder == tmp_path / "out"
    assert listed(folder) == ["images/a.png", "masks/a.png"]


def test_one_top_folder_is_entered_but_not_a_split_folder(tmp_path):
    path = make_zip(tmp_path / "x.zip", [("set/images/a.png", "1"), ("set/masks/a.png", "2")])
    assert extract_zip(path, tmp_path / "out") == tmp_path / "out" / "set"
    path = make_zip(tmp_path / "y.zip", [("train/images/a.png", "1")])
    assert extract_zip(path, tmp_path / "split") == tmp_path / "split"


@pytest.mark.parametrize(
    "name", ["../evil.png", "images/../../evil.png", "/evil.png", "C:\\evil.png", "..\\evil.png"]
)
def test_an_entry_that_leaves_the_folder_unpacks_nothing(tmp_path, name):
    path = make_zip(tmp_path / "x.zip", [("images/a.png", "1"), (name, "evil")])
    with pytest.raises(DatasetError, match="points outside"):
        extract_zip(path, tmp_path / "in" / "out")
    assert listed(tmp_path) == ["x.zip"]
    assert list((tmp_path / "in").iterdir()) == []


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_unpack_nothing(tmp_path, kind):
    entry = zipfile.ZipInfo("images/link.png")
    entry.external_attr = (kind | 0o777) << 16
    path = make_zip(tmp_path / "x.zip", [("images/a.png", "1"), (entry, "/etc/passwd")])
    with pytest.raises(DatasetError, match="link or a device"):
        extract_zip(path, tmp_path / "out")
    assert listed(tmp_path) == ["x.zip"]


def test_a_bomb_is_refused_by_its_headers(tmp_path):
    data = [(f"{index}.png", bytes(40 * 2**20)) for index in range(2)]
    path = make_zip(tmp_path / "x.zip", data, zipfile.ZIP_DEFLATED)
    with pytest.raises(DatasetError, match="zip bomb"):
        extract_zip(path, tmp_path / "out")
    assert listed(tmp_path) == ["x.zip"]


def test_a_bomb_whose_headers_lie_is_stopped_while_unpacking(tmp_path):
    path = make_zip(tmp_path / "x.zip", [("a.png", bytes(2**20))], zipfile.ZIP_DEFLATED)
    data = path.read_bytes()
    path.write_bytes(data.replace((2**20).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    with pytest.raises(DatasetError, match=r"x\.zip"):
        extract_zip(path, tmp_path / "out")
    assert listed(tmp_path) == ["x.zip"]


def test_an_archive_beyond_the_total_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_TOTAL_BYTES", 10)
    path = make_zip(tmp_path / "x.zip", [("a.png", b"12345678901")])
    with pytest.raises(DatasetError, match="11 bytes"):
        extract_zip(path, tmp_path / "out")


@pytest.mark.parametrize("cut", [0, 10, 200])
def test_a_damaged_zip_leaves_nothing(tmp_path, cut):
    path = make_zip(tmp_path / "x.zip", [("images/a.png", os.urandom(400))])
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DatasetError, match=r"x\.zip cannot be unpacked"):
        extract_zip(path, tmp_path / "out")
    assert listed(tmp_path) == ["x.zip"]


def test_a_wrong_checksum_leaves_nothing(tmp_path):
    path = make_zip(tmp_path / "x.zip", [("images/a.png", b"the content of a file")])
    path.write_bytes(path.read_bytes().replace(b"content", b"CONTENT"))
    with pytest.raises(DatasetError, match="CRC"):
        extract_zip(path, tmp_path / "out")
    assert listed(tmp_path) == ["x.zip"]


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True
    ).returncode:
        pytest.skip("mounting needs root")
    try:
        path = make_zip(tmp_path / "x.zip", [(f"{i}.png", os.urandom(2**19)) for i in range(4)])
        with pytest.raises(DatasetError, match=r"needs 2\.1 MB .* disk of .*/disk has 1\.0 MB"):
            extract_zip(path, disk / ".incoming-0" / "files")
        assert list((disk / ".incoming-0").iterdir()) == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_zips_side_by_side_are_unpacked_into_each_other_and_nothing_is_lost(tmp_path):
    root = tmp_path / "set"
    (root / "a").mkdir(parents=True)
    outer = make_zip(root / "a.zip", [("images/1.png", "1")])
    inner = make_zip(root / "a" / "b.zip", [("2.png", "2")])
    for number, given in enumerate([(inner, outer), (outer, inner)]):
        extract_zips(given, root, tmp_path / f"out{number}")
        assert listed(tmp_path / f"out{number}") == ["a/b/2.png", "a/images/1.png"]


def test_zips_that_would_be_unpacked_over_each_other_are_refused_by_name(tmp_path):
    root = tmp_path / "set"
    (root / "a").mkdir(parents=True)
    outer = make_zip(root / "a.zip", [("b/1.png", "1")])
    inner = make_zip(root / "a" / "b.zip", [("2.png", "2")])
    with pytest.raises(DatasetError, match=r"a/b\.zip .*over another zip of set"):
        extract_zips([inner, outer], root, tmp_path / "out")
    assert not (tmp_path / "out").exists() and len(list(tmp_path.iterdir())) == 1
