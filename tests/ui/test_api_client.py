"""The API as programs use it: `gradio_client`, and assistants by the Model Context Protocol."""

import ast
import asyncio
import base64
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from app_process import App
from bundle_helpers import NAMES, make_bundle
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from ui_helpers import write_run
from workspace_helpers import make_photos, make_zip

from autoseg.predictor import Predictor
from autoseg.workspace import Workspace

PIXELS = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A workspace with a run and its model, an image and a zip."""
    folder = tmp_path_factory.mktemp("api")
    run = write_run(Workspace(folder / "home"), "photos-1", source=folder)
    make_bundle(run.model)
    Image.fromarray(PIXELS).save(folder / "image.png")
    make_zip(make_photos(folder / "photos", n_images=12), folder / "photos.zip")
    return folder


@pytest.fixture(scope="module")
def app(folder) -> Iterator[App]:
    app = App(folder / "home")
    app.start()
    yield app
    app.end()


@pytest.fixture(scope="module")
def client(app, folder) -> Client:
    return Client(app.url, verbose=False, download_files=str(folder / "downloads"))


def test_the_client_sees_six_endpoints_with_names_for_all_values(client):
    described = client.view_api(return_format="dict", print_info=False)
    assert set(described["named_endpoints"]) == {
        "/check", "/search", "/status", "/runs", "/stop", "/predict",
    }  # fmt: skip
    assert described["unnamed_endpoints"] == {}
    for name, endpoint in described["named_endpoints"].items():
        assert endpoint["description"], name
        assert not [p for p in endpoint["parameters"] if p["parameter_name"].startswith("param_")]


def test_private_events_cannot_be_called_by_name(client, app):
    with pytest.raises(ValueError, match="Cannot find a function"):
        client.predict(api_name="/open_first")


def test_a_zip_is_checked_and_kept_as_a_data_set(client, folder, app):
    found = client.predict(handle_file(folder / "photos.zip"), "leaves", api_name="/check")
    assert found["dataset"] == "leaves" and found["images"] == 12
    assert sum(found["splits"].values()) == 12
    assert [c["index"] for c in found["classes"]] == list(range(len(found["classes"])))
    assert all(c["color"].startswith("#") for c in found["classes"])
    again = client.predict(dataset="leaves", api_name="/check")
    assert again == found
    assert (app.home / "datasets" / "leaves").is_dir()


def test_a_mapping_says_what_values_mean(client):
    mapping = {"0": "land", "1": "ignore", "2": "water", "3": "water", "4": "car"}
    found = client.predict(dataset="sample", mapping=mapping, api_name="/check")
    assert [c["name"] for c in found["classes"]] == ["land", "water", "car"]
    with pytest.raises(AppError, match="which has no class"):
        client.predict(dataset="sample", mapping={"0": "land"}, api_name="/check")


@pytest.mark.parametrize("name", ["nowhere", "../photos", "a/b"])
def test_an_error_of_ours_reaches_the_program_as_it_stands(client, name):
    with pytest.raises(AppError, match="no data set|no full path"):
        client.predict(dataset=name, api_name="/check")


def test_a_status_has_the_trials_and_the_test_scores(client):
    status = client.predict("photos-1", api_name="/status")
    assert status["status"] == "done" and status["best_score"] == 0.72
    assert [trial["number"] for trial in status["trials"]] == [0, 1, 2]
    assert status["test_scores"]["macro_iou"]["value"] == 0.72
    assert client.predict(api_name="/runs")[0]["run"] in ("photos-1", status["run"])
    with pytest.raises(AppError, match="There is no run 'x'"):
        client.predict("x", api_name="/status")


def test_a_prediction_comes_as_a_mask_an_overlay_and_classes(client, folder, app):
    mask, overlay, found = client.predict(handle_file(folder / "image.png"), api_name="/predict")
    expected = Predictor.from_pretrained(app.home / "runs/photos-1/model").predict(PIXELS).mask
    with Image.open(mask) as file:
        assert file.mode == "L" and np.array_equal(np.asarray(file), expected)
    with Image.open(overlay) as file:
        assert file.size == (64, 48)
    assert (found["model"], found["width"], found["height"]) == ("photos-1", 64, 48)
    assert sum(c["pixels"] for c in found["classes"]) == 64 * 48
    assert {c["name"] for c in found["classes"]} == set(NAMES[:3])


def test_what_is_no_image_gets_our_words(client, folder):
    with pytest.raises(AppError, match="does not decode"):
        client.predict(handle_file(folder / "photos.zip"), api_name="/predict")


@pytest.mark.slow
def test_a_search_is_started_watched_and_stopped(client, app):
    client.predict(dataset="sample", api_name="/check")
    started = client.predict("sample", "10m", "test_resnet", api_name="/search")
    name = started["run"]
    assert started["status"] in ("running", "queued") and started["budget_s"] == 600
    client.predict(name, api_name="/stop")
    for _ in range(120):
        status = client.predict(name, api_name="/status")
        if status["status"] not in ("running", "queued"):
            break
        time.sleep(1)
    assert status["status"] in ("done", "failed", "paused"), status
    assert name in [run["run"] for run in client.predict(api_name="/runs")]


# The Model Context Protocol.


@pytest.fixture(scope="module")
def tools(folder) -> Iterator[App]:
    pytest.importorskip("mcp", reason="needs the extra mcp")
    app = App(folder / "home", arguments=("--mcp",))
    app.start()
    yield app
    app.end()


def ask(app: App, job):
    """What a real client of the protocol gets."""
    from mcp import ClientSession  # noqa: PLC0415 - an extra
    from mcp.client.streamable_http import streamable_http_client  # noqa: PLC0415 - an extra

    async def go():
        address = f"{app.url}/gradio_api/mcp/"
        async with (
            streamable_http_client(address) as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            return await job(session)

    return asyncio.run(go())


def test_assistants_find_tools_with_descriptions(tools):
    found = {tool.name: tool for tool in ask(tools, lambda s: s.list_tools()).tools}
    names = {name.rpartition("_")[2] for name in found}
    assert names == {"check", "search", "status", "runs", "stop", "predict"}
    for tool in found.values():
        assert len(tool.description) > 40
        for name, field in tool.inputSchema["properties"].items():
            assert field.get("description"), (tool.name, name)


def tool(app: App, name: str, arguments: dict):
    """What a tool answers."""
    found = ask(app, lambda session: session.list_tools()).tools
    (full,) = [tool.name for tool in found if tool.name.rpartition("_")[2] == name]
    return ask(app, lambda session: session.call_tool(full, arguments))


def test_an_assistant_asks_for_a_status(tools):
    answer = tool(tools, "status", {"run": "photos-1"})
    assert not answer.isError
    assert ast.literal_eval(answer.content[0].text)["status"] == "done"


def test_an_assistant_segments_an_image_it_sends(tools, folder):
    content = base64.b64encode((folder / "image.png").read_bytes()).decode()
    answer = tool(tools, "predict", {"image": f"data:image/png;base64,{content}"})
    assert not answer.isError, answer
    texts = [part.text for part in answer.content if part.type == "text"]
    (found,) = [ast.literal_eval(text) for text in texts if text.startswith("{")]
    assert found["model"] == "photos-1" and found["width"] == 64
    assert any("mask.png" in text for text in texts)
    assert any(part.type == "image" for part in answer.content)


def test_an_assistant_cannot_read_files_of_this_computer(tools, folder):
    answer = tool(tools, "predict", {"image": str(folder / "image.png")})
    assert answer.isError
