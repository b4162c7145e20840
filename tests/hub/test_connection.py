import huggingface_hub
import pytest
from hub_helpers import connected
from loopback_hub import LoopbackHub, User

from autoseg.errors import ConfigError, HubAccessError, HubError, HubUnreachableError
from autoseg.hub.connection import Account, check_repo_id, connect, is_revision, parse_repo, sign_in


@pytest.mark.parametrize(
    ("text", "repo_id", "revision"),
    [
        ("alice/leaf", "alice/leaf", None),
        (" alice/leaf\n", "alice/leaf", None),
        ("alice/leaf@v1.0", "alice/leaf", "v1.0"),
        ("alice/leaf@feature/new", "alice/leaf", "feature/new"),
        ("hf://alice/leaf@main", "alice/leaf", "main"),
        ("hf://models/alice/leaf", "alice/leaf", None),
        ("https://huggingface.co/alice/leaf", "alice/leaf", None),
        ("https://huggingface.co/alice/leaf/", "alice/leaf", None),
        ("https://huggingface.co/alice/leaf/tree/v1", "alice/leaf", "v1"),
        ("https://hf.co/alice/leaf/tree/refs%2Fpr%2F1", "alice/leaf", "refs/pr/1"),
        ("https://huggingface.co/alice/leaf/blob/main/config.json", "alice/leaf", "main"),
    ],
)
def test_a_repository_is_understood_however_it_is_written(text, repo_id, revision):
    found = parse_repo(text)
    assert (found.repo_id, found.revision) == (repo_id, revision)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "leaf",
        "a/b/c",
        "../leaf",
        "./runs/leaf",
        "/home/alice/leaf",
        "alice/..",
        "alice/le af",
        "alice/leaf.git",
        "alice/leaf@",
        "alice/leaf@../../x",
        "alice/leaf@-option",
        "hf://datasets/alice/leaf",
        "https://huggingface.co/datasets/alice/leaf",
        "https://huggingface.co/spaces/alice/leaf",
        "https://example.com/alice/leaf",
        "https://[",
        "alice/" + "x" * 100,
    ],
)
def test_what_cannot_be_a_model_on_the_hub_is_none(text):
    assert parse_repo(text) is None


def test_only_a_plain_name_can_be_written_to():
    assert check_repo_id("alice/leaf") == "alice/leaf"
    for text in ("alice/leaf@v1", "hf://alice/leaf", "leaf"):
        with pytest.raises(HubError, match="write owner/name"):
            check_repo_id(text)


def test_names_that_git_refuses_are_no_revisions():
    assert all(map(is_revision, ("main", "v1.0", "a/b", "0" * 40, "grün")))
    assert not any(map(is_revision, ("", ".", "a..b", "a b", "a~1", "x.lock", "a/", "a\x00")))


def test_a_token_is_stripped_of_the_space_around_it():
    assert connect(" hf_secret\n").token == "hf_secret"


@pytest.mark.parametrize("token", ["hf_sec\nret", "hf_sec ret", "hf_secrét", "hf_sec\x00ret"])
def test_a_token_that_no_header_can_carry_is_refused_unseen(token):
    with pytest.raises(HubAccessError, match="copy it again") as caught:
        connect(token)
    assert "hf_sec" not in repr(caught.value)


def test_a_connection_does_not_show_its_token():
    connection = connect("hf_secret")
    assert "hf_secret" not in repr(connection)


def test_no_token_means_the_machines_own_unless_that_is_forbidden(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_of_this_machine")
    assert connect().token == connect("  ").token == "hf_of_this_machine"
    assert connect("hf_mine").token == "hf_mine"
    assert connect(saved_login=False).token is None


@pytest.mark.parametrize("endpoint", ["huggingface.co", "ftp://hub", "http://", "https://["])
def test_an_endpoint_that_is_no_web_address_is_refused(endpoint):
    with pytest.raises(ConfigError, match="HF_ENDPOINT"):
        connect(endpoint=endpoint)


def test_the_endpoint_is_the_one_of_the_environment_without_its_slash():
    assert connect().endpoint == huggingface_hub.constants.ENDPOINT
    assert connect(endpoint="http://hub.local/").endpoint == "http://hub.local"


def test_signing_in_says_where_the_account_may_write(hub, tmp_path):
    """Alice belongs to "lab", where she may write, and to "club", where she may only read."""
    account = sign_in(connected(hub.endpoint, "hf_alice", tmp_path))
    assert account == Account("alice", ("lab",), "write")
    assert account.namespaces == ("alice", "lab")
    assert account.may_write


def test_signing_in_says_what_the_token_may_do(hub, tmp_path):
    assert not sign_in(connected(hub.endpoint, "hf_reader", tmp_path)).may_write
    assert sign_in(connected(hub.endpoint, "hf_scoped", tmp_path)).role == "fineGrained"


def test_signing_in_without_a_token_says_how_to_get_one(hub, tmp_path):
    with pytest.raises(HubAccessError, match="hf auth login"):
        sign_in(connected(hub.endpoint, None, tmp_path))
    assert hub.requests == []


def test_an_answer_that_is_not_the_hubs_is_told_as_such(hub, tmp_path):
    """What a hotel's network answers to everything."""
    hub.fail("whoami", status=200, body="<html>Please sign in</html>")
    with pytest.raises(HubUnreachableError, match="is not the Hub"):
        sign_in(connected(hub.endpoint, "hf_alice", tmp_path))


@pytest.mark.parametrize(
    "answer", [[], {}, "alice", {"name": None}, {"name": 3}, {"name": "alice", "orgs": 3}]
)
def test_an_answer_without_an_account_is_told_as_such(hub, answer, tmp_path):
    hub.fail("whoami", status=200, body=answer)
    with pytest.raises(HubUnreachableError, match="is not the Hub"):
        sign_in(connected(hub.endpoint, "hf_alice", tmp_path))


@pytest.mark.parametrize(
    "more",
    [{"auth": [1]}, {"auth": {"accessToken": 1}}, {"orgs": [1, {"roleInOrg": "write"}]}],
)
def test_odd_parts_of_an_account_are_passed_over(hub, more, tmp_path):
    hub.fail("whoami", status=200, body={"name": "alice", **more})
    account = sign_in(connected(hub.endpoint, "hf_alice", tmp_path))
    assert account == Account("alice", (), "")


def test_an_account_without_a_role_or_organisations_can_be_read(tmp_path):
    with LoopbackHub(tmp_path / "hub", users=(User("eve", "hf_eve"),)) as hub:
        assert sign_in(connected(hub.endpoint, "hf_eve", tmp_path)).namespaces == ("eve",)
