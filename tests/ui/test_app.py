import gradio as gr
import pytest
from gradio.utils import get_function_description
from workspace_helpers import make_photos

from autoseg.ui import app, previews


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> gr.Blocks:
    return app.build(app.Workspace(tmp_path_factory.mktemp("home")), app.Access())


def test_no_two_parts_of_the_page_have_one_id(page):
    """A style or a test that named one of them reached the first of two tabs."""
    ids = [block.elem_id for block in page.blocks.values() if getattr(block, "elem_id", None)]
    assert sorted({name for name in ids if ids.count(name) > 1}) == []


@pytest.mark.parametrize("allowed", [True, False])
def test_server_paths_have_no_endpoint_unless_allowed(tmp_path, allowed):
    page = app.build(app.Workspace(tmp_path), app.Access(local=allowed))
    names = {getattr(function.fn, "__name__", "") for function in page.fns.values()}
    assert ("on_path" in names) == allowed


def test_only_a_page_with_a_password_offers_to_sign_out():
    out = 'href="./logout"'
    assert out in app.head(app.Access(users=(("anna", "a-long-password"),)))
    assert out not in app.head(app.Access()) + app.head(app.Access(local=True))


def test_programs_see_six_endpoints_and_nothing_else(page):
    named = {
        function.api_name for function in page.fns.values() if function.api_visibility == "public"
    }
    assert named == {"check", "search", "status", "runs", "stop", "predict"}
    assert set(page.get_api_info()["named_endpoints"]) == {f"/{name}" for name in named}
    assert page.get_api_info()["unnamed_endpoints"] == {}


def test_every_argument_of_an_endpoint_is_explained(page):
    for function in page.fns.values():
        if function.api_visibility == "public":
            text, arguments, returns = get_function_description(function.fn)
            assert text and returns, function.api_name
            assert all(arguments.values()), function.api_name


def test_nothing_of_the_endpoints_for_programs_is_seen_on_the_page(page):
    seen = [
        block["props"].get("label")
        for block in page.get_config_file()["components"]
        if block["type"] in ("json", "file") and block["props"].get("visible", True)
    ]
    assert not {"mapping", "found", "run", "runs", "classes", "mask"} & set(seen)


def test_the_search_takes_the_data_set_last_looked_at_until_one_is_chosen(workspace, tmp_path):
    """Opened at once it took the first by name, and a search ran on what nobody had looked at."""
    for name in ("ants", "bees"):
        workspace.add_dataset(make_photos(tmp_path / name))
    previews.mark_seen(workspace.check_folder("bees"))
    for given, chosen in ((None, "bees"), ("gone", "bees"), ("ants", "ants")):
        field = app._dataset_field(workspace, given)
        assert (field["value"], field["choices"]) == (chosen, ["ants", "bees"])
