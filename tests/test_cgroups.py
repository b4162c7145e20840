"""Limits of control groups, in folders as the kernel shows them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from autoseg.cgroups import cpu_quota, memory_left

Root = Callable[[str, dict[str, str]], Path]


@pytest.fixture
def make_root(tmp_path: Path) -> Root:
    """A file system with `/proc/self/cgroup` and the groups' files, by path below their mount."""

    def make(named: str, files: dict[str, str]) -> Path:
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(named)
        for name, text in files.items():
            path = tmp_path / "sys/fs/cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return make


V1 = "5:cpu,cpuacct:/docker/ab\n4:memory:/docker/ab\n1:name=systemd:/docker/ab\n0::/\n"


@pytest.mark.parametrize(
    ("named", "files", "cores"),
    [
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2.0),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {}, None),
        ("", {"cpu.max": "200000 100000\n"}, None),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "150000 100000"}, 1.5),
        ("0::/a/b\n", {"a/b/cpu.max": "50000 100000", "a/cpu.max": "150000 100000"}, 0.5),
        ("0::/../x\n", {"cpu.max": "300000 100000"}, 3.0),
        ("0::/a\n", {"a/cpu.max": "nonsense"}, None),
        (V1, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        (V1, {"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4.0),
        (
            V1,
            {
                "cpu/docker/ab/cpu.cfs_quota_us": "50000",
                "cpu/docker/ab/cpu.cfs_period_us": "1000",
                "cpu/docker/cpu.cfs_quota_us": "7000", "cpu/docker/cpu.cfs_period_us": "1000",
            },
            7.0,
        ),
    ],
)  # fmt: skip
def test_the_narrowest_cpu_quota_of_a_group_and_its_parents_counts(make_root, named, files, cores):
    assert cpu_quota(make_root(named, files)) == cores


GB = 2**30


@pytest.mark.parametrize(
    ("named", "files", "left"),
    [
        ("0::/\n", {"memory.max": f"{4 * GB}\n", "memory.current": f"{GB}\n"}, 3 * GB),
        ("0::/\n", {"memory.max": "max\n", "memory.current": f"{GB}\n"}, None),
        ("0::/\n", {"memory.max": f"{GB}\n"}, None),
        (
            "0::/\n",
            {
                "memory.max": f"{4 * GB}", "memory.current": f"{3 * GB}",
                "memory.stat": f"anon 5\ninactive_file {2 * GB}\nactive_file 7\n",
            },
            3 * GB,
        ),
        ("0::/\n", {"memory.max": f"{GB}", "memory.current": f"{2 * GB}"}, 0),
        (
            "0::/a/b\n",
            {
                "a/b/memory.max": f"{4 * GB}", "a/b/memory.current": "0",
                "a/memory.max": f"{8 * GB}", "a/memory.current": f"{6 * GB}",
            },
            2 * GB,
        ),
        (
            V1,
            {
                "memory/memory.limit_in_bytes": f"{4 * GB}",
                "memory/memory.usage_in_bytes": f"{2 * GB}",
                "memory/memory.stat": f"inactive_file 1\ntotal_inactive_file {GB}\n",
            },
            3 * GB,
        ),
    ],
)  # fmt: skip
def test_memory_left_is_the_limit_less_what_is_used_and_no_mere_cache(
    make_root, named, files, left
):
    assert memory_left(make_root(named, files)) == left


def test_without_control_groups_nothing_limits(tmp_path):
    assert cpu_quota(tmp_path) is None and memory_left(tmp_path) is None
