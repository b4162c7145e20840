"""The files of a Space: the project's templates, filled in for some models."""

import importlib.metadata
import re
from collections.abc import Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal

from huggingface_hub import SpaceCard

import autoseg
from autoseg.errors import ConfigError

SpaceKind = Literal["predict", "gallery"]

MODELS_VARIABLE = "AUTOSEG_MODELS"
"""Variable of a Space that names its models, separated by commas."""

EXAMPLES_VARIABLE = "AUTOSEG_EXAMPLES"
"""Variable of a Space that shows, where it is 1, the example pictures of closed models too."""

ZERO_GPU_PREFIX = "zero-"
"""Names of hardware that is lent for each call begin so."""

_ZERO_GPU_TORCH = "2.11.0"
"""The newest torch that ZeroGPU supports (hub-docs, "Spaces ZeroGPU", August 2026)."""

_OUR_APP = re.compile(
    r'\s*"""[^"]*"""\s*from autoseg\.ui\.space import main\s+main\("(predict|gallery)"\)\s*'
)
"""All of app.py in every Space that autoseg makes."""

_TEMPLATE_FILES = ("README.md", "app.py", "requirements.txt")
_MODEL_PLACE, _SPACE_PLACE = "owner/name", "owner/space"


def default_package() -> str:
    """What pip installs on a Space: this version of autoseg."""
    return f"autoseg-search=={autoseg.__version__}"


def check_package(package: str) -> str:
    """`package` as a line of requirements.txt.

    Raises:
        ConfigError: It is no single requirement, or one that only this computer has.
    """
    line = package.strip()
    if re.search(r"://[^/?#\s]*@", line):
        raise ConfigError(
            "The package's address holds a user name, password or token before its '@', which "
            "would stand in the Space for all who may read it. Give an address that opens without."
        )
    if not line or len(line.splitlines()) != 1 or line.startswith(("-", "#")):
        raise ConfigError(
            f"The package must be one requirement as pip takes it, such as "
            f'{default_package()!r}, "autoseg-search @ https://..." or "git+https://...", but is '
            f"{package!r}."
        )
    if "://" not in line and (re.search(r"[/\\]|\.(whl|gz|zip)$", line) or Path(line).exists()):
        raise ConfigError(
            f"{line} is a file of this computer, which the Space does not see. Give a version "
            f'({default_package()!r}), or an address: "autoseg-search @ https://.../file.whl" or '
            f'"git+https://...".'
        )
    return line


def is_our_app(text: str) -> bool:
    """Whether app.py is as autoseg writes it, so that replacing it loses nobody's work."""
    return bool(_OUR_APP.fullmatch(text))


def fill_template(
    kind: SpaceKind, models: Sequence[str], space: str, *, package: str, hardware: str, title: str
) -> dict[str, str]:
    """The text of each file of a Space.

    Args:
        kind: Which template.
        models: Repositories, "owner/name".
        space: The Space, "owner/name".
        package: Requirement that installs autoseg.
        hardware: What it runs on, as the Hub calls it; "" is the Hub's choice.
        title: Title of its page on the Hub.
    """
    folder = template_folder(kind)
    texts = {name: folder.joinpath(name).read_text(encoding="utf-8") for name in _TEMPLATE_FILES}
    requirements = [package]
    if hardware.startswith(ZERO_GPU_PREFIX):
        requirements += ["spaces", f"torch=={_ZERO_GPU_TORCH}"]
    texts["requirements.txt"] = "".join(f"{line}\n" for line in requirements)
    texts["README.md"] = _readme(texts["README.md"], models, space, title)
    return texts


def template_folder(kind: SpaceKind) -> Traversable:
    """The folder of a template: in the installed package, or in the project beside it."""
    package = files("autoseg")
    installed = package.joinpath("_spaces", kind)
    return installed if installed.is_dir() else Path(str(package)).parent / "spaces" / kind


def _readme(template: str, models: Sequence[str], space: str, title: str) -> str:
    card = SpaceCard(template)
    card.data["title"] = title
    card.data["models"] = list(models)
    # The version that is installed here is one that this autoseg works with.
    card.data["sdk_version"] = importlib.metadata.version("gradio")
    text = str(card)
    named = ",".join(models)
    for place in (f"{_MODEL_PLACE},owner/other", _MODEL_PLACE):
        text = text.replace(f"{MODELS_VARIABLE}={place}", f"{MODELS_VARIABLE}={named}")
    return text.replace(_SPACE_PLACE, space)
