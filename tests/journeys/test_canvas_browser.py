"""The mask canvas in a real browser: what is painted, read, compared, drawn and sent back."""

import re
import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from canvas_driver import HEIGHT, NAMES, PALETTE, WIDTH, Canvas, open_page
from canvas_page import CanvasPage, write_value
from PIL import Image


def make_mask() -> np.ndarray:
    """Two leaves, a spot on the first, a strip that is left out."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[5:25, 4:24] = 1
    mask[10:14, 8:20] = 2
    mask[8:30, 40:56] = 1
    mask[36:, :] = 255
    return mask


MASK = make_mask()
OTHER = np.roll(MASK, 3, axis=1)
CONFIDENCE = np.linspace(90, 255, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH).astype(np.uint8)
TWO = (np.minimum(MASK, 1) * (MASK != 255)).astype(np.uint8)
TWO_CONFIDENCE = np.linspace(128, 255, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH).astype(np.uint8)


RAMP = np.random.default_rng(1).integers(1, 200, (HEIGHT, WIDTH)).astype(np.uint8)
GREYS = [[k, k, k] for k in range(200)]


def png_with_all_filters(mask: np.ndarray) -> bytes:
    """A grey PNG whose rows are filtered in the five ways in turn."""
    now = mask.astype(int)
    left, up = np.pad(now, ((0, 0), (1, 0)))[:, :-1], np.pad(now, ((1, 0), (0, 0)))[:-1]
    corner = np.pad(now, ((1, 0), (1, 0)))[:-1, :-1]
    guesses = np.stack([left, up, corner])
    nearest = np.abs(left + up - corner - guesses).argmin(0)  # The first of equals, as it must be.
    paeth = np.take_along_axis(guesses, nearest[None], 0)[0]
    predicted = [np.zeros_like(now), left, up, (left + up) // 2, paeth]
    rows = b"".join(
        bytes([y % 5, *((now[y] - predicted[y % 5][y]) % 256).tolist()]) for y in range(HEIGHT)
    )
    packed = zlib.compress(rows)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 0, 0, 0, 0)),
        (b"IDAT", packed[:99]), (b"IDAT", packed[99:]), (b"IEND", b""),
    ]  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CanvasPage]:
    folder = tmp_path_factory.mktemp("canvas")
    classes = {"names": NAMES, "palette": PALETTE}
    values = {
        "plain": write_value(
            folder, "plain", MASK, confidence=CONFIDENCE, other=OTHER, **classes
        ),
        "two": write_value(
            folder, "two", TWO, confidence=TWO_CONFIDENCE,
            names=["background", "cell"], palette=PALETTE[:2],
        ),
        "coarse": write_value(
            folder, "coarse", MASK, confidence=CONFIDENCE[::4, ::4].copy(), **classes
        ),
        "bare": write_value(folder, "bare", MASK[::-1].copy(), **{**classes, "editable": False}),
        "broken": write_value(folder, "broken", MASK, **classes),
        "filtered": write_value(
            folder, "filtered", RAMP, names=[str(k) for k in range(200)], palette=GREYS
        ),
        "colours": write_value(folder, "colours", MASK, **classes),
    }  # fmt: skip
    Path(values["broken"]["classes"]).write_bytes(b"no picture")
    Path(values["filtered"]["classes"]).write_bytes(png_with_all_filters(RAMP))
    Image.fromarray(MASK).convert("RGB").save(values["colours"]["classes"])
    with CanvasPage(folder, values) as page:
        yield page


@pytest.fixture
def canvas(served: CanvasPage, page: Any) -> Canvas:
    return open_page(served, page)


def photo(name: str = "plain", served: CanvasPage | None = None) -> np.ndarray:
    assert served is not None
    return np.array(Image.open(served.folder / f"{name}-image.png")).astype(int)


def blended(image: np.ndarray, colors: np.ndarray, drawn: np.ndarray, opacity: float) -> np.ndarray:
    mixed = image * (1 - opacity) + colors * opacity
    return np.where(drawn[..., None], mixed, image)


def colors_of(mask: np.ndarray) -> np.ndarray:
    table = np.zeros((256, 3), int)
    table[: len(PALETTE)] = PALETTE
    return table[mask]


# Looking


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_pixel_has_the_colour_of_its_class_and_background_is_the_photo(served, page, theme):
    canvas = open_page(served, page, theme).show("plain")
    image, known = photo("plain", served), MASK != 255
    for opacity in (1, 0.4, 0):
        canvas.slide("Opacity", opacity)
        wanted = blended(image, colors_of(MASK), (MASK > 0) & known, opacity)
        assert np.abs(canvas.pixels() - wanted)[known].max() <= 3


def test_classes_are_read_as_written_with_each_of_the_five_filters(canvas, served):
    with Image.open(served.folder / "filtered-classes.png") as image:
        assert np.array_equal(np.array(image), RAMP)
    canvas.show("filtered").slide("Opacity", 1)
    assert np.array_equal(canvas.pixels(), np.repeat(RAMP[..., None], 3, -1))


def test_a_browser_that_changes_what_is_read_from_a_canvas_reads_classes_right(served, page):
    """Brave and Firefox (resistFingerprinting) turned classes into their neighbours, unnoticed."""
    page.add_init_script(
        """const read = CanvasRenderingContext2D.prototype.getImageData;
        CanvasRenderingContext2D.prototype.getImageData = function (...box) {
          const found = read.apply(this, box);
          for (let i = 0; i < found.data.length; i++) found.data[i] ^= i % 4 === 3 ? 0 : 1;
          return found;
        };"""
    )
    canvas = open_page(served, page).show("plain")
    assert "leaf" in canvas.hover(6, 8)
    page.click("#show-colours")  # No grey file, which only a canvas could read.
    canvas.root.get_by_text("The image could not be loaded.").wait_for()


def test_a_mask_in_three_equal_channels_is_read_by_a_canvas(canvas):
    assert "leaf" in canvas.show("colours").hover(6, 8)


def test_pixels_and_hover_are_right_where_a_css_pixel_is_one_and_a_half(served, browser):
    context = browser.new_context(device_scale_factor=1.5)
    page = context.new_page()
    canvas = open_page(served, page).show("plain")
    assert "spot" in canvas.hover(9, 11)
    canvas.slide("Opacity", 1)
    assert (canvas.pixels()[MASK == 2] == PALETTE[2]).all()
    context.close()


def test_pixels_left_out_are_striped(canvas):
    canvas.show("plain").slide("Opacity", 1)
    left_out = canvas.pixels()[MASK == 255]
    assert {tuple(color) for color in left_out} == {(255, 255, 255), (80, 80, 80)}


def test_hover_reads_the_class_and_the_probability(canvas):
    canvas.show("plain")
    for x, y in [(0, 0), (5, 6), (10, 12), (59, 35), (41, 29), (30, 38)]:
        said = canvas.hover(x, y)
        index = MASK[y, x]
        assert said.startswith("Leave out" if index == 255 else NAMES[index])
        if index != 255:
            assert f"{CONFIDENCE[y, x] / 255:.0%}".replace("%", " %") in said


def test_hover_names_the_other_masks_class_where_it_differs(canvas):
    canvas.show("plain")
    assert "Ground truth: background" in canvas.hover(4, 20)
    assert "Ground truth" not in canvas.hover(20, 20)


def test_a_coarse_confidence_map_is_read_at_its_own_size(canvas):
    said = canvas.show("coarse").hover(42, 21)
    assert f"{CONFIDENCE[20, 40] / 255:.0%}".replace("%", " %") in said


def test_without_confidence_and_other_mask_their_controls_are_gone(canvas):
    canvas.show("bare")
    for name in ("Confidence", "Differences", "Side by side", "Correct"):
        assert not canvas.button(name).is_visible()
    assert not canvas.root.get_by_role("slider", name="Threshold").is_visible()
    assert "%" not in canvas.hover(1, 1)
    canvas.show("plain")
    assert canvas.button("Confidence").is_visible() and canvas.button("Correct").is_visible()


def test_a_class_can_be_hidden_and_shown_alone(canvas, served):
    canvas.show("plain").slide("Opacity", 1)
    image = photo("plain", served)
    canvas.button("Show leaf").click()
    assert (canvas.pixels()[MASK == 1] == image[MASK == 1]).all()
    assert (canvas.pixels()[MASK == 2] == PALETTE[2]).all()
    canvas.root.get_by_role("button", name="leaf", exact=True).click()
    assert (canvas.pixels()[MASK == 1] == PALETTE[1]).all()
    assert (canvas.pixels()[MASK == 2] == image[MASK == 2]).all()


def test_a_chosen_colour_lasts_over_a_reload_and_can_be_reset(canvas, served):
    canvas.show("plain").slide("Opacity", 1)
    canvas.root.get_by_label("Colour of leaf").fill("#12ab34")
    assert (canvas.pixels()[MASK == 1] == [0x12, 0xAB, 0x34]).all()
    canvas = open_page(served, canvas.page).show("plain")
    canvas.slide("Opacity", 1)
    assert (canvas.pixels()[MASK == 1] == [0x12, 0xAB, 0x34]).all()
    canvas.button("Reset colours").click()
    assert (canvas.pixels()[MASK == 1] == PALETTE[1]).all()


def test_outlines_lie_on_the_border_and_leave_the_inside_free(canvas, served):
    canvas.show("plain").slide("Opacity", 1)
    canvas.button("Outline").click()
    seen, image = canvas.pixels(), photo("plain", served)
    assert (seen[15:24, 41:55] == image[15:24, 41:55]).all()
    x, y = canvas.place(40, 20)
    scale = float(canvas.stage.get_attribute("data-view").split()[0])
    left = canvas.page.screenshot(
        clip={"x": round(x - scale / 2), "y": round(y), "width": 1, "height": 1}
    )
    edge = np.array(Image.open(BytesIO(left)).convert("RGB"))[0, 0].astype(int)
    assert np.abs(edge - PALETTE[1]).max() <= 3


def test_a_click_selects_one_connected_region_and_escape_lets_go(canvas):
    canvas.show("plain").click(45, 10)
    card = canvas.root.locator(".mc-region")
    share = f"{22 * 16 / MASK.size:.0%}".replace("%", " %")
    assert f"leaf · 352 px · {share} of the image" in card.inner_text()
    canvas.click(5, 6)
    assert "leaf · 352 px" in card.inner_text()  # 20 x 20 with a hole of 48.
    canvas.click(10, 12)
    assert "spot · 48 px" in card.inner_text()
    canvas.page.keyboard.press("Escape")
    assert not card.is_visible()


def test_the_table_counts_areas_shares_confidence_and_overlap(canvas):
    canvas.show("plain")
    for index, name in enumerate(NAMES):
        own = MASK == index
        compared = (MASK != 255) & (OTHER != 255)
        iou = (own & (OTHER == index)).sum() / ((own | (OTHER == index)) & compared).sum()
        row = canvas.row(name)
        assert f"{own.sum():,} px" in row
        for share in (CONFIDENCE[own].mean() / 255, iou):
            assert (f"{share:.0%}" if share > 0.1 else f"{share:.1%}").replace("%", " %") in row


def test_the_threshold_of_a_two_class_model_moves_the_mask(canvas, served):
    canvas.show("two").slide("Opacity", 1)
    assert (canvas.pixels()[TWO == 1] == PALETTE[1]).all()
    canvas.slide("Threshold", 0.8)
    probability = np.where(TWO == 1, TWO_CONFIDENCE, 255 - TWO_CONFIDENCE.astype(int))
    wanted = probability >= round(255 * 0.8)
    assert 0 < wanted.sum() < (TWO == 1).sum()
    assert (canvas.pixels()[wanted] == PALETTE[1]).all()
    assert (canvas.pixels()[~wanted] == photo("two", served)[~wanted]).all()
    canvas.page.wait_for_timeout(400)
    assert f"{wanted.sum():,} px" in canvas.row("cell")
    canvas.button("Download").click()
    canvas.root.get_by_role("menuitem", name="Mask as class numbers (PNG)").click()
    sent = {"event": "export", "id": "two", "format": "index", "threshold": 0.8}
    assert served.events() == [sent]


def test_a_threshold_and_a_heat_map_asked_for_before_the_confidence_is_there_come_with_it(canvas):
    """They were painted only when something else changed."""
    held: list[Any] = []
    canvas.page.route(re.compile("two-confidence"), lambda route: held.append(route))
    canvas.page.click("#show-two")
    canvas.root.and_(canvas.page.locator("[data-result=two]")).wait_for()
    canvas.slide("Opacity", 1)
    canvas.slide("Threshold", 0.8)
    cell = TWO == 1
    assert (canvas.pixels()[cell] == PALETTE[1]).all()
    for route in held:
        route.continue_()
    canvas.root.and_(canvas.page.locator("[data-status=ready]")).wait_for()
    seen = (canvas.pixels() == PALETTE[1]).all(-1)
    assert np.array_equal(seen[cell], TWO_CONFIDENCE[cell] >= round(255 * 0.8))


def test_the_heat_map_covers_where_the_model_is_unsure(canvas, served):
    canvas.show("plain").slide("Opacity", 1)
    canvas.button("Confidence").click()
    seen = canvas.pixels()
    assert seen[0, 0, 0] > 220 and seen[0, 0, 2] < 180  # Yellow, whatever the photo.
    changed = np.abs(seen - photo("plain", served)).sum(-1)
    assert changed[-1, -10:].mean() < changed[0, :10].mean()
    assert "Confidence of the model" in canvas.root.locator(".mc-legend").inner_text()


def test_the_line_shows_one_mask_left_and_the_other_right_of_it(canvas):
    canvas.show("plain").slide("Opacity", 1)
    canvas.button("Side by side").click()
    line = canvas.root.get_by_role("slider", name="Line between the two masks")
    for keys, own_columns in (([], 30), (["Home"], 0), (["End"], WIDTH)):
        for key in keys:
            line.press(key)
        seen = canvas.pixels()
        mixed = np.where(np.arange(WIDTH) < own_columns, MASK, OTHER)
        drawn = (mixed > 0) & (mixed != 255)
        assert (seen[drawn] == colors_of(mixed)[drawn]).all()


def test_the_line_follows_the_pointer(canvas):
    canvas.show("plain").button("Side by side").click()
    line = canvas.root.get_by_role("slider", name="Line between the two masks")
    box, stage = line.bounding_box(), canvas.stage.bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + 60)
    canvas.page.mouse.move(*middle)
    canvas.page.mouse.down()
    canvas.page.mouse.move(stage["x"] + stage["width"] * 0.25, middle[1], steps=4)
    canvas.page.mouse.up()
    assert abs(int(line.get_attribute("aria-valuenow")) - 25) <= 1


def test_differences_have_the_colour_of_their_kind(canvas, served):
    canvas.show("plain").slide("Opacity", 1)
    canvas.button("Differences").click()
    seen = canvas.pixels()
    known = (MASK != 255) & (OTHER != 255)
    kinds = {
        (59, 143, 214): (MASK > 0) & (OTHER == 0),
        (230, 121, 20): (MASK == 0) & (OTHER > 0),
        (204, 121, 167): (MASK > 0) & (OTHER > 0) & (MASK != OTHER),
    }
    for color, where in kinds.items():
        assert (where & known).any() and (seen[where & known] == color).all()
    same = (MASK == OTHER) & known
    assert (seen[same] == photo("plain", served)[same]).all()
    differing = ((MASK != OTHER) & known).sum()
    canvas.row("leaf")
    assert f"{differing:,} px" in canvas.root.locator(".mc-legend").inner_text()


def test_wheel_and_keys_zoom_to_the_pointer_and_hover_stays_right(canvas):
    canvas.show("plain")
    before = canvas.place(10, 12)
    canvas.page.mouse.move(*before)
    canvas.page.mouse.wheel(0, -240)
    canvas.settle()
    assert np.allclose(canvas.place(10, 12), before, atol=1.5)
    assert canvas.hover(10, 12).startswith("spot")
    canvas.stage.press("+")
    canvas.stage.press("ArrowLeft")
    canvas.settle()
    scale = float(canvas.stage.get_attribute("data-view").split()[0])
    canvas.stage.press("0")
    canvas.settle()
    assert float(canvas.stage.get_attribute("data-view").split()[0]) < scale / 1.4
    assert canvas.hover(45, 10).startswith("leaf")


def test_the_page_scrolls_on_where_there_is_nothing_to_zoom_out_of(canvas):
    canvas.page.set_viewport_size({"width": 1280, "height": 500})
    canvas.show("plain")
    canvas.page.mouse.move(*canvas.place(30, 20))
    canvas.page.mouse.wheel(0, 300)
    canvas.page.wait_for_function("window.scrollY > 0")


def test_a_value_that_comes_while_its_tab_is_closed_is_there_when_it_is_opened(canvas):
    canvas.show("plain")
    canvas.page.get_by_role("tab", name="Second").click()
    second = Canvas(canvas.page, "#second").show("two")
    canvas.page.get_by_role("tab", name="First").click()
    canvas.page.get_by_role("tab", name="Second").click()
    canvas.page.click("#show-plain")
    canvas.page.get_by_role("tab", name="First").click()
    canvas.stage.wait_for()
    canvas.root.and_(canvas.page.locator("[data-result=plain]")).wait_for()
    canvas.slide("Opacity", 1)
    assert (canvas.pixels()[MASK == 2] == PALETTE[2]).all()
    assert not second.stage.is_visible()


def test_two_canvases_on_a_page_do_not_touch_each_other(canvas):
    canvas.page.get_by_role("tab", name="Second").click()
    second, third = Canvas(canvas.page, "#second"), Canvas(canvas.page, "#third")
    second.show("plain")
    second.slide("Opacity", 1)
    second.button("Show leaf").click()
    third.slide("Opacity", 1)
    assert (third.pixels()[MASK == 1] == PALETTE[1]).all()
    assert (second.pixels()[MASK == 1] != PALETTE[1]).any()


def test_the_empty_state_and_a_broken_file_say_so(served, page):
    canvas = open_page(served, page)
    assert "No prediction yet." in canvas.root.inner_text()
    page.click("#show-broken")
    canvas.root.and_(page.locator("[data-status=failed]")).wait_for()
    assert "could not be loaded" in canvas.root.inner_text()
    canvas.show("plain")
    page.click("#show-none")
    canvas.root.and_(page.locator("[data-status=empty]")).wait_for()


def test_a_download_is_asked_for_and_saved_under_its_name(canvas, served):
    canvas.show("plain").button("Download").click()
    with canvas.page.expect_download() as saved:
        canvas.root.get_by_role("menuitem", name="COCO with run lengths (JSON)").click()
    assert saved.value.suggested_filename == "模型 mask.png"
    assert np.array_equal(np.array(Image.open(saved.value.path())), MASK)
    sent = {"event": "export", "id": "plain", "format": "coco", "threshold": None}
    assert served.events() == [sent]


def test_a_download_that_fails_says_so_and_can_be_tried_again(canvas, served):
    canvas.show("plain")
    errors = []
    canvas.page.on("pageerror", lambda error: errors.append(error))
    canvas.page.route(re.compile("file="), lambda route: route.abort())
    canvas.button("Download").click()
    canvas.root.get_by_role("menuitem").first.click()
    problem = canvas.page.get_by_role("alert").filter(has_text="could not be downloaded")
    problem.wait_for()
    canvas.page.unroute(re.compile("file="))
    with canvas.page.expect_download() as saved:
        problem.get_by_role("button", name="Try again").click()
    assert saved.value.suggested_filename == "模型 mask.png"
    assert errors == [] and not problem.is_visible()
    served.events()


def test_a_chinese_browser_sees_chinese(served, browser):
    page = browser.new_page(locale="zh-CN")
    canvas = open_page(served, page)
    canvas.show("plain")
    assert "不透明度" in canvas.root.inner_text() and "Opacity" not in canvas.root.inner_text()
    page.close()


def test_a_phone_pinches_taps_and_scrolls_nothing_sideways(served, browser):
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, device_scale_factor=3
    )
    page = context.new_page()
    canvas = open_page(served, page).show("plain")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    canvas.stage.scroll_into_view_if_needed()
    page.touchscreen.tap(*canvas.place(45, 15))
    assert "leaf · 352 px" in canvas.root.locator(".mc-region").inner_text()
    small = [
        box for box in (
            node.bounding_box() for node in canvas.root.locator("button:visible").all()
        ) if box["height"] < 40
    ]  # fmt: skip
    assert small == []
    before = float(canvas.stage.get_attribute("data-view").split()[0])
    x, y = canvas.place(30, 20)
    fingers = context.new_cdp_session(page)
    for kind, reach in (("touchStart", 20), ("touchMove", 40), ("touchMove", 80)):
        points = [{"x": x - reach, "y": y, "id": 0}, {"x": x + reach, "y": y, "id": 1}]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    fingers.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    canvas.settle()
    assert 3 < float(canvas.stage.get_attribute("data-view").split()[0]) / before < 5
    context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("mode", ["View", "Correct"])
def test_axe_finds_nothing_serious(served, page, theme, mode):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    canvas = open_page(served, page, theme).show("plain")
    canvas.button(mode).click()
    canvas.button("Differences").click()
    found = axe.Axe().run(page, context="#first").response["violations"]
    serious = [item for item in found if item["impact"] in ("serious", "critical")]
    assert [(item["id"], [node["html"] for node in item["nodes"]]) for item in serious] == []
