"""Make a release live on a host under systemd: copied over SSH, taken over by the running server, undone if refused."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.delivery.platforms.differences import Difference
from pipeline.delivery.platforms.host.changes import remove, steps
from pipeline.delivery.platforms.host.facts import Facts, Wanted, ask, differences, look, read_facts
from pipeline.delivery.platforms.host.readiness import inspect
from pipeline.delivery.platforms.host.runtimes import collected
from pipeline.delivery.platforms.host.ssh import RefusedError, run
from pipeline.delivery.platforms.host.systemd_units import Installation, installation_of, units
from pipeline.delivery.platforms.target import Live, Target
from pipeline.delivery.releases import Release
from pipeline.errors import AbortedError, DeploymentError
from pipeline.serving.client import Post, headers
from pipeline.spec.object_names import former_unit_name, unit_name


class SystemdHost:
    """A host that systemd runs on."""

    def require_ready(self, target: Target, *, packages: bool) -> None:
        """Ask the host for its folder, its systemd, its Python and the space."""
        del packages
        installed = _installation(target)
        found = run(installed.settings, inspect(installed, _own(installed), units(target.spec, installed)))
        if faults := found.strip().splitlines():
            raise DeploymentError("\n".join(f"{installed.settings.host}: {each}" for each in faults))

    def package(self, target: Target, release: Release, bundle: Path, *, push: bool = True) -> None:
        """Do nothing: the bundle itself is copied."""
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
        installed = _installation(target)
        before = _own(installed)
        with collected(installed.settings.python, installed.settings.extras) as (runtime, folder):
            wanted = _wanted(target, installed, release, runtime)
            try:
                for each in steps(installed, wanted, before, bundle, folder):
                    run(installed.settings, each)
            except RefusedError as error:
                stays = before.live.get("version", "unknown")
                said = f"deploy {release.tag}: {error}; version {stays} stays live"
                raise AbortedError(said, f"{release.model}@v{stays}") from error
            except DeploymentError as error:
                raise DeploymentError(f"deploy {release.tag}: {error}") from error
        replaced = before.live.get("version") if before.active == "active" else None
        version = str(release.version)
        return Live(
            target.model, version, _address(installed, _look(installed)), None if replaced == version else replaced
        )

    def live(self, target: Target) -> Live | None:
        """Return the release that the host's server answers with."""
        installed = _installation(target)
        return _live(target, installed, _look(installed))

    def differences(self, target: Target, release: Release, image: str | None) -> Sequence[Difference]:
        """Compare the host's units, links and server with what they should be."""
        del image
        installed = _installation(target)
        with collected(installed.settings.python, installed.settings.extras) as (runtime, _):
            wanted = _wanted(target, installed, release, runtime)
        return list(differences(installed, wanted, _look(installed), str(release.version)))

    def stop(self, target: Target) -> Live | None:
        """End the server and remove what it had on the host, but for its settings."""
        installed = _installation(target)
        found = _own(installed)
        run(installed.settings, remove(installed))
        return _live(target, installed, found)

    def post(self, target: Target) -> Post:
        """Ask from the host itself: this process need not reach the port."""
        installed = _installation(target)

        def send(address: str, body: bytes, timeout_s: float) -> tuple[int, bytes]:
            question = {"body": body.decode(), "headers": headers(), "timeout_s": timeout_s}
            command = ask(installed, address.partition("://")[0], "/api/predict")
            status, content = json.loads(run(installed.settings, command, json.dumps(question).encode()))
            return status, content.encode()

        return send


def units_of(target: Target) -> Mapping[str, str]:
    """Write the units that a target gets on a host that it is new to: name → text."""
    return units(target.spec, installation_of(target.spec, target.environment))


def _installation(target: Target) -> Installation:
    """Return where a model is on its host; what an earlier version has put there keeps its name."""
    installed, former = (
        installation_of(target.spec, target.environment, name) for name in (unit_name, former_unit_name)
    )
    return former if former != installed and _look(former).owner == former.owner else installed


def _look(installed: Installation) -> Facts:
    return read_facts(run(installed.settings, look(installed)))


def _own(installed: Installation) -> Facts:
    """Look at what is there; refuse to touch what is another model's, or another environment's."""
    facts = _look(installed)
    if facts.owner not in {"", installed.owner}:
        raise DeploymentError(
            f"{installed.settings.host}:{installed.home}: found it to be of {facts.owner}; expected names that differ"
            " in more than signs, or another folder (deploy.server.folder)"
        )
    return facts


def _wanted(target: Target, installed: Installation, release: Release, runtime: str) -> Wanted:
    name = f"v{release.version}-{release.evidence.model_digest[:12]}"
    return Wanted(name, runtime, units(target.spec, installed), target.spec.deploy.strategy)


def _live(target: Target, installed: Installation, facts: Facts) -> Live | None:
    if facts.active != "active" or "version" not in facts.live:
        return None
    return Live(target.model, facts.live["version"], _address(installed, facts))


def _address(installed: Installation, facts: Facts) -> str:
    return f"{facts.live.get('scheme', 'http')}://{installed.address}"
