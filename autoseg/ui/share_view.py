"""What the Share tab shows, as HTML and Markdown made from plain records."""

import base64
import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from autoseg.bundle import BundleInfo
from autoseg.hub.connection import Account
from autoseg.hub.push import PushPlan
from autoseg.ui import views

NO_ACCOUNT = views.empty(
    "Not signed in", "Pushing and private models need an account on the Hugging Face Hub."
)
NO_PLAN = views.empty("No preview yet", "Choose a model and a repository, then press Preview.")
NO_PULLED = views.empty("No model yet", "Write the name of a repository, then press Pull.")
NO_SPACE = views.empty(
    "No Space yet", "A Space is a page on the Hub where others try your model in the browser."
)

MAX_CARD_LENGTH = 200_000
"""Characters of a card that are shown; ours have some 10,000."""

MAX_PICTURES = 8
"""Pictures of a card that are shown, each once."""

MAX_PICTURE_BYTES = 2_000_000
"""Largest picture that is shown; ours have some 200 kB."""

_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_EXAMPLE = re.compile(r"\]\((examples/[\w.-]+\.jpg)\)")


def account(found: Account) -> str:
    """Who is signed in, and what the token may do."""
    may = {
        "write": "may read and write",
        "read": "may read only: a push needs a token with the right to write",
        "fineGrained": "has rights of its own for each repository",
    }.get(found.role, "")
    groups = f" · member of {', '.join(found.organisations)}" if found.organisations else ""
    token = f" · the token {may}" if may else ""
    return views.note(f"Signed in as {found.name}{groups}{token}")


def plan(planned: PushPlan) -> str:
    """What a push would do."""
    state = "is updated" if planned.exists else "is created"
    seen = "private" if planned.private else "public: everybody can see it"
    rows = [(escape(file.path), _size(file.size_bytes)) for file in planned.files]
    rows += [(escape(path), "deleted") for path in planned.deletions]
    caption = f"{planned.repo_id} {state}, {seen}"
    parts = [views.table(("File", "Size"), rows, numbers=(1,), caption=caption)]
    parts += [views.note(text) for text in planned.notes]
    return stacked(parts)


def link(text: str, url: str, after: str = "") -> str:
    """A message that leads to a page on the Hub."""
    return (
        f'<div class="as-note" role="status">{escape(text)} '
        f'<a href="{escape(url)}" target="_blank" rel="noopener">{escape(url)}</a>{escape(after)}'
        f"</div>"
    )


def model(name: str, where: str, info: BundleInfo) -> str:
    """A pulled model: classes and scores."""
    rows = [
        (views.class_label(label, color), str(index))
        for index, (label, color) in enumerate(
            zip(info.classes.names, info.classes.palette, strict=True)
        )
    ]
    parts = [
        views.note(f"{name} is here and checked ({where})."),
        views.table(("Class", "Value in the mask"), rows, numbers=(1,)),
    ]
    titles = views.score_names()
    scores = [
        (escape(titles[key]), views.percent(value))
        for key, value in info.scores.items()
        if key in titles
    ]
    if scores:
        parts.append(views.table(("Score by its author", "Value"), scores, numbers=(1,)))
    return stacked(parts)


def card(text: str, folder: Path) -> str:
    """A model card as Markdown to show: without its metadata, its pictures inside.

    Cards come from strangers too, so only the first pictures are shown, and none that is large.
    """
    shown: dict[str, str] = {}

    def inside(match: "re.Match[str]") -> str:
        name = match[1]
        if name not in shown and len(shown) < MAX_PICTURES:
            shown[name] = _encoded(folder / name)
            return f"]({shown[name] or name})"
        return match[0]

    return _EXAMPLE.sub(inside, _FRONT_MATTER.sub("", text[:MAX_CARD_LENGTH]))


def _encoded(file: Path) -> str:
    """A picture as an address that holds it; "" if it is missing or too large to be shown."""
    if not file.is_file() or file.stat().st_size > MAX_PICTURE_BYTES:
        return ""
    return f"data:image/jpeg;base64,{base64.b64encode(file.read_bytes()).decode()}"


def stages(seen: Sequence[str]) -> str:
    """The stages a Space went through so far."""
    items = "".join(
        f'<li class="{"now" if k == len(seen) - 1 else "past"}">{escape(stage)}</li>'
        for k, stage in enumerate(seen)
    )
    return f'<ol class="as-steps" aria-label="Stages of the Space">{items}</ol>'


def _size(size_bytes: int) -> str:
    """Bytes as people read them."""
    if size_bytes < 1000:
        return f"{size_bytes} B"
    return f"{size_bytes / 1e3:.1f} kB" if size_bytes < 1e6 else f"{size_bytes / 1e6:.1f} MB"


def stacked(parts: Iterable[str]) -> str:
    """Parts below each other."""
    return f'<div style="display:grid;gap:10px">{"".join(parts)}</div>'
