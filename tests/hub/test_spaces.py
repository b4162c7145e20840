"""Deploying models to a Space of the loopback Hub: what is done, refused, and said."""

import functools
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from loopback_hub import LoopbackHub

import autoseg
from autoseg.errors import ConfigError, HubAccessError, HubError, HubNotFoundError
from autoseg.hub import space_files, spaces
from autoseg.hub.connection import Connection, connect
from autoseg.hub.spaces import Deployed, DeployOptions, plan_deploy

MODEL_FILES = {
    "config.json": b"{}",
    "model.safetensors": b"weights",
    "README.md": b"---\nlicense: apache-2.0\n---\n",
}
deploy = functools.partial(spaces.deploy, poll_s=0.01, settle_s=0.3, wait_s=5)


def signed_in(hub: LoopbackHub, token: str = "hf_alice") -> Connection:
    return connect(token, endpoint=hub.endpoint, cache_dir=Path("unused"))


@pytest.fixture
def alice(hub: LoopbackHub) -> Connection:
    """Alice, with a public model, a second one and a private one."""
    hub.add_repo("alice/leaves", MODEL_FILES)
    hub.add_repo("alice/roots", MODEL_FILES)
    hub.add_repo("alice/secret", MODEL_FILES, private=True)
    return signed_in(hub)


def deployed(
    alice: Connection, *models: str, options: DeployOptions | None = None, **how
) -> Deployed:
    return deploy(plan_deploy(models or ("alice/leaves",), alice, options), alice, **how)


def changes(hub: LoopbackHub) -> list[tuple[str, str]]:
    """What was asked of the Hub but reading."""
    return [
        (method, path)
        for method, path, _ in hub.requests
        if method not in ("GET", "HEAD") and not path.endswith(("preupload/main", "validate-yaml"))
    ]


def front_matter(readme: bytes) -> dict:
    return yaml.safe_load(readme.decode().split("---\n")[1])


def test_one_model_makes_a_private_space_that_runs(hub, alice):
    stages: list[str] = []
    done = deployed(alice, on_stage=stages.append)
    assert (done.repo_id, done.stage, done.changed) == ("alice/leaves", "RUNNING", True)
    assert done.url == f"{hub.endpoint}/spaces/alice/leaves"
    assert done.app_url == "https://alice-leaves.hf.space"
    assert hub.repository("alice/leaves", "space").private
    assert stages[0] == "Making the Space"
    assert stages[-2:] == ["Starting", "Running"]
    files = hub.files("alice/leaves", "space")
    assert sorted(files) == ["README.md", "app.py", "requirements.txt"]
    assert b'main("predict")' in files["app.py"]
    assert files["requirements.txt"].decode() == f"autoseg-search=={autoseg.__version__}\n"
    assert hub.space("alice/leaves").variables == {"AUTOSEG_MODELS": "alice/leaves"}
    assert hub.space("alice/leaves").secrets == {}


def test_the_readme_names_what_the_hub_needs(hub, alice):
    deployed(alice, options=DeployOptions(title="Leaves: all of them"))
    readme = hub.files("alice/leaves", "space")["README.md"]
    head = front_matter(readme)
    assert head["title"] == "Leaves: all of them"
    assert head["models"] == ["alice/leaves"]
    assert (head["sdk"], head["app_file"]) == ("gradio", "app.py")
    assert isinstance(head["sdk_version"], str) and isinstance(head["python_version"], str)
    assert len(head["short_description"]) <= 60
    assert 'Client("alice/leaves")' in readme.decode()


def test_several_models_make_a_gallery_with_their_revisions(hub, alice):
    plan = plan_deploy(["alice/leaves@main", "hf://alice/roots", "alice/roots"], alice)
    assert (plan.space, plan.kind) == ("alice/leaves-gallery", "gallery")
    deploy(plan, alice)
    assert b'main("gallery")' in hub.files("alice/leaves-gallery", "space")["app.py"]
    variables = hub.space("alice/leaves-gallery").variables
    assert variables == {"AUTOSEG_MODELS": "alice/leaves@main,alice/roots"}
    head = front_matter(hub.files("alice/leaves-gallery", "space")["README.md"])
    assert head["models"] == ["alice/leaves", "alice/roots"]


def test_the_files_come_in_one_commit(hub, alice):
    deployed(alice)
    assert sum("/commit/" in path for _, path in changes(hub)) == 1


def test_the_same_deploy_again_changes_nothing(hub, alice):
    deployed(alice)
    before = changes(hub)
    plan = plan_deploy(["alice/leaves"], alice)
    assert (plan.changed_files, plan.variables, plan.hardware) == ((), {}, None)
    done = deploy(plan, alice)
    assert (done.changed, done.stage) == (False, "RUNNING")
    assert changes(hub) == before


def test_another_model_in_the_same_space_changes_only_what_differs(hub, alice):
    deployed(alice)
    plan = plan_deploy(["alice/roots"], alice, DeployOptions(space="alice/leaves"))
    assert set(plan.changed_files) == {"README.md"}
    assert plan.variables == {"AUTOSEG_MODELS": "alice/roots"}
    assert deploy(plan, alice).changed
    assert hub.space("alice/leaves").variables == {"AUTOSEG_MODELS": "alice/roots"}


def test_a_public_space_is_public_only_when_asked_for(hub, alice):
    deployed(alice)
    plan = plan_deploy(["alice/leaves"], alice, DeployOptions(public=True))
    assert plan.changes_visibility
    deploy(plan, alice)
    assert not hub.repository("alice/leaves", "space").private
    again = plan_deploy(["alice/leaves"], alice)
    assert again.public and not again.changes_visibility
    assert any("public already" in note for note in again.notes)


def opened_after(hub: LoopbackHub) -> list[str]:
    """What was asked of the Hub since the Space of the leaves was opened."""
    asked = [f"{method} {path}" for method, path, _ in hub.requests]
    return asked[asked.index("PUT /api/spaces/alice/leaves/settings") + 1 :]


def test_a_private_space_is_opened_last(hub, alice):
    """It was opened first, and showed the old model until the new one was built."""
    deployed(alice)
    deployed(alice, "alice/roots", options=DeployOptions(space="alice/leaves", public=True))
    assert not hub.repository("alice/leaves", "space").private
    assert opened_after(hub) == []


@pytest.mark.parametrize("step", ["POST .*/variables", "POST .*/commit/"])
def test_a_deploy_that_fails_opens_nothing(hub, alice, step):
    deployed(alice)
    hub.fail(step, times=20, status=400, body={"error": "no"})
    with pytest.raises(HubError):
        deployed(alice, "alice/roots", options=DeployOptions(space="alice/leaves", public=True))
    assert hub.repository("alice/leaves", "space").private


def test_a_space_that_is_not_built_is_not_opened(hub, alice):
    deployed(alice)
    hub.script_space("alice/leaves", ["BUILDING", "BUILD_ERROR"])
    with pytest.raises(HubError, match="could not be built"):
        deployed(alice, "alice/roots", options=DeployOptions(space="alice/leaves", public=True))
    assert hub.repository("alice/leaves", "space").private


def test_without_waiting_a_space_is_opened_after_its_files_came(hub, alice):
    deployed(alice)
    options = DeployOptions(space="alice/leaves", public=True)
    assert deployed(alice, "alice/roots", options=options, wait_s=0).changed
    assert not hub.repository("alice/leaves", "space").private
    assert opened_after(hub) == []


@pytest.mark.parametrize("gone", [False, True])
def test_a_space_that_shows_a_closed_model_is_not_opened_for_another(hub, alice, gone):
    """The private model of before was everybody's until the new one was built."""
    secrets = {"HF_TOKEN": "hf_reader"}
    deployed(alice, "alice/secret", options=DeployOptions(space="alice/page", secrets=secrets))
    if gone:
        hub.space("alice/page").variables["AUTOSEG_MODELS"] = "alice/deleted"
    options = DeployOptions(space="alice/page", public=True)
    with pytest.raises(HubAccessError, match="until its new version runs"):
        plan_deploy(["alice/leaves"], alice, options)
    meant = DeployOptions(space="alice/page", public=True, expose_private=True)
    assert plan_deploy(["alice/leaves"], alice, meant).changes_visibility


def test_zero_gpu_is_asked_for_and_gets_a_torch_it_supports(hub, alice):
    plan = plan_deploy(["alice/leaves"], alice, DeployOptions(hardware="zero-a10g"))
    deploy(plan, alice)
    lines = hub.files("alice/leaves", "space")["requirements.txt"].decode().splitlines()
    assert "spaces" in lines and any(line.startswith("torch==") for line in lines)
    assert hub.space("alice/leaves").hardware == "zero-a10g"
    again = plan_deploy(["alice/leaves"], alice)  # Without naming the hardware.
    assert (again.changed_files, again.hardware) == ((), None)


def test_hardware_is_asked_for_only_if_it_differs(hub, alice):
    deployed(alice)
    options = DeployOptions(hardware="t4-small")
    plan = plan_deploy(["alice/leaves"], alice, options)
    assert any("costs money" in note for note in plan.notes)
    deploy(plan, alice)
    asked = [path for _, path in changes(hub) if path.endswith("/hardware")]
    assert len(asked) == 1
    assert not deployed(alice, options=options).changed


def test_secrets_reach_the_space_and_no_text(hub, alice):
    options = DeployOptions(secrets={"HF_TOKEN": " hf_reader "})
    plan = plan_deploy(["alice/secret"], alice, options)
    assert "hf_reader" not in repr(plan) and "hf_reader" not in repr(options)
    deploy(plan, alice)
    assert hub.space("alice/secret").secrets == {"HF_TOKEN": "hf_reader"}
    assert all(
        "hf_reader" not in text.decode() for text in hub.files("alice/secret", "space").values()
    )


def test_a_private_model_asks_for_a_secret_once(hub, alice):
    with pytest.raises(HubAccessError, match="secret HF_TOKEN"):
        plan_deploy(["alice/secret"], alice)
    assert changes(hub) == []
    deployed(alice, "alice/secret", options=DeployOptions(secrets={"HF_TOKEN": "hf_reader"}))
    assert not deployed(alice, "alice/secret").changed


def test_a_secret_that_cannot_read_the_model_is_refused(hub, alice):
    options = DeployOptions(secrets={"HF_TOKEN": "hf_bob"})
    with pytest.raises(HubError, match="with the secret HF_TOKEN") as caught:
        plan_deploy(["alice/secret"], alice, options)
    assert "hf_bob" not in str(caught.value)
    assert changes(hub) == []


def test_a_private_model_is_not_shown_to_everybody_by_accident(hub, alice):
    secrets = {"HF_TOKEN": "hf_reader"}
    with pytest.raises(HubAccessError, match="public Space"):
        plan_deploy(["alice/secret"], alice, DeployOptions(public=True, secrets=secrets))
    meant = DeployOptions(public=True, secrets=secrets, expose_private=True)
    assert plan_deploy(["alice/secret"], alice, meant).public


def test_pictures_of_a_private_model_are_shown_for_one_deploy(hub, alice):
    secrets = {"HF_TOKEN": "hf_reader"}
    space = DeployOptions(space="alice/page", secrets=secrets)
    plan = plan_deploy(["alice/secret"], alice, replace(space, examples=True))
    assert any("example pictures of alice/secret" in note for note in plan.notes)
    deploy(plan, alice)
    assert hub.space("alice/page").variables["AUTOSEG_EXAMPLES"] == "1"
    deployed(alice, "alice/secret", options=space)
    assert hub.space("alice/page").variables["AUTOSEG_EXAMPLES"] == "0"


def test_a_gated_model_counts_as_private(hub, alice):
    hub.add_repo("alice/gated", MODEL_FILES, gated=True)
    with pytest.raises(HubAccessError, match="secret HF_TOKEN"):
        plan_deploy(["alice/gated"], alice)


def test_a_model_of_somebody_else_goes_to_the_users_own_space(hub, alice):
    hub.add_repo("bob/stems", MODEL_FILES)
    assert plan_deploy(["bob/stems"], alice).space == "alice/stems"
    hub.add_repo("lab/cells", MODEL_FILES)
    assert plan_deploy(["lab/cells"], alice).space == "lab/cells"
    assert plan_deploy(["lab/cells"], alice, DeployOptions(space="mine")).space == "alice/mine"


def test_an_owner_is_the_same_in_any_case(hub, alice):
    """As for a push, which took what a deploy refused."""
    assert plan_deploy(["alice/leaves"], alice, DeployOptions(space="Lab/x")).space == "lab/x"
    assert plan_deploy(["alice/leaves"], alice, DeployOptions(space="ALICE/x")).space == "alice/x"


@pytest.mark.parametrize(
    ("models", "options", "error", "text"),
    [
        ((), {}, ConfigError, "at least one model"),
        (("alice/nothing",), {}, HubNotFoundError, "alice/nothing"),
        (("alice/leaves@v9",), {}, HubNotFoundError, "v9"),
        (("no name",), {}, HubError, "owner/name"),
        (("alice/leaves",), {"space": "bob/leaves"}, HubAccessError, "bob"),
        (("alice/leaves",), {"space": "alice/../x"}, HubError, "name"),
        (("alice/leaves",), {"hardware": "t4-smal"}, ConfigError, "t4-small"),
        (("alice/leaves",), {"package": "dist/a.whl"}, ConfigError, "this computer"),
        (("alice/leaves",), {"package": "a\nb"}, ConfigError, "one requirement"),
        (("alice/leaves",), {"package": "git+https://me:pw@host/a.git"}, ConfigError, "password"),
        (("alice/leaves",), {"package": "a @ https://hf_x@host/a.whl"}, ConfigError, "password"),
        (("alice/leaves",), {"package": "-r x.txt"}, ConfigError, "one requirement"),
        (("alice/leaves",), {"secrets": {"A B": "x"}}, ConfigError, "letters"),
        (("alice/leaves",), {"secrets": {"AUTOSEG_MODELS": "x"}}, ConfigError, "letters"),
        (("alice/leaves",), {"secrets": {"KEY": " "}}, ConfigError, "empty"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_changed(
    hub, alice, models, options, error, text
):
    with pytest.raises(error, match=text) as caught:
        plan_deploy(models, alice, DeployOptions(**options))
    assert "me:pw" not in str(caught.value) and "hf_x" not in str(caught.value)
    assert changes(hub) == []


def test_a_folder_of_this_computer_is_to_be_pushed_first(alice, tmp_path):
    with pytest.raises(HubError, match="autoseg push"):
        plan_deploy([str(tmp_path)], alice)


def test_a_token_that_may_only_read_is_refused_first(hub, alice):
    with pytest.raises(HubAccessError, match="only read"):
        plan_deploy(["alice/leaves"], signed_in(hub, "hf_reader"))


def test_nobody_is_asked_to_sign_in(hub, alice):
    nobody = connect(endpoint=hub.endpoint, saved_login=False)
    with pytest.raises(HubAccessError, match="hf auth login"):
        plan_deploy(["alice/leaves"], nobody)


def test_a_repository_without_a_model_is_refused(hub, alice):
    hub.add_repo("alice/notes", {"README.md": b"text"})
    with pytest.raises(HubError, match=r"no config\.json and no model\.safetensors"):
        plan_deploy(["alice/notes"], alice)


OUR_TAG = b"---\nsdk: gradio\ntags:\n- autoseg\n---\n"
CHANGED_APP = b'"""A page."""\nfrom autoseg.ui.space import main\nmain("predict")\nprint("mine")\n'


@pytest.mark.parametrize(
    ("sdk", "files"),
    [
        ("gradio", {"app.py": b"print()"}),
        ("gradio", {"app.py": b"print()", "README.md": OUR_TAG}),
        ("gradio", {"app.py": CHANGED_APP, "README.md": OUR_TAG}),
        ("gradio", {"app.py": b"#" * 5000}),
        ("gradio", {"main.py": b"print()"}),
        ("static", {"index.html": b"<html>"}),
        ("docker", {"README.md": b"text"}),
    ],
)
def test_a_space_that_autoseg_did_not_make_is_left_alone(hub, alice, sdk, files):
    """One without app.py, or with our tag, was taken for ours."""
    hub.add_repo("alice/leaves", files, repo_type="space", sdk=sdk)
    with pytest.raises(HubError, match="did not make"):
        plan_deploy(["alice/leaves"], alice)


def test_an_empty_space_is_filled(hub, alice):
    hub.add_repo("alice/leaves", {"README.md": OUR_TAG}, repo_type="space", sdk="gradio")
    assert deployed(alice).stage == "RUNNING"


def test_a_deploy_that_broke_off_is_taken_up_again(hub, alice):
    hub.fail("POST .*/spaces/alice/leaves/commit/", times=20, status=400, body={"error": "no"})
    with pytest.raises(HubError):
        deployed(alice)
    hub.heal()
    assert deployed(alice).stage == "RUNNING"


def test_payment_required_says_the_ways_out(hub, alice):
    hub.fail("POST /api/repos/create", status=402, body={"error": "Payment required"})
    with pytest.raises(HubAccessError, match="payment required") as caught:
        deployed(alice)
    for way in ("PRO", "zero-a10g", "autoseg app"):
        assert way in str(caught.value)
    assert caught.value.__cause__ is None and caught.value.__context__ is None


@pytest.mark.parametrize(("stage", "what"), [("BUILD_ERROR", "built"), ("RUNTIME_ERROR", "ended")])
def test_a_failed_space_is_explained_by_the_end_of_its_log(hub, alice, stage, what):
    log = "".join(f"line {k}\n" for k in range(100)) + "\x1b[31mhf_reader and hf_alice\x1b[0m\n"
    hub.script_space("alice/secret", ["BUILDING", stage], logs=log, run_logs=log)
    with pytest.raises(HubError, match=what) as caught:
        deployed(alice, "alice/secret", options=DeployOptions(secrets={"HF_TOKEN": "hf_reader"}))
    text = str(caught.value)
    assert "line 99\n" in text and "line 50\n" not in text
    assert "hf_reader" not in text and "hf_alice" not in text and "\x1b" not in text
    assert "?logs=" in text


@pytest.mark.parametrize("how", ["body", "headers"])
def test_the_hub_that_repeats_a_secret_does_not_show_it(hub, alice, how):
    said = "x" * 165 + " has no place for -----my own key-----"
    answer = {"body": {"error": said}} if how == "body" else {"headers": {"X-Error-Message": said}}
    hub.fail("POST .*/secrets", times=20, status=400, **answer)
    with pytest.raises(HubError, match="has no place") as caught:
        deployed(alice, options=DeployOptions(secrets={"KEY": "-----my own key-----\n"}))
    assert "-----m" not in str(caught.value)


@pytest.mark.parametrize("stage", ["BUILD_ERROR", "CONFIG_ERROR"])
def test_a_secret_is_hidden_as_the_space_has_it(hub, alice, stage):
    """Given with a line break at its end, it stood in the log without one and was shown."""
    log = "the key is my own key\nof its two lines: first-line\nsecond-line\n"
    hub.script_space("alice/leaves", ["BUILDING", stage], logs=log, error_message=log)
    secrets = {"KEY": "my own key\n", "TWO": "first-line\nsecond-line"}
    with pytest.raises(HubError) as caught:
        deployed(alice, options=DeployOptions(secrets=secrets))
    text = str(caught.value)
    assert "the key is ***" in text and "first" not in text and "second" not in text


def test_a_package_that_is_not_there_is_named_as_the_reason(hub, alice):
    log = "ERROR: No matching distribution found for autoseg-search==9.9.9\n"
    hub.script_space("alice/leaves", ["BUILDING", "BUILD_ERROR"], logs=log)
    with pytest.raises(HubError, match="name another one"):
        deployed(alice)


def test_a_failure_is_told_also_where_the_log_cannot_be_had(hub, alice):
    hub.script_space("alice/leaves", ["BUILDING", "BUILD_ERROR"])
    hub.fail("GET .*/logs/build", times=9, status=403)
    with pytest.raises(HubError, match="Its log is at"):
        deployed(alice)


@pytest.mark.parametrize(
    ("stage", "text"),
    [("CONFIG_ERROR", "README.md"), ("NO_APP_FILE", "app.py"), ("DELETING", "deleted")],
)
def test_a_space_that_cannot_start_is_an_error(hub, alice, stage, text):
    hub.script_space("alice/leaves", ["BUILDING", stage], error_message="sdk_version is wrong")
    with pytest.raises(HubError, match=text):
        deployed(alice)


@pytest.mark.parametrize(
    ("stage", "text"),
    [("PAUSED", "paused"), ("STOPPED", "stopped"), ("SLEEPING", "wakes"), ("RUNNING", "")],
)
def test_a_space_that_stands_still_says_how_it_goes_on(hub, alice, stage, text):
    hub.script_space("alice/leaves", ["BUILDING", stage])
    done = deployed(alice)
    assert done.stage == stage
    assert text in done.note and bool(done.note) == bool(text)


def test_the_old_version_that_still_runs_is_not_taken_for_the_new_one(hub, alice):
    hub.script_space("alice/leaves", ["RUNNING", "RUNNING_BUILDING", "BUILD_ERROR"])
    with pytest.raises(HubError, match="could not be built"):
        deployed(alice)


def test_waiting_ends_in_time(hub, alice):
    hub.script_space("alice/leaves", ["BUILDING"])
    done = deployed(alice, wait_s=0.1)
    assert done.stage == "BUILDING"
    assert "not ready yet" in done.note


def test_the_failure_of_the_old_version_is_not_told_without_waiting(hub, alice):
    hub.script_space("alice/leaves", ["BUILD_ERROR", "BUILDING", "RUNNING"])
    done = deployed(alice, wait_s=0, settle_s=20)
    assert (done.stage, done.changed) == ("BUILDING", True)
    assert "about to build" in done.note


def test_restart_builds_anew_where_nothing_changed(hub, alice):
    deployed(alice)
    assert deployed(alice, options=DeployOptions(restart=True)).changed
    assert hub.space("alice/leaves").restarts == 1


def test_faults_of_the_hub_are_waited_out(hub, alice):
    hub.fail("POST /api/repos/create", status=503, headers={"Retry-After": "0"})
    hub.fail("GET .*/runtime", times=2, status=503, headers={"Retry-After": "0"})
    assert deployed(alice).stage == "RUNNING"


def test_licences_that_forbid_commercial_use_are_told(hub, alice):
    card = b"---\nlicense: cc-by-nc-4.0\n---\n"
    hub.add_repo("alice/limited", {**MODEL_FILES, "README.md": card})
    assert "forbids commercial use" in plan_deploy(["alice/limited"], alice).notes[0]
    assert plan_deploy(["alice/leaves"], alice).notes == ()


@pytest.mark.parametrize("kind", ["predict", "gallery"])
def test_the_templates_run_as_they_stand(kind):
    """Their requirement is this version, so that the folders work without a deploy."""
    folder = space_files.template_folder(kind)
    requirement = folder.joinpath("requirements.txt").read_text().strip()
    assert requirement == space_files.default_package()
    app = folder.joinpath("app.py").read_text()
    compile(app, "app.py", "exec")
    assert space_files.is_our_app(app)
    assert front_matter(folder.joinpath("README.md").read_bytes())["models"] == []
