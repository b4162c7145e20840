"""The page of one model: `AUTOSEG_MODELS=owner/name python app.py`."""

from autoseg.ui.space import main

main("predict")
