import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace

import pytest
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import get_session
from loopback_hub import LoopbackHub

from autoseg.hub.connection import connect
from autoseg.hub.fetching import Repo, fetch_files
from autoseg.hub.remote import find_remote_files
from autoseg.hub.waiting import HTTP, LongWait, patiently, stated_wait_s


@pytest.fixture
def plain(tmp_path):
    """A Hub without Xet, with one repository."""
    with LoopbackHub(tmp_path / "hub", xet=False) as hub:
        hub.add_repo("alice/leaf", {"a.txt": b"a", "b.txt": b"b"})
        yield hub


@pytest.fixture
def api(plain):
    return connect("hf_alice", endpoint=plain.endpoint).api


def test_a_call_that_works_is_made_once(plain, api):
    assert patiently(api.whoami)["name"] == "alice"
    assert len(plain.requests) == 1


def test_the_hubs_own_seconds_are_waited_and_told(plain, api):
    waits = []
    plain.fail("whoami", status=429, headers={"Retry-After": "1"})
    assert patiently(api.whoami, on_wait=waits.append)["name"] == "alice"
    assert waits == [1.0]


def test_waits_inside_of_the_client_are_told_too(plain, api):
    """The client itself repeats the pages of a list; each wait is told once."""
    waits = []
    plain.fail("GET .*tree", status=429, headers={"Retry-After": "0"})
    found = patiently(lambda: list(api.list_repo_tree("alice/leaf")), on_wait=waits.append)
    assert len(found) == 3
    assert waits == [0.0]


@pytest.mark.parametrize("path", ["whoami", "GET .*tree"], ids=["ours", "the client's"])
def test_a_wait_beyond_the_limit_is_not_begun(plain, api, path):
    plain.fail(path, times=9, status=429, headers={"RateLimit": '"api";r=0;t=301'})
    calls = {"whoami": api.whoami, "GET .*tree": lambda: list(api.list_repo_tree("alice/leaf"))}
    with pytest.raises(LongWait) as caught:
        patiently(calls[path])
    assert caught.value.seconds == 302
    assert len(plain.requests) == 1


def test_the_limit_is_for_all_waits_together(plain, api):
    waits = []
    plain.fail("whoami", times=9, status=429, headers={"Retry-After": "1"})
    with pytest.raises(LongWait):
        patiently(api.whoami, on_wait=waits.append, limit_s=2.5)
    assert waits == [1.0, 1.0]


def test_a_hub_that_states_no_wait_is_not_called_without_end(plain, api):
    plain.fail("whoami", times=99, status=503, headers={"Retry-After": "0"})
    with pytest.raises(HfHubHTTPError):
        patiently(api.whoami)
    assert len(plain.requests) == 10


def test_a_call_is_not_ended_by_the_limit_of_another_thread(plain, api):
    others, begun, done = [], threading.Event(), threading.Event()

    def stay():
        begun.set()
        assert done.wait(10)

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(patiently, stay, on_wait=others.append, limit_s=0.5)
        assert begun.wait(10)
        plain.fail("whoami", status=429, headers={"Retry-After": "1"})
        try:
            assert patiently(api.whoami)["name"] == "alice"
        finally:
            done.set()
        other.result()
    assert others == []


def test_the_waits_of_a_download_belong_to_its_own_call(plain, tmp_path):
    """Another call is under way all the while, so that only the context tells them apart."""
    mine, others = [], []
    connection = connect("hf_alice", endpoint=plain.endpoint, cache_dir=tmp_path / "cache")
    files = find_remote_files("alice/leaf", "main", ["a.txt", "b.txt"], connection)
    commit = plain.repository("alice/leaf").branches["main"]
    begun, done = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(patiently, lambda: begun.set() or done.wait(10), on_wait=others.append)
        assert begun.wait(10)
        plain.fail("(HEAD|GET) .*a.txt", status=429, headers={"Retry-After": "0"})
        try:
            fetch_files(Repo("alice/leaf", "model"), commit, files, connection, on_wait=mine.append)
        finally:
            done.set()
    assert set(mine) == {0.0}
    assert others == []


def test_waits_that_pass_together_count_once(plain, api):
    """Eight files that meet the same limit wait the same seconds."""
    plain.fail("whoami", times=8, status=429, headers={"Retry-After": "100"})

    def ask(context):
        with pytest.raises(HfHubHTTPError):
            context.run(api.whoami)

    def ask_all():
        contexts = [copy_context() for _ in range(8)]
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(ask, contexts))

    assert len(patiently(ask_all)) == 8


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 412, 413, 507])
def test_a_refusal_is_not_asked_again(plain, api, status):
    plain.fail("whoami", times=9, status=status, headers={"Retry-After": "0"})
    with pytest.raises(HfHubHTTPError):
        patiently(api.whoami)
    assert len(plain.requests) == 1


def test_a_cut_line_is_tried_again(plain, api):
    waits = []
    plain.fail("whoami", drop_after=0)
    assert patiently(api.whoami, on_wait=waits.append)["name"] == "alice"
    assert waits == [1.0]


def test_what_is_no_matter_of_the_hub_passes_through(plain):
    with pytest.raises(ZeroDivisionError):
        patiently(lambda: 1 / 0)


def test_the_client_is_left_as_it_was(plain, api):
    before = get_session().event_hooks
    patiently(api.whoami)
    plain.close()
    with pytest.raises(HTTP.ConnectError):
        patiently(api.whoami)
    after = get_session().event_hooks
    assert [len(hooks) for hooks in after.values()] == [len(hooks) for hooks in before.values()]


@pytest.mark.parametrize(
    ("status", "headers", "wait_s"),
    [
        (429, {"ratelimit": '"api";r=0;t=5'}, 6.0),
        (429, {"ratelimit": '"api";r=7;t=5'}, None),
        (429, {"retry-after": "12"}, 12.0),
        (503, {"retry-after": " 3 "}, 3.0),
        (429, {"retry-after": "soon"}, None),
        (503, {}, None),
    ],
)
def test_the_wait_is_read_from_either_header(status, headers, wait_s):
    assert stated_wait_s(SimpleNamespace(status_code=status, headers=headers)) == wait_s


def test_the_wait_can_be_a_moment():
    moment = datetime.now(UTC) + timedelta(seconds=90)
    headers = {"retry-after": format_datetime(moment, usegmt=True)}
    assert 85 < stated_wait_s(SimpleNamespace(status_code=503, headers=headers)) <= 90
