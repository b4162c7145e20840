"""The API as programs use it: `gradio_client`, and assistants by the Model Context Protocol."""

import ast
import asyncio
import base64
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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
from autoseg.search.run_folder import RunFolder
from autoseg.ui import previews
from autoseg.ui.access import Access
from autoseg.ui.api_endpoints import Api
from autoseg.ui.predict_image import Desk, Given, Options, predict_one
from autoseg.ui.predict_models import find_model, load
from autoseg.ui.results import ResultStore
from autoseg.workspace import Workspace

SMALL = {"encoders": "tf_efficientnet_lite0", "max_side": 64}
"""A search with weights that come with autoseg, on images as small as may be."""

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


def test_a_check_keeps_what_was_said_on_the_page(client, app):
    """It forgot the mapping and the colours that were chosen in the Data tab."""
    folder = Workspace(app.home).check_folder("sample")
    mapping = {"0": "land", "1": "ignore", "2": "water", "3": "water", "4": "car"}
    client.predict(dataset="sample", mapping=mapping, api_name="/check")
    check = previews.load_check(folder)
    previews.recolor(folder, check, (("car", "#aa0011"), ("water", "#123456")))

    again = client.predict(dataset="sample", api_name="/check")
    assert [(c["name"], c["color"]) for c in again["classes"]][1:] == [
        ("water", "#123456"), ("car", "#aa0011"),
    ]  # fmt: skip
    kept = previews.load_check(folder)
    assert dict(kept.mapping) == mapping and dict(kept.colors)["water"] == "#123456"

    other = mapping | {"4": "boat"}
    found = client.predict(dataset="sample", mapping=other, api_name="/check")
    assert {c["name"]: c["color"] for c in found["classes"]}["water"] == "#123456"
    assert dict(previews.load_check(folder).colors) == {"water": "#123456"}


@pytest.mark.parametrize("mapping", [["a"], [{"0": "land"}], {"0": ["land"]}, {"0": {"a": "b"}}])
def test_a_mapping_of_another_kind_is_refused_in_our_words(client, mapping):
    with pytest.raises(AppError, match="`mapping` wants an object"):
        client.predict(dataset="sample", mapping=mapping, api_name="/check")


@pytest.mark.parametrize("device", ["", "meta", "gpu", "cuda:99", "cpu; rm", "x" * 9999])
def test_a_device_that_is_not_here_starts_no_search(client, app, device):
    before = client.predict(api_name="/runs")
    with pytest.raises(AppError, match="evice") as caught:
        client.predict("sample", "10m", device=device, api_name="/search")
    assert len(str(caught.value)) < 400
    assert client.predict(api_name="/runs") == before


@pytest.mark.parametrize("status", ["done", "paused", "failed"])
def test_a_search_that_does_not_go_is_not_stopped(client, app, status):
    """It said "stopping", and the search would have stopped as soon as it went on."""
    run = write_run(Workspace(app.home), f"quiet-{status}", status=status, source=app.home)
    with pytest.raises(AppError, match="nothing to stop"):
        client.predict(run.name, api_name="/stop")
    assert not run.stop_requested()
    shutil.rmtree(run.path)


def test_the_page_and_its_api_take_turns_with_a_network(folder, tmp_path):
    """A page and a program could be in the same network at once."""
    workspace = Workspace(folder / "home")
    results = tmp_path / "results"
    results.mkdir()
    api = Api(workspace, Access(local=True), results)
    desk = Desk(workspace, Access(local=True), ResultStore(tmp_path / "page"))
    model = find_model(workspace, desk.access, "photos-1")
    inside, most = [], []

    def enter(module, inputs) -> None:
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.05)

    def leave(module, inputs, output) -> None:
        inside.pop()

    network = load(model).bundle.model
    hooks = [network.register_forward_pre_hook(enter), network.register_forward_hook(leave)]
    image = folder / "image.png"
    try:
        with ThreadPoolExecutor(6) as pool:
            jobs = [pool.submit(api.predict, str(image), "photos-1") for _ in range(3)]
            given = Given(image, "image")
            jobs += [pool.submit(predict_one, desk, model, given, Options()) for _ in range(3)]
            for job in jobs:
                job.result()
    finally:
        for hook in hooks:
            hook.remove()
    assert len(most) >= 6 and max(most) == 1


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
    wanted = {"dataset": "sample", "budget": "10m", **SMALL}
    started = client.predict(**wanted, api_name="/search")
    name = started["run"]
    assert started["status"] in ("running", "queued") and started["budget_s"] == 600

    def status() -> dict:
        found = client.predict(name, api_name="/status")
        assert found["status"] != "failed", found["error"]
        return found

    until(lambda: status()["best_score"] is not None)
    assert client.predict(name, api_name="/stop")["stopping"]
    until(lambda: status()["status"] not in ("running", "queued"))
    assert status()["status"] == "done", status()
    assert 0 < status()["test_scores"]["macro_iou"]["value"] <= 1
    assert name in [run["run"] for run in client.predict(api_name="/runs")]


def until(holds, seconds: float = 400) -> None:
    """Wait for something."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "It did not come."
        time.sleep(1)


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


def told(app: App, name: str, arguments: dict):
    """The record that a tool answers with."""
    answer = tool(app, name, arguments)
    assert not answer.isError, answer
    return ast.literal_eval(answer.content[0].text)


def test_an_assistant_asks_for_a_status(tools):
    assert told(tools, "status", {"run": "photos-1"})["status"] == "done"


def test_an_assistant_lists_the_runs(tools):
    (run,) = [run for run in told(tools, "runs", {}) if run["run"] == "photos-1"]
    assert run["status"] == "done" and run["best_score"] == 0.72


def test_an_assistant_checks_a_data_set_it_sends(tools, folder):
    content = base64.b64encode((folder / "photos.zip").read_bytes()).decode()
    file = f"data:application/zip;base64,{content}"
    found = told(tools, "check", {"file": file, "dataset": "sent"})
    assert found["dataset"] == "sent" and found["images"] == 12
    assert told(tools, "check", {"dataset": "sent"}) == found


@pytest.mark.slow
def test_an_assistant_starts_a_search_and_stops_it(tools):
    told(tools, "check", {"dataset": "sample"})
    name = told(tools, "search", {"dataset": "sample", "budget": "10m", **SMALL})["run"]
    assert told(tools, "stop", {"run": name})["stopping"]
    assert name in [run["run"] for run in told(tools, "runs", {})]
    run = RunFolder(tools.home / "runs" / name)
    until(lambda: not run.state().is_live)
    assert tool(tools, "stop", {"run": name}).isError


def test_an_assistant_segments_an_image_it_sends(tools, folder):
    content = base64.b64encode((folder / "image.png").read_bytes()).decode()
    image = f"data:image/png;base64,{content}"
    answer = tool(tools, "predict", {"image": image, "model": "photos-1"})
    assert not answer.isError, answer
    texts = [part.text for part in answer.content if part.type == "text"]
    (found,) = [ast.literal_eval(text) for text in texts if text.startswith("{")]
    assert found["model"] == "photos-1" and found["width"] == 64
    assert any("mask.png" in text for text in texts)
    assert any(part.type == "image" for part in answer.content)


def test_an_assistant_cannot_read_files_of_this_computer(tools, folder):
    answer = tool(tools, "predict", {"image": str(folder / "image.png")})
    assert answer.isError
