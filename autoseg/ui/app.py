"""The page: four tabs over the workspace on disk, and the endpoints for programs."""

from typing import Any

import gradio as gr

from autoseg.ui import api_endpoints, data_tab, predict_tab, search_tab, share_tab
from autoseg.ui.access import Access
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

Placed = dict[Any, Any]
"""Values by component, as Gradio takes them."""


def head() -> str:
    """The page's name and what it is for."""
    return '<header class="as-head"><h1>autoseg</h1><span>' + (
        both("The best segmentation model that transfer learning can give in the minutes you have.")
        + "</span></header>"
    )


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
        html(head())
        first = gr.Textbox(visible=False)
        with gr.Tabs(selected="data") as tabs:
            with gr.Tab(label("Data"), id="data"):
                data = data_tab.build(workspace, access)
            with gr.Tab(label("Search"), id="search", render_children=True) as search_page:
                search = search_tab.build(workspace)
            with gr.Tab(label("Predict"), id="predict", render_children=True) as predict_page:
                predict = predict_tab.build(workspace, access)
            with gr.Tab(label("Share"), id="share", render_children=True) as share_page:
                share = share_tab.build(workspace, access)
        api_endpoints.build(workspace, access)

    def dataset_field(name: str | None) -> dict[str, Any]:
        names = [dataset.name for dataset in workspace.datasets()]
        value = name if name in names else next(iter(names), None)
        return dict(gr.update(choices=names, value=value))

    def open_first() -> Placed:
        """What takes no time to read."""
        listed = data_tab.listed(workspace)
        return {
            **data.placed(listed),
            **search.open_page(),
            search.dataset: dataset_field(listed["datasets"]["value"]),
            first: "search" if workspace.runs() else "",
        }

    def open_dataset() -> Placed:
        name = data_tab.listed(workspace)["datasets"]["value"]
        return data.placed(data_tab.shown(workspace, name))

    def use_dataset(name: str | None) -> Placed:
        return {search.dataset: dataset_field(name), tabs: gr.Tabs(selected="search")}

    def try_model(name: str | None) -> Placed:
        return {**predict.open_page(name), tabs: gr.Tabs(selected="predict")}

    def share_run(name: str | None) -> Placed:
        chosen = share.list_models(name) if access.sharing else {}
        return {**chosen, tabs: gr.Tabs(selected="share")}

    def show_run(name: str) -> Placed:
        """A training that has begun; where it could not, the Predict tab says why."""
        return {**search.open_page(name), tabs: gr.Tabs(selected="search")} if name else {}

    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    with page:
        # Everything comes from disk, for a page just opened or reloaded.
        opened = [*data.outputs, *search.outputs, search.dataset, first]
        page.load(open_first, None, opened, queue=False, **private).then(
            None, first, tabs, js=_SHOW_FIRST, **private
        )
        page.load(open_dataset, None, data.outputs, **private)
        page.load(lambda: predict.open_page(None), None, predict.outputs, **private)
        if access.sharing:
            page.load(share.open_page, None, share.outputs, queue=False, **private)
            share_page.select(share.list_models, share.models, share.models, queue=False, **private)
            share.try_it.click(try_model, share.pulled_name, [*predict.outputs, tabs], **private)
        data.use.click(use_dataset, data.datasets, [search.dataset, tabs], **private)
        search.try_it.click(try_model, search.runs, [*predict.outputs, tabs], **private)
        search.share.click(share_run, search.runs, [*share.models, tabs], **private)
        predict.trained.then(show_run, predict.started, [*search.outputs, tabs], **private)
        search_page.select(dataset_field, search.dataset, search.dataset, **private)
        predict_page.select(predict.open_page, predict.model, predict.outputs, **private)
    return page
