"""The search over recipes: space, budget, study, trials. Called, it is `autoseg.search(...)`."""

import importlib
import sys
import types
from typing import Any


class _CallableModule(types.ModuleType):
    """Package and public function share the name `autoseg.search`; this one is both."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Search: see `autoseg.api.search`."""
        return importlib.import_module("autoseg.api").search(*args, **kwargs)


sys.modules[__name__].__class__ = _CallableModule
