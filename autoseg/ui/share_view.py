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
from autoseg.ui.texts import tr

MAX_CARD_LENGTH = 200_000
"""Characters of a card that are shown; ours have some 10,000."""

MAX_PICTURES = 8
"""Pictures of a card that are shown, each once."""

MAX_PICTURE_BYTES = 2_000_000
"""Largest picture that is shown; ours have some 200 kB."""

_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_EXAMPLE = re.compile(r"\]\((examples/[\w.-]+\.jpg)\)")


def no_account() -> str:
    """Nobody is signed in."""
    return views.empty(
        tr("Not signed in"),
        tr("Pushing and private models need an account on the Hugging Face Hub."),
    )


def empty_states() -> dict[str, str]:
    """What the parts of the tab show before anything was done, by the parts' names."""
    return {
        "account": no_account(),
        "plan": views.empty(
            tr("No preview yet"), tr("Choose a model and a repository, then press Preview.")
        ),
        "pulled": views.empty(
            tr("No model yet"), tr("Write the name of a repository, then press Pull.")
        ),
        "space_state": views.empty(
            tr("No Space yet"),
            tr("A Space is a page on the Hub where others try your model in the browser."),
        ),
    }


def account(found: Account) -> str:
    """Who is signed in, and what the token may do."""
    may = {
        "write": tr("the token may read and write"),
        "read": tr("the token may read only: a push needs one with the right to write"),
        "fineGrained": tr("the token has rights of its own for each repository"),
    }.get(found.role, "")
    groups = ", ".join(found.organisations)
    said = [
        tr("Signed in as {name}", name=found.name),
        tr("member of {groups}", groups=groups) if groups else "",
        may,
    ]
    return views.note(" · ".join(text for text in said if text))


def plan(planned: PushPlan) -> str:
    """What a push would do."""
    name = planned.repo_id
    state = (
        tr("{name} is updated", name=name) if planned.exists else tr("{name} is made", name=name)
    )
    seen = tr("private") if planned.private else tr("public: everybody can see it")
    rows = [(escape(file.path), _size(file.size_bytes)) for file in planned.files]
    rows += [(escape(path), tr("deleted")) for path in planned.deletions]
    header = (tr("File"), tr("Size"))
    parts = [views.table(header, rows, numbers=(1,), caption=f"{state}, {seen}")]
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
        views.note(tr("{name} is here and checked ({where}).", name=name, where=where)),
        views.table((tr("Class"), tr("Value in the mask")), rows, numbers=(1,)),
    ]
    titles = views.score_names()
    scores = [
        (escape(titles[key]), views.percent(value))
        for key, value in info.scores.items()
        if key in titles
    ]
    if scores:
        header = (tr("Score by its author"), tr("Value"))
        parts.append(views.table(header, scores, numbers=(1,)))
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
    title = escape(tr("Stages of the Space"))
    return f'<ol class="as-steps" aria-label="{title}">{items}</ol>'


def _size(size_bytes: int) -> str:
    """Bytes as people read them."""
    if size_bytes < 1000:
        return f"{size_bytes} B"
    return f"{size_bytes / 1e3:.1f} kB" if size_bytes < 1e6 else f"{size_bytes / 1e6:.1f} MB"


def stacked(parts: Iterable[str]) -> str:
    """Parts below each other."""
    return f'<div style="display:grid;gap:10px">{"".join(parts)}</div>'
