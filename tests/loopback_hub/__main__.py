"""A loopback Hub as a process: python -m loopback_hub --folder FOLDER."""

import argparse
import threading
from pathlib import Path
from typing import Any

from loopback_hub import USERS, LoopbackHub, User


def _user(text: str) -> User:
    """A user from name:token[:role[:account]]."""
    name, token, *rest = text.split(":")
    role: Any = rest[0] if rest else "write"
    return User(name, token, role, acts_as=rest[1] if rest[1:] else None)


def main() -> None:
    parser = argparse.ArgumentParser(prog="loopback_hub", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where large files go")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument(
        "--user", type=_user, action="append", help="name:token[:role[:account]]; may be repeated"
    )
    parser.add_argument("--no-xet", action="store_true", help="offer LFS only")
    parser.add_argument("--lfs-part-bytes", type=int)
    options = parser.parse_args()
    with LoopbackHub(
        options.folder,
        users=options.user or USERS,
        xet=not options.no_xet,
        lfs_part_bytes=options.lfs_part_bytes,
        port=options.port,
    ) as hub:
        print(hub.endpoint, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
