"""The page as a whole in a real browser: first tab, languages, phones, accessibility."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from app_process import App
from bundle_helpers import make_bundle
from live_runs import write_live_run
from workspace_helpers import make_photos

from autoseg.workspace import Workspace

SCREENSHOTS = Path(__file__).parent / "screenshots"
TABS = {
    "en-US": ("Data", "Search", "Predict", "Share"),
    "zh-CN": ("数据", "搜索", "预测", "分享"),
}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]


@pytest.fixture(scope="module")
def app(tmp_path_factory) -> Iterator[App]:
    """The app over a workspace with a data set, a finished run and its model."""
    home = tmp_path_factory.mktemp("home")
    workspace = Workspace(home)
    workspace.add_dataset(make_photos(home / "photos"), "sample")
    make_bundle(write_live_run(home, "photos-1", 6, status="done", phase="finished").model)
    app = App(home)
    app.start()
    yield app
    app.end()


@pytest.fixture
def open_page(browser, app):
    """Opens the app in a browser of a language, a theme and a width; its scripts may not fail."""
    contexts, errors = [], []

    def open_one(locale: str = "en-US", theme: str = "light", width: int = 1280, height: int = 900):
        context = browser.new_context(locale=locale, viewport={"width": width, "height": height})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{app.url}/?__theme={theme}")
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert errors == []


def tab(page, name: str):
    return page.get_by_role("tab", name=name, exact=True).first


def chosen(page) -> str:
    return page.locator('button[role="tab"][aria-selected="true"]').first.inner_text()


def settled(page, locale: str = "en-US") -> None:
    """Until the page has shown its first tab, that of the search."""
    page.wait_for_selector("#card >> visible=true")
    assert chosen(page) == TABS[locale][1]


def test_a_page_with_runs_opens_at_the_search(open_page):
    settled(open_page())


def test_a_tab_that_was_chosen_early_stays(browser, app):
    """The page used to jump back to its first tab when its first answers came late."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(120_000)
    held, let_go = [], []

    def late(route) -> None:
        if let_go:
            route.continue_()
        else:
            held.append(route)

    for address in ("**/gradio_api/run/**", "**/gradio_api/queue/join**"):
        page.route(address, late)
    page.goto(app.url)
    tab(page, "Predict").click()
    page.wait_for_timeout(500)
    assert held
    let_go.append(True)
    for route in held:
        route.continue_()
    page.wait_for_function("document.querySelector('#model input').value.includes('photos-1')")
    page.wait_for_timeout(2000)
    assert chosen(page) == "Predict"
    context.close()


@pytest.mark.parametrize(
    ("locale", "language", "tabs"), [("zh-CN", "zh", TABS["zh-CN"]), ("de-DE", "de", TABS["en-US"])]
)
def test_the_browsers_language_is_that_of_the_page(open_page, locale, language, tabs):
    page = open_page(locale)
    for name in tabs:
        tab(page, name).wait_for()
    assert page.evaluate("document.documentElement.lang").startswith(language)
    shown = page.locator(".as-head").inner_text()
    assert ("transfer learning" in shown) == (language != "zh")
    tab(page, tabs[3]).click()
    said = "尚未登录" if language == "zh" else "Not signed in"
    page.wait_for_selector(f"#account >> text={said}")


@pytest.fixture(scope="module")
def guarded(app) -> Iterator[App]:
    """The same workspace on a page that asks for a password."""
    app = App(app.home, arguments=["--auth=anna:a-long-password"])
    app.start()
    yield app
    app.end()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("locale", "said", "sign_in", "sign_out"),
    [
        ("en-US", "Sign in with the name and the password", "Login", "Sign out of this page"),
        ("zh-CN", "请用管理者给您的用户名和密码登录", "登录", "退出此页面"),
    ],
)
def test_who_signed_in_can_sign_out(browser, guarded, locale, said, sign_in, sign_out):
    """The page for names and passwords did not say whose it was, and there was no way back."""
    context = browser.new_context(locale=locale, viewport={"width": 390, "height": 800})
    page = context.new_page()
    page.set_default_timeout(120_000)
    try:
        page.goto(guarded.url)
        page.get_by_text(said).wait_for()
        text = page.inner_text("body")
        assert "autoseg" in text
        assert re.search(r"[\u4e00-\u9fff]", text) is None or locale == "zh-CN"
        page.locator("input").first.fill("anna")
        page.locator("input[type=password]").fill("a-long-password")
        page.get_by_role("button", name=sign_in).click()
        page.get_by_role("link", name=sign_out).click()
        page.get_by_text(said).wait_for()
        page.reload()
        page.get_by_text(said).wait_for()
    finally:
        context.close()


@pytest.mark.slow
def test_a_phone_shows_every_tab_without_scrolling_sideways(open_page):
    page = open_page(width=390, height=844)
    page.wait_for_selector("#card >> visible=true")
    for name in TABS["en-US"]:
        if tab(page, name).is_visible():
            tab(page, name).click()
        else:
            page.locator(".overflow-menu button").first.click()
            page.locator(".overflow-dropdown").get_by_text(name, exact=True).click()
        page.wait_for_timeout(1500)
        keep(page, f"{name}-phone")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name


HEAR = """() => {
  window.heard = [];
  new MutationObserver(() => {
    for (const part of document.querySelectorAll('.sr-only')) heard.push(part.textContent.trim());
  }).observe(document.body, {childList: true, subtree: true, characterData: true});
}"""


@pytest.mark.slow
@pytest.mark.parametrize(("locale", "done"), [("en-US", "Complete"), ("zh-CN", "完成")])
def test_gradios_own_texts_are_in_the_browsers_language(open_page, app, locale, done):
    """Screen readers said "common.complete": Gradio's dictionaries lack it in every language."""
    page = open_page(locale)
    settled(page, locale)
    page.evaluate(HEAR)
    tab(page, TABS[locale][2]).click()
    image = next((app.home / "photos" / "images").iterdir())
    page.set_input_files("#image input[type=file]", image)
    page.wait_for_function("(done) => heard.includes(done)", arg=done)
    assert [text for text in page.evaluate("heard") if text.startswith("common.")] == []
    camera = {"en-US": "Capture from camera", "zh-CN": "用摄像头拍摄"}[locale]
    assert page.locator("#image").get_by_label(camera).count() == 1


SEE = """() => {
  window.seen = [];
  new MutationObserver(() => {
    for (const part of document.querySelectorAll('.meta-text, .meta-text-center'))
      if (part.getClientRects().length) seen.push(part.innerText);
  }).observe(document.body, {childList: true, subtree: true, characterData: true});
}"""


@pytest.mark.slow
def test_a_chinese_reader_sees_how_far_a_batch_is_and_no_english(open_page, app):
    """The count and the seconds were hidden together with Gradio's English words."""
    page = open_page("zh-CN")
    settled(page, "zh-CN")
    page.evaluate(SEE)
    tab(page, "预测").click()
    images = sorted((app.home / "photos" / "images").iterdir()) * 8
    with page.expect_file_chooser() as asked:
        page.click("#several")
    asked.value.set_files(images)
    page.locator("#batch .thumbnail-item").nth(len(images) - 1).wait_for()
    seen = "".join(page.evaluate("seen"))
    assert f"/{len(images)}" in seen and "processing" not in seen and "queue" not in seen


@pytest.mark.slow
def test_a_name_that_gradio_changes_later_is_translated_too(open_page):
    page = open_page("zh-CN")
    settled(page, "zh-CN")
    tab(page, "预测").click()
    button = page.locator("#image [aria-label]").first.element_handle()
    button.evaluate("(part) => part.setAttribute('aria-label', 'Exit fullscreen mode')")
    page.wait_for_function("(part) => part.ariaLabel === '退出全屏'", arg=button)


def keep(page, name: str) -> None:
    """A picture for people, kept by CI."""
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name.lower()}.png", full_page=True)


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("locale", TABS)
def test_axe_finds_nothing_serious_on_any_tab(open_page, locale, theme):
    axe_module = pytest.importorskip("axe_playwright_python.sync_playwright")
    axe = axe_module.Axe()
    page = open_page(locale, theme)
    settled(page, locale)
    found = []
    for english, name in zip(TABS["en-US"], TABS[locale], strict=True):
        tab(page, name).click()
        page.wait_for_timeout(2500)
        keep(page, f"{english}-{locale}-{theme}")
        result = axe.run(page, options={"runOnly": RULES})
        found += [
            (english, violation["id"], node["html"])
            for violation in result.response["violations"]
            if violation["impact"] in ("serious", "critical")
            for node in violation["nodes"]
        ]
    assert found == []
