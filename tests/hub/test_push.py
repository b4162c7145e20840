import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from bundle_helpers import make_info, make_model, make_report
from hub_helpers import CARD, connected, jpeg, make_model_folder
from loopback_hub import LoopbackHub

from autoseg.bundle import load_bundle, save_bundle
from autoseg.card import REPO_PLACEHOLDER, render_card
from autoseg.errors import BundleError, HubAccessError, HubError, LicenceError
from autoseg.files import write_json
from autoseg.hub.pull import pull_model
from autoseg.hub.push import PushOptions, plan_push, push

# huggingface_hub itself calls its HTTP client so as it uploads by LFS.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return make_model_folder(tmp_path_factory.mktemp("model") / "bundle")


@pytest.fixture
def model(original, tmp_path):
    return shutil.copytree(original, tmp_path / "bundle")


@pytest.fixture
def alice(plain, tmp_path):
    return connected(plain.endpoint, "hf_alice", tmp_path)


@pytest.fixture
def plain(tmp_path):
    """An empty Hub without Xet."""
    with LoopbackHub(tmp_path / "hub", xet=False) as hub:
        yield hub


def pushing(model, connection, repo_id="alice/leaf", **options):
    return push(plan_push(model, repo_id, connection, PushOptions(**options)), connection)


def uploads(hub, since=0):
    """Requests that carried the content of a large file."""
    return [path for method, path, _ in hub.requests[since:] if method == "PUT" and "lfs" in path]


def changes(hub):
    """Requests that changed something."""
    return [
        path
        for method, path, _ in hub.requests
        if method != "GET" and not path.endswith("validate-yaml") and "paths-info" not in path
    ]


@pytest.mark.parametrize("xet", [True, False], ids=["xet", "lfs"])
def test_a_pushed_model_is_pulled_as_it_was(xet, model, tmp_path):
    with LoopbackHub(tmp_path / "hub", xet=xet) as hub:
        connection = connected(hub.endpoint, "hf_alice", tmp_path)
        pushed = pushing(model, connection)
        pulled = pull_model("alice/leaf", connection)
    assert pushed.changed and pushed.commit == pulled.commit
    assert pushed.url == f"{hub.endpoint}/alice/leaf"
    for name in ("model.safetensors", "config.json", "examples/example_0.jpg"):
        assert (pulled.folder / name).read_bytes() == (model / name).read_bytes()
    assert load_bundle(pulled.folder).info == load_bundle(model).info


def test_all_files_come_in_one_commit(plain, alice, model):
    pushing(model, alice)
    assert len(plain.repository("alice/leaf").commits) == 2  # The first made .gitattributes.


def test_a_new_repository_is_private_unless_everybody_may_see_it(plain, alice, model):
    pushing(model, alice, "alice/own")
    pushing(model, alice, "lab/open", public=True)
    assert plain.repository("alice/own").private
    assert not plain.repository("lab/open").private


def test_a_plan_changes_nothing(plain, alice, model):
    plan = plan_push(model, "alice/leaf", alice)
    assert not plan.exists and plan.private
    assert {file.path for file in plan.files} == {
        "README.md", "config.json", "model.safetensors", "examples/example_0.jpg"
    }  # fmt: skip
    assert changes(plain) == []


def test_only_the_files_of_a_model_are_pushed(plain, alice, model):
    for name in (".env", "notes.txt", "weights.pth", "examples/raw.png", "examples/.x.jpg"):
        (model / name).write_text("secret")
    (model / "examples" / "not_a_picture.jpg").write_text("secret")
    (model / ".git").mkdir()
    plan = plan_push(model, "alice/leaf", alice)
    push(plan, alice)
    assert set(plain.files("alice/leaf")) == {
        "README.md", "config.json", "model.safetensors", "examples/example_0.jpg"
    }  # fmt: skip
    (note,) = plan.notes
    for name in (".env", ".git", "notes.txt", "weights.pth", "examples/raw.png"):
        assert name in note


def test_a_link_out_of_the_folder_is_refused(plain, alice, model, tmp_path):
    (tmp_path / "private.jpg").write_bytes(jpeg())
    (model / "examples" / "example_1.jpg").symlink_to(tmp_path / "private.jpg")
    with pytest.raises(BundleError, match="link"):
        plan_push(model, "alice/leaf", alice)
    assert changes(plain) == []


def test_pushing_the_same_again_makes_no_commit(plain, alice, model):
    first = pushing(model, alice)
    before = len(plain.requests)
    again = pushing(model, alice)
    assert not again.changed and again.commit == first.commit
    assert len(plain.repository("alice/leaf").commits) == 2
    assert uploads(plain, before) == []


def test_only_what_changed_is_sent_again(plain, alice, model):
    pushing(model, alice)
    before = len(plain.requests)
    (model / "README.md").write_text(CARD + "More.\n")
    plan = plan_push(model, "alice/leaf", alice)
    assert [file.path for file in plan.files if file.changed] == ["README.md"]
    assert push(plan, alice).changed
    assert uploads(plain, before) == []
    assert plain.files("alice/leaf")["README.md"].endswith(b"More.\n")


def test_what_an_earlier_push_left_is_deleted_in_the_same_commit(plain, alice, model):
    (model / "model.onnx").write_bytes(b"onnx")
    pushing(model, alice)
    plain.add_repo("alice/leaf", {"notes.md": b"by hand", "examples/notes.txt": b"by hand"})
    (model / "model.onnx").unlink()
    (model / "examples" / "example_0.jpg").rename(model / "examples" / "example_1.jpg")
    plan = plan_push(model, "alice/leaf", alice)
    assert set(plan.deletions) == {"model.onnx", "examples/example_0.jpg"}
    push(plan, alice)
    assert set(plain.files("alice/leaf")) == {
        "README.md", "config.json", "model.safetensors", "examples/example_1.jpg",
        "examples/notes.txt", "notes.md",
    }  # fmt: skip
    assert len(plain.repository("alice/leaf").commits) == 4


def test_a_repository_of_something_else_loses_nothing_but_what_is_replaced(plain, alice, model):
    plain.add_repo("alice/bert", {"model.onnx": b"theirs", "config.json": b"{}"})
    plan = plan_push(model, "alice/bert", alice)
    assert plan.deletions == ()
    assert any("was not made by autoseg; its config.json" in note for note in plan.notes)
    push(plan, alice)
    assert plain.files("alice/bert")["model.onnx"] == b"theirs"


def test_a_tag_and_a_branch_are_made(plain, alice, model):
    pushing(model, alice)
    (model / "README.md").write_text(CARD + "Experiment.\n")
    plan = plan_push(model, "alice/leaf", alice, PushOptions(revision="exp", tag="v1"))
    assert any("branch exp is made from main" in note for note in plan.notes)
    pushed = push(plan, alice)
    repository = plain.repository("alice/leaf")
    assert repository.branches["exp"] == repository.tags["v1"] == pushed.commit
    assert repository.branches["main"] != pushed.commit
    assert pushed.url.endswith("/alice/leaf/tree/exp") and pushed.tag == "v1"


def test_a_branch_can_be_the_first_thing_of_a_repository(plain, alice, model):
    pushed = pushing(model, alice, revision="exp")
    assert plain.repository("alice/leaf").branches["exp"] == pushed.commit


def test_a_tag_that_is_taken_is_refused_before_anything_changes(plain, alice, model):
    first = pushing(model, alice, tag="v1")
    assert pushing(model, alice, tag="v1").commit == first.commit  # Nothing changed: still true.
    (model / "README.md").write_text(CARD + "More.\n")
    with pytest.raises(HubError, match=f"'v1' stands for commit {first.commit[:7]}"):
        pushing(model, alice, tag="v1")
    assert plain.repository("alice/leaf").branches["main"] == first.commit


@pytest.mark.parametrize("options", [{"tag": "main"}, {"tag": "x", "revision": "x"}])
def test_a_tag_does_not_take_the_name_of_its_branch(plain, alice, model, options):
    with pytest.raises(HubError, match="name of the branch"):
        plan_push(model, "alice/leaf", alice, PushOptions(**options))
    assert plain.requests == []


def test_a_tag_cannot_be_pushed_to(plain, alice, model):
    pushing(model, alice, tag="v1")
    with pytest.raises(HubError, match="'v1' is a tag, which never changes"):
        plan_push(model, "alice/leaf", alice, PushOptions(revision="v1"))


@pytest.mark.parametrize(
    ("repo_id", "token", "says"),
    [
        ("bob/leaf", "hf_alice", "push to alice/leaf or lab/leaf"),
        ("club/leaf", "hf_alice", "may not write to club"),
        ("alice/leaf", "hf_reader", "may only read"),
        ("alice/leaf", None, "hf auth login"),
    ],
)
def test_whoever_may_not_write_is_refused_before_anything_is_sent(
    plain, model, tmp_path, repo_id, token, says
):
    with pytest.raises(HubAccessError, match=says):
        plan_push(model, repo_id, connected(plain.endpoint, token, tmp_path))
    assert changes(plain) == []


def test_a_token_that_may_not_write_to_this_repository_is_refused(plain, alice, model, tmp_path):
    pushing(model, alice)
    before = len(changes(plain))
    with pytest.raises(HubAccessError, match="no right to do this with alice/leaf"):
        plan_push(model, "alice/leaf", connected(plain.endpoint, "hf_scoped", tmp_path))
    assert len(changes(plain)) == before


def test_a_folder_without_a_sound_model_is_refused_unasked(plain, alice, model):
    weights = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(BundleError, match="model.safetensors"):
        plan_push(model, "alice/leaf", alice)
    assert plain.requests == []


def test_a_licence_that_forbids_it_is_refused_before_anything_changes(plain, alice, model):
    with pytest.raises(LicenceError, match="data"):
        plan_push(model, "alice/leaf", alice, PushOptions(public=True, data_licence="proprietary"))
    with pytest.raises(LicenceError, match="cannot be given the licence mit"):
        plan_push(
            model, "alice/leaf", alice, PushOptions(licence="mit", data_licence="cc-by-nc-4.0")
        )
    assert changes(plain) == []


def test_example_pictures_stay_at_home_when_everybody_can_see(plain, alice, model):
    plan = plan_push(model, "alice/leaf", alice, PushOptions(public=True))
    assert any("show your data" in note for note in plan.notes)
    push(plan, alice)
    assert "examples/example_0.jpg" not in plain.files("alice/leaf")
    pushing(model, alice, public=True, examples=True)
    assert "examples/example_0.jpg" in plain.files("alice/leaf")


def pushed_report(hub):
    return json.loads(hub.files("alice/leaf")["report.json"])


def test_a_report_names_no_pictures_that_stay_at_home(plain, alice, model):
    captions = [{"file": "examples/example_0.jpg", "caption": "the best"}]
    write_json(model / "report.json", {**make_report(("a", "b")), "examples": captions})
    pushing(model, alice, public=True)
    assert "examples" not in pushed_report(plain)
    pushing(model, alice, public=True, examples=True)
    assert pushed_report(plain)["examples"] == captions


@pytest.mark.parametrize("private", [True, False])
def test_a_public_model_does_not_name_a_private_data_set(plain, alice, model, private):
    plain.add_repo("alice/secret", {"a.txt": b"a"}, repo_type="dataset", private=private)
    source = {"repo_id": "alice/secret", "revision": "c" * 40, "licence": "mit"}
    write_json(model / "report.json", {**make_report(("a", "b")), "data": {"source": source}})
    (model / "README.md").unlink()
    pushing(model, alice)
    assert pushed_report(plain)["data"]["source"] == source
    plan = plan_push(model, "alice/other", alice, PushOptions(public=True))
    assert any("do not name the data set" in note for note in plan.notes) == private
    push(plan, alice)
    sent = b"".join(plain.files("alice/other").values())
    assert (b"alice/secret" in sent) != private


def test_example_pictures_can_stay_at_home_always(plain, alice, model):
    pushing(model, alice, examples=False)
    assert "examples/example_0.jpg" not in plain.files("alice/leaf")


def test_pictures_in_the_history_keep_a_repository_from_becoming_public(plain, alice, model):
    """Also once a later push deleted them: the older commits still show them."""
    pushing(model, alice)
    pushing(model, alice, examples=False)
    for examples in (None, False):
        with pytest.raises(HubError, match="its history holds example pictures"):
            plan_push(model, "alice/leaf", alice, PushOptions(public=True, examples=examples))
    assert plain.repository("alice/leaf").private
    pushing(model, alice, public=True, examples=True)
    assert not plain.repository("alice/leaf").private


@pytest.mark.parametrize("kind", ["tags", "pull_requests"])
def test_pictures_in_a_tag_or_a_pull_request_keep_a_repository_private(plain, alice, model, kind):
    pushing(model, alice, examples=False)
    shown = pushing(model, alice, revision="exp", examples=True).commit
    repository = plain.repository("alice/leaf")
    getattr(repository, kind)["1"] = shown
    del repository.branches["exp"]
    with pytest.raises(HubError, match="its history holds example pictures"):
        plan_push(model, "alice/leaf", alice, PushOptions(public=True))


def test_waits_for_the_history_are_told(plain, alice, model):
    pushing(model, alice, examples=False)
    waits = []
    plain.fail("GET .*/commits/", status=429, headers={"Retry-After": "1"})
    plan_push(model, "alice/leaf", alice, PushOptions(public=True), on_wait=waits.append)
    assert waits == [1.0]


def trained_on_secret(hub, model, **more):
    """A model with a report that names a private data set."""
    hub.add_repo("alice/secret", {"a.txt": b"a"}, repo_type="dataset", private=True)
    source = {"repo_id": "alice/secret", "revision": "c" * 40, "licence": "mit", **more}
    write_json(model / "report.json", {**make_report(("a", "b")), "data": {"source": source}})


def test_a_data_set_of_the_hub_without_a_licence_is_not_the_users_own(plain, alice, model):
    source = {"repo_id": "bob/cells", "revision": "c" * 40, "licence": None}
    data = {"source": source, "licence": None}  # As autoseg wrote it once.
    write_json(model / "report.json", {**make_report(("a", "b")), "data": data})
    plain.add_repo("bob/cells", {"a.txt": b"a"}, repo_type="dataset")
    (model / "README.md").unlink()
    with pytest.raises(LicenceError, match="The licence of the training data is not known"):
        plan_push(model, "alice/leaf", alice, PushOptions(public=True))
    for named in ({"data_licence": "mit"}, {"licence": "mit"}, {"public": False}):
        plan_push(model, "alice/leaf", alice, PushOptions(**{"public": True, **named}))


@pytest.mark.parametrize("forgotten", [True, False])
def test_a_history_that_names_a_private_data_set_keeps_a_repository_private(
    plain, alice, model, forgotten
):
    """Also once another model took the place of the one that was trained on it."""
    trained_on_secret(plain, model)
    pushing(model, alice, examples=False)
    if forgotten:
        (model / "report.json").unlink()
    with pytest.raises(HubError, match="history names the data set alice/secret.*new repository"):
        plan_push(model, "alice/leaf", alice, PushOptions(public=True))
    pushing(model, alice, "alice/other", public=True)
    assert b"alice/secret" not in b"".join(plain.files("alice/other").values())


def test_a_pulled_model_whose_data_set_is_not_named_still_has_the_licence_of_its_data(
    plain, alice, model
):
    trained_on_secret(plain, model, licence=None)
    pushing(model, alice, public=True, licence="mit")
    assert pushed_report(plain)["data"] == {"source": None, "licence": "unknown"}


def test_a_repository_called_as_its_private_data_set_may_be_public(plain, alice, model):
    trained_on_secret(plain, model)
    pushing(model, alice, "alice/secret", public=True)
    assert json.loads(plain.files("alice/secret")["report.json"])["data"]["source"] is None


def test_an_edited_card_that_names_a_private_data_set_is_not_shown_to_everybody(
    plain, alice, model
):
    trained_on_secret(plain, model)
    (model / "README.md").write_text(CARD + "See [data](/datasets/Alice/secret).\n")
    with pytest.raises(HubError, match="README.md names the data set alice/secret"):
        plan_push(model, "alice/leaf", alice, PushOptions(public=True))
    assert changes(plain) == []
    pushing(model, alice)


def test_a_private_repository_without_pictures_becomes_public_when_asked(plain, alice, model):
    pushing(model, alice, examples=False)
    plan = plan_push(model, "alice/leaf", alice, PushOptions(public=True))
    assert plan.opens and not plan.private
    push(plan, alice)
    assert not plain.repository("alice/leaf").private


def test_a_public_repository_stays_public_and_is_treated_as_such(plain, alice, model):
    pushing(model, alice, public=True)
    plan = plan_push(model, "alice/leaf", alice)
    assert not plan.private
    assert any("is public and stays so" in note for note in plan.notes)
    assert not any(file.path.startswith("examples/") for file in plan.files)


def test_an_untouched_card_is_written_for_the_repository(plain, alice, tmp_path):
    info = make_info()
    report = make_report(info.classes.names)
    card = render_card(info, report)
    folder = save_bundle(tmp_path / "scored", make_model(info), info, report=report, card=card)
    pushing(folder, alice, licence="cc-by-4.0")
    text = plain.files("alice/leaf")["README.md"].decode()
    assert 'from_pretrained("alice/leaf")' in text and REPO_PLACEHOLDER not in text
    assert "cc-by-4.0" in text.partition("\n---\n")[0]
    assert (folder / "README.md").read_text() == card


def test_a_card_edited_by_the_user_keeps_its_text(plain, alice, model):
    card = CARD.replace("license: mit\n", "license: mit\nlicense_name: x\nlanguage: en\n")
    (model / "README.md").write_text(card + "Mine.\n")
    pushing(model, alice)
    text = plain.files("alice/leaf")["README.md"].decode()
    assert text == card.replace(REPO_PLACEHOLDER, "alice/leaf") + "Mine.\n"
    pushing(model, alice, licence="apache-2.0")
    text = plain.files("alice/leaf")["README.md"].decode()
    head = text.partition("\n---\n")[0]
    assert "license: apache-2.0" in head and "mit" not in head and "license_name" not in head
    assert "language: en" in head and text.endswith("Mine.\n")


def test_the_licence_in_an_edited_card_must_keep_the_terms_of_the_parts(plain, alice, model):
    nc = {"public": True, "data_licence": "cc-by-nc-4.0"}
    with pytest.raises(LicenceError, match="licence mit that README.md names: .*data, cc-by-nc"):
        plan_push(model, "alice/leaf", alice, PushOptions(**nc))
    pushing(model, alice, **nc, licence="cc-by-nc-4.0")
    head = plain.files("alice/leaf")["README.md"].decode().partition("\n---\n")[0]
    assert "license: cc-by-nc-4.0" in head and "mit" not in head


def test_a_pulled_model_gets_a_card_for_its_new_place(plain, alice, model):
    """Its owner's licence stays, and so does what its owner said of the data."""
    (model / "README.md").unlink()
    write_json(model / "report.json", {**make_report(("a", "b")), "data": {"licence": None}})
    pushing(model, alice, "alice/orig", licence="cc-by-sa-4.0", data_licence="cc-by-4.0")
    pulled = pull_model("alice/orig", alice).folder
    pushing(pulled, alice, "lab/copy")
    text = plain.files("lab/copy")["README.md"].decode()
    assert 'from_pretrained("lab/copy")' in text and "alice/orig" not in text
    assert 'license: "cc-by-sa-4.0"' in text.partition("\n---\n")[0]
    assert "The training data: [cc-by-4.0]" in text


def test_a_folder_without_a_card_gets_one(plain, alice, model):
    (model / "README.md").unlink()
    pushing(model, alice)
    assert b'from_pretrained("alice/leaf")' in plain.files("alice/leaf")["README.md"]


@pytest.mark.parametrize("xet", [True, False], ids=["xet", "lfs"])
def test_progress_rises_to_the_whole_and_never_exceeds_it(xet, model, tmp_path, capfd, caplog):
    told = []
    with LoopbackHub(tmp_path / "hub", xet=xet) as hub:
        connection = connected(hub.endpoint, "hf_alice", tmp_path)
        plan = plan_push(model, "alice/leaf", connection)
        push(plan, connection, on_progress=lambda done, total: told.append((done, total)))
    whole = sum(file.size_bytes for file in plan.files)
    assert {total for _, total in told} == {whole}
    done = [done for done, _ in told]
    assert done[-1] == whole and len(done) > 1
    assert done == sorted(done)  # To hash a file is not to send it.
    assert xet or 0 < done[len(done) // 2] < whole
    assert "Xet" not in caplog.text
    assert "Processing Files" not in capfd.readouterr().err  # No second bar beside the caller's.


def test_waits_are_told(plain, alice, model):
    waits = []
    plain.fail("POST .*/commit/", status=429, headers={"Retry-After": "1"})
    push(plan_push(model, "alice/leaf", alice), alice, on_wait=waits.append)
    assert waits == [1.0]


@pytest.mark.parametrize("public", [True, False])
def test_a_repository_that_changed_its_visibility_meanwhile_is_not_pushed_to(
    plain, alice, model, public
):
    pushing(model, alice, examples=False, public=public)
    plan = plan_push(model, "alice/leaf", alice, PushOptions(public=public, examples=True))
    plain.repository("alice/leaf").private = public
    with pytest.raises(HubError, match=f"made it {'private' if public else 'public'} meanwhile"):
        push(plan, alice)
    assert "examples/example_0.jpg" not in plain.files("alice/leaf")


def test_a_change_by_somebody_else_in_between_is_noticed(plain, alice, model):
    pushing(model, alice)
    (model / "README.md").write_text(CARD + "Mine.\n")
    plan = plan_push(model, "alice/leaf", alice)
    plain.add_repo("alice/leaf", {"README.md": CARD.encode() + b"Theirs.\n"})
    with pytest.raises(HubError, match="somebody else changed its branch main") as caught:
        push(plan, alice)
    assert caught.value.__context__ is None
    assert plain.files("alice/leaf")["README.md"].endswith(b"Theirs.\n")
    pushing(model, alice)
    assert plain.files("alice/leaf")["README.md"].endswith(b"Mine.\n")


def test_the_same_change_by_somebody_else_is_no_conflict(plain, alice, model):
    pushing(model, alice)
    (model / "README.md").write_text(CARD + "Mine.\n")
    first, second = (plan_push(model, "alice/leaf", alice) for _ in range(2))
    assert push(first, alice).commit == push(second, alice).commit


def test_a_repository_that_somebody_made_meanwhile_is_not_overwritten(plain, alice, model):
    plan = plan_push(model, "alice/leaf", alice)
    plain.add_repo("alice/leaf", {"config.json": b"theirs"}, private=True)
    with pytest.raises(HubError, match="somebody else made it meanwhile"):
        push(plan, alice)
    assert plain.files("alice/leaf")["config.json"] == b"theirs"


PUSH = """
import json, sys
from pathlib import Path
from autoseg.errors import HubError
from autoseg.hub.connection import connect
from autoseg.hub.push import plan_push, push
for repo_id in sys.argv[2:]:
    try:
        connection = connect()
        pushed = push(plan_push(Path(sys.argv[1]), repo_id, connection), connection)
        print(json.dumps(["pushed", pushed.commit]), flush=True)
    except HubError as error:
        print(json.dumps(["refused", str(error)]), flush=True)
"""


def start_push(hub, tmp_path, folder, *repo_ids, xet=True):
    return subprocess.Popen(
        [sys.executable, "-c", PUSH, folder, *repo_ids],
        env=hub.environment(tmp_path / "home", "hf_alice", xet=xet),
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.alone
@pytest.mark.parametrize(
    ("xet", "during"),
    [
        pytest.param(False, "PUT .*lfs", id="lfs upload"),
        pytest.param(False, "POST .*/commit/", id="lfs commit", marks=pytest.mark.slow),
        pytest.param(True, "POST .*/commit/", id="xet commit", marks=pytest.mark.slow),
    ],
)
def test_a_push_that_was_killed_shows_nothing_and_goes_on(xet, during, model, tmp_path):
    shutil.rmtree(model / "examples")  # One large file only, so that its upload is the one.
    with LoopbackHub(tmp_path / "hub", xet=xet) as hub:
        hub.fail(during, delay_s=4)
        process = start_push(hub, tmp_path, model, "alice/leaf", xet=xet)
        wait_for_upload(hub, process)
        time.sleep(1)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert hub.files("alice/leaf") == {}
        hub.heal()
        before = len(hub.requests)
        connection = connected(hub.endpoint, "hf_alice", tmp_path)
        assert pushing(model, connection).changed
        sent = uploads(hub, before)
        weights = hub.files("alice/leaf")["model.safetensors"]
    assert weights == (model / "model.safetensors").read_bytes()
    assert len(sent) == (1 if during.startswith("PUT") else 0)


def wait_for_upload(hub, process):
    """Until a push has asked how to upload."""
    while not any("preupload" in path for _, path, _ in hub.requests):
        assert process.poll() is None
        time.sleep(0.05)


@pytest.mark.slow
def test_three_processes_that_push_at_once_each_end_well_or_say_why(hub, model, tmp_path):
    folders = []
    for k in range(3):
        folder = shutil.copytree(model, tmp_path / f"model{k}")
        (folder / "README.md").write_text(f"{CARD}Model {k}.\n")
        folders.append(folder)
    processes = [
        start_push(hub, tmp_path, folder, "alice/shared", f"alice/own{k}")
        for k, folder in enumerate(folders)
    ]
    outcomes = [
        [json.loads(line) for line in process.communicate()[0].splitlines()]
        for process in processes
    ]
    assert all(process.returncode == 0 for process in processes)
    assert all(own[0] == "pushed" for _, own in outcomes)
    shared = [shared for shared, _ in outcomes]
    assert any(state == "pushed" for state, _ in shared)
    assert all("somebody else" in text for state, text in shared if state == "refused")
    cards = {f"{CARD}Model {k}.\n".replace(REPO_PLACEHOLDER, "alice/shared") for k in range(3)}
    assert hub.files("alice/shared")["README.md"].decode() in cards
