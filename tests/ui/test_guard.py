import asyncio
import socket
import time
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from typer.testing import CliRunner

from autoseg import cli
from autoseg.errors import ConfigError
from autoseg.ui.access import Access
from autoseg.ui.guard import (
    MOST_WAITING,
    WRONG_PASSWORD_S,
    OnlyKnownNames,
    is_loopback,
    parse_users,
    password_check,
)
from autoseg.ui.serving import Serving, start_lines, warning


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True), ("::1", True), ("localhost", True),
        ("0.0.0.0", False), ("192.168.1.4", False), ("example.org", False), ("", False),
    ],
)  # fmt: skip
def test_what_counts_as_this_computer(host, local):
    assert is_loopback(host) == local


def test_users_are_read_with_colons_in_their_passwords():
    assert parse_users(["anna:pass:word:1", "bob: twelve chars"]) == (
        ("anna", "pass:word:1"),
        ("bob", " twelve chars"),
    )


@pytest.mark.parametrize("text", ["anna", "anna:", ":password1", "anna:short", ""])
def test_a_user_without_a_good_password_is_refused(text):
    with pytest.raises(ConfigError, match="--auth"):
        parse_users([text])


def test_a_password_is_not_repeated_in_an_error():
    for texts in (["secretsecret"], ["anna:secret"], ["anna:secretsecret", "anna:secretsecret"]):
        with pytest.raises(ConfigError) as caught:
            parse_users(texts)
        assert "secret" not in str(caught.value)


def test_only_the_users_own_password_is_right_and_a_wrong_one_costs_time():
    check = password_check((("anna", "annas password"), ("bob", "bobs password")))
    assert asyncio.run(check("anna", "annas password"))
    for name, password in (("anna", "bobs password"), ("carl", ""), ("", "")):
        started = time.monotonic()
        assert not asyncio.run(check(name, password))
        assert time.monotonic() - started >= WRONG_PASSWORD_S


def test_guesses_sent_at_once_take_as_long_as_one_after_another():
    """They were all answered after one second, and the right one at once."""
    check = password_check((("anna", "annas password"),))
    answered = []

    async def guess(password: str) -> bool:
        right = await check("anna", password)
        answered.append(time.monotonic())
        return right

    async def all_at_once() -> list[bool]:
        return await asyncio.gather(*map(guess, ("wrong one", "wrong two", "annas password")))

    started = time.monotonic()
    assert asyncio.run(all_at_once()) == [False, False, True]
    assert [at - started >= k for at, k in zip(answered, (1, 2, 2), strict=True)] == [True] * 3


@pytest.mark.alone
def test_a_flood_of_guesses_does_not_pile_up():
    check = password_check((("anna", "annas password"),))

    async def flood() -> float:
        started = time.monotonic()
        waiting = [asyncio.create_task(check("anna", "wrong")) for _ in range(MOST_WAITING)]
        await asyncio.sleep(0)
        assert not await check("anna", "annas password")  # Unseen.
        took = time.monotonic() - started
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert await check("anna", "annas password")
        return took

    assert asyncio.run(flood()) < WRONG_PASSWORD_S / 2


@pytest.mark.parametrize(
    ("options", "local", "sharing", "paths"),
    [
        ({}, True, True, True),
        ({"share": True}, False, False, False),
        ({"host": "0.0.0.0"}, False, False, False),
        ({"auth": ("anna:a long password",)}, False, True, False),
        ({"share": True, "auth": ("anna:a long password",)}, False, True, False),
    ],
)
def test_what_a_page_may_do_follows_from_who_opens_it(options, local, sharing, paths):
    access = Serving(**options).access()
    assert (access.local, access.sharing, access.paths) == (local, sharing, paths)


def test_on_a_space_nobody_is_at_home(monkeypatch):
    monkeypatch.setenv("SPACE_ID", "anna/autoseg")
    assert not Serving().access().local


def test_only_the_owner_has_this_computers_login(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_of_this_computer")
    assert Access(local=True).connection().token == "hf_of_this_computer"
    assert Access(users=(("anna", "a long password"),)).connection().token is None
    assert Access(users=(("anna", "a long password"),)).connection("hf_own").token == "hf_own"


@pytest.mark.parametrize(
    "options",
    [
        {"max_upload": "much"}, {"max_upload": "-1gb"}, {"allow": (Path("/no/such/folder"),)},
        {"mcp": True, "auth": ("anna:a long password",)},
    ],
)  # fmt: skip
def test_an_option_that_cannot_hold_is_refused(options):
    with pytest.raises(ConfigError):
        Serving(**options)


def test_the_help_says_who_else_reaches_a_page_of_ones_own():
    done = CliRunner().invoke(cli.app, ["app", "--help"])
    text = " ".join(done.output.split())
    assert "everybody who has an account on this computer reaches the page" in text


def test_a_page_of_ones_own_warns_of_nothing(workspace):
    serving = Serving()
    assert warning(serving, serving.access(), workspace) == ""


USERS = ("anna:a long password",)


@pytest.mark.parametrize(
    ("options", "link", "told"),
    [
        ({}, None, "Only this computer reaches it."),
        ({"host": "::1"}, None, "Only this computer reaches it."),
        ({"host": "0.0.0.0"}, None, f"at http://{socket.gethostname()}:7860"),
        ({"host": "::"}, None, f"at http://{socket.gethostname()}:7860"),
        ({"host": "192.0.2.7"}, None, "Everyone in the network of this computer reaches it, at"),
        ({"share": True}, "https://a1.gradio.live", "at most: https://a1.gradio.live"),
        ({"share": True, "host": "0.0.0.0"}, "https://a1.gradio.live", socket.gethostname()),
        ({"mcp": True}, None, "http://127.0.0.1:7860/gradio_api/mcp/"),
        ({"auth": USERS}, None, "It asks for a name and a password."),
    ],
)
def test_the_start_says_where_the_page_is_and_who_reaches_it(options, link, told):
    """Gradio told whoever started the app to set an argument of a function of its own."""
    serving = Serving(**options)
    text = start_lines(serving, serving.access(), "http://127.0.0.1:7860", link)
    assert text.startswith("autoseg is open at http://127.0.0.1:7860\n") and told in text
    assert "Press Ctrl+C here to stop it." in text
    assert ("Only this computer" in text) == (
        told == "Only this computer reaches it." or not (serving.is_open)
    )
    assert ("password" in text) == bool(serving.auth)


def test_a_public_page_says_what_it_exposes(workspace, tmp_path):
    serving = Serving(share=True, allow=(tmp_path,), max_upload="70mb")
    text = warning(serving, serving.access(), workspace)
    for part in ("public link", str(workspace.folder), "70mb", str(tmp_path), "NO PASSWORD"):
        assert part in text
    serving = Serving(host="0.0.0.0", auth=("anna:a long password",))
    text = warning(serving, serving.access(), workspace)
    assert "NO PASSWORD" not in text and "with a password" in text and "a long" not in text


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("a1.gradio.live", True), ("A1.gradio.live:443", True), ("photos.example:7860", True),
        (f"{socket.getfqdn()}:7860", True), ("a2.gradio.live", False), ("evil.example", False),
    ],
)  # fmt: skip
def test_the_share_link_and_names_of_this_computer_are_known(host, known):
    """The link is made only after the server has started."""
    links: list[str] = []

    async def ask() -> tuple[int, int]:
        app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("x"))])
        guard = OnlyKnownNames(app, "Photos.example", lambda: links[0] if links else None)
        transport = httpx.ASGITransport(guard)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            before = await client.get("/", headers={"Host": host})
            links.append("https://a1.gradio.live")
            after = await client.get("/", headers={"Host": host})
        return before.status_code, after.status_code

    before, after = asyncio.run(ask())
    assert after == (200 if known else 403)
    assert before == (403 if "gradio" in host.lower() else after)


def test_named_paths_stay_below_the_allowed_folders(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (inside / "link").symlink_to(outside)
    access = Access(roots=(inside,))
    assert access.path(str(inside / "a")) == (inside / "a").resolve()
    for text in (
        outside, inside / "..", inside / "link", inside / "link" / "a", f"{inside}-not", "a", "",
        f"{inside}/../outside", "~", "~nobody-of-that-name", f"{inside}/a\0b",
    ):  # fmt: skip
        with pytest.raises(ConfigError):
            access.path(str(text))


def test_without_allowed_folders_only_the_owner_names_paths(tmp_path):
    assert Access(local=True).path(str(tmp_path)) == tmp_path.resolve()
    with pytest.raises(ConfigError, match="--allow"):
        Access(users=(("anna", "a long password"),)).path(str(tmp_path))
