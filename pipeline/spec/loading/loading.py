"""Specs from files: the spec, the environment laid over it, and the position of every mistake."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.errors import Problem, SpecError
from pipeline.extras import is_installed, lacking
from pipeline.messages import quote
from pipeline.spec.catalogue.tasks import extras_of, task_of
from pipeline.spec.catalogue.trainers import IMAGE_ENDINGS, trainer_name
from pipeline.spec.checking import check
from pipeline.spec.checking.collisions import find_collisions
from pipeline.spec.companion_files import pin_files
from pipeline.spec.files import FileError, find_environments, find_overlay, find_specs, list_yaml
from pipeline.spec.findings import Finding, KeyPath
from pipeline.spec.loading.declared_environments import find_misplaced, find_unknown
from pipeline.spec.loading.documents import Document, dotted, read_document
from pipeline.spec.loading.names import names_in, read_names
from pipeline.spec.loading.validating import validate
from pipeline.spec.schema.spec import Column, Spec


@dataclass(frozen=True)
class Loaded:
    """A valid spec, with all that is implied made explicit, and where it came from.

    Attributes
    ----------
    spec : Spec
        As `with_defaults` gives it: trainer, task, target and the built-in example's columns are filled in.
    path : Path
        The spec's file.
    environment : str or None
        Name of the environment that was laid over it.
    overlay : Path or None
        The environment's file.
    text, overlay_text : str
        The files as they are written; ``overlay_text`` is empty without an environment.
    """

    spec: Spec
    path: Path
    environment: str | None
    overlay: Path | None
    text: str
    overlay_text: str = ""

    @property
    def name(self) -> str:
        """The model's name."""
        return self.spec.model.name

    def section(self, name: str) -> Any:
        """Return one section (``data``, ``clean``, …) as JSON types; equal for specs that mean the same."""
        return self.spec.model_dump(mode="json", include={name})[name]


def load_spec(path: str | Path, environment: str | None = None, environments: str | Path | None = None) -> Loaded:
    """Read, merge and check one spec.

    Parameters
    ----------
    path : str or Path
        The spec's file.
    environment : str or None
        Name of the environment to lay over it.
    environments : str, Path or None
        Folder of the environments; by default ``environments/`` in or next to the spec's folder.

    Raises
    ------
    SpecError
        With every problem of the spec and of the environment.
    InputError
        A file is not there or can't be opened.
    """
    path = Path(path)
    overlay = None if environment is None else find_overlay(path, environment, environments)
    documents = [read_document(each) for each in (path, overlay) if each is not None]
    spec, problems = _read(documents)
    if spec is None or problems:
        raise SpecError(problems)
    spec = _with_files(spec, path, documents)
    return Loaded(
        spec,
        path,
        environment,
        overlay,
        documents[0].text,
        documents[-1].text if overlay else "",
    )


def _with_files(spec: Spec, path: Path, documents: Sequence[Document]) -> Spec:
    """Make the files that parameters name a part of the spec, so that another content is another model."""
    params, findings = pin_files(spec, path.parent)
    if findings:
        merged = _merge_documents(documents)
        raise SpecError([_place(finding, merged) for finding in findings])
    return _change(spec, "model", params=params) if params != spec.model.params else spec


def check_specs(
    paths: Sequence[str | Path] | None = None,
    environment: str | None = None,
    environments: str | Path | None = None,
) -> list[Problem]:
    """Find every problem of several specs; a bad one never hides another.

    Parameters
    ----------
    paths : sequence or None
        The specs; by default all of ``models/``.
    environment : str or None
        By default each spec is checked alone and with every environment that is found.
    environments : str, Path or None
        As for `load_spec`.

    Raises
    ------
    InputError
        No path is given, and ``models/`` holds no spec.
    """
    files = [Path(path) for path in paths] if paths else find_specs()
    problems: set[Problem] = set()
    loaded: list[Loaded] = []
    for file in dict.fromkeys(files):
        spec, alone = _try_to_load(file, None, environments)
        if not environment:
            problems.update(alone)
            loaded += [spec] if spec else []
        for name in [environment] if environment else find_environments(file, environments):
            spec, found = _try_to_load(file, name, environments)
            problems.update(_with_cause(each, file, name, alone) for each in found)
            loaded += [spec] if spec else []
    problems.update(_meetings(loaded))
    unknown = find_unknown(files, lambda: _names_around(files), environments)
    return sorted({*problems, *_repeated_names(files), *unknown})


def _names_around(files: Sequence[Path]) -> set[str]:
    beside = (each for folder in dict.fromkeys(file.parent for file in files) for each in list_yaml(folder))
    return set(names_in({*files, *beside}).values())


def _with_cause(problem: Problem, spec: Path, environment: str, alone: Collection[Problem]) -> Problem:
    """Say which environment makes a mistake of what stands in the spec, and is none there."""
    if problem in alone or problem.file != str(spec):
        return problem
    return replace(problem, found=f"{problem.found} in the environment {quote(environment)}")


def _try_to_load(
    path: Path, environment: str | None, environments: str | Path | None
) -> tuple[Loaded | None, Sequence[Problem]]:
    try:
        loaded = load_spec(path, environment, environments)
    except SpecError as error:
        return None, error.problems
    except FileError as error:
        return None, [error.problem]
    return loaded, _lacking_here(loaded)


def _meetings(loaded: Sequence[Loaded]) -> Iterator[Problem]:
    """Compare all specs in all environments: no two may want the same object of a platform."""
    for number, finding in find_collisions([(str(each.path), each.environment, each.spec) for each in loaded]):
        yield _place(finding, _documents_of(loaded[number]))


def _documents_of(loaded: Loaded) -> Document:
    return _merge_documents([read_document(each) for each in (loaded.path, loaded.overlay) if each is not None])


def _lacking_here(loaded: Loaded) -> list[Problem]:
    """Say which extras of a spec this machine lacks; a spec is valid all the same, since others may have them."""
    wanted = [each for each in extras_of(loaded.spec) if not is_installed(each[2])]
    if not wanted:
        return []
    merged = _documents_of(loaded)
    return [_place(Finding(path, *lacking(extra, quote(by))), merged) for path, by, extra in wanted]


def _repeated_names(files: Iterable[Path]) -> Iterator[Problem]:
    """Compare names without regard to case, since they become names of files and tags."""
    first: dict[str, Path] = {}
    for file, mark, name in read_names(dict.fromkeys(files)):
        other = first.setdefault(name.casefold(), file)
        if other != file:
            found = f"{quote(name)}, which {other} has too"
            yield Problem(str(file), mark.line, mark.column, "model.name", found, "a name of its own for each model")


def _read(documents: Sequence[Document]) -> tuple[Spec | None, list[Problem]]:
    problems = [problem for document in documents for problem in document.problems]
    if any(document.data is None for document in documents):
        # Without the overlay, the spec's own mistakes can still be told.
        if documents[0].data is not None:
            problems += _read(documents[:1])[1]
        return None, sorted(set(problems))
    merged = _merge_documents(documents)
    problems += find_misplaced(documents[0])
    spec, findings = _validate_and_check(merged.data or {})
    told = [finding for finding in findings if not _is_within(finding.path, merged.refused)]
    return spec, [*problems, *(_place(finding, merged) for finding in told)]


def _is_within(path: KeyPath, refused: frozenset[KeyPath]) -> bool:
    return any(path[:depth] in refused for depth in range(len(path) + 1))


def _validate_and_check(data: Mapping[str, Any]) -> tuple[Spec | None, list[Finding]]:
    spec, findings = validate(data)
    if spec is not None:
        spec = with_defaults(spec)
        return spec, check(spec)
    rest = _without(data, findings)
    partial = None if rest is None else validate(rest)[0]
    if partial is not None:
        implied = check(with_defaults(partial))
        findings += [finding for finding in implied if not _follows_from(finding, findings, data)]
    return None, findings


def _without(data: Mapping[str, Any], findings: Iterable[Finding]) -> dict[str, Any] | None:
    """Leave the wrong entries out, so that the others can be checked against each other all the same.

    None where that would be guesswork: without a model's name, or with a wrong column or derived column.
    """
    paths = {finding.path for finding in findings}
    if any(
        path[:2] in {("data", "columns"), ("data", "derive"), ("model", "name")} or len(path) == 0 for path in paths
    ):
        return None
    result: dict[str, Any] = _copy(data, (), paths)
    return result


def _copy(value: Any, path: KeyPath, left_out: set[KeyPath]) -> Any:
    if isinstance(value, dict):
        return {key: _copy(each, (*path, key), left_out) for key, each in value.items() if (*path, key) not in left_out}
    if isinstance(value, list):
        return [_copy(each, (*path, i), left_out) for i, each in enumerate(value) if (*path, i) not in left_out]
    return value


def _follows_from(finding: Finding, others: Iterable[Finding], data: Mapping[str, Any]) -> bool:
    """Whether a finding may only be there because a wrong entry was left out."""
    parent, exists = _deepest(finding.path, data)
    return any(
        other.path[: len(finding.path)] == finding.path
        or finding.path[: len(other.path)] == other.path
        or (not exists and other.path[:-1] == parent)
        for other in others
    )


def _deepest(path: KeyPath, data: Any) -> tuple[KeyPath, bool]:
    for depth, part in enumerate(path):
        exists = part in data if isinstance(data, Mapping) else isinstance(data, list) and part in range(len(data))
        if not exists:
            return path[:depth], False
        data = data[part]
    return path, True


def _merge_documents(documents: Sequence[Document]) -> Document:
    base, *overlays = documents
    data, keys, values, refused = base.data or {}, {**base.keys}, {**base.values}, base.refused
    for overlay in overlays:
        shared = {path for path in overlay.values if _is_mapping(path, data) and _is_mapping(path, overlay.data)}
        keys |= {path: mark for path, mark in overlay.keys.items() if path not in shared}
        values |= {path: mark for path, mark in overlay.values.items() if path not in shared}
        data = merge(data, overlay.data or {})
        refused |= overlay.refused
    return Document(base.file, base.text, data, keys, values, refused=refused)


def _is_mapping(path: KeyPath, data: Any) -> bool:
    for part in path:
        if not isinstance(data, Mapping) or part not in data:
            return False
        data = data[part]
    return isinstance(data, Mapping)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one mapping over another: mappings merge key by key, everything else is replaced."""
    both = {
        key: merge(base[key], value) if isinstance(value, Mapping) and isinstance(base.get(key), Mapping) else value
        for key, value in over.items()
    }
    return {**base, **both}


def _place(finding: Finding, document: Document) -> Problem:
    path, exists = _deepest(finding.path, document.data)
    marks = document.keys if finding.at == "key" and path in document.keys else document.values
    mark = marks[path]
    lead = mark.lead if exists and finding.offset and mark.lead is not None else None
    column = mark.column if lead is None else mark.column + lead + finding.offset
    return Problem(mark.file, mark.line, column, dotted(finding.path), finding.found, finding.expected)


def with_defaults(spec: Spec) -> Spec:
    """Make explicit what a spec implies, so that later steps need not know the rules.

    Without ``data.files``, the data are the built-in example: the line y = 2x + 1 with noise (columns ``x`` and
    ``y``, target ``y``). Files of images have the columns ``image``, ``folder`` and ``file``. Trainer and task are
    filled in where they can be told.
    """
    if spec.data.files is None:
        columns = spec.data.columns or {name: Column(type="float", nullable=False) for name in ("x", "y")}
        target = spec.model.target or "y"
        spec = _change(spec, "data", columns=columns)
        spec = _change(spec, "model", target=target)
    elif not spec.data.columns and (spec.data.format == "images" or spec.data.files.lower().endswith(IMAGE_ENDINGS)):
        columns = {
            "image": Column(type="image", nullable=False),
            "folder": Column(type="str"),
            "file": Column(type="str"),
        }
        spec = _change(spec, "data", columns=columns)
    trainer = trainer_name(spec.model) or spec.model.trainer
    return _change(spec, "model", task=task_of(spec), trainer=trainer)


def _change(spec: Spec, section: str, **values: Any) -> Spec:
    changed = getattr(spec, section).model_copy(update=values)
    return spec.model_copy(update={section: changed})
