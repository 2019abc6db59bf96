"""A release computed again from Git alone, and compared with what was recorded, artifact by artifact.

Specs, data and code are copied at the release's commits into a folder of their own, with an empty store. There every
step runs as a process, by the code of that commit. Then keys and bytes are compared: with the evidence in the tag, and
with this machine's store for what the evidence does not name.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.delivery.releases import Evidence, Release
from pipeline.errors import ModelrailError
from pipeline.home import home, store_address
from pipeline.operations.provenance.catalogue import Catalogue, read_catalogue
from pipeline.operations.provenance.copies import STATE, copy_code, copy_specs
from pipeline.operations.provenance.differences import explain_artifacts
from pipeline.runs.job import BUILT_IN
from pipeline.runs.plan.recipes import STEPS, installed
from pipeline.storage.artifacts import Artifact, FolderStore, Store, open_store
from pipeline.storage.git.repository import Repository

_LAST_LINES = 5


@dataclass(frozen=True)
class Proof:
    """One artifact, as recorded and as rebuilt.

    Attributes
    ----------
    recorded : str
        Key; empty where only the key that was found can be looked up.
    found : str
        Key; empty if the rebuild made none.
    same_bytes : bool or None
        None where neither the evidence nor this store has anything to compare with.
    note : str
        What was compared, or what differs.
    """

    step: str
    partition: str | None
    recorded: str
    found: str
    same_bytes: bool | None
    note: str = ""

    @property
    def same_key(self) -> bool | None:
        """Whether the keys agree; None where no key is recorded."""
        return self.recorded == self.found if self.recorded else None

    @property
    def failed(self) -> bool:
        """Whether anything differs."""
        return self.same_key is False or self.same_bytes is False


@dataclass(frozen=True)
class Rebuilt:
    """The result of a rebuild.

    Attributes
    ----------
    code : str
        The code that ran.
    recorded : dict
        Library → version that made the release; empty where it does not say.
    installed : dict
        The same, as it is here.
    """

    release: str
    folder: str
    code: str
    recorded: Mapping[str, str]
    installed: Mapping[str, str]
    proofs: tuple[Proof, ...]
    notes: tuple[str, ...]
    seconds: float

    @property
    def proven(self) -> bool:
        """Whether keys and model are the same."""
        train = [each for each in self.proofs if each.step == "train"]
        return bool(train) and all(each.same_bytes for each in train) and not any(each.failed for each in self.proofs)

    @property
    def other_libraries(self) -> dict[str, tuple[str, str]]:
        """Library → its version then and now, where they differ."""
        return {name: (then, self.installed.get(name, "none")) for name, then in self.recorded.items()
                if self.installed.get(name) != then}  # fmt: skip


def rebuild(repository: Repository, release: Release, folder: Path, report: Callable[[str], None]) -> Rebuilt:
    """Compute a release again in an empty folder.

    Parameters
    ----------
    report : callable
        Told what is being done.

    Raises
    ------
    InputError
        If a commit or a repository is not here.
    ModelrailError
        If a step fails.
    """
    began = time.monotonic()
    report(f"copying specs, data and code at the commits of {release.tag}")
    specs = copy_specs(repository, release, folder)
    code, note = copy_code(release.evidence.code, folder)
    for step in STEPS:
        report(step)
        _run_step(step, release.evidence, specs, code, folder / STATE)
    state = home(repository.root)
    ours = open_store(store_address(state), state)
    made = read_catalogue(FolderStore(folder / STATE / "store"))
    proofs = tuple(_prove(release.evidence, made, ours))
    recorded = release.evidence.made_with or _recorded_libraries(release.evidence, ours)
    ran = release.evidence.code if code else "the installed code"
    notes = (note,) if note else ()
    return Rebuilt(
        release.tag, str(folder), ran, recorded, installed(recorded), proofs, notes, round(time.monotonic() - began, 1)
    )


def _run_step(step: str, evidence: Evidence, specs: Path, code: Path | None, state: Path) -> None:
    options = {"--data-commit": evidence.data_commit if evidence.data_commit != BUILT_IN else None,
               "--environment": evidence.environment, "--as-of": evidence.as_of}  # fmt: skip
    given = [part for name, value in options.items() if value for part in (name, value)]
    # -P: a folder named pipeline in the specs' repository is not the program
    command = [sys.executable, "-P", "-m", "pipeline", "step", step, evidence.spec_path, *given]
    done = subprocess.run(
        command, cwd=specs, env=_environment(state, code), capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).strip().splitlines()[-_LAST_LINES:])
        raise ModelrailError(f"rebuild: {step} failed: {said.removeprefix('modelrail: ')} (in {specs})")


def _environment(state: Path, code: Path | None) -> dict[str, str]:
    """Build the environment of the processes, without anything that leads to this machine's state."""
    dropped = ("MODELRAIL_", "MLFLOW_", "PYTHONPATH")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    own = {"MODELRAIL_HOME": str(state), "MLFLOW_TRACKING_URI": f"sqlite:///{state / 'mlflow.db'}"}
    return kept | own | ({"PYTHONPATH": str(code)} if code else {})


def _prove(evidence: Evidence, made: Catalogue, ours: Store) -> Iterator[Proof]:
    """Compare what was made with what is recorded, step by step."""
    found: dict[str, list[Artifact]] = {step: [] for step in STEPS}
    for artifact in made.artifacts.values():
        found.setdefault(str(artifact.manifest["step"]), []).append(artifact)
    kept = ours.find_all([*made.artifacts, *evidence.artifacts.values()])
    for step, artifacts in found.items():
        if step in evidence.artifacts:
            yield _prove_recorded(step, evidence, artifacts[0] if artifacts else None, kept)
        else:
            for artifact in sorted(artifacts, key=lambda each: str(each.manifest["partition"])):
                yield _prove_kept(step, artifact, kept.get(artifact.key))


def _prove_kept(step: str, made: Artifact, kept: Artifact | None) -> Proof:
    """Compare a partition's artifact with the one that this store has under the same key."""
    partition = made.manifest["partition"]
    if kept is None:
        return Proof(step, partition, "", made.key, None, "not in this store; its bytes are part of normalize's key")
    return Proof(step, partition, kept.key, made.key, kept.digest == made.digest)


def _prove_recorded(step: str, evidence: Evidence, made: Artifact | None, kept: Mapping[str, Artifact]) -> Proof:
    recorded = evidence.artifacts[step]
    if made is None:
        return Proof(step, None, recorded, "", False, "the rebuild made none")
    then = kept.get(recorded)
    differs = "" if made.key == recorded else "; ".join(explain_artifacts(then, made))
    if step == "train":
        note = differs or "the model's digest as in the tag"
        return Proof(step, None, recorded, made.key, made.digest == evidence.model_digest, note)
    if step == "evaluate":
        same = _metrics(made) == evidence.metrics
        return Proof(step, None, recorded, made.key, same, differs or "metrics and intervals as in the tag")
    if then is None:
        return Proof(step, None, recorded, made.key, None, differs or "not in this store: the key is compared")
    return Proof(step, None, recorded, made.key, then.digest == made.digest, differs)


def _metrics(evaluated: Artifact) -> object:
    return json.loads(evaluated.file("evaluation.json").read_bytes())["candidate"]["metrics"]


def _recorded_libraries(evidence: Evidence, ours: Store) -> dict[str, str]:
    """Read the libraries from the artifacts' recipes, for a release whose tag does not name them."""
    found = ours.find_all(list(evidence.artifacts.values())).values()
    return {name: version for each in found for name, version in each.manifest["recipe"]["libraries"].items()}
