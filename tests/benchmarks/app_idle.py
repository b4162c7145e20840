"""CPU that the app takes while nobody touches it, and the time until its page can be used.

Run with: python tests/benchmarks/app_idle.py [--seconds 60] [--tabs 2]

An app over a workspace with a finished run and a finished run's page open in a browser; prints the
share of one CPU that the server takes, and the time from the first byte of the page until its form
can be used. Bars: below 1 % and below 2 s.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil
from playwright.sync_api import sync_playwright

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "ui")]

from app_process import App  # noqa: E402 - the tests' folder comes first
from bundle_helpers import make_bundle  # noqa: E402
from ui_helpers import write_run  # noqa: E402

from autoseg.data.sample import make_sample_dataset  # noqa: E402
from autoseg.workspace import Workspace  # noqa: E402

_USABLE = "#start >> visible=true"
_FIRST_BYTE = "performance.getEntriesByType('navigation')[0].responseStart"


def server_cpu(process: psutil.Process, seconds: float) -> float:
    """Share of one CPU that a process takes."""
    before, started = process.cpu_times(), time.monotonic()
    time.sleep(seconds)
    after, passed = process.cpu_times(), time.monotonic() - started
    return (after.user + after.system - before.user - before.system) / passed


def usable_after(browser, url: str) -> float:
    """Seconds from the first byte of the page until the search form is there."""
    page = browser.new_page()
    page.goto(url, wait_until="commit")
    page.wait_for_selector(_USABLE)
    passed = page.evaluate(f"performance.now() - {_FIRST_BYTE}") / 1000
    page.close()
    return passed


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--tabs", type=int, default=1, help="pages open at the same time")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        home = Path(folder)
        source = make_sample_dataset(home / "photos", n_images=6, size=(48, 64))
        make_bundle(write_run(Workspace(home), "photos-1", source=source).model)
        app = App(home)
        app.start()
        assert app.process is not None
        process = psutil.Process(app.process.pid)
        browser = playwright.chromium.launch(
            executable_path=arguments.chromium, args=["--no-sandbox"]
        )
        try:
            times = [usable_after(browser, app.url) for _ in range(5)]
            time.sleep(5)
            alone = server_cpu(process, arguments.seconds)
            pages = [browser.new_page() for _ in range(arguments.tabs)]
            for page in pages:
                page.goto(app.url)
                page.wait_for_selector(_USABLE)
            time.sleep(10)
            opened = server_cpu(process, arguments.seconds)
        finally:
            browser.close()
            app.end()
    print(f"| what | measured |\n| --- | --- |\n| CPU, no page open | {alone:.2%} |")
    print(f"| CPU, {arguments.tabs} page(s) with a finished run open | {opened:.2%} |")
    print(
        f"| first byte to usable form, first time | {times[0]:.2f} s |\n"
        f"| first byte to usable form, median of {len(times)} | {statistics.median(times):.2f} s |"
    )


if __name__ == "__main__":
    main()
