"""The commands for the Hub: push, pull, deploy."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from autoseg.errors import ConfigError, HubError

if TYPE_CHECKING:
    from autoseg.hub.push import Pushed, PushPlan
    from autoseg.hub.spaces import DeployPlan

_Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit.")]


@contextmanager
def _transfer(text: str) -> Iterator[Callable[[int, int], None]]:
    """A bar of bytes on stderr while it is a terminal, gone when done; gives what to call."""
    console = Console(stderr=True)
    columns = (TextColumn(text), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def push(
    model: Annotated[str, typer.Argument(help="A run (name or folder) or the folder of a model.")],
    repo_id: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Repository on the Hub.")],
    public: Annotated[
        bool, typer.Option("--public", help="Let everybody see it (else a new one is private).")
    ] = False,
    revision: Annotated[str | None, typer.Option(help="Branch, made if new (else main).")] = None,
    tag: Annotated[str | None, typer.Option(help="Name for this version, such as v1.")] = None,
    licence: Annotated[
        str | None,
        typer.Option("--licence", "--license", help="Licence of the model (else the strictest)."),
    ] = None,
    data_licence: Annotated[
        str | None,
        typer.Option("--data-licence", "--data-license", help="Licence of the training images."),
    ] = None,
    examples: Annotated[
        bool | None,
        typer.Option(
            "--examples/--no-examples",
            help="Show a few of your images on the card (else only while it is private).",
        ),
    ] = None,
    message: Annotated[str | None, typer.Option(help="Message of the commit.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the files and the card, upload nothing.")
    ] = False,
) -> None:
    """Publish a model on the Hugging Face Hub, private unless --public is given.

    The account is that of `hf auth login`, or of the token in HF_TOKEN. The same command again
    updates the repository.
    """
    from autoseg.hub.connection import check_repo_id, connect  # noqa: PLC0415 - huggingface_hub

    check_repo_id(repo_id)  # Before torch is loaded, which takes seconds.
    connection = connect()
    from autoseg.hub.push import PushOptions, plan_push  # noqa: PLC0415 - torch
    from autoseg.hub.push import push as push_plan  # noqa: PLC0415 - torch
    from autoseg.predictor import find_bundle  # noqa: PLC0415 - torch
    from autoseg.workspace import Workspace  # noqa: PLC0415 - numpy, Pillow

    options = PushOptions(
        public=public, revision=revision, tag=tag, licence=licence, data_licence=data_licence,
        examples=examples, message=message,
    )  # fmt: skip
    folder = find_bundle(Workspace().model_source(model))
    plan = plan_push(folder, repo_id, connection, options, on_wait=_tell_wait)
    if dry_run:
        _print_plan(plan)
        return
    for note in plan.notes:
        typer.echo(note)
    with (
        _interruptible("Nothing of it can be seen on the Hub; the same command goes on."),
        _transfer("Uploading") as on_progress,
    ):
        pushed = push_plan(plan, connection, on_progress=on_progress, on_wait=_tell_wait)
    _print_pushed(plan, pushed)


def _print_pushed(plan: "PushPlan", pushed: "Pushed") -> None:
    """What a push did, who can see it, and how it is loaded."""
    if pushed.changed:
        typer.echo(f"Pushed to {pushed.url}, commit {pushed.commit[:7]}.")
    else:
        typer.echo(f"{pushed.url} holds exactly this already (commit {pushed.commit[:7]}).")
    if plan.opens:
        typer.echo("It was private and is public now: everybody can see it.")
    elif plan.private:
        typer.echo("It is private: only you and those you add can load it; --public opens it.")
    pictures = sum(file.path.startswith("examples/") for file in plan.files)
    if pictures:
        typer.echo(f"Its card shows {pictures} pictures of your data.")
    revision = pushed.tag or plan.options.revision
    if pushed.tag:
        typer.echo(f"This version has the tag {pushed.tag}.")
    named = f', revision="{revision}"' if revision else ""
    typer.echo(f'Load it with autoseg.Predictor.from_pretrained("{pushed.repo_id}"{named}).')


@contextmanager
def _interruptible(said: str) -> Iterator[None]:
    """Say what Ctrl-C leaves behind, and end with the status that shells expect of it."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"Interrupted. {said}", err=True)
        raise typer.Exit(130) from None


def _tell_wait(seconds: float) -> None:
    """Say why nothing happens for a while."""
    typer.echo(f"The Hub is busy or gives no answer; trying again in {seconds:.0f} s.", err=True)


def _print_plan(plan: "PushPlan") -> None:
    """What a push would do."""
    console = Console()
    state = "is there" if plan.exists else "would be created"
    seen = "private" if plan.private else "public"
    console.print(f"[bold]{escape(plan.repo_id)}[/] {state}, {seen}", highlight=False)
    table = Table(title="Files of the commit", title_justify="left")
    table.add_column("file")
    table.add_column("bytes", justify="right")
    for file in plan.files:
        table.add_row(escape(file.path), f"{file.size_bytes:,}")
    for path in plan.deletions:
        table.add_row(escape(path), "deleted")
    console.print(table)
    for note in plan.notes:
        console.print(escape(note), highlight=False)
    console.rule("README.md")
    typer.echo(plan.card)


def pull(
    repo_id: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Repository on the Hub.")],
    revision: _Revision = None,
    out: Annotated[
        Path | None, typer.Option(help="Also copy the model into this new folder.")
    ] = None,
) -> None:
    """Fetch a model from the Hub, check it, and say what it is."""
    from autoseg.bundle import copy_bundle, load_bundle  # noqa: PLC0415 - torch
    from autoseg.hub.connection import connect, parse_repo  # noqa: PLC0415 - huggingface_hub
    from autoseg.hub.pull import pull_model  # noqa: PLC0415 - torch
    from autoseg.pulled_models import PulledModel  # noqa: PLC0415 - with its users
    from autoseg.workspace import Workspace  # noqa: PLC0415 - numpy, Pillow

    repo = parse_repo(repo_id)
    if repo is None:
        raise HubError(f"{repo_id!r} is no repository on the Hub. Write it as owner/name.")
    if revision is not None and repo.revision not in (None, revision):
        raise HubError(f"{repo_id} names the revision {repo.revision}, but --revision {revision}.")
    with _interruptible("What has arrived is kept; the same command goes on."):
        pulled = pull_model(
            repo.repo_id, connect(), revision=revision or repo.revision, on_wait=_tell_wait
        )
    bundle = load_bundle(pulled.folder)
    if out is not None:
        copy_bundle(pulled.folder, out)
    try:
        Workspace().pulled.add(PulledModel(pulled.repo_id, pulled.commit, str(pulled.folder)))
    except OSError as error:
        typer.echo(f"The app will not list it: {error.strerror or error}.", err=True)
    where = "the copy on this computer" if pulled.from_cache else f"commit {pulled.commit[:7]}"
    typer.echo(f"{pulled.repo_id}, {where}: {', '.join(bundle.info.classes.names)}")
    for note in bundle.info.notes:
        typer.echo(note)
    typer.echo(f"It is in {out or pulled.folder}")


def deploy(
    models: Annotated[
        list[str],
        typer.Argument(metavar="OWNER/NAME...", help="Models on the Hub; several make a gallery."),
    ],
    space: Annotated[
        str | None,
        typer.Option(metavar="OWNER/NAME", help="The Space (else named after the model)."),
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="Let everybody open it (else a new one is private).")
    ] = False,
    hardware: Annotated[
        str | None, typer.Option(help="Such as cpu-basic, zero-a10g or t4-small.")
    ] = None,
    secrets: Annotated[
        list[str] | None,
        typer.Option(
            "--secret",
            metavar="NAME[=VARIABLE]",
            help="Secret of the Space, taken from an environment variable; repeatable.",
        ),
    ] = None,  # fmt: skip
    title: Annotated[str | None, typer.Option(help="Title on the Hub.")] = None,
    package: Annotated[
        str | None, typer.Option(help="What pip installs there (else this version of autoseg).")
    ] = None,
    expose_private: Annotated[
        bool,
        typer.Option("--expose-private", help="Let a public Space show a private or gated model."),
    ] = False,
    examples: Annotated[
        bool, typer.Option("--examples", help="Show the pictures of a private or gated model too.")
    ] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Build it anew in any case.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait until it runs or has failed.")
    ] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done, change nothing.")
    ] = False,
) -> None:
    """Put the prediction page for models on a Hugging Face Space.

    A private model needs a token that may read it: `--secret HF_TOKEN=MY_READ_TOKEN` takes it
    from the environment variable MY_READ_TOKEN. Your own token is never put there by itself.
    """
    from autoseg.hub.connection import connect  # noqa: PLC0415 - huggingface_hub
    from autoseg.hub.spaces import WAIT_S, DeployOptions, plan_deploy  # noqa: PLC0415 - the same
    from autoseg.hub.spaces import deploy as deploy_plan  # noqa: PLC0415 - the same

    options = DeployOptions(
        space=space, hardware=hardware, secrets=dict(_read_secrets(secrets or ())), public=public,
        package=package, title=title, expose_private=expose_private, examples=examples,
        restart=restart,
    )  # fmt: skip
    connection = connect()
    plan = plan_deploy(models, connection, options)
    for note in plan.notes:
        typer.echo(note)
    if dry_run:
        _print_deploy(plan)
        return
    page = connection.page(plan.space, "space")
    with _interruptible(f"What was begun goes on without you: look at {page}."):
        done = deploy_plan(
            plan, connection, wait_s=WAIT_S if wait else 0.0,
            on_stage=lambda stage: typer.echo(stage, err=True),
        )  # fmt: skip
    state = done.stage if done.changed else f"{done.stage}, nothing had changed"
    typer.echo(f"The Space is {done.url} ({state}).")
    if done.note:
        typer.echo(done.note)


def _read_secrets(texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Names and values; values come from the environment, for a command line is seen by others.

    Raises:
        ConfigError: There is no such variable.
    """
    for text in texts:
        name, sign, variable = text.partition("=")
        variable = variable if sign else name
        if variable.startswith(
            "hf_"
        ):  # Whoever pastes the token itself should not find it in a log.
            raise ConfigError(
                f"--secret {name} wants the name of an environment variable that holds the token, "
                f"not the token: set MY_TOKEN to it and write --secret {name}=MY_TOKEN."
            )
        value = os.environ.get(variable)
        if not value:
            raise ConfigError(
                f"--secret {name} is to come from the environment variable {variable!r}, which is "
                f"not set. Set it first, such as with `read -s {variable} && export {variable}`."
            )
        yield name, value


def _print_deploy(plan: "DeployPlan") -> None:
    """What a deploy would do."""
    console = Console()
    state = "is there" if plan.found.exists else "would be created"
    seen = "public" if plan.public else "private"
    console.print(f"[bold]{escape(plan.space)}[/] {state}, {seen}", highlight=False)
    for name in plan.changed_files:
        console.rule(name)
        typer.echo(plan.files[name])
    for name, value in plan.variables.items():
        console.print(f"variable {escape(name)} = {escape(value)}", highlight=False)
    for name in plan.options.secrets:
        console.print(f"secret {escape(name)}", highlight=False)
    if plan.hardware:
        console.print(f"hardware {escape(plan.hardware)}", highlight=False)
