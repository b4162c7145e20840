"""A model to push, and the search for a token in whatever an error can show."""

import io
import traceback
from pathlib import Path

from bundle_helpers import make_bundle
from PIL import Image

from autoseg.hub.connection import Connection, connect

CARD = "---\ntags: [autoseg]\nlicense: mit\n---\n\nLoad it from REPO_OR_FOLDER.\n"


def make_model_folder(folder: Path) -> Path:
    """A bundle of 3.3 MB with a card of the user's own and one example picture."""
    make_bundle(folder)
    (folder / "README.md").write_text(CARD)
    (folder / "examples").mkdir()
    (folder / "examples" / "example_0.jpg").write_bytes(jpeg())
    return folder


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 100, 50)).save(file, "JPEG")
    return file.getvalue()


def connected(endpoint: str, token: str | None, folder: Path) -> Connection:
    """A connection that knows nothing of this machine's login."""
    return connect(token, endpoint=endpoint, cache_dir=folder / "cache", saved_login=False)


def shown_by(error: BaseException) -> str:
    """All that a log, a page or a debugger could show of an error and of what led to it."""
    texts = ["".join(traceback.format_exception(error))]
    current: BaseException | None = error
    while current is not None:
        texts += [str(current), repr(current), repr(current.args), repr(vars(current))]
        current = current.__cause__ or current.__context__
    return "\n".join(texts)
