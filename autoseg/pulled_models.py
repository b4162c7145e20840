"""The workspace's models from the Hub: which, at which commit, and where they lie."""

from dataclasses import dataclass
from pathlib import Path

from autoseg.config import FORMAT_VERSION, from_dict, read_json, to_dict
from autoseg.errors import BundleError, ConfigError
from autoseg.files import write_json


@dataclass(frozen=True)
class PulledModel:
    """One model; its files stay in the Hub's cache (`models/<owner>--<name>.json`)."""

    repo_id: str
    """Repository, "owner/name"."""
    commit: str
    """Commit that was pulled, 40 hex digits."""
    folder: str
    """Folder of that commit in the Hub's cache."""
    format_version: int = FORMAT_VERSION
    """Format of this record."""


class PulledModels:
    """The records in one folder; models whose files are gone from the cache are left out."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def all(self) -> list[PulledModel]:
        """All that can be loaded, by name."""
        return sorted(
            (
                model
                for file in self._folder.glob("*.json")
                if (model := self._read(file)) is not None and Path(model.folder).is_dir()
            ),
            key=lambda model: model.repo_id.lower(),
        )

    def get(self, repo_id: str) -> PulledModel:
        """The model of that name.

        Raises:
            BundleError: It was not pulled, or its files are gone.
        """
        for model in self.all():
            if model.repo_id == repo_id:
                return model
        raise BundleError(f"{repo_id} is not on this computer. Pull it again from the Hub.")

    def add(self, model: PulledModel) -> None:
        """Keep a model in the list; an earlier commit of the same repository is replaced."""
        write_json(self._file(model.repo_id), to_dict(model))

    def remove(self, repo_id: str) -> None:
        """Take a model off the list; its files stay in the Hub's cache."""
        self._file(repo_id).unlink(missing_ok=True)

    def _file(self, repo_id: str) -> Path:
        # A repository's name holds no "--", so no two share a file.
        return self._folder / f"{repo_id.replace('/', '--')}.json"

    def _read(self, file: Path) -> PulledModel | None:
        """A record; one that another version wrote, or that is damaged, is as good as none."""
        try:
            return from_dict(PulledModel, read_json(file), str(file))
        except ConfigError:
            return None
