import re
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest
from bundle_helpers import make_bundle
from loopback_hub import ALICE, READER, LoopbackHub
from ui_helpers import write_run

from autoseg.hub.connection import Account, connect
from autoseg.hub.push import PushOptions
from autoseg.hub.spaces import DeployOptions
from autoseg.ui import predict_models, share_actions, share_tab, share_view
from autoseg.ui.access import Access
from autoseg.ui.share_actions import Session


@pytest.fixture
def session(hub: LoopbackHub, tmp_path: Path) -> Session:
    """A page that nobody has signed in to."""
    return Session(connect(endpoint=hub.endpoint, cache_dir=tmp_path / "cache", saved_login=False))


@pytest.fixture
def guest(session: Session) -> Session:
    """A page that asks for a password, opened by anna."""
    return replace(session, user="anna", is_owner=False)


@pytest.fixture
def alice(session: Session) -> Session:
    return share_actions.signed_in(session, ALICE.token)["session"]


@pytest.fixture
def run(workspace, tmp_path):
    run = write_run(workspace, "leaves-1", source=tmp_path)
    make_bundle(run.model)
    return run


def push(workspace, session, run, repo="alice/leaves", **options):
    return share_actions.pushed(
        workspace, session, run.name, repo, PushOptions(**options), lambda done, total: None
    )


def test_signing_in_says_who_and_empties_the_field(session):
    values = share_actions.signed_in(session, f" {ALICE.token}\n")
    assert "alice" in values["account"] and "lab" in values["account"]
    assert values["token"] == ""
    assert values["session"].account.name == "alice"


def test_a_wrong_token_is_said_and_not_shown(session):
    values = share_actions.signed_in(session, "hf_nobodyknowsit")
    assert "alert" in values["account"] and "nobodyknowsit" not in str(values)
    assert "session" not in values


def test_signing_out_forgets_the_token(alice):
    values = share_actions.signed_out(alice)
    assert values["session"].connection.token is None
    assert values["session"].account is None


def test_an_empty_field_signs_in_with_this_computers_login(session, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", ALICE.token)
    values = share_actions.signed_in(session, "")
    assert values["session"].account.name == "alice"
    again = share_actions.signed_in(share_actions.signed_out(values["session"])["session"], "")
    assert again["session"].account.name == "alice"


def test_a_guest_does_not_get_this_computers_login(guest, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", ALICE.token)
    values = share_actions.signed_in(guest, "")
    assert "a token of your own" in values["account"] and "session" not in values
    assert hub.requests == []
    assert share_actions.signed_in(guest, ALICE.token)["session"].user == "anna"


def test_a_guest_does_not_get_this_computers_copy_of_a_private_model(
    workspace, run, alice, guest, hub
):
    push(workspace, alice, run)
    assert "is here" in share_actions.pulled(workspace, alice, "alice/leaves")["pulled"]
    assert "alert" in share_actions.pulled(workspace, guest, "alice/leaves")["pulled"]
    hub.fail("alice/leaves", times=100, status=503)
    assert "is here" in share_actions.pulled(workspace, alice, "alice/leaves")["pulled"]
    assert "alert" in share_actions.pulled(workspace, guest, "alice/leaves")["pulled"]


def test_a_guests_account_is_nobody_elses(workspace):
    anna, bob = (gr.Request(username=name) for name in ("anna", "bob"))
    access = Access(users=(("anna", "a long password"), ("bob", "b long password")))
    wiring = share_tab._Wiring({}, workspace, access)
    session = replace(wiring.session_of(None, anna), account=Account("alice", (), "write"))
    assert wiring.session_of(session, anna) is session
    assert wiring.session_of(session, bob).account is None
    assert not wiring.session_of(None, bob).is_owner


def test_nothing_is_pushed_before_somebody_signed_in(workspace, run, session, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", ALICE.token)
    values = push(workspace, session, run)
    assert "Nobody is signed in" in values["plan"]
    deployed = share_actions.deployed(session, ["alice/leaves"], DeployOptions(), print)
    assert "Nobody is signed in" in deployed["space_state"]
    assert hub.requests == []


def test_the_repositorys_name_is_suggested(alice, session):
    assert share_actions.suggested(alice, "leaves-1") == {"repo": "alice/leaves-1"}
    assert share_actions.suggested(session, "leaves-1") == {}


def test_where_no_name_is_suggested_the_field_is_left_alone(workspace):
    """After a sign-in that failed the repository read {}."""
    assert share_tab._Wiring({}, workspace, Access()).placed({}) == gr.skip()


def test_a_preview_uploads_nothing(workspace, run, alice, hub):
    values = share_actions.planned(workspace, alice, run.name, "alice/leaves", PushOptions())
    assert "model.safetensors" in values["plan"] and "private" in values["plan"]
    assert "alice/leaves" in values["card"] and not values["card"].startswith("---")
    assert all(method != "POST" or "create" not in path for method, path, _ in hub.requests)


def test_a_preview_needs_no_account_and_says_what_a_push_lacks(workspace, run, session, hub):
    values = share_actions.planned(workspace, session, run.name, "", PushOptions(public=True))
    assert "sign in at the top" in values["plan"] and "owner/name" in values["plan"]
    assert "model.safetensors" in values["plan"] and "everybody can see it" in values["plan"]
    assert "owner/name" in values["card"]
    values = share_actions.planned(workspace, session, run.name, "alice/leaves", PushOptions())
    assert "sign in at the top" in values["plan"] and "write it as" not in values["plan"]
    assert "alice/leaves" in values["card"] and "private" in values["plan"]
    assert hub.requests == []


def test_a_preview_without_an_account_tells_what_the_push_brings(workspace, run, session, alice):
    said = [
        share_actions.planned(workspace, each, run.name, "alice/leaves", PushOptions())
        for each in (session, alice)
    ]
    assert said[0]["card"] == said[1]["card"]
    assert re.findall("<td.*?</td>", said[0]["plan"]) == re.findall("<td.*?</td>", said[1]["plan"])


def test_only_who_is_signed_in_can_sign_out(session, alice, workspace):
    signed_in = share_actions.signed_in(session, ALICE.token)
    assert signed_in["sign_out"]["interactive"]
    assert not share_actions.signed_out(alice)["sign_out"]["interactive"]
    with gr.Blocks() as page:
        share_tab.build(workspace, Access(local=True))
    assert [
        block.interactive for block in page.blocks.values()
        if getattr(block, "elem_id", None) == "sign-out"
    ] == [False]  # fmt: skip


def test_a_pushed_model_is_on_the_hub(workspace, run, alice, hub):
    values = push(workspace, alice, run)
    assert f"{hub.endpoint}/alice/leaves" in values["plan"]
    files = hub.files("alice/leaves")
    assert files["model.safetensors"] == (run.model / "model.safetensors").read_bytes()
    assert hub.repository("alice/leaves").private


def test_a_push_without_rights_is_an_error_on_the_page(workspace, run, session):
    reader = share_actions.signed_in(session, READER.token)["session"]
    values = push(workspace, reader, run)
    assert "alert" in values["plan"] and READER.token not in str(values)


def test_a_push_without_a_model_says_what_to_do(workspace, alice):
    values = share_actions.planned(workspace, alice, None, "alice/leaves", PushOptions())
    assert "finish a search first" in values["plan"]


def test_own_models_are_offered_after_signing_in(workspace, run, alice, session):
    push(workspace, alice, run)
    values = share_actions.signed_in(session, ALICE.token)
    assert values["own"]["choices"] == ["alice/leaves"]


def test_models_are_found_by_name(workspace, run, alice):
    push(workspace, alice, run)
    assert share_actions.found(alice, "leav")["own"]["choices"] == ["alice/leaves"]
    assert "No model" in share_actions.found(alice, "nothing")["pulled"]


def test_a_pulled_model_is_offered_for_prediction(workspace, run, alice):
    push(workspace, alice, run)
    values = share_actions.pulled(workspace, alice, "alice/leaves")
    assert "is here" in values["pulled"] and "stem" in values["pulled"]
    assert values["pulled_name"] == "alice/leaves"
    names = [name for _, name in predict_models.model_choices(workspace)]
    assert names == [run.name, "alice/leaves"]
    loaded, own = (
        predict_models.load(predict_models.find_model(workspace, Access(), name))
        for name in ("alice/leaves", run.name)
    )
    assert loaded.class_names == own.class_names


@pytest.mark.parametrize("text", ["", "leaves", "../leaves", "a/b/c"])
def test_what_is_no_repository_is_said(workspace, session, text):
    assert "owner/name" in share_actions.pulled(workspace, session, text)["pulled"]


def test_a_space_is_made_and_its_stages_are_shown(workspace, run, alice, hub):
    push(workspace, alice, run, public=True)
    hub.script_space("alice/leaves", ["BUILDING", "RUNNING"])
    seen = []
    values = share_actions.deployed(alice, ["alice/leaves"], DeployOptions(), seen.append)
    assert "spaces/alice/" in values["space_state"] and seen[-1] == "Running"
    assert values["space_token"] == ""


def test_a_space_without_a_model_says_what_to_do(alice):
    values = share_actions.deployed(alice, [], DeployOptions(), print)
    assert "No model is chosen" in values["space_state"]


def test_a_strangers_card_cannot_grow_without_end(tmp_path):
    """2,100 characters of card with one picture of 2 MB used to become 267 MB of page."""
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "small.jpg").write_bytes(bytes(1_000_000))
    (tmp_path / "examples" / "large.jpg").write_bytes(bytes(3_000_000))
    for name in ("small", "large"):
        card = f"![x](examples/{name}.jpg)\n" * 100
        assert len(share_view.card(card, tmp_path)) < 1_500_000


def test_a_page_that_others_can_open_offers_no_sharing(workspace):
    with gr.Blocks() as page:
        tab = share_tab.build(workspace, share_tab.Access())
    assert tab.outputs == []
    assert not any(isinstance(block, gr.Textbox) for block in page.blocks.values())


def test_pictures_of_a_card_are_shown_from_its_folder(tmp_path):
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "example_1.jpg").write_bytes(b"jpeg")
    card = (
        "---\nlicense: mit\n---\n# Leaves\n![one](examples/example_1.jpg)\n![two](examples/x.jpg)"
    )
    shown = share_view.card(card, tmp_path)
    assert shown.startswith("# Leaves")
    assert "(data:image/jpeg;base64,anBlZw==)" in shown and "(examples/x.jpg)" in shown
