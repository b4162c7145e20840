"""What a container lets its processes have: the limits of their control groups (Linux).

A container sees all cores and all memory of its host; its share stands in the files of its groups.
A group's parents limit it too. In a container that sees its own group as the root, the path that
`/proc/self/cgroup` names may not be there: what is there of it counts.

Source: Linux, Documentation/admin-guide/cgroup-v2.rst, and cgroup-v1/memory.rst.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path("/")
"""Of the file system."""


def cpu_quota(root: Path = ROOT) -> float | None:
    """Cores whose time this process may use, such as 1.5; None: nobody limits it.

    Args:
        root: Root of the file system.
    """
    quotas = []
    for folder in _groups(root, ""):
        quotas.append(_quotient(*_words(folder / "cpu.max", 2)))
    for folder in _groups(root, "cpu"):
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        quotas.append(_quotient(*(_words(folder / name, 1)[0] for name in names)))
    return min((quota for quota in quotas if quota is not None), default=None)


def memory_left(root: Path = ROOT) -> int | None:
    """Bytes that this process may still take; None: nobody limits it.

    Cached files that were not read lately count as free: the system drops them when memory is
    wanted.

    Args:
        root: Root of the file system.
    """
    versions = (
        ("", "memory.max", "memory.current", "inactive_file"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    )
    left = []
    for controller, limit_name, used_name, cached_name in versions:
        for folder in _groups(root, controller):
            limit, used = (_number(_words(folder / name, 1)[0]) for name in (limit_name, used_name))
            if limit is not None and used is not None:
                cached = min(used, _statistic(folder / "memory.stat", cached_name))
                left.append(max(0, limit - used + cached))
    return min(left, default=None)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of the group of this process and of its parents, as far as they are there.

    Args:
        root: Root of the file system.
        controller: Of version 1; "": version 2.
    """
    base = root / "sys/fs/cgroup" / controller
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if controller in controllers.split(","):
            path = PurePosixPath(name.lstrip("/"))
            # A group outside of what can be seen is named with "..": the root is all there is.
            if ".." in path.parts:
                path = PurePosixPath()
            yield from filter(Path.is_dir, (base / path, *(base / up for up in path.parents)))


def _words(file: Path, count: int) -> list[str]:
    """The first words of a file, empty ones where it has none."""
    try:
        words = file.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError):
        words = []
    return (words + [""] * count)[:count]


def _number(text: str) -> int | None:
    """A number of bytes or microseconds; None: "max", or there is none."""
    return int(text) if text.isdecimal() else None


def _quotient(quota: str, period: str) -> float | None:
    """Cores, from microseconds of each period; None: no limit (in version 1 that is -1)."""
    time_us, of_us = _number(quota), _number(period)
    return time_us / of_us if time_us and of_us else None


def _statistic(file: Path, name: str) -> int:
    """A line of `memory.stat`, in bytes; 0 where it is not there."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return 0
    values = dict(line.partition(" ")[::2] for line in lines)
    return _number(values.get(name, "")) or 0
