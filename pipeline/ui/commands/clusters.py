"""Commands on clusters: images and what runs there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.delivery.images.building import Image, Program
from pipeline.errors import InputError
from pipeline.ui.commands.options import Json, Model, Reference, print_json
from pipeline.ui.commands.releases import Stage, tell_change

if TYPE_CHECKING:
    from pipeline.delivery.deploying import Slot

app = typer.Typer()
images = typer.Typer(help="Container images: build them.", no_args_is_help=True)
app.add_typer(images, name="images")


@images.command(epilog="Example: modelrail images build serving --tag registry.example/serving:1 --push")
def build(
    image: Annotated[Image, typer.Argument(help="serving: the prediction server; pipeline: the steps.")],
    tag: Annotated[str, typer.Option(help="Its name: HOST/NAME:TAG.")],
    program: Annotated[
        Program | None, typer.Option("--with", help="What builds; by default the first that is there.")
    ] = None,
    base: Annotated[str | None, typer.Option(help="Base image; by default the Dockerfile's, a public Python.")] = None,
    push: Annotated[bool, typer.Option("--push", help="Push it, and print its digest.")] = False,
    options: Annotated[list[str] | None, typer.Argument(help="After --: further arguments of the build.")] = None,
    as_json: Json = False,
) -> None:
    """Build an image of docker/, the same bytes each time."""
    from pipeline.delivery.images import building

    made = building.build(image, tag, program, base, push=push, options=options or ())
    if as_json:
        print_json({"image": made})
    else:
        typer.echo(made)


@app.command(epilog="Example: modelrail manifests flight-delay --environment kubernetes")
def manifests(
    model: Reference,
    environment: Stage = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask no registry: a digest that Git does not name is left open.")
    ] = False,
    access: Annotated[
        bool,
        typer.Option(
            "--access", help="Print the accounts that may deploy there, and train in pods, with their rights, instead."
        ),
    ] = False,
    application: Annotated[
        bool,
        typer.Option("--application", help="Print Argo CD's application for the model, instead (deploy.mode: gitops)."),
    ] = False,
) -> None:
    """Print a release as Kubernetes objects, in YAML, or a server's systemd units: by default what should be live."""
    from pipeline.delivery.drift import find_due
    from pipeline.delivery.platforms.kubernetes import manifests as objects
    from pipeline.delivery.platforms.kubernetes.access import accounts
    from pipeline.spec.object_names import name_of

    name, _, version = model.partition("@")
    slot = _slot(name, environment)
    if access:
        typer.echo(objects.to_yaml(accounts(slot.spec)), nl=False)
        return
    if application:
        from pipeline.delivery.platforms.kubernetes.argo.gitops import application_of

        typer.echo(objects.to_yaml([application_of(slot.target)]), nl=False)
        return
    if slot.spec.environment.platform == "server":
        from pipeline.delivery.platforms.host.platform import units_of
        from pipeline.delivery.platforms.host.systemd_units import to_text

        typer.echo(to_text(units_of(slot.target)), nl=False)
        return
    if slot.spec.environment.platform != "kubernetes":
        raise InputError(
            f"{slot.environment}: found the platform {slot.spec.environment.platform}; expected one with"
            " objects or units (environment.platform: kubernetes or server)"
        )
    release, image = find_due(slot, version or None, offline=offline)
    made = objects.manifests(slot.spec, release, slot.target.environment, image or objects.OPEN_IMAGE)
    images = slot.spec.deploy.image
    place = f"{images.repository}/{name_of(release.model)}" if images else "deploy.image.repository"
    typer.echo(objects.leave_open(objects.to_yaml(made), place), nl=False)


@app.command(epilog="Example: modelrail deploy flight-delay --environment kubernetes --dry-run")
def deploy(
    model: Model,
    environment: Stage = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would change, asked of the server.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make live again what Git says should be, as the spec says; what others changed there is undone."""
    from dataclasses import asdict

    from pipeline.delivery.drift import compare, uphold

    slot = _slot(model, environment)
    if not dry_run:
        tell_change(uphold(slot), as_json=as_json)
        return
    found = compare(slot)
    if as_json:
        print_json([asdict(each) for each in found])
    else:
        typer.echo("\n".join(map(str, found)) or "nothing would change")


def _slot(model: str, environment: str | None) -> Slot:
    from pipeline.delivery.promotion import find_slot
    from pipeline.storage.git.repository import open_repository

    return find_slot(open_repository(Path.cwd()), model, environment)
