"""Failures on demand, and a Hub in a process of its own."""

import http.client
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from loopback_hub import ALICE, LoopbackHub

FILE = "/alice/model/resolve/main/a.txt"
CONTENT = b"0123456789"


@pytest.fixture(autouse=True)
def repository(hub: LoopbackHub) -> None:
    hub.add_repo("alice/model", {"a.txt": CONTENT})


def get(hub: LoopbackHub, path: str = FILE) -> bytes:
    with urllib.request.urlopen(f"{hub.endpoint}{path}", timeout=10) as answer:
        return answer.read()


def test_an_injected_answer_is_given_as_often_as_asked(hub: LoopbackHub) -> None:
    hub.fail("GET .*/resolve/", times=2, status=429, headers={"Retry-After": "7"}, body="slow down")
    for _ in range(2):
        with pytest.raises(urllib.error.HTTPError) as error:
            get(hub)
        assert error.value.code == 429
        assert error.value.headers["Retry-After"] == "7"
        assert error.value.read() == b"slow down"
    assert get(hub) == CONTENT
    assert [status for _, _, status in hub.requests] == [429, 429, 200]


def test_a_healed_hub_forgets_its_faults(hub: LoopbackHub) -> None:
    hub.fail("GET", times=99, status=503)
    hub.heal()
    assert get(hub) == CONTENT


def test_an_answer_can_be_cut_short(hub: LoopbackHub) -> None:
    hub.fail("GET", truncate=4)
    with pytest.raises(http.client.IncompleteRead) as error:
        get(hub)
    assert error.value.partial == CONTENT[:4]


def test_an_answer_can_be_wrong_at_its_right_length(hub: LoopbackHub) -> None:
    hub.fail("GET", corrupt=True)
    assert get(hub)[1:] == CONTENT[1:]
    hub.fail("GET", corrupt=True)
    assert get(hub)[:1] != CONTENT[:1]


def test_a_connection_can_be_dropped_before_anything_is_done(hub: LoopbackHub) -> None:
    hub.fail("POST /api/repos/create", drop_after=5)
    with pytest.raises(Exception, match="reset|disconnected"):
        HfApi(hub.endpoint, ALICE.token).create_repo("alice/new")
    assert hub.requests == [("POST", "/api/repos/create", 0)]
    assert not HfApi(hub.endpoint, ALICE.token).repo_exists("alice/new")


def test_an_answer_can_be_lost_after_all_was_done(hub: LoopbackHub) -> None:
    hub.fail("POST /api/repos/create", lose_answer=True)
    with pytest.raises(Exception, match="reset|disconnected"):
        HfApi(hub.endpoint, ALICE.token).create_repo("alice/new")
    assert HfApi(hub.endpoint, ALICE.token).repo_exists("alice/new")


def test_an_answer_can_be_late(hub: LoopbackHub) -> None:
    hub.fail("GET", delay_s=0.3)
    start = time.monotonic()
    assert get(hub) == CONTENT
    assert time.monotonic() - start >= 0.3


def test_a_hub_that_closes_lets_nobody_wait(tmp_path: Path) -> None:
    with LoopbackHub(tmp_path) as hub:
        hub.fail("GET", delay_s=60)
        connection = http.client.HTTPConnection(hub.endpoint.removeprefix("http://"), timeout=30)
        connection.request("GET", "/")
        time.sleep(0.1)
    with pytest.raises(OSError):
        connection.getresponse()
    connection.close()


def test_a_hub_in_a_process_is_told_by_requests(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "loopback_hub", "--folder", str(tmp_path / "hub")]
    process = subprocess.Popen(
        [*command, "--user", "carol:hf_carol"],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        endpoint = process.stdout.readline().strip()
        api = HfApi(endpoint, "hf_carol")
        fault = {"match": "GET /api/whoami", "status": 503}
        script = {"carol/demo": {"stages": ["RUNTIME_ERROR"]}}
        control = urllib.request.Request(
            f"{endpoint}/_control",
            data=json.dumps({"faults": [fault], "spaces": script}).encode(),
            headers={"Content-Type": "application/json"},
        )
        urllib.request.urlopen(control).close()
        with pytest.raises(Exception, match="503"):
            api.whoami()
        assert api.whoami()["name"] == "carol"
        api.create_repo("carol/demo", repo_type="space", space_sdk="gradio")
        assert api.get_space_runtime("carol/demo").stage == "RUNTIME_ERROR"
        with urllib.request.urlopen(f"{endpoint}/_control") as answer:
            log = json.load(answer)["log"]
        assert log[:2] == [["GET", "/api/whoami-v2", 503], ["GET", "/api/whoami-v2", 200]]
    finally:
        process.terminate()
        process.communicate()
