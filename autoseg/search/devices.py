"""One search per device: who comes later waits in line, first come first served.

Whoever wants a device takes a number: a file that its process keeps locked. The lowest number that
is still locked has the device. The system lets go of a process's locks however it ends, so a killed
search blocks nobody.
"""

import contextlib
import platform
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from autoseg.errors import RunError
from autoseg.files import is_disk_full
from autoseg.training.hardware import gpu_uuid

ASK_AGAIN_S = 0.5
"""Who waits looks again this often, in seconds."""


def device_key(device: torch.device) -> str:
    """A device of this machine as the name of a file; one GPU has one, whatever its number."""
    name = gpu_uuid(device) or (device.type if device.type != "cuda" else f"cuda-{device.index}")
    return re.sub(r"[^\w.-]+", "-", f"{platform.node() or 'machine'}-{name}")


@contextlib.contextmanager
def turn_on(
    home: Path,
    device: torch.device,
    name: str,
    on_wait: Callable[[Sequence[str]], None] = lambda names: None,
) -> Iterator[None]:
    """Have a device inside this block, once all who came before are done with it.

    Args:
        home: Folder that all searches of this machine share.
        device: The device.
        name: Name of the run.
        on_wait: Called every half second while others come first, with the names of their runs;
            the first of them has the device. It may raise, to leave the line.

    Raises:
        RunError: The folder takes no files.
    """
    line = _Line(home, device)
    number = line.join(name)
    try:
        while ahead := line.names(before=number):
            on_wait(ahead)
            time.sleep(ASK_AGAIN_S)
        yield
    finally:
        line.leave(number)


def runs_in_line(home: Path, device: torch.device) -> tuple[str, ...]:
    """Names of the runs that have the device or wait for it, in their order.

    None where the folder takes no files: nobody can be in line there.
    """
    line = _Line(home, device)
    try:
        return line.names() if line.folder.is_dir() else ()
    except OSError:
        return ()


class _Line:
    """The numbered tickets of one device: `<number>.lock`, held, and `<number>.run`, its name."""

    def __init__(self, home: Path, device: torch.device) -> None:
        key = device_key(device)
        self._home = home
        self.folder = home / "devices" / key
        # Held for a moment, by whoever looks at the line or changes it.
        self._guard = FileLock(home / "devices" / f"{key}.lock")
        self._held: dict[int, FileLock] = {}

    def join(self, name: str) -> int:
        """Take the next number.

        Raises:
            RunError: The folder takes no files.
        """
        try:
            return self._take_number(name)
        except OSError as error:
            if is_disk_full(error):
                raise
            raise RunError(
                f"{self._home} cannot be written: {error.strerror or error}. A search keeps its "
                f"cached images and its place in line there. Set AUTOSEG_HOME to a folder that "
                f"can be written."
            ) from error

    def _take_number(self, name: str) -> int:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._guard:
            number = 1 + max(self._numbers(), default=0)
            (self.folder / f"{number}.run").write_text(name, encoding="utf-8")
            ticket = FileLock(self._ticket(number))
            ticket.acquire(timeout=0)
            self._held[number] = ticket
        return number

    def leave(self, number: int) -> None:
        """Give a number back."""
        with self._guard:
            self._held.pop(number).release()
            self._remove(number)

    def names(self, before: int | None = None) -> tuple[str, ...]:
        """Runs in line, or those before a number; who died is struck off."""
        with self._guard:
            return tuple(
                self._name(number)
                for number in sorted(self._numbers())
                if (before is None or number < before) and self._is_held(number)
            )

    def _is_held(self, number: int) -> bool:
        ticket = FileLock(self._ticket(number))
        try:
            ticket.acquire(timeout=0)
        except Timeout:
            return True
        ticket.release()
        self._remove(number)
        return False

    def _numbers(self) -> list[int]:
        stems = [file.stem for file in self.folder.glob("*.lock")]
        return [int(stem) for stem in stems if stem.isdecimal()]

    def _name(self, number: int) -> str:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            return (self.folder / f"{number}.run").read_text(encoding="utf-8")
        return "another search"

    def _ticket(self, number: int) -> Path:
        return self.folder / f"{number}.lock"

    def _remove(self, number: int) -> None:
        for suffix in ("lock", "run"):
            (self.folder / f"{number}.{suffix}").unlink(missing_ok=True)
