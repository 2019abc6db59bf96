"""The sections ``run`` and ``schedule``, and prices: where and when steps run, and at what price."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, PositiveInt

from pipeline.spec.schema.section import Section, shorthand


class Prices(Section):
    """What computing costs; without prices only times are shown."""

    cpu_hour: float = Field(0.0, ge=0)
    """Price of one CPU for an hour."""
    gib_hour: float = Field(0.0, ge=0)
    """Price of one GiB of memory for an hour."""
    currency: str = Field("EUR", pattern=r"^[A-Z]{3}$")
    """Three letters, such as `EUR`."""


OnDataCommit: TypeAlias = Literal["every", "latest", "off"]


def _read_off(value: Any) -> Any:
    """Take YAML 1.1's ``off``, which is false, for the word."""
    return "off" if value is False else value


class Schedule(Section):
    """When the model's DAG runs by itself."""

    cron: str | None = None
    """Cron expression (UTC); by default the DAG runs only when triggered."""
    on_data_commit: Annotated[OnDataCommit, BeforeValidator(_read_off)] = "off"
    """Which new commits of the data start a run: `every` one that changes a partition, only the `latest`, or none."""
    replay: bool = False
    """Run the scheduled dates anew whose partitions a data commit has changed, by a backfill; nothing is released."""
    replay_limit: PositiveInt = 24
    """Most dates that one data commit runs anew, the oldest first; what is left out is said."""


StepName: TypeAlias = Literal["clean", "transform", "normalize", "train", "evaluate", "release", "deploy", "verify"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]


class Toleration(Section):
    """A taint of nodes that a pod tolerates, as in Kubernetes."""

    key: str | None = None
    """Key of the taint; without it, every taint."""
    operator: Literal["Equal", "Exists"] = "Equal"
    """Whether `value` must be the taint's, or the key is enough."""
    value: str | None = None
    """Value of the taint, for `Equal`."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint; without it, every effect."""


class Placement(Section):
    """Where a step runs, and on what; what is not said here is as in `run.default`."""

    where: Literal["process", "pod"] | None = None
    """`process` is Airflow's worker; `pod` is a pod of its own."""
    cpu: Annotated[float, Field(gt=0)] | None = None
    """CPUs that the pod gets for sure; it works with as many threads."""
    memory: Annotated[str, Field(pattern=r"^[1-9][0-9]*(Ki|Mi|Gi|Ti)$")] | None = None
    """Memory that the pod gets, and not more, such as `4Gi`."""
    gpu: PositiveInt | None = None
    """GPUs (`nvidia.com/gpu`) that the pod gets."""
    node_selector: dict[str, str] | None = None
    """Labels of the nodes that will do."""
    tolerations: list[Toleration] | None = None
    """Taints of nodes that do no harm."""


Placed = Annotated[Placement, shorthand("where")]


class Run(Section):
    """Where steps run when Airflow runs them; `modelrail run` runs all in its own process."""

    default: Placed = Placement(where="process")
    """For every step that says nothing else: `process`, `pod`, or `{where, cpu, memory, …}`."""
    clean: Placed = Placement()
    """As `default`, for this step; its batches of partitions run in pods side by side."""
    transform: Placed = Placement()
    """As `default`, for this step; its batches of partitions run in pods side by side."""
    normalize: Placed = Placement()
    """As `default`, for this step."""
    train: Placed = Placement()
    """As `default`, for this step."""
    workers: Placed = Placement(where="process")
    """Where the other workers of a network learn (`model.params.workers`): `process`, on the machine of the step, or
    `pod`, each in a pod of its own; what is not said here is as for `train`."""
    evaluate: Placed = Placement()
    """As `default`, for this step."""
    release: Placed = Placement()
    """As `default`, for this step."""
    deploy: Placed = Placement()
    """As `default`, for this step."""
    verify: Placed = Placement()
    """As `default`, for this step."""
    fuse: list[StepName] = []
    """Steps that share a pod with their neighbours in this list, which has what the first of them gets."""
    batches: PositiveInt = 4
    """Batches that the partitions are cleaned and transformed in, at most; each is a task, or a pod."""
    image: str | None = Field(None, min_length=1)
    """Image of the pods, by tag or digest: what `docker/pipeline.Dockerfile` makes of this very code."""
    namespace: Name = "default"
    """Namespace of the pods."""
    repository: str | None = Field(None, min_length=1)
    """URL that pods clone the spec's repository from; by default that of its remote `origin`."""
    secrets: list[Name] = []
    """Secrets of the namespace whose keys are the pods' environment: credentials of the store, of MLflow, of Git."""
    registries: dict[str, Annotated[str, Field(pattern=r"^https?://[^/@\s,=]+/?$")]] = {}
    """Registry, as images name it → the URL at which pods reach it, where that is another: they push releases there."""
    service_account: Name | None = None
    """Account that the pods run under, for its `imagePullSecrets`; they do not get its token."""
    deployer: Name | None = None
    """Account of the pods that deploy and verify, which get its token."""
    trainer: Name | None = None
    """Account of the pod that trains with `workers` in pods, which gets its token to start them."""
    connection: str = "kubernetes_default"
    """Airflow connection of the cluster; by default what `KUBECONFIG` names, or the cluster that Airflow runs in."""
    start_timeout_s: PositiveInt = 600
    """Seconds that a pod may wait for a node, and as many for its image, before its task ends with the reason."""
