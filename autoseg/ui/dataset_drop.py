"""Where data sets are dropped: a folder, a zip, or loose files, with the progress of the upload."""

from typing import Any

from autoseg.data.class_files import CLASS_FILES
from autoseg.data.images import IMAGE_SUFFIXES
from autoseg.ui.bases import HTML
from autoseg.ui.scripts import read_beside, script, script_texts, with_fixed

JS = script("crc.js", "zip_writer.js", "dropped_files.js", "dataset_drop.js")
"""The script. Its event is "uploaded"."""

CSS = read_beside("dataset_drop.css")


class DatasetDrop(HTML):
    """A place to drop a folder, a zip or loose files. Folders become one zip in the browser.

    Events:
        uploaded: `{"file": {"path": str, ...}, "name": str, "called": str}`, the name that of the
            folder or zip, and what its user calls it: a zip has its suffix, a folder none.
    """

    def __init__(self, **kwargs: Any) -> None:
        """Make a place to drop files; `kwargs` as `gr.HTML` takes them."""
        super().__init__(
            value=None,
            html_template='<div class="dd"></div>',
            css_template=CSS,
            js_on_load=with_fixed(
                JS,
                texts=script_texts(JS),
                suffixes=sorted(IMAGE_SUFFIXES),
                lists=sorted(CLASS_FILES),
            ),
            apply_default_css=False,
            **kwargs,
        )
