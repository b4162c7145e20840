"""What runs a Space."""

import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError
from loopback_hub import ALICE, BOB, LoopbackHub

SPACE = "alice/demo"


@pytest.fixture
def api(hub: LoopbackHub) -> HfApi:
    return HfApi(hub.endpoint, ALICE.token)


def make(api: HfApi, **options: object) -> None:
    api.create_repo(SPACE, repo_type="space", space_sdk="gradio", **options)


def commit_app(api: HfApi) -> None:
    app = CommitOperationAdd("app.py", b"import gradio\n")
    api.create_commit(SPACE, [app], commit_message="App", repo_type="space")


def stages(api: HfApi, count: int) -> list[str]:
    return [api.get_space_runtime(SPACE).stage for _ in range(count)]


def test_a_space_waits_for_its_app_then_builds_and_runs(api: HfApi) -> None:
    make(api)
    assert stages(api, 2) == ["NO_APP_FILE"] * 2
    commit_app(api)
    assert stages(api, 4) == ["BUILDING", "APP_STARTING", "RUNNING", "RUNNING"]
    assert api.get_space_runtime(SPACE).hardware == "cpu-basic"


def test_a_space_follows_its_script_from_each_start(hub: LoopbackHub, api: HfApi) -> None:
    hub.script_space(SPACE, ["BUILDING", "BUILD_ERROR"], error_message="no torch")
    make(api)
    assert stages(api, 3) == ["BUILDING", "BUILD_ERROR", "BUILD_ERROR"]
    assert api.get_space_runtime(SPACE).raw["errorMessage"] == "no torch"
    commit_app(api)
    assert stages(api, 1) == ["BUILDING"]


def test_a_paused_space_stays_so_until_it_is_restarted(hub: LoopbackHub, api: HfApi) -> None:
    make(api)
    commit_app(api)
    assert api.pause_space(SPACE).stage == "PAUSED"
    assert stages(api, 2) == ["PAUSED"] * 2
    assert api.restart_space(SPACE).stage == "BUILDING"
    assert hub.space(SPACE).restarts == 1


def test_hardware_is_as_requested_last(hub: LoopbackHub, api: HfApi) -> None:
    make(api, space_hardware="zero-a10g")
    assert hub.space(SPACE).hardware == "zero-a10g"
    runtime = api.request_space_hardware(SPACE, "t4-small", sleep_time=600)
    assert (runtime.requested_hardware, runtime.sleep_time) == ("t4-small", 600)
    assert runtime.hardware is None


def test_secrets_are_kept_but_not_given_back(hub: LoopbackHub, api: HfApi) -> None:
    make(api, space_secrets=[{"key": "HF_TOKEN", "value": "hidden"}])
    api.add_space_secret(SPACE, "OTHER", "hidden too", description="for tests")
    api.add_space_variable(SPACE, "MODEL", "alice/model")
    assert hub.space(SPACE).secrets == {"HF_TOKEN": "hidden", "OTHER": "hidden too"}
    assert api.get_space_variables(SPACE)["MODEL"].value == "alice/model"
    api.delete_space_secret(SPACE, "HF_TOKEN")
    assert set(hub.space(SPACE).secrets) == {"OTHER"}
    assert "hidden" not in str(api.space_info(SPACE).__dict__)


def test_a_log_comes_line_by_line(hub: LoopbackHub, api: HfApi) -> None:
    make(api)
    hub.script_space(SPACE, ["BUILD_ERROR"], logs="one\ntwo\n", run_logs="started\n")
    assert list(api.fetch_space_logs(SPACE, build=True)) == ["one\n", "two\n"]
    assert list(api.fetch_space_logs(SPACE)) == ["started\n"]


def test_only_the_owner_changes_a_space(hub: LoopbackHub, api: HfApi) -> None:
    make(api)
    other = HfApi(hub.endpoint, BOB.token)
    with pytest.raises(HfHubHTTPError) as error:
        other.add_space_secret(SPACE, "KEY", "value")
    assert error.value.response.status_code == 403


def test_a_space_that_must_be_paid_for_is_refused(hub: LoopbackHub, api: HfApi) -> None:
    hub.fail("POST /api/repos/create", status=402, body={"error": "Subscribe to PRO"})
    with pytest.raises(HfHubHTTPError, match="Subscribe to PRO") as error:
        make(api)
    assert error.value.response.status_code == 402
