"""What those who open the page may do with this computer."""

from dataclasses import dataclass
from pathlib import Path

from autoseg.errors import ConfigError


@dataclass(frozen=True)
class Access:
    """Who opens the page, and what follows from it."""

    local: bool = False
    """Whether only this computer opens it: its user may name folders and use its login."""
    users: tuple[tuple[str, str], ...] = ()
    """Names and passwords; empty: nobody is asked."""
    roots: tuple[Path, ...] = ()
    """Folders below which paths of this computer may be named, whoever opens the page."""

    @property
    def paths(self) -> bool:
        """Whether folders of this computer may be named at all."""
        return self.local or bool(self.roots)

    @property
    def sharing(self) -> bool:
        """Whether the Hub may be used from the page: by the owner, or by those with a password."""
        return self.local or bool(self.users)

    def path(self, text: str | None) -> Path:
        """A path of this computer that was named on the page.

        Raises:
            ConfigError: It is no full path, or lies outside what may be named.
        """
        path = Path((text or "").strip()).expanduser()
        if not path.is_absolute():
            raise ConfigError(
                f"{str(path)!r} is no full path. Write one that begins at the root of the disk."
            )
        resolved = path.resolve()
        roots = [root.resolve() for root in self.roots]
        if not (self.local and not roots) and not any(map(resolved.is_relative_to, roots)):
            raise ConfigError(
                f"{path} may not be read from this page. Start the app with --allow and a folder "
                f"above it, or upload the files."
            )
        return path
