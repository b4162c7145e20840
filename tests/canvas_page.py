"""A page with nothing but mask canvases, in a process of its own.

`python canvas_page.py FOLDER PORT` serves the values of FOLDER/values.json; what the canvases send
is appended to FOLDER/events.jsonl.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from ports import free_port

ROOT = Path(__file__).parents[1]


class CanvasPage:
    """The running page, and what it was sent."""

    def __init__(self, folder: Path, values: dict[str, dict[str, Any]]) -> None:
        self.folder = folder
        (folder / "values.json").write_text(json.dumps(values))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "CanvasPage":
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "GRADIO_TEMP_DIR": str(self.folder / "gradio"),
        }
        log = self.folder / "page.log"
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, __file__, str(self.folder), str(self.port)],
                cwd=ROOT, env=environment, stdout=out, stderr=out,
            )  # fmt: skip
        for _ in range(900):
            assert self.process.poll() is None, log.read_text()
            try:
                with urllib.request.urlopen(self.url, timeout=5):
                    return self
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        raise AssertionError(log.read_text())

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(30)

    def events(self) -> list[dict[str, Any]]:
        """What the canvases sent since the last call; waits for the first."""
        file = self.folder / "events.jsonl"
        for _ in range(200):
            if file.exists() and file.read_text().endswith("\n"):
                break
            time.sleep(0.05)
        lines = file.read_text().splitlines()
        file.unlink()
        return [json.loads(line) for line in lines]


def write_value(
    folder: Path,
    name: str,
    classes: np.ndarray,
    *,
    image: np.ndarray | None = None,
    confidence: np.ndarray | None = None,
    other: np.ndarray | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A value of the canvas with its files in a folder; the image is noise where none is given."""
    if image is None:
        image = np.random.default_rng(0).integers(60, 190, (*classes.shape, 3), np.uint8)
    files = {"image": image, "classes": classes, "confidence": confidence, "other": other}
    paths = {key: str(folder / f"{name}-{key}.png") for key in files}
    for key, pixels in files.items():
        if pixels is not None:
            Image.fromarray(pixels).save(paths[key], compress_level=1)
    paths = {key: paths[key] if files[key] is not None else None for key in files}
    return {
        "id": name, "name": f"{name}.png", **paths, "other_name": "Ground truth",
        "seconds": 0.25, "editable": True, **more,
    }  # fmt: skip


def _serve(folder: Path, port: int) -> None:
    import gradio as gr  # noqa: PLC0415 - Only the process of its own needs it.

    from autoseg.ui import style  # noqa: PLC0415
    from autoseg.ui.downloader import Downloader  # noqa: PLC0415
    from autoseg.ui.mask_canvas import MaskCanvas, answer_to  # noqa: PLC0415
    from autoseg.ui.texts import translations  # noqa: PLC0415

    values = json.loads((folder / "values.json").read_text())
    events = folder / "events.jsonl"

    def note(kind: str, event: gr.EventData) -> None:
        data = dict(event._data)
        if "mask" in data:
            kept = folder / f"sent-{time.time_ns()}.png"
            shutil.copy(data["mask"]["path"], kept)
            data["mask"] = str(kept)
        with events.open("a") as file:
            file.write(json.dumps({"event": kind, **data}) + "\n")

    def corrected(event: gr.EventData) -> dict[str, Any]:
        note("corrected", event)
        if (folder / "slow").exists():
            time.sleep(1)
        return answer_to(event._data, "The disk is full." if (folder / "full").exists() else "")

    def export(event: gr.EventData) -> dict[str, str]:
        note("export", event)
        return {"file": values["plain"]["classes"], "name": "模型 mask.png", "id": str(time.time())}

    with gr.Blocks(analytics_enabled=False) as page:
        with gr.Row():
            hide = gr.Button("hide", elem_id="hide")
            unhide = gr.Button("unhide", elem_id="unhide")
            buttons = {name: gr.Button(name, elem_id=f"show-{name}") for name in [*values, "none"]}
        with gr.Tabs():
            with gr.Tab("First"):
                first = MaskCanvas(elem_id="first", empty="No prediction yet.")
            with gr.Tab("Second"):
                second = MaskCanvas(elem_id="second", downloads=False)
                third = MaskCanvas(elem_id="third")
        saved = Downloader()
        for name, button in buttons.items():
            value = values.get(name)
            outputs = [first, second, third]
            button.click(lambda value=value: [value] * 3, None, outputs, queue=False)
        hide.click(lambda: gr.update(visible=False), None, first, queue=False)
        unhide.click(lambda: gr.update(visible=True), None, first, queue=False)
        first.corrected(corrected, None, first)
        first.export(export, None, saved)
    page.launch(
        server_port=port, i18n=translations(), theme=style.theme(), css=style.CSS,
        allowed_paths=[str(folder)], ssr_mode=False, footer_links=[], quiet=True,
    )  # fmt: skip


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), int(sys.argv[2]))
