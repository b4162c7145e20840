"""The Gradio app over runs on disk, and the pages of the Spaces."""

import autoseg.ui.zero_gpu  # noqa: F401 - It settles what `spaces` is before Gradio asks.
