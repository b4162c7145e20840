"""What a deploy would do to a Space, and every reason not to; nothing is changed here."""

import difflib
import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from huggingface_hub import SpaceHardware

from autoseg.errors import ConfigError, HubAccessError, HubError
from autoseg.hub.connection import Account, Connection, check_repo_id, parse_repo, sign_in
from autoseg.hub.failures import explained, patiently
from autoseg.hub.space_files import (
    EXAMPLES_VARIABLE,
    MODELS_VARIABLE,
    ZERO_GPU_PREFIX,
    SpaceKind,
    check_package,
    default_package,
    fill_template,
)
from autoseg.hub.space_state import (
    PlannedModel,
    SpaceState,
    find_model,
    find_space,
    git_blob,
    is_open,
)
from autoseg.licences import find_licence

HARDWARE: tuple[str, ...] = tuple(str(item.value) for item in SpaceHardware)
"""What a Space can run on, as the Hub calls it."""

TOKEN_SECRET = "HF_TOKEN"
"""Secret of a Space with which it reads private models."""

_UNPAID = ("", "cpu-basic")
_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class DeployOptions:
    """What the user may say of a Space."""

    space: str | None = None
    """Name as owner/name; None: made from the model's name."""
    hardware: str | None = None
    """One of `HARDWARE`; None: as it is, on a new Space the Hub's choice."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Secrets to set, by name. No token is given to a Space but by this."""
    public: bool = False
    """Whether everybody may open it; an existing public Space stays public."""
    package: str | None = None
    """What pip installs there; None: this version of autoseg."""
    title: str | None = None
    """Title on the Hub; None: from the model."""
    expose_private: bool = False
    """Whether a public Space may show a private or gated model."""
    examples: bool = False
    """Whether the page shows the example pictures of private and gated models too."""
    restart: bool = False
    """Whether to build it anew even if nothing changed."""


@dataclass(frozen=True)
class DeployPlan:
    """All that a deploy will do."""

    space: str
    """Name as owner/name, the owner spelt as the account spells it."""
    kind: SpaceKind
    """Page of one model ("predict") or of several ("gallery")."""
    models: tuple[PlannedModel, ...]
    """What it will show, in this order."""
    found: SpaceState
    """The Space as it is before."""
    public: bool
    """Whether everybody will be able to open it."""
    files: Mapping[str, str]
    """Text of each file of the Space."""
    changed_files: tuple[str, ...]
    """Those that are not there yet as they should be."""
    variables: Mapping[str, str]
    """Variables to set."""
    hardware: str | None
    """Hardware to ask for; None: it has it, or the Hub chooses."""
    notes: tuple[str, ...]
    """What the user should know before."""
    options: DeployOptions
    """What the user said, with the package filled in."""

    @property
    def changes_visibility(self) -> bool:
        """Whether an existing Space becomes public."""
        return self.found.exists and self.public != self.found.public


def plan_deploy(
    models: Sequence[str], connection: Connection, options: DeployOptions | None = None
) -> DeployPlan:
    """Check everything a deploy needs, and find what has to change.

    Args:
        models: Repositories on the Hub, "owner/name" or "owner/name@revision"; one makes a page
            of that model, several a gallery.
        connection: The Hub, signed in with the right to write.
        options: What the user says of the Space.

    Raises:
        ConfigError: An option does not hold.
        HubError: It would fail, or show what is not meant for everybody; the text says which.
    """
    options = options or DeployOptions()
    references = _read_models(models)
    _check_secrets(options.secrets)
    secrets = {name: value.strip() for name, value in options.secrets.items()}
    package = check_package(options.package or default_package())
    account = sign_in(connection)
    space = _space_name([repo_id for repo_id, _ in references], account, options.space)
    _check_rights(space, account, connection)
    _check_hardware(options.hardware, connection)
    planned = tuple(find_model(*reference, connection) for reference in references)
    found = find_space(space, connection)
    public = options.public or found.public
    _check_secrecy(planned, space, public, found, options, connection)
    if public and found.exists and not found.public and not options.expose_private:
        _check_shown_before(space, found, connection)
    kind: SpaceKind = "predict" if len(planned) == 1 else "gallery"
    files = fill_template(
        kind,
        [model.repo_id for model in planned],
        space,
        package=package,
        hardware=options.hardware or found.hardware,
        title=options.title or _title(planned),
    )
    variables = {MODELS_VARIABLE: ",".join(model.reference for model in planned)}
    if options.examples:
        variables[EXAMPLES_VARIABLE] = "1"
    elif EXAMPLES_VARIABLE in found.variables:  # It holds for one deploy, not for other models.
        variables[EXAMPLES_VARIABLE] = "0"
    return DeployPlan(
        space=space,
        kind=kind,
        models=planned,
        found=found,
        public=public,
        files=files,
        changed_files=tuple(
            name for name, text in files.items() if found.blobs.get(name) != git_blob(text)
        ),
        variables={
            name: value for name, value in variables.items() if found.variables.get(name) != value
        },
        hardware=None if options.hardware == found.hardware else options.hardware,
        notes=_notes(planned, public, found, options, connection),
        options=replace(options, package=package, secrets=secrets),
    )


def _read_models(models: Sequence[str]) -> list[tuple[str, str | None]]:
    """Repository and revision of each model, none twice."""
    references: list[tuple[str, str | None]] = []
    for text in models:
        repository = parse_repo(text)
        if repository is None:
            if Path(text).expanduser().exists():
                raise HubError(
                    f"{text} is on this computer, where a Space cannot read it. Push it first: "
                    f"autoseg push {text} owner/name"
                )
            raise HubError(f"{text!r} is no repository on the Hub. Write it as owner/name.")
        if (reference := (repository.repo_id, repository.revision)) not in references:
            references.append(reference)
    if not references:
        raise ConfigError("A Space needs at least one model: give its name, owner/name.")
    return references


def _check_secrets(secrets: Mapping[str, str]) -> None:
    for name, value in secrets.items():
        if not _SETTING.fullmatch(name) or name == MODELS_VARIABLE:
            raise ConfigError(
                f"A secret's name must be letters, digits and '_' and not {MODELS_VARIABLE}, but "
                f"is {name!r}."
            )
        if not value.strip():
            raise ConfigError(f"The secret {name} is empty.")


def _space_name(models: Sequence[str], account: Account, wanted: str | None) -> str:
    """The Space's name: the user's, else the model's own where the account may have it."""
    if wanted:
        if "/" not in wanted:
            wanted = f"{account.name}/{wanted}"
        owner, slash, name = check_repo_id(wanted.removeprefix("spaces/")).partition("/")
        return f"{_own_namespace(owner, account) or owner}{slash}{name}"
    owner, _, name = models[0].partition("/")
    owner = _own_namespace(owner, account) or account.name
    return check_repo_id(f"{owner}/{name}" if len(models) == 1 else f"{owner}/{name}-gallery")


def _own_namespace(owner: str, account: Account) -> str | None:
    """A namespace of the account as it is spelt there; the Hub takes any case."""
    return next((name for name in account.namespaces if name.lower() == owner.lower()), None)


def _check_rights(space: str, account: Account, connection: Connection) -> None:
    """Refuse what the Hub would refuse only after a part was done."""
    if not account.may_write:
        raise HubAccessError(
            f"The token of {account.name} may only read. Make one that may write at "
            f"{connection.endpoint}/settings/tokens."
        )
    owner = space.partition("/")[0]
    if owner not in account.namespaces:
        raise HubAccessError(
            f"{account.name} cannot have a Space in {owner}: choose one of "
            f"{', '.join(account.namespaces)}, such as {account.name}/{space.partition('/')[2]}."
        )


def _check_hardware(hardware: str | None, connection: Connection) -> None:
    if not hardware or hardware in HARDWARE:
        return
    known = {*HARDWARE, *_offered_hardware(connection)}
    if hardware in known:
        return
    near = difflib.get_close_matches(hardware, sorted(known), n=1)
    guess = f" Did you mean {near[0]}?" if near else ""
    raise ConfigError(
        f"The Hub has no hardware {hardware!r}.{guess} It has: {', '.join(sorted(known))}."
    )


def _offered_hardware(connection: Connection) -> list[str]:
    """Names that are newer than this version of the client; none where the Hub does not say."""
    try:
        with explained(connection, "Reading the list of hardware"):
            return [str(entry.name) for entry in connection.api.list_spaces_hardware()]
    except HubError:
        return []  # The refusal that this is for then lists the names that the client knows.


def _check_secrecy(
    models: Sequence[PlannedModel],
    space: str,
    public: bool,
    found: SpaceState,
    options: DeployOptions,
    connection: Connection,
) -> None:
    """Refuse to show closed models to everybody, or to a Space that could not load them."""
    closed = [model for model in models if model.closed]
    if not closed:
        return
    names = ", ".join(model.repo_id for model in closed)
    many = len(closed) > 1
    if public and not options.expose_private:
        was = "" if options.public else f" {space} is public already: choose another name."
        raise HubAccessError(
            f"{names} {'are' if many else 'is'} not open to everybody, but a public Space would "
            f"let everybody use {'them' if many else 'it'}.{was} Make the Space private, or say "
            f"that this is meant (--expose-private)."
        )
    token = options.secrets.get(TOKEN_SECRET)
    if token is None:
        if TOKEN_SECRET in found.secret_names:
            return
        raise HubAccessError(
            f"{names} {'are' if many else 'is'} not open to everybody, so the Space needs a token "
            f"that may read {'them' if many else 'it'}: make one with that right only at "
            f"{connection.endpoint}/settings/tokens and give it as the secret {TOKEN_SECRET}. "
            f"Your own token is never given to a Space by itself."
        )
    theirs = replace(connection, token=token.strip())
    for model in closed:
        doing = f"Reading {model.repo_id} with the secret {TOKEN_SECRET}"
        with explained(theirs, doing, model.repo_id, revision=model.revision):
            patiently(functools.partial(theirs.api.auth_check, model.repo_id))


def _check_shown_before(space: str, found: SpaceState, connection: Connection) -> None:
    """Refuse to open a Space that shows closed models until its new version runs."""
    closed = []
    for name in found.variables.get(MODELS_VARIABLE, "").split(","):
        if not (name := name.strip()):
            continue
        repository = parse_repo(name)
        if repository is None or not is_open(repository.repo_id, connection):
            closed.append(name)
    if closed:
        raise HubAccessError(
            f"{space} is private and shows {', '.join(closed)}, not open to everybody, until its "
            f"new version runs. Choose another name for the public Space, or deploy the new models "
            f"there without --public first, or say that this is meant (--expose-private)."
        )


def _title(models: Sequence[PlannedModel]) -> str:
    names = [model.repo_id.partition("/")[2] for model in models]
    return names[0] if len(names) == 1 else "Segmentation models side by side"


def _notes(
    models: Sequence[PlannedModel],
    public: bool,
    found: SpaceState,
    options: DeployOptions,
    connection: Connection,
) -> tuple[str, ...]:
    """What the user should know before anything is done."""
    notes = []
    for model in models:
        licence = find_licence(model.licence)
        if not licence.known or not licence.commercial:
            named = f"its licence, {model.licence}," if model.licence else "its missing licence"
            notes.append(f"{model.repo_id}: {named} {licence.in_words()}.")
    closed = [model.repo_id for model in models if model.closed]
    if closed and options.examples:
        seen = "everybody" if public else "all who may open it"
        notes.append(f"The Space shows the example pictures of {', '.join(closed)} to {seen}.")
    if public and not options.public:
        notes.append("The Space is public already and stays so.")
    if TOKEN_SECRET in options.secrets and options.secrets[TOKEN_SECRET] == connection.token:
        notes.append(
            f"The secret {TOKEN_SECRET} is the token you are signed in with, which may write: one "
            f"that may only read the models is enough."
        )
    wanted = options.hardware or ""
    if wanted not in _UNPAID and wanted != found.hardware:
        notes.append(
            "ZeroGPU lends a GPU for each prediction; visitors pay with their daily share."
            if wanted.startswith(ZERO_GPU_PREFIX)
            else f"{wanted} costs money for every hour it runs: see {connection.endpoint}/pricing."
        )
    return tuple(notes)
