"""Who speaks to which Hub: endpoint, token, cache, and what a user may mean by a repository."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

import autoseg
from autoseg.errors import ConfigError, HubAccessError, HubError, HubUnreachableError
from autoseg.hub.failures import OnWait, explained, not_the_hub, patiently

_TOKEN_CHARACTERS = re.compile(r"[!-~]+")
"""What a header can carry: printable ASCII without spaces."""

_NOT_IN_REVISIONS = r"\x00-\x20\x7f~^:?*\[\\"
_REVISION = re.compile(
    rf"(?!.*(\.\.|//|@\{{))[^{_NOT_IN_REVISIONS}/.-][^{_NOT_IN_REVISIONS}]{{0,249}}"
)
"""Names that git allows for branches and tags, commit ids included."""

_WEB_HOSTS = frozenset({"huggingface.co", "www.huggingface.co", "hf.co"})

_OTHER_KINDS = frozenset({"datasets", "spaces", "buckets", "kernels", "collections", "papers"})
"""First parts of addresses on the Hub that are no models."""


@dataclass(frozen=True)
class Connection:
    """A Hub, the right to use it, and where its files are kept on this machine."""

    endpoint: str
    """Address of the Hub, without a slash at the end."""
    token: str | None = field(repr=False)
    """Access token; None: as anybody."""
    cache_dir: Path
    """The Hub's own cache of downloaded repositories."""

    @property
    def api(self) -> huggingface_hub.HfApi:
        """A client that uses this endpoint and token and no other."""
        return huggingface_hub.HfApi(
            endpoint=self.endpoint,
            token=self.token or False,
            library_name="autoseg",
            library_version=autoseg.__version__,
        )

    def page(self, repo_id: str, repo_type: str = "model") -> str:
        """Address of a repository's page."""
        prefix = "" if repo_type == "model" else f"{repo_type}s/"
        return f"{self.endpoint}/{prefix}{repo_id}"


@dataclass(frozen=True)
class Account:
    """Whom a token stands for."""

    name: str
    """User name, also the namespace of the user's own repositories."""
    organisations: tuple[str, ...]
    """Namespaces of the organisations where the user may write."""
    role: str
    """What the token may do: "read", "write", "fineGrained", or "" if the Hub does not say."""

    @property
    def may_write(self) -> bool:
        """Whether the token can write at all; a fine-grained one may, the Hub decides where."""
        return self.role != "read"

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Where the account can have repositories, its own namespace first."""
        return (self.name, *self.organisations)


@dataclass(frozen=True)
class RepoRef:
    """A repository of a model, at some revision."""

    repo_id: str
    """As "owner/name"."""
    revision: str | None = None
    """Branch, tag or commit; None: the main branch."""


def connect(
    token: str | None = None,
    *,
    endpoint: str | None = None,
    cache_dir: Path | None = None,
    saved_login: bool = True,
) -> Connection:
    """Choose the Hub and the token. Nothing is sent yet.

    Args:
        token: Access token; None or blank: the machine's own, if `saved_login`.
        endpoint: Address of the Hub; None: `HF_ENDPOINT`, else the public Hub.
        cache_dir: Where downloads are kept; None: `HF_HUB_CACHE`, else the Hub's own folder.
        saved_login: Whether `HF_TOKEN` or the login of `hf auth login` may be used.

    Raises:
        HubAccessError: The token holds characters that no token has.
        ConfigError: The endpoint is no web address.
    """
    endpoint = (endpoint or constants.ENDPOINT).strip().rstrip("/")
    try:
        parts = urlsplit(endpoint)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        valid = False
    if not valid:
        raise ConfigError(
            f"The address of the Hub must look like https://huggingface.co, but is {endpoint!r}. "
            f"Correct HF_ENDPOINT, or remove it to use the public Hub."
        )
    chosen = (token or "").strip()
    if not chosen and saved_login:
        with explained(_anonymous(endpoint), "Reading this machine's login to the Hub"):
            chosen = (huggingface_hub.get_token() or "").strip()
    if chosen and not _TOKEN_CHARACTERS.fullmatch(chosen):
        raise HubAccessError(
            "The Hub token has characters that no token has, such as a space or a line break: "
            "copy it again, whole and by itself."
        )
    cache = Path(cache_dir or constants.HF_HUB_CACHE)
    return Connection(endpoint, chosen or None, cache.expanduser().absolute())


def sign_in(connection: Connection, *, on_wait: OnWait | None = None) -> Account:
    """Whom the token stands for, as the Hub says.

    Raises:
        HubAccessError: There is no token, or the Hub does not accept it.
        HubUnreachableError: The Hub gives no answer.
    """
    doing = "Signing in to the Hub"
    if connection.token is None:
        raise HubAccessError(
            f"{doing} failed: there is no token, so run `hf auth login`, set HF_TOKEN, or give a "
            f"token from {connection.endpoint}/settings/tokens."
        )
    with explained(connection, doing):
        account = _account(patiently(connection.api.whoami, on_wait=on_wait))
    if account is None:
        raise HubUnreachableError(f"{doing} failed: {not_the_hub(connection.endpoint)}.")
    return account


def parse_repo(text: str) -> RepoRef | None:
    """Read what a user gave as a model on the Hub; None if it cannot be one.

    "owner/name", "owner/name@revision", "hf://owner/name@revision" and the address of the
    repository's page are understood, with "/tree/revision" or without.
    """
    text = text.strip()
    if text.startswith(("http://", "https://")):
        return _parse_address(text)
    if text.startswith("hf://"):
        text = text.removeprefix("hf://").removeprefix("models/")
    repo_id, at, revision = text.partition("@")
    return _reference(repo_id, revision if at else None)


def check_repo_id(repo_id: str) -> str:
    """`repo_id` if it can name a repository to write to.

    Raises:
        HubError: It cannot.
    """
    reference = parse_repo(repo_id)
    if reference is None or reference.repo_id != repo_id:
        raise HubError(
            f"{repo_id!r} is no name for a repository on the Hub: write owner/name, with letters, "
            f"digits, '-', '_' and '.' only and at most 96 characters."
        )
    return repo_id


def is_revision(text: str) -> bool:
    """Whether a text can name a branch, a tag or a commit."""
    return bool(_REVISION.fullmatch(text)) and not text.endswith(("/", ".", ".lock"))


def _anonymous(endpoint: str) -> Connection:
    return Connection(endpoint, None, Path(constants.HF_HUB_CACHE))


def _account(answer: object) -> Account | None:
    """Read the Hub's record of a user; None where it is none."""
    record = _record(answer)
    groups = record.get("orgs") or []
    name, role = record.get("name"), _record(_record(record.get("auth")).get("accessToken"))
    if not isinstance(name, str) or not name or not isinstance(groups, list):
        return None
    organisations = (
        group.get("name") for group in map(_record, groups) if group.get("roleInOrg") != "read"
    )
    return Account(
        name=name,
        organisations=tuple(group for group in organisations if isinstance(group, str)),
        role=str(role.get("role") or ""),
    )


def _record(value: object) -> dict[str, Any]:
    """A part of an answer where it has fields; else one without any."""
    return value if isinstance(value, dict) else {}


def _parse_address(address: str) -> RepoRef | None:
    """Read the address of a model's page."""
    try:
        parts = urlsplit(address)
        hosts = _WEB_HOSTS | {urlsplit(constants.ENDPOINT).netloc}
    except ValueError:
        return None
    if parts.netloc not in hosts:
        return None
    path = [unquote(part) for part in parts.path.strip("/").split("/")]
    if path[0] == "models":
        path = path[1:]
    revision = path[3] if len(path) > 3 and path[2] in ("tree", "blob", "commit") else None
    if len(path) < 2 or (len(path) > 2 and revision is None and path[2:] != ["tree"]):
        return None
    return _reference("/".join(path[:2]), revision)


def _reference(repo_id: str, revision: str | None) -> RepoRef | None:
    owner, slash, name = repo_id.partition("/")
    if not (owner and slash and name) or owner in _OTHER_KINDS:
        return None
    if revision is not None and not is_revision(revision):
        return None
    try:
        validate_repo_id(repo_id)
    except HFValidationError:
        return None
    return RepoRef(repo_id, revision)
