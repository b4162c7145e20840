"""Correcting a mask in a real browser: the file that comes back holds what was drawn."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from canvas_driver import HEIGHT, NAMES, PALETTE, WIDTH, Canvas, open_page
from canvas_page import CanvasPage, write_value
from PIL import Image

pytestmark = pytest.mark.slow  # A server and a browser each take seconds.

MASK = np.zeros((HEIGHT, WIDTH), np.uint8)
MASK[5:25, 4:24] = 1
MASK[8:30, 40:56] = 2
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CanvasPage]:
    folder = tmp_path_factory.mktemp("correcting")
    classes = {"names": NAMES, "palette": PALETTE}
    values = {
        "plain": write_value(folder, "plain", MASK, **classes),
        "compared": write_value(
            folder, "compared", MASK, other=MASK[:, ::-1].copy(), id="plain", **classes
        ),
        "next": write_value(folder, "next", MASK[::-1].copy(), **classes),
    }
    for number in range(7):
        values[f"many{number}"] = write_value(folder, f"many{number}", MASK, **classes)
    with CanvasPage(folder, values) as page:
        yield page


@pytest.fixture
def canvas(served: CanvasPage, page: Any) -> Canvas:
    """A canvas in the mode of correcting, with a brush of seven pixels and class 1."""
    canvas = open_page(served, page).show("plain")
    canvas.button("Correct").click()
    canvas.slide("Size", 7)
    return canvas


def sent(canvas: Canvas, served: CanvasPage) -> np.ndarray:
    """The mask that comes back; its file is grey with 8 bits and its count of changes is right."""
    canvas.button("Add to the data set").click()
    canvas.root.get_by_text("Sent", exact=True).wait_for()
    (event,) = served.events()
    assert event["event"] == "corrected" and event["id"] == "plain"
    with Image.open(event["mask"]) as image:
        assert image.mode == "L" and image.size == (WIDTH, HEIGHT)
        mask = np.array(image)
    assert event["changed_px"] == (mask != MASK).sum()
    return mask


def stroke(start: tuple[int, int], end: tuple[int, int], diameter: float) -> np.ndarray:
    """Pixels whose middle is at most half the diameter from a line."""
    (x0, y0), (x1, y1) = start, end
    along = np.array([x1 - x0, y1 - y0], float)
    length = (along**2).sum() or 1.0
    share = np.clip(((COLUMNS - x0) * along[0] + (ROWS - y0) * along[1]) / length, 0, 1)
    away = np.hypot(COLUMNS - x0 - share * along[0], ROWS - y0 - share * along[1])
    return away <= diameter / 2 + 1e-6


def test_a_stroke_of_the_brush_comes_back_as_it_was_painted(canvas, served):
    canvas.drag((30, 32), (52, 36))
    wanted = np.where(stroke((30, 32), (52, 36), 7), 1, MASK)
    canvas.slide("Opacity", 1)
    assert (canvas.pixels()[wanted == 1] == PALETTE[1]).all()
    assert np.array_equal(sent(canvas, served), wanted)


def test_the_class_is_chosen_in_the_table_or_by_its_key(canvas, served):
    canvas.root.get_by_role("rowheader").get_by_text("spot").click()
    canvas.drag((10, 34), (10, 34))
    canvas.page.keyboard.press("l")
    canvas.drag((30, 10), (30, 10))
    canvas.page.keyboard.press("1")
    canvas.drag((12, 12), (12, 12))
    wanted = MASK.copy()
    for index, place in ((2, (10, 34)), (255, (30, 10)), (0, (12, 12))):
        wanted[stroke(place, place, 7)] = index
    assert np.array_equal(sent(canvas, served), wanted)


def test_the_eraser_brings_back_what_the_model_said(canvas, served):
    canvas.drag((4, 20), (50, 20))
    canvas.page.keyboard.press("e")
    canvas.slide("Size", 5)
    canvas.drag((4, 20), (20, 20))
    canvas.drag((44, 20), (50, 20))
    wanted = np.where(stroke((4, 20), (50, 20), 7), 1, MASK)
    for start, end in (((4, 20), (20, 20)), ((44, 20), (50, 20))):
        wanted = np.where(stroke(start, end, 5), MASK, wanted)
    assert np.array_equal(sent(canvas, served), wanted)


@pytest.mark.parametrize("close", ["Enter", "twice", "first corner", "button"])
def test_a_polygon_is_filled_where_the_middle_of_a_pixel_is_inside(canvas, served, close):
    canvas.page.keyboard.press("p")
    # Corners on the edges between pixels, so that no middle lies on a side.
    for x, y in ((24.5, 1.5), (36.5, 1.5), (36.5, 33.5)):
        canvas.click(x, y)
    if close == "twice":
        canvas.page.mouse.dblclick(*canvas.place(24.5, 33.5))
    else:
        canvas.click(24.5, 33.5)
    if close == "Enter":
        canvas.page.keyboard.press("Enter")
    elif close == "first corner":
        canvas.click(24.5, 1.5)
    elif close == "button":
        canvas.button("Close the shape").click()
    wanted = MASK.copy()
    wanted[2:34, 25:37] = 1
    assert np.array_equal(sent(canvas, served), wanted)


def test_escape_drops_a_polygon(canvas, served):
    canvas.page.keyboard.press("p")
    for x, y in ((25, 2), (36, 2), (30, 30)):
        canvas.click(x, y)
    canvas.page.keyboard.press("Escape")
    canvas.page.keyboard.press("Enter")
    assert np.array_equal(sent(canvas, served), MASK)


def test_fill_takes_one_region(canvas, served):
    canvas.page.keyboard.press("1")
    canvas.drag((14, 1), (14, 28))  # It cuts the leaf in two.
    canvas.page.keyboard.press("3")
    canvas.page.keyboard.press("g")
    canvas.click(6, 8)
    wanted = np.where(stroke((14, 1), (14, 28), 7), 0, MASK)
    wanted[(wanted == 1) & (COLUMNS < 14)] = 2
    assert np.array_equal(sent(canvas, served), wanted)


def test_steps_are_taken_back_and_made_again_in_order(canvas, served):
    canvas.drag((30, 5), (30, 5))
    canvas.drag((30, 35), (30, 35))
    one, two = stroke((30, 5), (30, 5), 7), stroke((30, 35), (30, 35), 7)
    assert canvas.button("Redo").is_disabled()
    canvas.page.keyboard.press("Control+z")
    assert np.array_equal(sent(canvas, served), np.where(one, 1, MASK))
    canvas.button("Undo").click()
    assert np.array_equal(sent(canvas, served), MASK)
    assert canvas.button("Undo").is_disabled()
    canvas.stage.press("Control+Shift+z")
    canvas.stage.press("Control+y")
    assert np.array_equal(sent(canvas, served), np.where(one | two, 1, MASK))


def test_an_image_that_comes_while_one_draws_ends_the_stroke_and_keeps_it(canvas, served):
    """Once the next movement failed with a TypeError and the drawing was lost."""
    errors = []
    canvas.page.on("pageerror", lambda error: errors.append(error))
    canvas.page.mouse.move(*canvas.place(30, 5))
    canvas.page.mouse.down()
    canvas.page.mouse.move(*canvas.place(34, 5))
    canvas.page.evaluate("document.querySelector('#show-next').click()")
    canvas.root.and_(canvas.page.locator("[data-result=next][data-status=ready]")).wait_for()
    canvas.page.mouse.move(*canvas.place(34, 20))
    canvas.page.mouse.up()
    canvas.show("plain")
    canvas.button("Go on").click()
    assert errors == []
    wanted = np.where(stroke((30, 5), (34, 5), 7), 1, MASK)
    assert np.array_equal(sent(canvas, served), wanted)


@pytest.mark.parametrize("key", ["v", "p"])
def test_another_mode_or_tool_ends_the_stroke(canvas, served, key):
    canvas.page.mouse.move(*canvas.place(30, 5))
    canvas.page.mouse.down()
    if key == "v":
        canvas.button("View").evaluate("button => button.click()")
        canvas.button("Correct").evaluate("button => button.click()")
    else:
        canvas.stage.press(key)
    canvas.page.mouse.move(*canvas.place(30, 20))
    canvas.page.mouse.up()
    assert np.array_equal(sent(canvas, served), np.where(stroke((30, 5), (30, 5), 7), 1, MASK))


def test_a_step_is_not_taken_back_while_another_is_being_drawn(canvas, served):
    """Once the stroke being drawn went into the tiles of the step that was taken back."""
    canvas.drag((30, 5), (30, 5))
    canvas.page.mouse.move(*canvas.place(30, 20))
    canvas.page.mouse.down()
    canvas.stage.press("Control+z")
    canvas.stage.press(" ")
    canvas.page.mouse.move(*canvas.place(34, 20))
    canvas.page.mouse.up()
    one, two = stroke((30, 5), (30, 5), 7), stroke((30, 20), (34, 20), 7)
    assert np.array_equal(sent(canvas, served), np.where(one | two, 1, MASK))
    canvas.button("Undo").click()
    assert np.array_equal(sent(canvas, served), np.where(one, 1, MASK))


def test_a_class_that_was_hidden_is_seen_while_it_is_painted(canvas, served):
    canvas.button("View").click()
    canvas.button("Show leaf").click()
    canvas.button("Correct").click()
    canvas.slide("Opacity", 1)
    assert (canvas.pixels()[MASK == 1] == PALETTE[1]).all()
    canvas.button("Show leaf").click()
    canvas.drag((30, 5), (30, 5))
    assert (canvas.pixels()[5, 30] == PALETTE[1]).all()
    canvas.button("Discard").first.click()


def test_a_mask_can_be_corrected_with_the_keyboard_alone(served, page):
    canvas = open_page(served, page).show("plain")
    canvas.button("Correct").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("3")
    for _ in range(40):
        if canvas.stage.evaluate("canvas => canvas === document.activeElement"):
            break
        page.keyboard.press("Tab")
    assert canvas.stage.evaluate("canvas => canvas === document.activeElement")
    page.keyboard.press("[")
    size = int(canvas.root.get_by_role("slider", name="Size").input_value())
    page.keyboard.press("ArrowRight")  # The cursor appears in the middle.
    page.keyboard.down("Space")
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    page.keyboard.up("Space")
    start, end = (WIDTH // 2, HEIGHT // 2), (WIDTH // 2 + 6, HEIGHT // 2)
    wanted = np.where(stroke(start, end, size), 2, MASK)
    assert np.array_equal(sent(canvas, served), wanted)
    assert "x 36" in canvas.root.locator("[aria-live=polite]").inner_text()


def test_a_finger_paints_and_a_second_finger_takes_its_stroke_back(served, browser):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    canvas = open_page(served, page).show("plain")
    canvas.button("Correct").click()
    canvas.slide("Size", 7)
    fingers = context.new_cdp_session(page)

    def touch(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": x, "y": y, "id": k} for k, (x, y) in enumerate(places)]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    canvas.stage.scroll_into_view_if_needed()
    touch("touchStart", canvas.place(10, 30))
    touch("touchStart", canvas.place(10, 30), canvas.place(50, 30))
    touch("touchEnd")
    assert canvas.button("Discard").first.is_disabled()  # Nothing was drawn.
    start, end = canvas.place(30, 5), canvas.place(30, 12)
    touch("touchStart", start)
    touch("touchMove", end)
    touch("touchEnd")
    touch("touchStart", canvas.place(10, 30))
    touch("touchStart", canvas.place(10, 30), canvas.place(50, 30))
    touch("touchMove", canvas.place(5, 30), canvas.place(55, 30))
    touch("touchEnd")
    canvas.settle()
    changed = sent(canvas, served) != MASK
    assert changed[5:13, 30].all() and not changed[20:].any()
    context.close()


def test_unsaved_corrections_are_there_when_the_image_comes_back(canvas, served):
    canvas.drag((30, 5), (30, 5))
    canvas.show("next")
    notice = canvas.root.get_by_text("You have unsaved corrections of this image.")
    assert not notice.is_visible()
    canvas.show("plain")
    assert notice.is_visible()
    canvas.button("Go on").click()
    assert not notice.is_visible()
    wanted = np.where(stroke((30, 5), (30, 5), 7), 1, MASK)
    assert np.array_equal(sent(canvas, served), wanted)
    canvas.show("next").show("plain")
    assert not notice.is_visible()
    assert np.array_equal(sent(canvas, served), MASK)


@pytest.mark.parametrize("width", [390, 640, 800, 1000, 1280])
@pytest.mark.parametrize("tool", ["b", "p"])
def test_the_stage_stays_where_it_is_while_one_draws(served, browser, width, tool):
    page = browser.new_page(viewport={"width": width, "height": 900})
    canvas = open_page(served, page).show("plain")
    canvas.button("Correct").click()
    page.keyboard.press(tool)
    below = "stage => [stage.getBoundingClientRect().top + scrollY, stage.clientHeight]"
    before = canvas.stage.evaluate(below)
    for place in ((30, 5), (20, 20), (35, 25)):
        canvas.click(*place)
        assert canvas.stage.evaluate(below) == before
    canvas.stage.press("Enter")
    canvas.button("Add to the data set").click()
    canvas.root.get_by_text("Sent", exact=True).wait_for()
    assert canvas.stage.evaluate(below) == before
    served.events()
    page.close()


def test_a_correction_that_could_not_be_sent_is_kept(canvas, served):
    canvas.drag((30, 5), (30, 5))
    canvas.page.route("**/upload*", lambda route: route.abort())
    canvas.button("Add to the data set").click()
    canvas.root.get_by_text("Not sent. Try again.").wait_for()
    canvas.page.unroute("**/upload*")
    canvas.show("next").show("plain")
    canvas.button("Go on").click()
    wanted = np.where(stroke((30, 5), (30, 5), 7), 1, MASK)
    assert np.array_equal(sent(canvas, served), wanted)


def test_a_canvas_taken_off_the_page_keeps_its_unsaved_corrections(canvas, served):
    canvas.drag((30, 5), (30, 5))
    canvas.page.click("#hide")
    canvas.root.wait_for(state="detached")
    canvas.page.click("#unhide")
    canvas.root.and_(canvas.page.locator("[data-status=ready]")).wait_for()
    canvas.button("Go on").click()
    wanted = np.where(stroke((30, 5), (30, 5), 7), 1, MASK)
    assert np.array_equal(sent(canvas, served), wanted)


def test_another_mask_to_compare_with_leaves_the_correction_as_it_is(canvas, served):
    canvas.drag((30, 5), (30, 5))
    canvas.page.click("#show-compared")
    canvas.button("Differences").wait_for()
    assert not canvas.root.get_by_text("You have unsaved corrections").is_visible()
    canvas.drag((30, 30), (30, 30))
    canvas.page.keyboard.press("Control+z")
    wanted = np.where(stroke((30, 5), (30, 5), 7), 1, MASK)
    assert np.array_equal(sent(canvas, served), wanted)


def test_discard_brings_the_models_mask_back(canvas, served):
    canvas.drag((30, 5), (30, 5))
    canvas.button("Discard").first.click()
    canvas.show("next").show("plain")
    assert not canvas.root.get_by_text("You have unsaved corrections").is_visible()
    assert np.array_equal(sent(canvas, served), MASK)


def test_a_mask_that_the_server_refuses_stays_unsaved(canvas, served):
    """Once the upload alone made it count as saved, and the next image lost the drawing."""
    canvas.drag((30, 5), (30, 5))
    (served.folder / "full").touch()
    canvas.button("Add to the data set").click()
    canvas.root.get_by_text("Not added.", exact=True).wait_for()
    assert canvas.root.locator(".mc-changed").get_attribute("title") == "The disk is full."
    (served.folder / "full").unlink()
    served.events()
    canvas.show("next").show("plain")
    canvas.button("Go on").click()
    wanted = np.where(stroke((30, 5), (30, 5), 7), 1, MASK)
    assert np.array_equal(sent(canvas, served), wanted)


def test_what_is_drawn_before_the_server_answers_stays_unsaved(canvas, served):
    canvas.drag((30, 5), (30, 5))
    (served.folder / "slow").touch()
    canvas.button("Add to the data set").click()
    canvas.drag((30, 30), (30, 30))
    canvas.page.locator(
        "button.mc-button:not([disabled])", has_text="Add to the data set"
    ).wait_for()
    (served.folder / "slow").unlink()
    served.events()
    canvas.show("next").show("plain")
    canvas.button("Go on").click()
    both = stroke((30, 5), (30, 5), 7) | stroke((30, 30), (30, 30), 7)
    assert np.array_equal(sent(canvas, served), np.where(both, 1, MASK))


def test_the_answer_is_understood_when_another_image_is_shown_by_then(canvas, served):
    canvas.drag((30, 5), (30, 5))
    (served.folder / "slow").touch()
    canvas.button("Add to the data set").click()
    canvas.page.wait_for_function("autosegUnanswered.size === 1")
    canvas.show("next")
    canvas.page.wait_for_function("autosegUnanswered.size === 0")
    (served.folder / "slow").unlink()
    served.events()
    assert not canvas.root.get_by_text("Sent", exact=True).is_visible()
    canvas.show("plain")
    assert not canvas.root.get_by_text("You have unsaved corrections").is_visible()


def test_another_image_can_be_added_while_the_server_keeps_the_first(canvas, served):
    canvas.drag((30, 5), (30, 5))
    (served.folder / "slow").touch()
    canvas.button("Add to the data set").click()
    canvas.page.wait_for_function("autosegUnanswered.size === 1")
    assert canvas.button("Add to the data set").is_disabled()
    canvas.show("next")
    assert canvas.button("Add to the data set").is_enabled()
    canvas.page.wait_for_function("autosegUnanswered.size === 0")
    (served.folder / "slow").unlink()
    served.events()


def test_a_mask_that_is_never_answered_counts_as_not_sent_and_is_let_go(served, page):
    page.add_init_script(
        "const wait = setTimeout; window.setTimeout = (run, ms) => wait(run, ms === 60000 ? 1 : ms)"
    )
    canvas = open_page(served, page).show("plain")
    canvas.button("Correct").click()
    canvas.drag((30, 5), (30, 5))
    page.route("**/queue/join*", lambda route: route.abort())
    canvas.button("Add to the data set").click()
    canvas.root.get_by_text("Not sent. Try again.").wait_for()
    assert page.evaluate("autosegUnanswered.size") == 0
    assert canvas.button("Add to the data set").is_enabled()
    page.unroute("**/queue/join*")


def test_seven_images_keep_their_unsaved_corrections(canvas, served):
    """There was once room for five, and the sixth took the place of the first without a word."""
    for number in range(7):
        canvas.show(f"many{number}")
        canvas.drag((30, 5), (30, 5))
    canvas.show("many0")
    assert canvas.root.get_by_text("You have unsaved corrections").is_visible()


def test_drawings_that_fill_the_memory_are_kept_and_the_user_is_told(canvas, served):
    canvas.drag((30, 5), (30, 5))
    warning = canvas.root.locator(".mc-many")
    assert not warning.is_visible()
    canvas.page.evaluate("autosegDrafts.set('large', { bytes: 2e9, forgetSteps() { } })")
    canvas.drag((30, 20), (30, 20))
    assert warning.inner_text().startswith("2 images have unsaved corrections")
    canvas.show("next").show("plain")
    canvas.button("Go on").click()
    canvas.page.evaluate("autosegDrafts.delete('large')")
    both = stroke((30, 5), (30, 5), 7) | stroke((30, 20), (30, 20), 7)
    assert np.array_equal(sent(canvas, served), np.where(both, 1, MASK))


@pytest.mark.parametrize("phone", [False, True])
def test_a_phone_gives_drawings_less_memory(served, browser, phone):
    context = browser.new_context(has_touch=phone, is_mobile=phone)
    canvas = open_page(served, context.new_page()).show("plain")
    canvas.button("Correct").click()
    canvas.page.evaluate("autosegDrafts.set('large', { bytes: 2e8, forgetSteps() { } })")
    canvas.drag((30, 5), (30, 5))
    assert canvas.root.locator(".mc-many").is_visible() == phone
    context.close()


def test_the_browser_asks_before_it_leaves_unsaved_corrections(canvas, served):
    asked = []

    def stay(dialog: Any) -> None:
        asked.append(dialog.type)
        dialog.accept()

    canvas.page.on("dialog", stay)
    canvas.drag((30, 5), (30, 5))
    assert np.count_nonzero(sent(canvas, served) != MASK)
    canvas.page.reload()
    assert asked == []
    canvas.show("plain").button("Correct").click()
    canvas.drag((30, 5), (30, 5))
    canvas.page.reload()
    assert asked == ["beforeunload"]
