"""What the page showed last, told to the browser as ids, so that a reload shows it again.

The browser keeps the ids, not this computer: of several visitors each sees their own results, and
an id cannot be guessed. A result that was pruned, or is of another workspace, is left out.
"""

from typing import Any

import gradio as gr
from gradio.context import LocalContext

from autoseg.errors import AutosegError
from autoseg.ui.predict_actions import MOST_IMAGES, ordered
from autoseg.ui.predict_events import Wish
from autoseg.ui.predict_image import Desk, Given, Options, Values, example_of
from autoseg.ui.predict_models import is_of_a_run, model_choices
from autoseg.ui.predict_showing import NOTHING, gallery, no_batch, shown
from autoseg.ui.results import Result

ORDER = "uncertain"
"""Order of the gallery on a page that was just opened."""


def browser_states() -> dict[str, gr.BrowserState]:
    """What the browser keeps, by name: the ids of the gallery, and the one that is shown, with what
    it is compared with.

    Gradio encrypts it with a secret that is on the page itself, so that one hides nothing. It is
    the same each time, so that a page outlives the app.
    """
    return {
        name: gr.BrowserState({}, storage_key=f"autoseg-{name}", secret="autoseg")
        for name in ("kept_ids", "kept_shown")
    }


def noted(values: Values) -> Values:
    """What a callback changes, with what the browser is to keep of it."""
    notes = {
        f"kept_{name}": {"user": _user(), "value": values[name]}
        for name in ("ids", "shown")
        if name in values
    }
    if "kept_shown" in notes and "compare" in values:
        notes["kept_shown"]["compare"] = values["compare"]["value"]
    return {**values, **notes}


def restored(desk: Desk, kept_ids: object, kept_shown: object) -> Values:
    """The last results of a browser, shown again.

    Args:
        desk: What to work with.
        kept_ids: As `noted` had it kept, or whatever a browser says.
        kept_shown: The same for the one in the canvas.
    """
    ids, chosen = _kept(kept_ids), _kept(kept_shown)
    wanted = ids[:MOST_IMAGES] if isinstance(ids, list) else []
    try:
        results = ordered(_known(desk, wanted), ORDER)
        current = next((each for each in results if each.id == chosen), None)
        if current is None:  # It was shown while its batch was still predicted.
            alone = _known(desk, [chosen])
            results = alone or results
            current = next(iter(results), None)
        if current is None:
            return {}
        name = current.info.model
        listed = name in {value for _, value in model_choices(desk.workspace)}
        model = {"model": name} if listed or not is_of_a_run(name) else {}
        several = gallery(results, results.index(current)) if len(results) > 1 else no_batch()
        compare = _kept_compare(kept_shown)
        wish = {"wish": Wish(name, compare)} if compare else {}
        return {
            **shown(desk, current, Options(), compare or NOTHING),
            **several,
            **model,
            **wish,
            "ids": [result.id for result in results],
            "given": [_given(desk, result) for result in results],
            "order": ORDER,
        }
    except (AutosegError, OSError):  # Half of it is gone: as if all were.
        return {}


def _user() -> str | None:
    """Who opened the page, where it asks for a password: browsers are lent."""
    request = LocalContext.request.get(None)
    return getattr(request, "username", None)


def _kept(note: object) -> Any:
    """What was kept, if it was for this user."""
    if not isinstance(note, dict) or note.get("user") != _user():
        return None
    return note.get("value")


def _kept_compare(note: object) -> str | None:
    """What the result of this user's note was compared with; None: it does not say."""
    compare = note.get("compare") if isinstance(note, dict) and _kept(note) else None
    return compare if isinstance(compare, str) else None


def _known(desk: Desk, ids: list[Any]) -> list[Result]:
    """Those of the results that are still there."""
    found = []
    for result_id in ids:
        try:
            found.append(desk.results.get(result_id))
        except AutosegError:
            continue
    return found


def _given(desk: Desk, result: Result) -> Given:
    """The image of a result, to be predicted again: of an example the one whose truth is known."""
    return example_of(desk, result) or Given(result.image, result.info.name)
