import gradio as gr
import pytest

from autoseg.ui import app


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> gr.Blocks:
    return app.build(app.Workspace(tmp_path_factory.mktemp("home")), app.Access())


def test_every_endpoint_is_named_or_private(page):
    for function in page.fns.values():
        assert function.api_visibility == "private" or function.api_name


@pytest.mark.parametrize("allowed", [True, False])
def test_server_paths_have_no_endpoint_unless_allowed(tmp_path, allowed):
    page = app.build(app.Workspace(tmp_path), app.Access(local=allowed))
    names = {getattr(function.fn, "__name__", "") for function in page.fns.values()}
    assert ("on_path" in names) == allowed


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True), ("::1", True), ("localhost", True),
        ("0.0.0.0", False), ("192.168.1.4", False), ("example.org", False),
    ],
)  # fmt: skip
def test_what_counts_as_this_computer(host, local):
    assert app.is_loopback(host) == local
