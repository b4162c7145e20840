"""What strangers try against the running server, by raw HTTP."""

import hashlib
import io
import json
import os
import re
import stat
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from app_process import App
from bundle_helpers import make_bundle
from PIL import Image
from ui_helpers import write_run
from workspace_helpers import make_photos

from autoseg.workspace import Workspace

SECRET = "what-nobody-may-read-9481"
SPACE = {"SYSTEM": "spaces", "SPACE_ID": "anna/autoseg"}
PASSWORDS = ("anna:the-password-of-anna", "bob:the-password-of-bob")


class Place:
    """A workspace and, beside it, what nobody may read."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.secret = folder / "secret"
        self.allowed = folder / "allowed"
        self.home.mkdir()
        self.allowed.mkdir()
        make_photos(self.secret / "photos")
        (self.secret / "notes.txt").write_text(SECRET)
        Image.fromarray(np.full((48, 64, 3), 77, np.uint8)).save(self.secret / "face.png")
        make_bundle(self.secret / "model")
        workspace = Workspace(self.home)
        run = write_run(workspace, "photos-1", source=make_photos(folder / "photos"))
        make_bundle(run.model)
        Image.fromarray(np.full((48, 64, 3), 9, np.uint8)).save(run.path / "image.png")
        self.before = self.listing()

    def listing(self) -> dict[str, str]:
        """Every file that a stranger may neither read nor change."""
        return {
            str(path): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.secret.rglob("*"))
            if path.is_file()
        }


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    return Place(tmp_path_factory.mktemp("place"))


def running(place: Place, *arguments: str, **more: str) -> Iterator[App]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_TOKEN": f"hf_{SECRET}", **more}
    app = App(place.home, environment, arguments)
    app.start()
    yield app
    app.end()


@pytest.fixture(scope="module")
def stranger(place: Place) -> Iterator[App]:
    """A page that everybody may open, with one folder allowed and small uploads."""
    yield from running(
        place, "--host", "0.0.0.0", "--allow", str(place.allowed), "--max-upload", "200kb"
    )


@pytest.fixture(scope="module")
def guarded(place: Place) -> Iterator[App]:
    """A page that asks for a password; they come from the environment, out of `ps`."""
    yield from running(place, AUTOSEG_AUTH=" ".join(PASSWORDS))


@pytest.fixture(scope="module")
def own(place: Place) -> Iterator[App]:
    """A page of one's own."""
    yield from running(place)


@pytest.fixture(scope="module")
def space(place: Place) -> Iterator[App]:
    """A Space that asks for a password."""
    yield from running(place, **SPACE, AUTOSEG_AUTH=" ".join(PASSWORDS))


def events(client: httpx.Client) -> list[dict[str, Any]]:
    return client.get("/config").json()["dependencies"]


def client_of(app: App, user: str = "") -> httpx.Client:
    """A client, signed in where a user is given."""
    cookies = None
    if user:
        name, password = user.split(":", 1)
        answer = httpx.post(f"{app.url}/login", data={"username": name, "password": password})
        assert answer.status_code == 200
        cookies = answer.cookies
    return httpx.Client(base_url=app.url, timeout=60, cookies=cookies)


def attacks(place: Place) -> list[Any]:
    """What is sent in the place of each value of each event."""
    notes, face, model = (str(place.secret / name) for name in ("notes.txt", "face.png", "model"))
    relative = os.path.relpath(place.secret, place.home / "runs")

    def file(path: str, **more: Any) -> dict[str, Any]:
        return {"path": path, **more, "meta": {"_type": "gradio.FileData"}}

    return [
        notes, face, model, str(place.secret / "photos"), f"{relative}/model",
        "../../secret/photos",
        file(face), [file(face)], file(f"file://{face}"), file(face, url=face, is_stream=True),
        {"id": "../../../secret", "format": "../../secret/x", "mask": file(face)},
        {"id": face, "image": face, "mask": face, "path": face, "file": face, "format": "index"},
        ["../../secret/notes.txt"], [[face, "../../secret/notes.txt"]],
    ]  # fmt: skip


SAID = ("index", "value", "dataset", "rows", "sort", "file", "name", "id", "format", "mask")
"""What events of the browser say beside the values of components."""


def _is_file_of(part: dict[str, Any], name: str) -> bool:
    return part["type"] == "file" and part["props"].get("label") == name


def attempts(
    config: dict[str, Any], attacks: list[Any], image: dict[str, Any]
) -> Iterator[tuple[dict[str, Any], list[Any], Any]]:
    """Every event of the page with each of its values replaced by each attack, one at a time."""
    values = {part["id"]: part["props"].get("value") for part in config["components"]}
    values |= {part["id"]: image for part in config["components"] if _is_file_of(part, "image")}
    for event in config["dependencies"]:
        if event.get("backend_fn") and event["api_name"] not in ("search", "stop"):
            usual = [values.get(part) for part in event["inputs"]]
            for attack in attacks:
                yield event, usual, {**dict.fromkeys(SAID, attack), "page": 0, "position": 0}
                if isinstance(attack, dict):
                    yield event, usual, attack
                for position in range(len(usual)):
                    yield event, [*usual[:position], attack, *usual[position + 1 :]], None


def answers(client: httpx.Client, event: dict[str, Any], values: list[Any], data: Any) -> str:
    """The whole answer to an event, also to one that is private."""
    body = {
        "fn_index": event["id"], "data": values, "event_data": data, "session_hash": "stranger",
    }  # fmt: skip
    return client.post("/gradio_api/run/predict", json=body).text


def fetched(client: httpx.Client, text: str) -> Iterator[bytes]:
    """All files that an answer offers."""
    for path in set(re.findall(r'"path": ?"([^"]+)"', text)):
        answer = client.get(f"/gradio_api/file={path}")
        if answer.status_code == 200:
            yield answer.content


MUST_BE_REACHED = (
    ("upload", "uploaded"), ("path", "submit"), ("check", "click"), ("verdict-table", "apply"),
    ("gallery", "enlarge"), ("image", "input"), ("several", "upload"), ("examples", "select"),
    ("model", "input"), ("batch", "select"), ("compare", "input"), ("zip", "click"),
    ("canvas", "export"), ("canvas", "corrected"), ("corrections", "select"),
    ("remove-correction", "click"), ("train", "click"), ("pause", "click"),
    ("search-really", "click"),
    ("", "check"), ("", "status"), ("", "predict"),
)  # fmt: skip
"""Events that take files, names or values of a page, as (elem_id, event); and endpoints."""


def _events_at(config: dict[str, Any], elem_id: str, name: str) -> Iterator[int]:
    """Events of the component of that id; without id the endpoint of that name."""
    places = {part["id"]: part["props"].get("elem_id") for part in config["components"]}
    for event in config["dependencies"]:
        targets = [(places.get(part), kind) for part, kind in event["targets"]]
        if (elem_id, name) in targets or (not elem_id and event["api_name"] == name):
            yield event["id"]


@pytest.mark.slow
def test_no_event_reads_or_changes_what_lies_outside(place, stranger):
    """Every event of the page, private ones too, with paths in the place of every value."""
    contents = {path.read_bytes() for path in place.secret.rglob("*") if path.is_file()}
    reached = set()
    with client_of(stranger) as client:
        config = client.get("/config").json()
        png = (place.home / "runs/photos-1/image.png").read_bytes()
        sent = client.post("/gradio_api/upload", files={"files": ("image.png", png)}).json()
        image = {"path": sent[0], "meta": {"_type": "gradio.FileData"}}
        for event, values, data in attempts(config, attacks(place), image):
            text = answers(client, event, values, data)
            assert SECRET not in text, (event, values)
            assert not contents & set(fetched(client, text)), (event, values)
            if '"data":' in text:
                reached.add(event["id"])
    missed = [name for name in MUST_BE_REACHED if not reached & set(_events_at(config, *name))]
    assert not missed, "No attack came as far as our own function."
    assert place.listing() == place.before
    sources = [dataset.source for dataset in Workspace(place.home).datasets()]
    assert not any(source.is_relative_to(place.secret) for source in sources)
    assert SECRET not in (place.home / "app.log").read_text()


def test_files_of_this_computer_are_not_served(place, stranger):
    with client_of(stranger) as client:
        for path in (
            place.secret / "notes.txt", place.home / "runs/photos-1/state.json", "/etc/passwd",
            "app.py", "./app.py", "pyproject.toml", f"/tmp/../{place.secret}/notes.txt",
            place.home / "app.log", "//etc/passwd", "file:///etc/passwd", "/proc/self/environ",
        ):  # fmt: skip
            for address in (f"/gradio_api/file={path}", f"/gradio_api/file/{path}"):
                answer = client.get(address)
                assert answer.status_code in (403, 404), address
        for address in ("/static/..%2f..%2fapp.py", "/assets/..%2f..%2f..%2fetc/passwd",
                        "/gradio_api/proxy=file:///etc/passwd",
                        "/gradio_api/proxy=http://127.0.0.1:1/"):  # fmt: skip
            assert client.get(address).status_code >= 400, address


def test_an_upload_cannot_choose_where_it_lies(place, stranger):
    with client_of(stranger) as client:
        for name in (
            "../../../evil.txt",
            f"{place.secret}/evil.txt",
            "..%2f..%2fevil.txt",
            "a/../../b",
        ):
            answer = client.post("/gradio_api/upload", files={"files": (name, b"evil")})
            assert answer.status_code == 200
            (stored,) = map(Path, answer.json())
            assert stored.resolve() == stored and "autoseg-app-" in str(stored)
            assert stored.read_bytes() == b"evil"
            root = next(p for p in stored.parents if p.name.startswith("autoseg-app-"))
            assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert place.listing() == place.before


def test_a_file_that_is_too_large_is_refused_and_not_kept(stranger):
    with client_of(stranger) as client:
        answer = client.post("/gradio_api/upload", files={"files": ("a.zip", bytes(300_000))})
        assert answer.status_code == 413
        small = client.post("/gradio_api/upload", files={"files": ("a.zip", bytes(1000))})
        root = next(p for p in Path(small.json()[0]).parents if p.name.startswith("autoseg-app-"))
        assert all(path.stat().st_size < 300_000 for path in root.rglob("*") if path.is_file())


def _zip_with_a_link(target: Path) -> bytes:
    """A data set whose first image is a link to a file elsewhere."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for kind, pixels in (("images", np.zeros((32, 32, 3))), ("masks", np.zeros((32, 32)))):
            for number in range(4):
                png = io.BytesIO()
                Image.fromarray(pixels.astype(np.uint8) + number % 2).save(png, "png")
                archive.writestr(f"{kind}/{number}.png", png.getvalue())
        link = zipfile.ZipInfo("images/5.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, str(target))
        archive.writestr("../outside.png", b"x")
        archive.writestr("/absolute.png", b"x")
    return memory.getvalue()


def test_a_zip_cannot_reach_out_of_its_folder(place, stranger):
    with client_of(stranger) as client:
        content = _zip_with_a_link(place.secret / "face.png")
        upload = client.post("/gradio_api/upload", files={"files": ("trap.zip", content)}).json()
        event = next(e for e in events(client) if e["api_name"] == "check")
        file = {"path": upload[0], "meta": {"_type": "gradio.FileData"}}
        text = answers(client, event, [file, "trap", None], None)
        assert "trap" in text
    for path in place.home.rglob("*"):
        assert not path.is_symlink()
        assert path.name not in ("outside.png", "absolute.png")


def test_the_check_reads_allowed_folders_only(place, stranger):
    make_photos(place.allowed / "photos", n_images=8)
    with client_of(stranger) as client:
        event = next(e for e in events(client) if e["api_name"] == "check")
        allowed = answers(client, event, [None, str(place.allowed / "photos"), None], None)
        assert json.loads(allowed)["data"][0]["images"] == 8
        refused = answers(client, event, [None, str(place.secret / "photos"), None], None)
        assert "may not be read from this page" in refused
        up = answers(client, event, [None, f"{place.allowed}/../secret/photos", None], None)
        assert "may not be read from this page" in up


def test_the_hub_is_closed_to_strangers(stranger):
    with client_of(stranger) as client:
        event = next(e for e in events(client) if e["api_name"] == "check")
        assert "may not be used" in answers(client, event, [None, "hf://a/b", None], None)


def test_errors_inside_are_not_told_to_strangers(place, stranger, own):
    """A value of a wrong kind makes an error of Python's, whose text can name files."""
    shown = {}
    for app in (stranger, own):
        with client_of(app) as client:
            event = next(e for e in events(client) if e["api_name"] == "search")
            wrong = ["photos", "6m", {"a": str(place.home)}, None, None, {"b": 1}, "auto"]
            shown[app] = json.loads(answers(client, event, wrong, None))
    assert shown[stranger]["error"] is None
    assert shown[own]["error"]


@pytest.mark.parametrize("name", ["on_chosen", "on_picked", "show_run"])
def test_an_event_that_changes_nothing_is_no_error(own, name):
    """An empty answer for several components was one to Gradio, and shown as such."""
    with client_of(own) as client:
        event = next(e for e in events(client) if e["api_name"] == name)
        config = client.get("/config").json()
        values = {part["id"]: part["props"].get("value") for part in config["components"]}
        usual = [values[part] for part in event["inputs"]]
        answer = json.loads(answers(client, event, usual, {"index": "x", "value": "x"}))
        assert "error" not in answer and len(answer["data"]) == len(event["outputs"])


def test_nothing_is_open_without_the_password(place, guarded):
    with client_of(guarded) as client:
        for method, address in (
            ("GET", "/config"), ("GET", "/gradio_api/info"), ("GET", "/gradio_api/openapi.json"),
            ("GET", "/gradio_api/file=app.py"), ("POST", "/gradio_api/upload"),
            ("POST", "/gradio_api/run/predict"), ("POST", "/gradio_api/call/runs"),
            ("POST", "/gradio_api/queue/join"), ("GET", "/gradio_api/queue/data?session_hash=a"),
            ("GET", "/gradio_api/queue/status"), ("POST", "/gradio_api/component_server"),
            ("GET", "/monitoring"),
        ):  # fmt: skip
            kind = (
                {"json": {"data": [], "fn_index": 0, "session_hash": "a"}}
                if method == "POST"
                else {}
            )
            assert client.request(method, address, **kind).status_code == 401, address
        assert "photos-1" not in client.get("/").text


def test_wrong_passwords_are_refused_slowly(guarded):
    with client_of(guarded) as client:
        for name, password in (
            ("anna", "the-password-of-bob"), ("anna", ""), ("carl", "the-password-of-anna"),
            ("ANNA", "the-password-of-anna"),
        ):  # fmt: skip
            started = time.monotonic()
            answer = client.post("/login", data={"username": name, "password": password})
            assert answer.status_code in (400, 422)
            assert password == "" or time.monotonic() - started > 0.9
        client.cookies.set("access-token-unsecure", "guess")
        assert client.get("/config").status_code == 401


def test_passwords_stay_out_of_the_log_and_of_the_page(place, guarded):
    with client_of(guarded, PASSWORDS[0]) as client:
        assert client.get("/config").status_code == 200
        texts = client.get("/").text + client.get("/config").text
        log = (place.home / "app.log").read_text()
        for user in PASSWORDS:
            assert user.split(":")[1] not in texts + log


def test_a_page_of_ones_own_answers_to_no_other_name(own):
    """A web site can point its own name at 127.0.0.1 and then ask in its visitor's browser."""
    port = own.port
    with client_of(own) as client:
        for host in (f"127.0.0.1:{port}", f"localhost:{port}", "localhost", f"[::1]:{port}"):
            assert client.get("/config", headers={"Host": host}).status_code == 200, host
        for host in (
            f"evil.example:{port}",
            "evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "",
        ):
            assert client.get("/config", headers={"Host": host}).status_code == 403, host


UPLOAD = ("POST", "/gradio_api/upload")


@pytest.mark.parametrize(
    ("asked", "headers", "status"),
    [
        (UPLOAD, {}, 200),  # A program.
        (UPLOAD, {"Origin": "{own}", "Sec-Fetch-Site": "same-origin"}, 200),
        (UPLOAD, {"Origin": "https://evil.example"}, 403),
        (UPLOAD, {"Origin": "http://127.0.0.1:1"}, 403),
        (UPLOAD, {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"}, 403),
        (UPLOAD, {"Origin": "null"}, 403),
        (UPLOAD, {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate",
                  "Sec-Fetch-Dest": "document"}, 403),
        (("GET", "/config"), {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors",
                              "Sec-Fetch-Dest": "image"}, 403),
        (("GET", "/"), {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, 200),
        (("GET", "/"), {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate",
                        "Sec-Fetch-Dest": "document"}, 200),  # A link.
        (("GET", "/"), {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate",
                        "Sec-Fetch-Dest": "iframe"}, 403),
    ],
)  # fmt: skip
def test_other_web_sites_may_link_to_a_page_of_ones_own_and_no_more(own, asked, headers, status):
    """Any site could fill the disk by uploads that it let its visitor's browser send."""
    method, address = asked
    files = {"files": ("a.txt", b"a")} if method == "POST" else None
    sent = {name: value.format(own=own.url) for name, value in headers.items()}
    with client_of(own) as client:
        assert client.request(method, address, files=files, headers=sent).status_code == status


def fetching(site: str, mode: str, dest: str) -> dict[str, str]:
    """What a browser says of a request: who asks, how, and what for."""
    return {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}


CROSS = {"Sec-Fetch-Site": "cross-site"}
EVIL = {"Origin": "https://evil.example"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # A program.
        ({"Origin": "{own}"}, 200),  # A browser on http.
        ({"Origin": "{own}", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://10.0.0.4", "Host": "10.0.0.4:80"}, 200),
        ({"Origin": "http://[fe80::1]:7860", "Host": "[fe80::1]:7860"}, 200),
        # Behind a proxy that passes the host on, or says it, or neither.
        ({"Origin": "https://photos:8443", "Host": "photos"}, 200),
        ({"Origin": "https://photos.example", "X-Forwarded-Host": "photos.example, b"}, 200),
        ({"Origin": "https://photos.example", "Sec-Fetch-Site": "same-origin"}, 200),
        (EVIL, 403),
        ({**EVIL, **CROSS}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),  # Another server of this computer.
        ({"Origin": "http://10.0.0.4", "Host": "10.0.0.4:7860"}, 403),
        ({"Origin": "http://10.0.0.4:1", "X-Forwarded-Host": "10.0.0.4:7860"}, 403),
        ({"Origin": "{own}", "Sec-Fetch-Site": "same-site"}, 403),  # Another port or sub-domain.
        ({**EVIL, "X-Forwarded-Host": "photos.example"}, 403),
        ({"Origin": "null"}, 403),
        ({**CROSS, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 403),  # A form.
    ],
)  # fmt: skip
def test_another_site_cannot_use_the_session_of_who_visits_it(guarded, stranger, headers, status):
    """Browsers send the cookie along, and each event of the page could be sent from anywhere."""
    for app, user in ((guarded, PASSWORDS[0]), (stranger, "")):
        sent = {name: value.format(own=app.url) for name, value in headers.items()}
        with client_of(app, user) as client:
            answer = client.post(
                "/gradio_api/upload", files={"files": ("a.txt", b"a")}, headers=sent
            )
            assert answer.status_code == status


REBOUND = {"Host": "evil.example:7860", "Origin": "http://evil.example:7860"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "192.168.1.4:7860"}, 200),
        ({"Host": "[fe80::1]:7860"}, 200),
        ({"Host": "localhost:7860"}, 200),
        ({"Host": "workstation:7860"}, 200),
        ({"Host": "Workstation.local.:7860", "Origin": "http://workstation.local.:7860"}, 200),
        ({"Host": "127.0.0.1", "X-Forwarded-Host": "photos.example"}, 200),  # A proxy.
        (REBOUND, 403),
        ({"Host": "evil.example"}, 403),
        ({**REBOUND, **fetching("same-origin", "cors", "empty")}, 403),
        ({**REBOUND, "X-Forwarded-Host": "127.0.0.1"}, 403),
        ({"Host": "192.168.1.4.evil.example"}, 403),
        ({"Host": "local.evil.example"}, 403),
        ({"Host": "evillocal.example"}, 403),
        ({"Host": "a1.gradio.live"}, 403),  # The link of somebody else.
    ],
)
def test_no_site_points_its_name_at_a_page_that_asks_for_no_password(
    stranger, guarded, headers, status
):
    """A site could read and send all by its visitor's browser, as its own name was asked for."""
    with client_of(stranger) as client:
        answer = client.get("/config", headers=headers)
        assert answer.status_code == status
        if status == 403:
            assert "--auth" in answer.json()["detail"]
    with client_of(guarded) as client:  # A cookie is of one name, so nobody is signed in there.
        assert client.get("/config", headers=headers).status_code == 401


def test_a_page_with_a_password_answers_to_every_name(guarded):
    with client_of(guarded, PASSWORDS[0]) as client:
        for host in ("photos.example", "photos.example:80", "a1.gradio.live"):
            name, password = PASSWORDS[0].split(":")
            answer = client.post(
                "/login",
                data={"username": name, "password": password},
                headers={"Host": host, "Origin": f"http://{host.removesuffix(':80')}"},
            )
            assert answer.status_code == 200


def test_another_site_cannot_read_the_page_nor_ask_what_it_may(guarded):
    with client_of(guarded, PASSWORDS[0]) as client:
        for headers in (EVIL, {**EVIL, **CROSS}):
            answer = client.get("/config", headers=headers)
            assert answer.status_code == 403 and "access-control-allow-origin" not in answer.headers
        asked = {
            **EVIL, "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "x-forwarded-host",
        }  # fmt: skip
        for host in ({}, {"Host": "photos.example"}):
            answer = client.options("/gradio_api/upload", headers={**asked, **host})
            assert answer.status_code == 403 and "access-control-allow-origin" not in answer.headers


LINK = fetching("cross-site", "navigate", "document")
PICTURE = fetching("cross-site", "no-cors", "image")


@pytest.mark.parametrize(
    ("address", "headers", "status"),
    [
        ("/", LINK, 200),
        ("/", fetching("cross-site", "navigate", "iframe"), 403),
        ("/", fetching("same-site", "navigate", "iframe"), 403),  # Another port of this computer.
        ("/", fetching("same-origin", "navigate", "iframe"), 200),
        ("/", fetching("none", "navigate", "document"), 200),  # Typed.
        ("/theme.css", fetching("same-origin", "no-cors", "style"), 200),
        ("/theme.css", fetching("cross-site", "no-cors", "style"), 403),
        ("/", PICTURE, 403),
        ("/logout", PICTURE, 403),
        ("/logout", fetching("same-site", "no-cors", "image"), 403),
        ("/logout", fetching("cross-site", "navigate", "iframe"), 403),
        ("/logout", LINK, 403),
        ("/logout/", LINK, 403),
    ],
)
def test_another_site_may_link_to_the_page_and_neither_frame_it_nor_sign_out(
    guarded, stranger, address, headers, status
):
    """Any site could have its visitor click in a hidden frame, or sign out by an image."""
    for app, user in ((guarded, PASSWORDS[0]), (stranger, "")):
        with client_of(app, user) as client:
            assert client.get(address, headers=headers).status_code == status
            assert client.get("/config").status_code == 200


def test_who_types_the_address_signs_out(guarded):
    with client_of(guarded, PASSWORDS[0]) as client:
        typed = fetching("none", "navigate", "document")
        assert client.get("/logout", headers=typed).status_code == 302
        assert client.get("/config").status_code == 401


def test_no_other_site_shows_a_page_in_its_frames(guarded, stranger, own):
    """Older browsers do not say that they ask for a frame."""
    for app in (guarded, stranger, own):
        with client_of(app) as client:
            for address in ("/", "/config", "/no-such-page"):
                told = client.get(address).headers["content-security-policy"]
                assert told == "frame-ancestors 'self'"


@pytest.mark.parametrize(
    ("asked", "headers", "status"),
    [
        # The Hub's frame, and what the page in it asks.
        (("GET", "/"), fetching("cross-site", "navigate", "iframe"), 200),
        (("GET", "/"), LINK, 200),
        (("GET", "/config"), fetching("same-origin", "cors", "empty"), 200),
        (UPLOAD, {"Origin": "{own}", **fetching("same-origin", "cors", "empty")}, 200),
        (UPLOAD, {"Origin": "https://anna-autoseg.hf.space", "Host": "anna-autoseg.hf.space"}, 200),
        (UPLOAD, {}, 200),  # A program.
        (UPLOAD, EVIL, 403),
        (UPLOAD, {**EVIL, **CROSS}, 403),
        (UPLOAD, {"Origin": "https://huggingface.co", **CROSS}, 403),
        (UPLOAD, {"Origin": "https://evil.hf.space", **CROSS}, 403),
        (UPLOAD, fetching("cross-site", "navigate", "iframe"), 403),  # A form.
        (("GET", "/config"), {**EVIL, **fetching("cross-site", "cors", "empty")}, 403),
        (("GET", "/logout"), fetching("cross-site", "navigate", "iframe"), 403),
        (("GET", "/logout"), PICTURE, 403),
    ],
)  # fmt: skip
def test_a_space_with_users_may_be_framed_and_takes_nothing_from_other_sites(
    space, asked, headers, status
):
    """It had no guard at all, though its users have the same cookie."""
    method, address = asked
    files = {"files": ("a.txt", b"a")} if method == "POST" else None
    sent = {name: value.format(own=space.url) for name, value in headers.items()}
    with client_of(space, PASSWORDS[0]) as client:
        assert client.request(method, address, files=files, headers=sent).status_code == status
        assert client.get("/config").status_code == 200


def test_a_space_with_users_is_framed_by_the_hub_alone(space):
    with client_of(space) as client:
        told = client.get("/").headers["content-security-policy"]
        assert told == "frame-ancestors 'self' https://huggingface.co"


def test_a_space_without_users_may_be_embedded_in_any_site(place):
    for app in running(place, **SPACE):
        with client_of(app) as client:
            framed = client.get("/", headers=fetching("cross-site", "navigate", "iframe"))
            assert framed.status_code == 200
            assert "content-security-policy" not in framed.headers
            assert client.get("/config", headers=EVIL).status_code == 200


def test_another_site_cannot_sign_its_visitor_in(guarded):
    name, password = PASSWORDS[1].split(":")
    with client_of(guarded) as client:
        for headers, status in ((EVIL, 403), ({"Origin": guarded.url}, 200)):
            sent = {"username": name, "password": password}
            assert client.post("/login", data=sent, headers=headers).status_code == status


def test_a_public_page_says_at_its_start_what_it_exposes(place, stranger):
    log = (place.home / "app.log").read_text()
    assert "NO PASSWORD IS ASKED" in log and str(place.home) in log
    assert "not to a proxy's" in log


def test_the_owners_token_is_nowhere_in_the_page(stranger, own):
    for app in (stranger, own):
        with client_of(app) as client:
            assert SECRET not in client.get("/").text + client.get("/config").text
