"""From a click to the painted mask of a 1024x512 image: what the app adds to the model's forward.

A real server and a real browser on this machine. The server is this file in a process of its own,
which notes the time of each forward; the browser notes the click, the arrival of each file and the
first stroke of the new mask on the canvas. Target: under 150 ms beside the forward on 2 cores.
"""

import argparse
import json
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from measuring import ROOT, child_environment, print_table

sys.path.insert(0, str(ROOT / "tests"))

HEIGHT, WIDTH = 512, 1024
TARGET_MS = 150
ENCODER = "tf_efficientnet_lite0.in1k"

WATCH = """
window.times = {};
const draw = CanvasRenderingContext2D.prototype.drawImage;
CanvasRenderingContext2D.prototype.drawImage = function (...given) {
  const result = this.canvas.closest('.mc')?.dataset.result;
  if (result && result !== window.times.former && !window.times.painted) {
    window.times.painted = performance.now();
    requestAnimationFrame(() => { window.times.frame = performance.now(); });
  }
  return draw.apply(this, given);
};
"""
"""Notes the first stroke of a new result on the canvas, and the frame that shows it."""

CLICK = """(node) => {
  performance.clearResourceTimings();
  const former = document.querySelector('#canvas .mc')?.dataset.result;
  window.times = {former, clicked: performance.now()};
  node.click();
}"""

READ = """() => ({...window.times, fetched: performance.getEntriesByType('resource').map((e) => ({
  name: e.name, start: e.startTime, end: e.responseEnd}))})"""


def make_workspace(home: Path) -> None:
    """A run whose model has random weights, with photos of the benchmark's size."""
    from bundle_helpers import make_info, make_model  # noqa: PLC0415 - torch
    from predict_helpers import finished_run  # noqa: PLC0415 - torch

    from autoseg.bundle import save_bundle  # noqa: PLC0415 - torch
    from autoseg.config import Geometry  # noqa: PLC0415 - torch
    from autoseg.data.sample import make_sample_dataset  # noqa: PLC0415 - torch
    from autoseg.workspace import Workspace  # noqa: PLC0415 - torch

    workspace = Workspace(home)
    photos = make_sample_dataset(home / "photos", 8, size=(HEIGHT, WIDTH))
    source = workspace.add_dataset(photos).source
    run = finished_run(workspace, "photos-1", source)
    names = json.loads((run.model / "config.json").read_text())["_autoseg"]["classes"]["names"]
    geometry = Geometry(window=(256, 512), box=(256, 512))
    info = make_info(len(names), geometry, ENCODER)
    info = replace(info, classes=replace(info.classes, names=tuple(names)))
    shutil.rmtree(run.model)
    save_bundle(run.model, make_model(info), info)


def serve(home: Path, port: int, log: Path) -> None:
    """The app, with a note of each forward's seconds in `log`."""
    from autoseg import predictor  # noqa: PLC0415 - torch
    from autoseg.engines import TorchEngine  # noqa: PLC0415 - torch
    from autoseg.ui.serving import Serving, serve  # noqa: PLC0415 - gradio

    started: list[float] = []

    def note(*_: Any) -> None:
        with log.open("a") as file:
            file.write(f"forward {time.perf_counter() - started.pop()}\n")

    def timed(bundle: Any, precision: Any, wish: str) -> TorchEngine:
        bundle.model.register_forward_pre_hook(lambda *_: started.append(time.perf_counter()))
        bundle.model.register_forward_hook(note)
        return TorchEngine(bundle.model, bundle.info.preprocessing, precision)

    # Torch alone: no other engine is prepared beside the clicks, nor takes over among them.
    predictor.choose_engine = timed
    serve(Serving("127.0.0.1", port))


@contextmanager
def server(home: Path, log: Path) -> Iterator[str]:
    """This file as a server; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, __file__, "--serve", str(home), str(port), str(log)]
    environment = child_environment(threads=2, home=home)
    with (home / "server.log").open("wb") as told:
        process = subprocess.Popen(command, env=environment, stdout=told, stderr=told)
    try:
        yield _answering(f"http://127.0.0.1:{port}", process, home / "server.log")
    finally:
        process.terminate()
        process.wait(30)


def _answering(url: str, process: subprocess.Popen[bytes], log: Path) -> str:
    for _ in range(1200):
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):
                return url
        except OSError:
            time.sleep(0.1)
    raise AssertionError("The server did not answer within two minutes.")


def measure(url: str, log: Path, rounds: int) -> list[dict[str, float]]:
    """Click example after example; milliseconds of each part for each click."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only here

    found = []
    with sync_playwright() as started:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.add_init_script(WATCH)
        page.goto(url)
        page.get_by_role("tab", name="Predict", exact=True).click()
        page.wait_for_selector("#examples button")
        examples = page.locator("#examples .thumbnail-item")
        former = None
        for k in range(rounds + 2):  # The first two load the model and warm the caches.
            before = len(log.read_text().splitlines()) if log.is_file() else 0
            examples.nth(k % examples.count()).evaluate(CLICK)
            page.wait_for_function(
                """(former) => { const mc = document.querySelector('#canvas .mc');
                   return mc?.dataset.status === 'ready' && mc.dataset.result !== former; }""",
                arg=former,
            )
            page.wait_for_timeout(700)
            former = page.locator("#canvas .mc").get_attribute("data-result")
            forward_s = sum(
                float(line.split()[1]) for line in log.read_text().splitlines()[before:]
            )
            if k >= 2:
                found.append(parts(page.evaluate(READ), 1000 * forward_s))
        browser.close()
    return found


def parts(times: dict[str, Any], forward_ms: float) -> dict[str, float]:
    """Milliseconds of each part of one click."""
    fetched = times["fetched"]
    call = next(each for each in fetched if "/run/" in each["name"])
    files = [each for each in fetched if "/file=" in each["name"] and each["start"] > call["end"]]
    first, last = min(f["start"] for f in files), max(f["end"] for f in files)
    total = times["frame"] - times["clicked"]
    return {
        "click to the call": call["start"] - times["clicked"],
        "forward of the model": forward_ms,
        "server: decode, resample, files, answer": call["end"] - call["start"] - forward_ms,
        "answer to the canvas": first - call["end"],
        "fetch of image, mask, confidence": last - first,
        "decode and paint": times["frame"] - last,
        "all": total,
        "all beside the forward": total - forward_ms,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="clicks that count")
    parser.add_argument("--serve", nargs=3, metavar=("HOME", "PORT", "LOG"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        home, port, log = chosen.serve
        serve(Path(home), int(port), Path(log))
        return
    with TemporaryDirectory() as folder:
        home, log = Path(folder), Path(folder) / "forward.log"
        make_workspace(home)
        with server(home, log) as url:
            found = measure(url, log, chosen.rounds)
    rows = [
        (
            name,
            f"{statistics.median(one[name] for one in found):.0f}",
            f"{np.percentile([one[name] for one in found], 90):.0f}",
        )
        for name in found[0]
    ]
    print_table(
        f"Click to painted mask, {WIDTH}x{HEIGHT}, {ENCODER}, {len(found)} clicks; "
        f"target beside the forward: {TARGET_MS} ms",
        ("part", "median ms", "90 % ms"),
        rows,
    )


if __name__ == "__main__":
    main()
