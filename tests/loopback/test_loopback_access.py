"""Who sees and changes what."""

import urllib.error
import urllib.request

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError
from loopback_hub import ALICE, BOB, READER, SCOPED, LoopbackHub, User


def api_of(hub: LoopbackHub, user: User | None) -> HfApi:
    return HfApi(hub.endpoint, user.token if user else False)


def status_of(error: pytest.ExceptionInfo[HfHubHTTPError]) -> int:
    return error.value.response.status_code


@pytest.mark.parametrize("user", [ALICE, READER, SCOPED], ids=lambda user: user.name)
def test_each_token_of_an_account_has_its_own_role(hub: LoopbackHub, user: User) -> None:
    answer = api_of(hub, user).whoami()
    assert answer["name"] == "alice"
    assert answer["auth"]["accessToken"]["role"] == user.role
    roles = {entry["name"]: entry["roleInOrg"] for entry in answer["orgs"]}
    assert roles == {"lab": "write", "club": "read"}


def test_an_unknown_token_is_refused_everywhere(hub: LoopbackHub) -> None:
    hub.add_repo("bob/open", {"a.txt": b"a"})
    stranger = HfApi(hub.endpoint, "hf_nobody")
    for call in (stranger.whoami, lambda: stranger.model_info("bob/open")):
        with pytest.raises(HfHubHTTPError) as error:
            call()
        assert status_of(error) == 401


@pytest.mark.parametrize(
    ("user", "repo_id", "status"),
    [
        (ALICE, "alice/new", None),
        (ALICE, "lab/new", None),
        (SCOPED, "lab/new", None),
        (SCOPED, "alice/new", 403),
        (ALICE, "club/new", 403),
        (READER, "alice/new", 403),
        (BOB, "alice/new", 403),
        (None, "alice/new", 401),
    ],
)
def test_a_repository_is_made_where_the_token_may_write(
    hub: LoopbackHub, user: User | None, repo_id: str, status: int | None
) -> None:
    if status is None:
        assert api_of(hub, user).create_repo(repo_id).repo_id == repo_id
        return
    with pytest.raises(HfHubHTTPError) as error:
        api_of(hub, user).create_repo(repo_id)
    assert status_of(error) == status


def test_a_repository_that_is_there_can_be_made_again_only_if_that_is_fine(
    hub: LoopbackHub,
) -> None:
    api = api_of(hub, ALICE)
    first = api.create_repo("alice/twice")
    with pytest.raises(HfHubHTTPError) as error:
        api.create_repo("alice/twice")
    assert status_of(error) == 409
    assert api.create_repo("alice/twice", exist_ok=True) == first


@pytest.mark.parametrize("name", ["two--dashes", "two..dots", "x" * 97])
def test_a_name_that_no_repository_may_have_is_refused(hub: LoopbackHub, name: str) -> None:
    request = urllib.request.Request(
        f"{hub.endpoint}/api/repos/create",
        data=f'{{"name": "{name}"}}'.encode(),
        headers={"Authorization": f"Bearer {ALICE.token}", "Content-Type": "application/json"},
    )
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(request)
    assert error.value.code == 400
    error.value.close()


@pytest.mark.parametrize(("user", "status"), [(BOB, 404), (None, 401)])
def test_a_private_repository_looks_like_none_to_others(
    hub: LoopbackHub, user: User | None, status: int
) -> None:
    hub.add_repo("alice/secret", {"a.txt": b"a"}, private=True)
    for repo_id in ("alice/secret", "alice/none"):
        with pytest.raises(RepositoryNotFoundError) as error:
            api_of(hub, user).model_info(repo_id)
        assert status_of(error) == status
    assert api_of(hub, READER).model_info("alice/secret").private


def test_a_repository_changes_between_private_and_public(hub: LoopbackHub) -> None:
    api = api_of(hub, ALICE)
    api.create_repo("alice/shy", private=True)
    assert hub.repository("alice/shy").private
    api.update_repo_settings("alice/shy", private=False)
    assert not hub.repository("alice/shy").private


@pytest.mark.parametrize(("user", "status"), [(BOB, 403), (None, 401)])
def test_of_a_gated_repository_others_get_the_description_only(
    hub: LoopbackHub, user: User | None, status: int, tmp_path
) -> None:
    hub.add_repo("alice/gated", {"a.txt": b"a"}, gated=True)
    api = api_of(hub, user)
    assert api.model_info("alice/gated").gated == "manual"
    for call in (api.auth_check, lambda repo: api.hf_hub_download(repo, "a.txt")):
        with pytest.raises(GatedRepoError) as error:
            call("alice/gated")
        assert status_of(error) == status
    assert api_of(hub, READER).hf_hub_download("alice/gated", "a.txt", cache_dir=tmp_path)


def test_a_deleted_repository_is_gone(hub: LoopbackHub) -> None:
    api = api_of(hub, ALICE)
    hub.add_repo("alice/old", {"a.txt": b"a"}, repo_type="dataset")
    with pytest.raises(HfHubHTTPError) as error:
        api_of(hub, BOB).delete_repo("alice/old", repo_type="dataset")
    assert status_of(error) == 403
    api.delete_repo("alice/old", repo_type="dataset")
    with pytest.raises(RepositoryNotFoundError):
        api.dataset_info("alice/old")


def test_a_listing_has_what_was_asked_for_and_may_be_seen(hub: LoopbackHub) -> None:
    card = b"---\ntags: [autoseg]\nlicense: mit\npipeline_tag: image-segmentation\n---\n"
    hub.add_repo("alice/leaves", {"README.md": card})
    hub.add_repo("alice/hidden", {"README.md": card}, private=True)
    hub.add_repo("bob/leaves-too", {"README.md": card})
    hub.add_repo("bob/other", {"README.md": b"# Other\n"})

    def listed(user: User | None, **query: object) -> list[str]:
        return [model.id for model in api_of(hub, user).list_models(**query)]

    assert listed(BOB, filter="autoseg") == ["bob/leaves-too", "alice/leaves"]
    assert listed(BOB, filter=["autoseg", "license:mit"], author="alice") == ["alice/leaves"]
    assert listed(READER, author="alice") == ["alice/hidden", "alice/leaves"]
    assert listed(None, search="LEAVES", limit=1) == ["bob/leaves-too"]
    assert list(api_of(hub, ALICE).list_datasets()) == []
