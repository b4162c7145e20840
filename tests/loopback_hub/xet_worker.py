"""A script that stores or restores files with hf_xet in one folder, then ends.

python xet_worker.py upload FOLDER SHA256 PATH [SHA256 PATH ...]
python xet_worker.py download FOLDER XET_HASH SIZE PATH
"""

import sys
import time
from collections.abc import Sequence

import hf_xet


def upload(folder: str, shas: Sequence[str], paths: Sequence[str]) -> None:
    expires = int(time.time()) + 3600
    if not hasattr(hf_xet, "XetSession"):  # Before 1.5.
        token = ("loopback", expires)
        hf_xet.upload_files(paths, f"local://{folder}", token, None, None, "model", sha256s=shas)
        return
    with hf_xet.XetSession().new_upload_commit(
        endpoint=f"local://{folder}", token="loopback", token_expiry_unix_secs=expires
    ) as commit:
        for sha256, path in zip(shas, paths, strict=True):
            commit.start_upload_file(path, sha256=sha256)


def download(folder: str, xet_hash: str, size: int, path: str) -> None:
    expires = int(time.time()) + 3600
    if not hasattr(hf_xet, "XetSession"):
        token, wanted = ("loopback", expires), hf_xet.PyXetDownloadInfo(path, xet_hash, size)
        hf_xet.download_files([wanted], f"local://{folder}", token, None, None)
        return
    with hf_xet.XetSession().new_file_download_group(
        endpoint=f"local://{folder}", token="loopback", token_expiry_unix_secs=expires
    ) as group:
        group.start_download_file(hf_xet.XetFileInfo(xet_hash, size), path)


if __name__ == "__main__":
    action, folder, *arguments = sys.argv[1:]
    if action == "upload":
        upload(folder, arguments[::2], arguments[1::2])
    else:
        download(folder, arguments[0], int(arguments[1]), arguments[2])
