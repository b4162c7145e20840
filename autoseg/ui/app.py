"""The page: four tabs over the workspace on disk, and the endpoints for programs."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from autoseg.ui import api_endpoints, data_tab, predict_tab, search_tab, share_tab
from autoseg.ui.access import Access
from autoseg.ui.budget_slider import keep_budget, kept_budget
from autoseg.ui.data_tab import DataTab
from autoseg.ui.predict_kept import browser_states
from autoseg.ui.predict_tab import PredictTab
from autoseg.ui.search_tab import SearchTab
from autoseg.ui.share_tab import ShareTab
from autoseg.ui.style import html
from autoseg.ui.texts import both, label
from autoseg.workspace import Workspace

_CACHE_CHECK_S, _CACHE_AGE_S = 3600, 24 * 3600

SCRIPT = """() => {
  const mark = (event) => {
    if (event.target.closest && event.target.closest('[role="tab"]')) window.autosegTab = true;
  };
  for (const kind of ['pointerdown', 'keydown']) document.addEventListener(kind, mark, true);
  let waiting = false;
  const name = () => {
    waiting = false;
    for (const part of document.querySelectorAll('div.empty[aria-label]:not([role])'))
      part.setAttribute('role', 'img');
  };
  new MutationObserver(() => {
    if (!waiting) { waiting = true; requestAnimationFrame(name); }
  }).observe(document.body, {childList: true, subtree: true});
}"""
"""Notes in the browser whether its user has chosen a tab, and gives Gradio's empty plots, which
have a name, the role without which screen readers may not say it.
"""

_SHOW_FIRST = """(first) => window.autosegTab || !first
  ? {__type__: 'update'} : {__type__: 'update', selected: first}"""
"""Shows the tab that suits the workspace, unless the user was faster.

It used to be set with the page's first answer, and took the page away from whoever had clicked
a tab before that came.
"""

_FOLLOW = """({choices, value}, hasChosen, now) =>
  hasChosen && choices.some(([, name]) => name === now)
    ? {__type__: 'update', choices} : {__type__: 'update', choices, value}"""
"""Shows on the Search tab the data set of the Data tab, unless one was chosen on the Search tab.

What is chosen there while the list is read again counts too: this asks when it has come.
"""

Placed = dict[Any, Any]
"""Values by component, as Gradio takes them."""


def head(access: Access) -> str:
    """The page's name, what it is for, and the way out of one that asks for a password."""
    purpose = both(
        "The best segmentation model that transfer learning can give in the minutes you have."
    )
    # Gradio's own route. It ends all sessions of that user.
    out = (
        f'<a href="./logout" target="_self">{both("Sign out of this page")}</a>'
        if access.users
        else ""
    )
    return f'<header class="as-head"><h1>autoseg</h1><span>{purpose}</span>{out}</header>'


@dataclass(frozen=True)
class Tabs:
    """The page's parts, as they are connected with one another."""

    tabs: gr.Tabs
    data: DataTab
    data_page: gr.Tab
    search: SearchTab
    search_page: gr.Tab
    predict: PredictTab
    predict_page: gr.Tab
    share: ShareTab
    share_page: gr.Tab


_QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


def build(workspace: Workspace, access: Access) -> gr.Blocks:
    """The page.

    Args:
        workspace: Where data sets and runs live.
        access: Who opens the page, and what they may do.
    """
    page: gr.Blocks
    with gr.Blocks(
        title="autoseg", analytics_enabled=False, delete_cache=(_CACHE_CHECK_S, _CACHE_AGE_S)
    ) as page:
        html(head(access))
        first, has_opened = gr.Textbox(visible=False), gr.Checkbox(visible=False)
        parts = _layout(workspace, access, browser_states())
        api_endpoints.build(workspace, access)
        _connect_opening(page, workspace, access, parts, first, has_opened)
        _connect_ways(workspace, access, parts)
        _connect_selecting(workspace, access, parts, has_opened)
    return page


def _layout(workspace: Workspace, access: Access, kept: dict[str, gr.BrowserState]) -> Tabs:
    with gr.Tabs(selected="data") as tabs:
        with gr.Tab(label("Data"), id="data") as data_page:
            data = data_tab.build(workspace, access)
        with gr.Tab(label("Search"), id="search", render_children=True) as search_page:
            search = search_tab.build(workspace)
        with gr.Tab(label("Predict"), id="predict", render_children=True) as predict_page:
            predict = predict_tab.build(workspace, access, kept)
        with gr.Tab(label("Share"), id="share", render_children=True) as share_page:
            share = share_tab.build(workspace, access)
    return Tabs(
        tabs, data, data_page, search, search_page, predict, predict_page, share, share_page
    )  # fmt: skip


def _dataset_field(workspace: Workspace, name: str | None) -> dict[str, Any]:
    """The Search tab's data sets, with that one chosen, or else the one last looked at."""
    listed = data_tab.listed(workspace, name)["datasets"]
    return dict(gr.update(choices=listed["choices"], value=listed["value"]))


def _connect_opening(
    page: gr.Blocks,
    workspace: Workspace,
    access: Access,
    parts: Tabs,
    first: gr.Textbox,
    has_opened: gr.Checkbox,
) -> None:
    """Everything comes from disk, for a page just opened or reloaded."""
    data, search, predict = parts.data, parts.search, parts.predict

    def open_first() -> Placed:
        """What takes no time to read."""
        listed = data_tab.listed(workspace)
        return {
            **data.placed(listed),
            **search.open_page(),
            search.dataset: _dataset_field(workspace, listed["datasets"]["value"]),
            first: "search" if workspace.runs() else "",
            has_opened: True,
        }

    opened = [*data.outputs, *search.outputs, search.dataset, first, has_opened]
    opening = page.load(open_first, None, opened, queue=False, **_QUIET)
    opening.then(None, first, parts.tabs, js=_SHOW_FIRST, **_QUIET)
    keep_budget(search.budget, kept_budget(), opening)
    data.show_after(opening)
    predict.show_after(page.load(lambda: predict.open_page(None), None, predict.outputs, **_QUIET))
    if access.sharing:
        page.load(parts.share.open_page, None, parts.share.outputs, queue=False, **_QUIET)


def _connect_ways(workspace: Workspace, access: Access, parts: Tabs) -> None:
    """The ways from one tab to the next."""
    tabs, data, search = parts.tabs, parts.data, parts.search
    predict, share = parts.predict, parts.share

    def use_dataset(name: str | None) -> Placed:
        return {search.dataset: _dataset_field(workspace, name), tabs: gr.Tabs(selected="search")}

    def try_model(name: str | None) -> Placed:
        return {**predict.open_page(name), tabs: gr.Tabs(selected="predict")}

    def share_run(name: str | None) -> Placed:
        chosen = share.list_models(name) if access.sharing else {}
        return {**chosen, tabs: gr.Tabs(selected="share")}

    def show_run(name: str) -> Placed:
        """A training that has begun; where it could not, the Predict tab says why."""
        if not name:
            return dict(gr.skip())
        return {**search.open_page(name), tabs: gr.Tabs(selected="search")}

    data.use.click(use_dataset, data.datasets, [search.dataset, tabs], **_QUIET)
    predict.note(search.try_it.click)
    search.try_it.click(try_model, search.runs, [*predict.outputs, tabs], **_QUIET)
    search.share.click(share_run, search.runs, [*share.models, tabs], **_QUIET)
    predict.trained.then(show_run, predict.started, [*search.outputs, tabs], **_QUIET)
    if access.sharing:
        predict.note(share.try_it.click)
        share.try_it.click(try_model, share.pulled_name, [*predict.outputs, tabs], **_QUIET)


def _connect_selecting(
    workspace: Workspace, access: Access, parts: Tabs, has_opened: gr.Checkbox
) -> None:
    """What a tab reads again when it is chosen."""
    data, search, predict, share = parts.data, parts.search, parts.predict, parts.share

    def list_datasets(name: str | None, has_opened: bool) -> Placed:
        """Data sets that came or went meanwhile: of a training with corrections, or elsewhere.

        Gradio also says that a tab is chosen when the page opens, which lists them by itself:
        this answer came later, and put back whoever had chosen one by then.
        """
        if not has_opened:
            return dict(gr.skip())
        return data.placed(data_tab.listed_again(workspace, name))

    def datasets(shown: str | None) -> dict[str, Any]:
        """All of them, and the one that the Data tab shows."""
        field = _dataset_field(workspace, shown)
        return {"choices": [(name, name) for name in field["choices"]], "value": field["value"]}

    has_chosen, found = gr.Checkbox(visible=False), gr.JSON(visible=False)
    search.dataset.input(None, None, has_chosen, js="() => true", **_QUIET)
    data.use.click(None, None, has_chosen, js="() => false", **_QUIET)
    parts.data_page.select(list_datasets, [data.datasets, has_opened], data.outputs, **_QUIET)
    listing = parts.search_page.select(datasets, data.datasets, found, queue=False, **_QUIET)
    following = [found, has_chosen, search.dataset]
    listing.success(None, following, search.dataset, js=_FOLLOW, **_QUIET)
    parts.predict_page.select(predict.open_page, predict.model, predict.outputs, **_QUIET)
    if access.sharing:
        parts.share_page.select(
            share.list_models, share.models, share.models, queue=False, **_QUIET
        )
