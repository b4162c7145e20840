"""A script that stores or restores files with hf_xet in one folder, then ends.

python xet_worker.py upload FOLDER SHA256 PATH [SHA256 PATH ...]
python xet_worker.py download FOLDER XET_HASH SIZE PATH
"""

import sys
import time

import hf_xet


def main(action: str, folder: str, *arguments: str) -> None:
    session = hf_xet.XetSession()
    access = {
        "endpoint": f"local://{folder}",
        "token": "loopback",
        "token_expiry_unix_secs": int(time.time()) + 3600,
    }
    if action == "upload":
        with session.new_upload_commit(**access) as commit:
            for sha256, path in zip(arguments[::2], arguments[1::2], strict=True):
                commit.start_upload_file(path, sha256=sha256)
    else:
        xet_hash, size, path = arguments
        with session.new_file_download_group(**access) as group:
            group.start_download_file(hf_xet.XetFileInfo(xet_hash, int(size)), path)


main(*sys.argv[1:])
