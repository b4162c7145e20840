"""The page: `python app.py`."""

from autoseg.ui.app import main

if __name__ == "__main__":
    main()
