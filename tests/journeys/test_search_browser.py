"""The Search tab in a real browser, over runs as a search leaves them on disk."""

import re
import time

import pytest
from app_process import App
from live_runs import beat, live_trial, write_importances, write_live_run, write_pictures
from slow_server import requests_held

from autoseg.data.sample import make_sample_dataset
from autoseg.files import write_json
from autoseg.workspace import Workspace

pytestmark = pytest.mark.slow  # A server and a browser each take seconds.

CHARTS = ("progress", "curves", "depth", "speed")


def open_search(page, app: App, query: str = "") -> None:
    page.goto(app.url + query)
    page.get_by_role("tab", name="Search").click()
    page.wait_for_selector("#card .as-card, #card .as-empty")


def rows(page) -> int:
    return page.locator("#trials tbody tr").count()


def wait_for(page, condition, timeout_s: float = 20.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "It did not come in time."
        page.wait_for_timeout(100)


def test_a_search_is_seen_as_it_grows_and_nothing_moves(app, page):
    run = write_live_run(app.home, "sample-1", 2)
    open_search(page, app)
    wait_for(page, lambda: rows(page) == 2)
    for name in CHARTS:
        page.wait_for_selector(f"#{name} svg.marks")
    heights = [page.locator(f"#{name}").bounding_box()["height"] for name in CHARTS]
    assert "four finished trials" in page.inner_text("#importances")

    for number in (2, 3, 4):
        run.write_trial(live_trial(number))
    write_importances(run, {"encoder": 0.7, "frozen_depth": 0.3}, 5)
    write_pictures(run, 4, [(200, 40, 40), (40, 40, 200)])
    beat(run, 5)
    wait_for(page, lambda: rows(page) == 5)
    assert "4 ★" in page.locator("#trials tr.best").inner_text()
    assert "Encoder" in page.inner_text("#importances")
    wait_for(page, lambda: page.locator("#pictures img").count() == 2)
    assert page.locator("#pictures img").first.evaluate("image => image.naturalWidth") == 120
    page.wait_for_selector("#front li")
    points = page.locator("#speed svg.marks .mark-symbol path")
    wait_for(page, lambda: points.count() >= 5)
    assert heights == [page.locator(f"#{name}").bounding_box()["height"] for name in CHARTS]

    second = page.context.new_page()
    open_search(second, app)
    wait_for(second, lambda: rows(second) == 5 and second.locator("#pictures img").count() == 2)
    second.close()


def test_charts_empty_and_fill_again_from_run_to_run(app, page):
    """Plots whose value was taken away while they were drawn left errors of Gradio's script."""
    write_live_run(app.home, "full", 5)
    write_live_run(app.home, "fresh", 0)
    open_search(page, app)
    for name, n_points in (("full", 5), ("fresh", 0), ("full", 5), ("fresh", 0)):
        page.locator("#runs").get_by_text(name).click()
        page.wait_for_selector(f"#card >> text={name}")
        points = page.locator("#speed svg.marks .mark-symbol.role-mark path")
        wait_for(page, lambda: points.count() == n_points)  # noqa: B023 - called within the loop


def test_new_pictures_take_the_place_of_old_ones(app, page):
    run = write_live_run(app.home, "sample-1", 1)
    write_pictures(run, 0, [(200, 40, 40)])
    open_search(page, app)
    image = page.locator("#pictures img")
    image.wait_for()
    before = image.get_attribute("src")
    write_pictures(run, 1, [(40, 40, 200)])
    beat(run, 1)
    wait_for(page, lambda: image.get_attribute("src") != before)


def test_pause_leaves_a_run_that_goes_on(app, page):
    run = write_live_run(app.home, "sample-1", 2)
    open_search(page, app)
    page.click("#pause")
    page.wait_for_selector("#pause:disabled >> text=Pausing")
    assert run.pause_requested() and not run.stop_requested()
    beat(run, 2, status="paused", message="The search is paused. It goes on where it stood.")
    page.wait_for_selector("#resume")
    assert "paused" in page.inner_text("#card")
    assert page.locator("#pause").count() == 0 and page.locator("#stop").count() == 0


def test_a_run_that_waits_says_for_which(app, page):
    write_live_run(app.home, "sample-1", 2)
    time.sleep(0.05)
    message = "Waits for sample-1: one search at a time has the device."
    write_live_run(app.home, "sample-2", 0, status="queued", message=message, waits_for="sample-1")
    open_search(page, app)
    page.wait_for_selector("#card >> text=Waits for sample-1")
    assert "waiting" in page.inner_text("#runs")
    page.wait_for_selector("#pause")
    assert page.locator("#stop").count() == 0


def test_the_slider_and_the_field_are_one_budget_by_keyboard_alone(app, page):
    make_sample_dataset(app.home / "datasets" / "sample", n_images=6, size=(48, 64))
    open_search(page, app)
    slider, field = page.get_by_label("as a slider"), page.get_by_label("as text")
    assert field.input_value() == "6m"
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert field.input_value() == "10m"
    assert slider.get_attribute("aria-valuetext") == "10 min"
    page.keyboard.press("End")
    assert field.input_value() == "4h"
    field.focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("1h20m")
    page.keyboard.press("Enter")
    assert slider.get_attribute("aria-valuetext") == "1 h 30 min"
    assert field.input_value() == "1h20m"


def test_what_is_wrong_stands_at_its_field_until_it_is_mended(app, page):
    make_sample_dataset(app.home / "datasets" / "sample", n_images=6, size=(48, 64))
    open_search(page, app)
    page.click("#more-options button")
    page.wait_for_selector("#estimate >> text=Check this data set")
    page.fill("#n-trials input, #n-trials textarea", "many")
    page.wait_for_selector("#n-trials >> text=whole number")
    # The estimate of a moment ago stayed.
    page.wait_for_selector("#estimate >> text=Check this data set", state="detached")
    page.fill("#budget input[type=text]", "soon")
    page.click("#start")
    page.wait_for_selector("#budget >> text=no duration")
    page.wait_for_selector("#n-trials >> text=whole number")
    assert not (app.home / "runs").exists()
    page.fill("#budget input[type=text]", "5m")
    page.keyboard.press("Enter")
    page.wait_for_selector("#budget >> text=no duration", state="detached")
    page.wait_for_selector("#n-trials >> text=whole number")


def test_a_run_is_renamed_and_deleted_only_after_the_question(app, page):
    for name in ("old", "other"):
        write_live_run(app.home, name, 2, status="interrupted")
        time.sleep(0.05)
    open_search(page, app)
    page.wait_for_selector("#card >> text=other")
    page.click("#search-manage button")
    page.fill("#search-new-name textarea, #search-new-name input", "best of all")
    page.click("#search-rename")
    page.wait_for_selector("#card >> text=best-of-all")
    assert (app.home / "runs" / "best-of-all").is_dir()
    page.click("#search-delete")
    page.click("#search-keep")
    page.wait_for_selector("#search-question", state="hidden")
    assert (app.home / "runs" / "best-of-all").is_dir()
    page.click("#search-delete")
    page.wait_for_selector("#search-question >> text=best-of-all")
    page.click("#search-really")
    page.wait_for_selector("#card >> text=old")
    assert not (app.home / "runs" / "best-of-all").exists()
    assert "best-of-all" not in page.inner_text("#runs")


def test_runs_are_compared_in_a_table_and_a_chart(app, page):
    for name in ("sample-1", "sample-2"):
        write_live_run(app.home, name, 3, status="interrupted")
    open_search(page, app)
    page.get_by_role("tab", name="Compare runs").click()
    page.wait_for_selector("#compare-table tbody tr >> nth=1")
    page.wait_for_selector("#compare-chart svg.marks")
    text = page.inner_text("#compare-table")
    assert "sample-1" in text and "sample-2" in text and "59.0 %" in text
    legend = page.locator("#compare-chart svg.marks").text_content()
    assert "sample-1" in legend and "sample-2" in legend


@pytest.mark.slow
def test_a_real_search_is_paused_and_goes_on_while_another_waits(app, page):
    Workspace(app.home).add_sample()
    open_search(page, app)
    page.wait_for_function("document.querySelector('#dataset input')?.value === 'sample'")
    page.fill("#budget input[type=text]", "6m")
    page.click("#start")
    page.wait_for_selector("#card >> text=sample-1")
    page.wait_for_selector("#pictures img", timeout=240_000)
    page.click("#pause")
    page.wait_for_selector("#resume")
    resting = page.inner_text("#card")
    page.wait_for_timeout(5_000)
    assert page.inner_text("#card") == resting
    page.reload()
    page.click("#resume")
    page.wait_for_selector("#card >> text=running")
    at_work = "document.querySelector('#card')?.innerText.includes('Starting') === false"
    page.wait_for_function(at_work, timeout=120_000)

    page.fill("#budget input[type=text]", "2m")
    page.click("#start")
    page.wait_for_selector("#card >> text=Waits for sample-1", timeout=120_000)
    page.click("#pause")
    page.wait_for_selector("#card .as-pill >> text=paused")

    page.locator("#runs").get_by_text("sample-1").click()
    page.click("#stop")
    page.wait_for_selector("#try", timeout=180_000)
    page.wait_for_selector("#report table")
    page.click("#share-run")
    page.wait_for_function("document.querySelector('#push-run input')?.value === 'sample-1'")


@pytest.mark.alone
@pytest.mark.slow
def test_a_run_that_rests_costs_next_to_nothing(app, page):
    """One small question in ten seconds, and an answer without the page's content."""
    write_live_run(app.home, "sample-1", 30, status="interrupted")
    open_search(page, app)
    page.wait_for_selector("#trials tbody tr")
    page.wait_for_timeout(12_000)
    sizes: list[int] = []
    page.on("response", lambda response: sizes.append(len(response.body())))
    page.wait_for_timeout(21_000)
    assert 1 <= len(sizes) <= 4
    assert max(sizes) < 2_000


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_charts_fit_a_phone(app, browser, theme):
    run = write_live_run(app.home, "sample-1", 6)
    write_pictures(run, 4, [(200, 40, 40)])
    write_json(run.path / "importances.json", {"n_trials": 6, "importances": {"encoder": 1.0}})
    page = browser.new_page(viewport={"width": 390, "height": 844})
    open_search(page, app, f"?__theme={theme}")
    for name in CHARTS:
        page.wait_for_selector(f"#{name} svg.marks")
    page.wait_for_timeout(500)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()


def test_the_tab_speaks_chinese(app, browser):
    write_live_run(app.home, "sample-1", 2)
    context = browser.new_context(locale="zh-CN")
    page = context.new_page()
    page.goto(app.url)
    page.get_by_role("tab", name="搜索").click()
    page.wait_for_selector("#trials table")
    page.wait_for_selector("#progress svg.marks")
    shown = " ".join(page.inner_text(f"#{part}") for part in ("card", "trials", "budget", "start"))
    for word in ("剩余时间", "编码器", "时间预算", "开始", "运行中"):
        assert word in shown
    assert not re.search("Time left|Encoder|Time budget|running", shown)
    assert "分钟" in page.locator("#progress svg.marks").text_content()
    context.close()


def test_a_reload_shows_the_budget_that_was_chosen(app, page):
    """What had been typed was forgotten, and the next search took six minutes."""
    field = "#budget input[type=text]"

    def reload() -> None:
        page.goto(app.url)
        page.get_by_role("tab", name="Search").click()
        page.wait_for_selector(field)

    reload()
    assert page.input_value(field) == "6m"
    page.fill(field, "17m")
    page.wait_for_timeout(1500)
    for _ in range(2):
        reload()
        page.wait_for_function(f"document.querySelector('{field}').value === '17m'")
    page.wait_for_timeout(1500)
    assert page.input_value(field) == "17m"
    page.locator("#budget input[type=range]").press("Home")
    page.wait_for_timeout(1500)
    reload()
    page.wait_for_function(f"document.querySelector('{field}').value === '1m'")


def test_a_budget_chosen_while_the_page_opens_is_not_covered(app, page):
    field = "#budget input[type=text]"
    page.goto(app.url)
    page.get_by_role("tab", name="Search").click()
    page.fill(field, "17m")
    page.wait_for_timeout(1500)
    with requests_held(page, "**/gradio_api/run/**"):
        page.goto(app.url)
        page.get_by_role("tab", name="Search").click()
        page.fill(field, "33m")
        page.wait_for_timeout(1500)
    page.wait_for_timeout(2500)
    assert page.input_value(field) == "33m"
    page.goto(app.url)
    page.get_by_role("tab", name="Search").click()
    page.wait_for_function(f"document.querySelector('{field}').value === '33m'")
