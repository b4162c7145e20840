"""Several models on one image: `AUTOSEG_MODELS=owner/name,owner/other python app.py`."""

from autoseg.ui.space import main

main("gallery")
