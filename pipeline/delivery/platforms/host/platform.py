"""Make a release live on a host under systemd: copied over SSH, taken over by the running server, undone if refused."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.delivery.platforms.differences import Difference
from pipeline.delivery.platforms.host import commands
from pipeline.delivery.platforms.host.commands import Facts, Wanted
from pipeline.delivery.platforms.host.runtimes import collected
from pipeline.delivery.platforms.host.ssh import RefusedError, run
from pipeline.delivery.platforms.host.systemd_units import Place, place_of, units
from pipeline.delivery.platforms.target import Live, Target
from pipeline.delivery.releases import Release
from pipeline.errors import AbortedError, DeploymentError
from pipeline.serving.client import Post, headers


class Server:
    """A host that systemd runs on."""

    def package(self, target: Target, release: Release, bundle: Path, *, push: bool = True) -> None:
        """Make nothing: the bundle itself is copied."""
        del target, release, bundle, push

    def deploy(self, target: Target, release: Release, bundle: Path, image: str | None) -> Live:
        """Copy what the host lacks, then let the server follow; if it refuses, what was live stays.

        Raises
        ------
        DeploymentError
            If the model has no graph: the host has ONNX Runtime and no scikit-learn.
        """
        del image
        if not (bundle / "model.onnx").exists():
            raise DeploymentError(
                f"{release.tag}: found no ONNX graph in {bundle}; expected one: the host's server runs graphs alone, so"
                " a model in the native format is served by 'modelrail serve' or on the platform local"
            )
        place = _place(target)
        before = _own(place)
        with collected(place.settings.python, place.settings.extras) as (runtime, folder):
            wanted = _wanted(target, release, runtime)
            try:
                for each in commands.steps(place, wanted, before, bundle, folder):
                    run(place.settings, each)
            except RefusedError as error:
                stays = before.live.get("version", "unknown")
                said = f"deploy {release.tag}: {error}; version {stays} stays live"
                raise AbortedError(said, f"{release.model}@v{stays}") from error
            except DeploymentError as error:
                raise DeploymentError(f"deploy {release.tag}: {error}") from error
        replaced = before.live.get("version") if before.active == "active" else None
        version = str(release.version)
        return Live(target.model, version, _address(place, _look(place)), None if replaced == version else replaced)

    def live(self, target: Target) -> Live | None:
        """Return the release that the host's server answers with."""
        place = _place(target)
        return _live(target, place, _look(place))

    def differences(self, target: Target, release: Release, image: str | None) -> Sequence[Difference]:
        """Hold the host's units, links and server against what they should be."""
        del image
        place = _place(target)
        with collected(place.settings.python, place.settings.extras) as (runtime, _):
            wanted = _wanted(target, release, runtime)
        return list(commands.differences(place, wanted, _look(place), str(release.version)))

    def stop(self, target: Target) -> Live | None:
        """End the server and remove what it had on the host, but for its settings."""
        place = _place(target)
        found = _own(place)
        run(place.settings, commands.remove(place))
        return _live(target, place, found)

    def post(self, target: Target) -> Post:
        """Ask from the host itself: this process need not reach the port."""
        place = _place(target)

        def send(address: str, body: bytes, timeout_s: float) -> tuple[int, bytes]:
            question = {"body": body.decode(), "headers": headers(), "timeout_s": timeout_s}
            command = commands.ask(place, address.partition("://")[0], "/api/predict")
            status, content = json.loads(run(place.settings, command, json.dumps(question).encode()))
            return status, content.encode()

        return send


def units_of(target: Target) -> Mapping[str, str]:
    """Return the units that a target has on its host: name → text."""
    return units(target.spec, target.environment)


def _place(target: Target) -> Place:
    return place_of(target.spec, target.environment)


def _look(place: Place) -> Facts:
    return commands.read_facts(run(place.settings, commands.look(place)))


def _own(place: Place) -> Facts:
    """Look at what is there; refuse to touch what is another model's, or another environment's."""
    facts = _look(place)
    if facts.owner not in {"", place.owner}:
        raise DeploymentError(
            f"{place.settings.host}:{place.home}: found it to be of {facts.owner}; expected names that differ in more"
            " than signs, or another folder (deploy.server.folder)"
        )
    return facts


def _wanted(target: Target, release: Release, runtime: str) -> Wanted:
    name = f"v{release.version}-{release.evidence.model_digest[:12]}"
    return Wanted(name, runtime, units_of(target), target.spec.deploy.strategy)


def _live(target: Target, place: Place, facts: Facts) -> Live | None:
    if facts.active != "active" or "version" not in facts.live:
        return None
    return Live(target.model, facts.live["version"], _address(place, facts))


def _address(place: Place, facts: Facts) -> str:
    return f"{facts.live.get('scheme', 'http')}://{place.address}"
