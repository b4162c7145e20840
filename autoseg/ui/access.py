"""What those who open the page may do with this computer."""

from dataclasses import dataclass
from pathlib import Path

from autoseg.errors import ConfigError
from autoseg.hub.connection import Connection, connect


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

    def connection(self, token: str | None = None) -> Connection:
        """The Hub for one who opens the page: with a token of their own, else, for the owner
        alone, with the login of this computer, else as anybody.

        Raises:
            HubAccessError: The token holds characters that no token has.
        """
        return connect(token, saved_login=self.local)

    def path(self, text: str | None) -> Path:
        """A path of this computer that was named on the page, with no link left in it.

        Raises:
            ConfigError: It is no full path, or lies outside what may be named.
        """
        given = (text or "").strip()
        try:
            path = Path(given).expanduser()
        except RuntimeError:  # "~name" of nobody.
            path = Path(given)
        if not path.is_absolute() or "\0" in given:
            raise ConfigError(
                f"{given!r} is no full path. Write one that begins at the root of the disk."
            )
        resolved = path.resolve()
        roots = [root.expanduser().resolve() for root in self.roots]
        if not (self.local and not roots) and not any(map(resolved.is_relative_to, roots)):
            raise ConfigError(
                f"{path} may not be read from this page. Start the app with --allow and a folder "
                f"above it, or upload the files."
            )
        return resolved
