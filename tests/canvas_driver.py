"""A canvas of the page of `canvas_page`, addressed in pixels of its image."""

from typing import Any

import numpy as np
from canvas_page import CanvasPage

WIDTH, HEIGHT = 60, 40
NAMES = ["background", "leaf", "spot"]
PALETTE = [[0, 0, 0], [0, 114, 178], [230, 159, 0]]


class Canvas:
    """One canvas of the page, addressed in pixels of its image."""

    def __init__(self, page: Any, where: str = "#first") -> None:
        self.page = page
        self.root = page.locator(f"{where} .mc")
        self.stage = self.root.locator("canvas")

    def show(self, name: str) -> "Canvas":
        self.page.click(f"#show-{name}")
        self.root.and_(self.page.locator(f"[data-result={name}][data-status=ready]")).wait_for()
        self.settle()
        return self

    def settle(self) -> None:
        """Wait until what was changed is painted."""
        self.page.evaluate("new Promise((r) => requestAnimationFrame(() => setTimeout(r, 0)))")
        self.page.evaluate("new Promise((r) => requestAnimationFrame(() => setTimeout(r, 0)))")

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where the middle of a pixel is on the page."""
        scale, left, top = map(float, self.stage.get_attribute("data-view").split())
        box = self.stage.bounding_box()
        return box["x"] + left + (x + 0.5) * scale, box["y"] + top + (y + 0.5) * scale

    def hover(self, x: float, y: float) -> str:
        self.page.mouse.move(*self.place(x, y))
        return self.root.locator(".mc-chip").inner_text()

    def click(self, x: float, y: float) -> None:
        self.page.mouse.click(*self.place(x, y))
        self.settle()

    def drag(self, *points: tuple[float, float]) -> None:
        places = [self.place(*point) for point in points]
        self.page.mouse.move(*places[0])
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*place)
        self.page.mouse.up()
        self.settle()

    def pixels(self) -> np.ndarray:
        """The colour on the stage in the middle of each pixel of the image."""
        self.settle()
        return np.array(
            self.stage.evaluate(
                """(canvas, [width, height]) => {
                const [scale, x, y] = canvas.dataset.view.split(" ").map(Number);
                const ratio = canvas.width / canvas.clientWidth;
                const context = canvas.getContext("2d");
                const read = context.getImageData(0, 0, canvas.width, canvas.height);
                const found = [];
                for (let i = 0; i < width * height; i++) {
                  const [row, column] = [Math.floor(i / width), i % width];
                  const at = Math.floor(((row + .5) * scale + y) * ratio) * canvas.width
                    + Math.floor(((column + .5) * scale + x) * ratio);
                  found.push(...read.data.subarray(4 * at, 4 * at + 3));
                }
                return found;
                }""",
                [WIDTH, HEIGHT],
            )
        ).reshape(HEIGHT, WIDTH, 3)  # fmt: skip

    def button(self, name: str) -> Any:
        return self.root.get_by_role("button", name=name, exact=True)

    def slide(self, name: str, value: float) -> None:
        self.root.get_by_role("slider", name=name).fill(str(value))
        self.settle()

    def row(self, name: str) -> str:
        """A row of the class table, once it is counted."""
        row = self.root.locator("tbody tr").filter(has=self.page.get_by_text(name, exact=True))
        row.locator("td.mc-number").first.filter(has_text="%").wait_for()
        return row.inner_text()


def open_page(served: CanvasPage, page: Any, theme: str = "light") -> Canvas:
    page.set_default_timeout(15_000)
    page.goto(f"{served.url}?__theme={theme}")
    page.wait_for_selector("#first .mc[data-status=empty]")
    return Canvas(page)
