"""The page: four tabs over the workspace on disk, and the server that shows it."""

import ipaddress
import os
from typing import Any

import gradio as gr

from autoseg.ui import data_tab, predict_tab, search_tab, share_tab
from autoseg.ui.access import Access
from autoseg.ui.style import CSS, html, theme
from autoseg.ui.texts import translations
from autoseg.workspace import Workspace

MAX_UPLOAD = "8gb"
"""Largest file that the page takes."""

_CACHE_CHECK_S, _CACHE_AGE_S = 3600, 24 * 3600

HEAD = (
    '<header class="as-head"><b>autoseg</b><span>The best segmentation model that transfer '
    "learning can give in the minutes you have.</span></header>"
)

Placed = dict[Any, Any]
"""Values by component, as Gradio takes them."""


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
        html(HEAD)
        with gr.Tabs(selected="data") as tabs:
            with gr.Tab("Data", id="data"):
                data = data_tab.build(workspace, access)
            with gr.Tab("Search", id="search", render_children=True) as search_page:
                search = search_tab.build(workspace)
            with gr.Tab("Predict", id="predict", render_children=True) as predict_page:
                predict = predict_tab.build(workspace, access)
            with gr.Tab("Share", id="share", render_children=True) as share_page:
                share = share_tab.build(workspace, access)

    def dataset_field(name: str | None) -> dict[str, Any]:
        names = [dataset.name for dataset in workspace.datasets()]
        value = name if name in names else next(iter(names), None)
        return dict(gr.update(choices=names, value=value))

    def open_first() -> Placed:
        """What takes no time to read; the tab above all, before the user chooses another."""
        listed = data_tab.listed(workspace)
        return {
            **data.placed(listed),
            **search.open_page(),
            search.dataset: dataset_field(listed["datasets"]["value"]),
            tabs: gr.Tabs(selected="search" if workspace.runs() else "data"),
        }

    def open_dataset() -> Placed:
        name = data_tab.listed(workspace)["datasets"]["value"]
        return data.placed(data_tab.shown(workspace, name))

    def use_dataset(name: str | None) -> Placed:
        return {search.dataset: dataset_field(name), tabs: gr.Tabs(selected="search")}

    def try_model(name: str | None) -> Placed:
        return {**predict.open_page(name), tabs: gr.Tabs(selected="predict")}

    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    with page:
        # Everything comes from disk, for a page just opened or reloaded.
        first = [*data.outputs, *search.outputs, search.dataset, tabs]
        page.load(open_first, None, first, queue=False, **private)
        page.load(open_dataset, None, data.outputs, **private)
        page.load(lambda: predict.open_page(None), None, predict.outputs, **private)
        if access.sharing:
            page.load(share.open_page, None, share.outputs, **private)
            share_page.select(share.open_page, None, share.outputs, **private)
            share.try_it.click(try_model, share.pulled_name, [*predict.outputs, tabs], **private)
        data.use.click(use_dataset, data.datasets, [search.dataset, tabs], **private)
        search.try_it.click(try_model, search.runs, [*predict.outputs, tabs], **private)
        search_page.select(dataset_field, search.dataset, search.dataset, **private)
        predict_page.select(predict.open_page, predict.model, predict.outputs, **private)
    return page


def is_loopback(host: str) -> bool:
    """Whether only this computer reaches a server that listens on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def main(host: str = "127.0.0.1", port: int | None = None, share: bool = False) -> None:
    """Serve the page until interrupted. Searches go on when it ends.

    Args:
        host: Address to listen on. On a Hugging Face Space all addresses.
        port: None: the first free one from 7860.
        share: Whether to make a public link through Gradio's server.
    """
    on_space = "SPACE_ID" in os.environ
    local = is_loopback(host) and not share and not on_space
    page = build(Workspace(), Access(local=local))
    page.launch(
        server_name="0.0.0.0" if on_space else host,
        server_port=port,
        share=share,
        i18n=translations(),
        theme=theme(),
        css=CSS,
        show_error=True,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        max_file_size=MAX_UPLOAD,
    )
