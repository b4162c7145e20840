"""A model's folder to the Hub: all refusals first, then one commit, all of it or nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
from huggingface_hub.hf_api import ModelInfo

from autoseg.bundle import CARD_FILE, REPORT_FILE
from autoseg.errors import HubError, HubNotFoundError
from autoseg.hub.connection import Connection, sign_in
from autoseg.hub.failures import OnWait, explained, patiently
from autoseg.hub.progress import OnProgress
from autoseg.hub.push_checks import MAIN, check_account, check_card, check_names
from autoseg.hub.push_content import Content, LocalModel, Wanted, content_of, licence_of, read_model
from autoseg.hub.push_files import FILE_NAMES, PlannedFile, compared, source_of
from autoseg.hub.push_history import check_history, check_secret, is_hidden
from autoseg.hub.remote import EXAMPLES_FOLDER, RemoteFile, find_remote_files
from autoseg.hub.upload import Base, Change, upload

_HIDDEN_SOURCE = (
    "The model is public and the data set that it was trained on is not, so card and report do not "
    "name the data set."
)


@dataclass(frozen=True)
class PushOptions:
    """What may be asked of a push."""

    public: bool = False
    """Whether everybody may see the repository; an existing one stays public without it."""
    revision: str | None = None
    """Branch, made if it is new; None: the main branch."""
    tag: str | None = None
    """Name for what is pushed, such as "v1"."""
    licence: str | None = None
    """Licence of the model; None: the one that follows from weights and data."""
    data_licence: str | None = None
    """Licence of the training data; None: what the report says, else the user's own data."""
    examples: bool | None = None
    """Whether example pictures go too, which show the user's data; None: only while private."""
    message: str | None = None
    """Message of the commit."""


@dataclass(frozen=True)
class PushPlan:
    """What a push will do; all that can be refused beforehand was not."""

    repo_id: str
    """As "owner/name"."""
    folder: Path
    """The bundle."""
    exists: bool
    """Whether the repository is there already."""
    private: bool
    """Whether only its owner will see it."""
    files: tuple[PlannedFile, ...]
    """The model's files, also those that the Hub has already."""
    deletions: tuple[str, ...]
    """Files of an earlier push that this model lacks."""
    card: str
    """Text of `README.md`."""
    notes: tuple[str, ...]
    """What the user should know, in sentences."""
    options: PushOptions
    """What was asked."""
    opens: bool = False
    """Whether a private repository becomes public."""
    base: Base = field(default_factory=Base)
    """The state of the repository that the plan was made for."""


@dataclass(frozen=True)
class Pushed:
    """What a push did."""

    repo_id: str
    """As "owner/name"."""
    url: str
    """The repository's page."""
    commit: str
    """Full name of the commit that holds the model."""
    changed: bool
    """Whether there was anything to change."""
    tag: str | None
    """The tag that was set."""


@dataclass(frozen=True)
class _Remote:
    """What is on the Hub before the push."""

    info: ModelInfo | None
    """The repository; None: there is none."""
    base: Base
    """Where the commit goes."""
    files: tuple[RemoteFile, ...] = ()
    """Its files of the kinds that are pushed."""
    tags: dict[str, str] = field(default_factory=dict)
    """Commits by the tags that stand for them."""


def plan_push(
    folder: Path,
    repo_id: str,
    connection: Connection,
    options: PushOptions | None = None,
    *,
    on_wait: OnWait | None = None,
) -> PushPlan:
    """Find out what a push will do, and refuse what cannot be done before anything is sent.

    Args:
        folder: A bundle.
        repo_id: "owner/name"; the owner is the account or an organisation of it.
        connection: The Hub.
        options: What is asked for; None: a private push to the main branch.
        on_wait: Told the seconds of each wait that the Hub asks for.

    Raises:
        BundleError: The folder holds no sound model.
        LicenceError: A licence forbids what is asked.
        HubError: The name, the account, the repository or the card does not allow it.
    """
    options = options or PushOptions()
    model = read_model(Path(folder))
    check_names(repo_id, revision=options.revision, tag=options.tag)
    account = sign_in(connection, on_wait=on_wait)
    check_account(account, repo_id, connection)
    with explained(connection, f"Pushing to {repo_id}", repo_id, revision=options.revision):
        remote = _look(repo_id, options, connection, on_wait)
    private = not options.public and (remote.info is None or bool(remote.info.private))
    opens = options.public and remote.info is not None and bool(remote.info.private)
    wanted = _wanted(options, private)
    licence_of(model, wanted)  # Refuses before the Hub is asked for more.
    source = None if private else source_of(model.report)
    secret = source if source and is_hidden(source, connection, on_wait) else None
    if opens:
        check_history(
            repo_id, connection, on_wait, secret=secret, with_examples=bool(options.examples)
        )
    content = content_of(model, repo_id, replace(wanted, with_source=secret is None))
    if secret is not None:
        texts = {CARD_FILE: content.card, REPORT_FILE: (content.report or b"").decode()}
        check_secret(repo_id, secret, texts)
    check_card(content.card, repo_id, connection, on_wait)
    files = compared(content.files, remote.files)
    deletions = _deletions(files, remote)
    changed = bool(deletions) or any(file.changed for file in files)
    _check_tag(repo_id, options.tag, remote, changed)
    plan = _plan(model, repo_id, options, content, remote, private)
    notes = plan.notes if secret is None else (*plan.notes, _HIDDEN_SOURCE)
    return replace(plan, files=files, deletions=deletions, notes=notes, opens=opens)


def draft_push(folder: Path, repo_id: str, options: PushOptions | None = None) -> PushPlan:
    """What a push to a new repository will bring, told without asking the Hub anything.

    Args:
        folder: A bundle.
        repo_id: "owner/name".
        options: What is asked for; None: a private push to the main branch.

    Raises:
        BundleError: The folder holds no sound model.
        LicenceError: A licence forbids what is asked.
        HubError: A name is none.
    """
    options = options or PushOptions()
    model = read_model(Path(folder))
    check_names(repo_id, revision=options.revision, tag=options.tag)
    private = not options.public
    content = content_of(model, repo_id, _wanted(options, private))
    branch = options.revision or MAIN
    remote = _Remote(None, Base(branch, new_branch=branch != MAIN))
    return _plan(model, repo_id, options, content, remote, private)


def _wanted(options: PushOptions, private: bool) -> Wanted:
    with_examples = private if options.examples is None else options.examples
    return Wanted(
        private, with_examples, licence=options.licence, data_licence=options.data_licence
    )


def _plan(
    model: LocalModel,
    repo_id: str,
    options: PushOptions,
    content: Content,
    remote: _Remote,
    private: bool,
) -> PushPlan:
    with_examples = _wanted(options, private).with_examples
    return PushPlan(
        repo_id=repo_id,
        folder=model.folder,
        exists=remote.info is not None,
        private=private,
        files=content.files,
        deletions=(),
        card=content.card,
        notes=_notes(repo_id, options, remote, model.examples, with_examples, content.left_out),
        options=options,
        base=remote.base,
    )


def push(
    plan: PushPlan,
    connection: Connection,
    *,
    on_progress: OnProgress | None = None,
    on_wait: OnWait | None = None,
) -> Pushed:
    """Do what a plan says. Until the one commit is made, nothing of it can be seen.

    A push that was cut off can be repeated: what arrived whole is not sent again.

    Args:
        plan: From `plan_push`.
        connection: The same as there.
        on_progress: Told the bytes that are done and all of them; None: the Hub's own bars show.
        on_wait: Told the seconds of each wait that the Hub asks for.

    Raises:
        HubError: The Hub refuses or gives no answer, or the repository was changed meanwhile.
    """
    options, api = plan.options, connection.api
    message = options.message or "Push a segmentation model with autoseg"
    change = Change(
        plan.repo_id, tuple(file for file in plan.files if file.changed), plan.deletions, message
    )
    with explained(
        connection, f"Pushing to {plan.repo_id}", plan.repo_id, revision=plan.base.branch
    ):
        base = plan.base
        if plan.exists:
            _check_visibility(plan, connection, on_wait)
        else:
            base = replace(base, head=_create(plan, connection, on_wait))
        commit = upload(change, base, connection, on_progress=on_progress, on_wait=on_wait)
        if options.tag is not None:
            _set_tag(plan.repo_id, options.tag, commit, connection, on_wait)
        if plan.opens:
            patiently(
                lambda: api.update_repo_settings(plan.repo_id, visibility="public"),
                on_wait=on_wait,
            )
    branch = "" if base.branch == MAIN else f"/tree/{base.branch}"
    return Pushed(
        plan.repo_id,
        f"{connection.page(plan.repo_id)}{branch}",
        commit,
        changed=bool(change.files or change.deletions),
        tag=options.tag,
    )


def _look(
    repo_id: str, options: PushOptions, connection: Connection, on_wait: OnWait | None
) -> _Remote:
    """What is on the Hub, and whether the token may change it."""
    api = connection.api
    branch = options.revision or MAIN
    try:
        info = patiently(lambda: api.model_info(repo_id), on_wait=on_wait)
    except GatedRepoError:
        raise
    except RepositoryNotFoundError:
        return _Remote(None, Base(branch, new_branch=branch != MAIN))
    patiently(lambda: api.auth_check(repo_id, write=True), on_wait=on_wait)
    refs = patiently(lambda: api.list_repo_refs(repo_id), on_wait=on_wait)
    tags = {ref.name: ref.target_commit for ref in refs.tags}
    heads = {ref.name: ref.target_commit for ref in refs.branches}
    if options.revision in tags and options.revision not in heads:
        raise HubError(
            f"Pushing to {repo_id} failed: {options.revision!r} is a tag, which never changes; "
            f"push to a branch and give the new version a tag of its own."
        )
    head = heads.get(branch) or heads.get(MAIN) or info.sha or MAIN
    files = find_remote_files(repo_id, head, FILE_NAMES, connection, on_wait)
    base = Base(branch, head, new_branch=branch not in heads)
    return _Remote(info, base, tuple(files), tags)


def _deletions(files: Sequence[PlannedFile], remote: _Remote) -> tuple[str, ...]:
    """What an earlier push left and this model lacks; what others put there stays."""
    if remote.info is None or "autoseg" not in (remote.info.tags or ()):
        return ()
    kept = {file.path for file in files}
    return tuple(file.path for file in remote.files if file.path not in kept)


def _check_tag(repo_id: str, tag: str | None, remote: _Remote, changed: bool) -> None:
    """Refuse a tag that stands for something else."""
    taken = remote.tags.get(tag or "")
    if taken is not None and (changed or taken != remote.base.head):
        raise HubError(
            f"Pushing to {repo_id} failed: the tag {tag!r} stands for commit {taken[:7]} already; "
            f"choose another."
        )


def _notes(
    repo_id: str,
    options: PushOptions,
    remote: _Remote,
    examples: Sequence[str],
    with_examples: bool,
    left_out: Sequence[str],
) -> tuple[str, ...]:
    """What the user should know before it happens."""
    notes = []
    if remote.info is not None:
        if not options.public and not remote.info.private:
            notes.append(f"{repo_id} is public and stays so.")
        if remote.files and "autoseg" not in (remote.info.tags or ()):
            names = ", ".join(file.path for file in remote.files)
            notes.append(f"{repo_id} was not made by autoseg; its {names} may be replaced.")
    if remote.base.new_branch:
        notes.append(f"The branch {remote.base.branch} is made from {MAIN}.")
    if examples and not with_examples and options.examples is None:
        notes.append(
            f"The {len(examples)} pictures in {EXAMPLES_FOLDER}/ show your data, so they are left "
            f"out of a public repository; --examples includes them."
        )
    if left_out:
        more = f" and {len(left_out) - 8} more" if len(left_out) > 8 else ""
        notes.append(f"Not part of a model, so left out: {', '.join(left_out[:8])}{more}.")
    return tuple(notes)


def _check_visibility(plan: PushPlan, connection: Connection, on_wait: OnWait | None) -> None:
    """Refuse a repository that others see now, or that they no longer see: the plan is not for it.

    It decides which pictures, names and licences go there.
    """
    info = patiently(lambda: connection.api.model_info(plan.repo_id), on_wait=on_wait)
    if bool(info.private) != (plan.private or plan.opens):
        raise HubError(
            f"Pushing to {plan.repo_id} failed: somebody made it "
            f"{'private' if info.private else 'public'} meanwhile; push again."
        )


def _create(plan: PushPlan, connection: Connection, on_wait: OnWait | None) -> str:
    """Make the repository; its first commit, which somebody may have made meanwhile."""
    api = connection.api
    visibility: Any = "private" if plan.private else "public"
    patiently(
        lambda: api.create_repo(plan.repo_id, visibility=visibility, exist_ok=True),
        on_wait=on_wait,
    )
    info = patiently(lambda: api.model_info(plan.repo_id), on_wait=on_wait)
    files = {sibling.rfilename for sibling in info.siblings or ()} - {".gitattributes"}
    if files or info.private != plan.private or info.sha is None:
        raise HubError(
            f"Pushing to {plan.repo_id} failed: somebody else made it meanwhile; push again."
        )
    return info.sha


def _set_tag(
    repo_id: str, tag: str, commit: str, connection: Connection, on_wait: OnWait | None
) -> None:
    """Let a tag stand for a commit; that it does already is as good."""
    api = connection.api
    patiently(
        lambda: api.create_tag(repo_id, tag=tag, revision=commit, exist_ok=True), on_wait=on_wait
    )
    refs = patiently(lambda: api.list_repo_refs(repo_id), on_wait=on_wait)
    target = next((ref.target_commit for ref in refs.tags if ref.name == tag), None)
    if target != commit:
        raise HubNotFoundError(
            f"The model was pushed to {repo_id} as commit {commit[:7]}, but the tag {tag!r} stands "
            f"for another; choose another tag and push again."
        )
