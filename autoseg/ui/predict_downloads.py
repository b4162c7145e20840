"""Files that the Predict tab gives away: one of a result, or a zip of many."""

import uuid
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from autoseg.config import to_dict
from autoseg.errors import AutosegError, PredictionError
from autoseg.files import write_json
from autoseg.prediction import OUTPUT_FORMATS, OutputFormat, output_path
from autoseg.ui import views
from autoseg.ui.results import Result, ResultStore

Values = dict[str, Any]
"""What a callback changes, by the name of the component."""

_KEPT_ZIPS = 3


def exported(store: ResultStore, said: dict[str, Any]) -> Values:
    """A file of a result, as the canvas asks for it.

    Args:
        store: Where results are.
        said: What the page sent: `id`, `format` and `threshold`.
    """
    try:
        result = store.get(said.get("id"))
        file = result.export(_format(said.get("format")), _threshold(said.get("threshold")))
    except AutosegError as error:
        return {"message": gr.update(value=views.error(error), visible=True)}
    return {"download": _download(file)}


def _format(value: object) -> OutputFormat:
    for known in OUTPUT_FORMATS:
        if value == known:
            return known
    raise PredictionError(f"There is no format {str(value)[:40]!r}.")


def _threshold(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise PredictionError("A threshold must lie between 0 and 1.")
    return float(value)


def zipped(
    store: ResultStore, ids: Sequence[str], formats: Sequence[str],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Values:  # fmt: skip
    """All results of a batch in all chosen formats, as one zip.

    Args:
        store: Where results are.
        ids: The results.
        formats: Names of formats.
        on_progress: Called with the results done and all.
    """
    try:
        wanted = [_format(each) for each in formats]
        if not wanted or not ids:
            raise PredictionError("There is nothing to download: choose at least one format.")
        results = [store.get(result_id) for result_id in ids]
        file = _write_zip(results, wanted, _zip_folder(store), on_progress)
    except AutosegError as error:
        return {"message": gr.update(value=views.error(error), visible=True)}
    return {"download": _download(file, "autoseg.zip")}


def _write_zip(
    results: Sequence[Result], formats: Sequence[OutputFormat], folder: Path,
    on_progress: Callable[[int, int], None],
) -> Path:  # fmt: skip
    file = folder / f"{uuid.uuid4().hex}.zip"
    classes = file.with_suffix(".json")
    write_json(classes, to_dict(results[0].info.classes))
    try:
        with zipfile.ZipFile(file, "w") as archive:
            archive.write(classes, "classes.json", zipfile.ZIP_DEFLATED)
            for done, (result, name) in enumerate(zip(results, _unique(results), strict=True)):
                on_progress(done, len(results))
                for each in formats:
                    exported_file = result.export(each)
                    kind = zipfile.ZIP_STORED if each not in ("coco", "polygons") else (
                        zipfile.ZIP_DEFLATED
                    )  # fmt: skip
                    archive.write(exported_file, output_path(Path(), name, each), kind)
    except OSError as error:
        file.unlink(missing_ok=True)
        raise PredictionError(f"The zip cannot be written: {error.strerror}.") from error
    finally:
        classes.unlink(missing_ok=True)
    return file


def _unique(results: Sequence[Result]) -> list[str]:
    """Names of the results; images of the same name get numbers."""
    taken: set[str] = set()
    names = []
    for result in results:
        name, number = result.info.name, 2
        while name.lower() in taken:
            name, number = f"{result.info.name}-{number}", number + 1
        taken.add(name.lower())
        names.append(name)
    return names


def _zip_folder(store: ResultStore) -> Path:
    """Where zips are made; Gradio copies them, so only the newest are kept."""
    folder = store.scratch / "zips"
    folder.mkdir(parents=True, exist_ok=True)
    zips = sorted(folder.glob("*.zip"), key=lambda file: file.stat().st_mtime)
    for file in zips[: -_KEPT_ZIPS or None]:
        file.unlink(missing_ok=True)
    return folder


def _download(file: Path, name: str = "") -> dict[str, str]:
    """The value of a downloader; the id tells two downloads of one file apart."""
    return {"file": str(file), "name": name or file.name, "id": uuid.uuid4().hex}
