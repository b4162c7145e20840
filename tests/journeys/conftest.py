"""The app, a browser, and a fresh environment that holds nothing but the built wheel."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from app_process import App
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class WheelEnvironment:
    """A virtual environment with the wheel."""

    python: Path
    """Its interpreter."""
    wheel: Path
    """The wheel that was built and installed."""

    def run(self, *arguments: object, cwd: Path, environment: dict[str, str]) -> str:
        """What Python prints for these arguments; its standard error is shown where it fails."""
        return _run([self.python, *arguments], cwd=cwd, environment=environment)


@pytest.fixture(scope="session")
def wheel_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WheelEnvironment]:
    """Build the wheel and install it as a user would, beside a torch that is there already.

    torch alone fills six gigabytes, more than a machine of CI may have left.
    """
    folder = tmp_path_factory.mktemp("wheel")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    wheels = folder / "dist"
    pip = ("-m", "pip", "--disable-pip-version-check", "--quiet")
    _run(
        [sys.executable, *pip, "wheel", "--no-deps", "--wheel-dir", wheels, ROOT],
        cwd=folder,
        environment=environment,
    )
    (wheel,) = wheels.glob("*.whl")
    _run([sys.executable, "-m", "venv", folder / "venv"], cwd=folder, environment=environment)
    python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    purelib = _run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        cwd=folder,
        environment=environment,
    )
    _link_distributions(("torch", "torchvision"), Path(purelib.strip()))
    _run([python, *pip, "install", wheel], cwd=folder, environment=environment)
    yield WheelEnvironment(python, wheel)
    shutil.rmtree(folder, ignore_errors=True)  # pytest would keep three of them.


def _link_distributions(names: Iterable[str], site_packages: Path) -> None:
    """Make what is installed here, and what it needs, appear in another environment as well."""
    wanted, seen = list(names), set()
    while wanted:
        try:
            distribution = metadata.distribution(wanted.pop())
        except metadata.PackageNotFoundError:
            continue  # What an extra asks for, or another system.
        if distribution.name in seen:
            continue
        seen.add(distribution.name)
        wanted += [
            Requirement(line).name for line in distribution.requires or () if "extra ==" not in line
        ]
        for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            target = Path(distribution.locate_file(top))
            if not (site_packages / top).exists():
                (site_packages / top).symlink_to(target)


def _run(command: list[object], *, cwd: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """One app for all tests of a module: it keeps nothing but what is in its workspace."""
    app = App(tmp_path_factory.mktemp("home"))
    app.start()
    yield app
    app.end()


@pytest.fixture
def app(served: App) -> App:
    """The app over an empty workspace."""
    for path in served.home.iterdir():
        if path.is_dir():
            _remove(path)
        elif path.name != "app.log":
            path.unlink()
    return served


def _remove(folder: Path, timeout_s: float = 10) -> None:
    """Remove a folder into which what a closed page had asked for may still be written."""
    end = time.monotonic() + timeout_s
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=time.monotonic() < end)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium as the system has it."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("needs chromium on the PATH")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page whose scripts may not fail."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(60_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(error.stack or str(error)))
    yield page
    context.close()
    assert errors == []
