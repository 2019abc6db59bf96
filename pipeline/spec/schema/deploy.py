"""The section ``deploy``: how a release is served, and how it earns its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from pipeline.spec.schema.section import Section

_NAME = r"^[A-Za-z_][A-Za-z0-9_-]*$"


class Server(Section):
    """A host with systemd, reached by SSH."""

    host: str = Field(pattern=r"^([A-Za-z_][\w.-]*@)?[A-Za-z0-9][A-Za-z0-9.:_-]*$")
    """`HOST` or `USER@HOST`, also a name of your SSH configuration; `localhost` is this machine, without SSH."""
    ssh_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Port of its SSH server; by default what your SSH configuration says."""
    folder: str = Field("/srv/modelrail", pattern=r"^(/[A-Za-z0-9_][A-Za-z0-9._-]*)+$")
    """Absolute path of a folder on the host that the SSH user may write: each model gets its own in it."""
    units: Literal["system", "user"] = "system"
    """Whose systemd: the host's, or that of the SSH user, which must linger (`loginctl enable-linger`)."""
    sudo: bool = False
    """With `units: system`: call `systemctl` and write units by `sudo`, without a password."""
    user: str | None = Field(None, pattern=_NAME)
    """With `units: system`: user that the server runs as; by default one of its own that exists while it runs."""
    listen: str = Field("127.0.0.1", pattern=r"^[0-9A-Fa-f.:]+$")
    """Address that it listens on: `0.0.0.0` or `::` for all; by default the host's loopback, for a proxy there."""
    python: str = Field("python3", pattern=r"^[A-Za-z0-9_./-]+$")
    """Python of the host, 3.11 or newer and with `venv`, of which the server's environment is made."""
    extras: list[Literal["images"]] = []
    """What the model needs besides the server's own requirements: `images` for models of images."""
    keep_releases: PositiveInt = 5
    """Releases that stay on the host, so that a rollback copies nothing."""


class GitOps(Section):
    """A deployment repository, and what follows it."""

    repository: str = Field(min_length=1)
    """The deployment repository, a URL or an absolute path to a bare one; objects go to `ENVIRONMENT/MODEL/` in it."""
    branch: str = Field("main", min_length=1)
    """Branch that is followed."""
    review_branch: str | None = Field(None, min_length=1)
    """Commit to this branch instead, for a pull request; deploying then waits until it is merged."""
    applied_by: Literal["argocd", "flux"] = "argocd"
    """What follows the branch; of Flux, it is waited for until the cluster is as the commit says."""
    source: str | None = None
    """Address of the repository as Argo CD knows it, where that is another."""
    argocd_namespace: str = "argocd"
    """Namespace of Argo CD's applications."""
    argocd_context: str | None = None
    """Kubeconfig's context of the cluster that Argo CD runs in; by default `deploy.context`."""
    destination: str = "https://kubernetes.default.svc"
    """Address of the model's cluster, as Argo CD knows it; by default the one that it runs in."""
    project: str = "default"
    """Project of Argo CD that the applications belong to."""
    synced_within_s: PositiveInt = 300
    """Seconds within which a commit must be applied and healthy; otherwise the one before is restored."""


Quantity = Annotated[str, Field(pattern=r"^\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$")]

CANARY_METRICS: Mapping[str, str] = {
    "errors": "share of requests that may fail more than in the baseline",
    "latency": "how many times as long as in the baseline a request may take",
    "outputs": "population stability index (PSI) of the predictions against the baseline's",
}


class Images(Section):
    """Which images a cluster runs."""

    base: str
    """The serving image (`docker/serving.Dockerfile`), as `HOST/NAME:TAG`; the model is appended to it as a layer."""
    repository: str
    """Where the images of releases go, as `HOST/NAME`: those of a model to `HOST/NAME/MODEL`."""
    pull_secret: str | None = None
    """Secret of the namespace with which nodes pull them, of the type `kubernetes.io/dockerconfigjson`."""
    push_secret: str | None = None
    """Secret of `run.namespace` with which the pods of `release` and `deploy` push them, of the same type."""


class Amounts(Section):
    """Of each resource an amount, as Kubernetes writes it."""

    cpu: Quantity | None = None
    """Cores, such as `500m` or `2`."""
    memory: Quantity | None = None
    """Bytes, such as `512Mi`."""


class Resources(Section):
    """What one replica gets."""

    requests: Amounts = Amounts(cpu="100m", memory="256Mi")
    """What is reserved for it, and what autoscaling measures by."""
    limits: Amounts = Amounts(memory="512Mi")
    """What it never exceeds; beyond its memory it is killed."""


class Autoscale(Section):
    """How the number of replicas follows the load."""

    min_replicas: PositiveInt = 1
    """Fewest replicas."""
    max_replicas: PositiveInt
    """Most replicas."""
    cpu: Annotated[float, Field(gt=0)] | None = None
    """Share of the requested CPU that replicas shall use on average."""
    memory: Annotated[float, Field(gt=0)] | None = None
    """Share of the requested memory that replicas shall use on average."""
    metrics: dict[str, Quantity] = {}
    """Custom metric of the pods → the average that each replica shall have; needs a metrics adapter in the cluster."""
    scale_down_after_s: Annotated[int, Field(ge=0, le=3600)] = 300
    """Seconds of less load before replicas are taken away."""


class Gateway(Section):
    """The Gateway (of Kubernetes' Gateway API) by which callers reach the model."""

    name: str
    """Its name."""
    namespace: str | None = None
    """Its namespace, where that is not `deploy.namespace`."""
    hostnames: list[str] = []
    """Hosts whose requests are the model's; by default all that reach the Gateway."""


class Capture(Section):
    """A sample of what servers are asked and answer, kept in an object store."""

    share: Annotated[float, Field(gt=0, le=1)]
    """Share of the requests."""
    to: Annotated[str, Field(pattern=r"^[a-z][a-z0-9+]*://[^@\s]+$")]
    """Object store: such as `s3://bucket/folder`."""
    private: dict[str, Literal["hash", "drop"]] = {}
    """Columns that are not kept as they are: column → `hash` or `drop`."""
    keep: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,4} days?$")] | None = None
    """Age at which captures of the model are removed, such as `30 days`; by default they stay."""
    secret: str | None = None
    """Secret of the namespace whose values are variables of the server, such as `AWS_ACCESS_KEY_ID`: credentials of the
    object store, and the salt of hashes (`MODELRAIL_SERVE_CAPTURE_SALT`)."""
    port: Annotated[int, Field(ge=1, le=65535)] = 443
    """Port of the object store, the only one besides DNS that the servers may reach."""

    @property
    def keep_days(self) -> int:
        """Days after which captures are removed; 0 for never."""
        return int(self.keep.partition(" ")[0]) if self.keep else 0


class CanaryStep(Section):
    """A part of the requests, for a time."""

    weight: Annotated[int, Field(ge=1, le=100)]
    """Percent of the requests that the canary answers, at most 50, since its baseline answers as many; or that a shadow
    is asked."""
    hold_s: NonNegativeInt = 60
    """Seconds that it stays so, at least."""


class Canary(Section):
    """How a release earns its place: by requests that it answers no worse than a baseline of what is live."""

    steps: list[CanaryStep] = Field(min_length=1)
    """What the canary gets, step by step, as `{weight, hold_s}`; after the last it is promoted."""
    metrics: dict[str, float] = Field({"errors": 0.01, "latency": 1.5, "outputs": 0.25}, min_length=1)
    """Metric → how much worse the canary may be: `errors` (share), `latency` (times), `outputs` (PSI)."""
    min_requests: PositiveInt = 200
    """Requests that the canary must answer in each step; until then it waits, up to the deadline."""
    false_alarm: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Probability that a release as good as the live one is aborted, over all looks."""
    every_s: PositiveInt = 10
    """Seconds between two looks."""
    deadline_s: PositiveInt = 3600
    """Seconds after which an undecided canary is aborted."""
    prometheus: Annotated[str, Field(pattern=r"^https?://\S+$")] | None = None
    """For the strategy `argo-rollouts`: the address at which Argo Rollouts asks Prometheus."""


class Deploy(Section):
    """How a release is served."""

    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port that the server listens on; 0, or one that is taken, means any free port (on this machine only)."""
    workers: PositiveInt = 1
    """Server processes, in each replica."""
    push_tags: bool = False
    """Push the tags of releases to the remote `origin`; a release that cannot be pushed is then not made."""
    strategy: Literal["rolling", "recreate", "blue-green", "canary", "shadow", "argo-rollouts"] = "rolling"
    """How it takes the live one's place: pod by pod; after it ended; all at once; tried as a `canary` or a `shadow`, or
    as a canary by Argo Rollouts."""
    canary: Canary | None = None
    """For the strategies `canary`, `shadow` and `argo-rollouts`: `{steps, metrics, …}`."""
    mode: Literal["apply", "gitops"] = "apply"
    """On Kubernetes: apply the objects, or commit them to a repository from which Argo CD or Flux applies them."""
    gitops: GitOps | None = None
    """For the mode `gitops`: `{repository, branch, …}`."""
    server: Server | None = None
    """On the platform `server`: the host, `{host, folder, units, …}`."""
    image: Images | None = None
    """On Kubernetes: the images, `{base, repository, pull_secret, push_secret}`."""
    namespace: str = Field("default", pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    """On Kubernetes: the namespace; it must exist, and holds one environment of a model."""
    context: str | None = None
    """On Kubernetes: the kubeconfig's context; by default its current one, or the pod's own account."""
    replicas: PositiveInt = 1
    """On Kubernetes: pods that serve, unless `autoscale` decides."""
    settings: dict[str, str | int | float] = {}
    """On Kubernetes: the server's settings, named as in `docs/serving.md` in small letters: `{max_rows: 1000}`."""
    secret: str | None = None
    """On Kubernetes: Secret of the namespace whose files the server sees in `/settings`: keys, certificates."""
    capture: Capture | None = None
    """On Kubernetes: `{share, to, private, keep, secret, port}`: a sample of requests and answers, kept in an object
    store."""
    resources: Resources = Resources()
    """What each replica gets, `{requests, limits}`: on Kubernetes; on a `server` its limits."""
    service: Literal["ClusterIP", "LoadBalancer"] = "ClusterIP"
    """On Kubernetes: how the model is reached: inside the cluster, or from outside too. Port 80 either way."""
    gateway: Gateway | None = None
    """On Kubernetes: `{name, namespace, hostnames}`; an HTTPRoute then divides the requests of a canary."""
    autoscale: Autoscale | None = None
    """On Kubernetes: `{min_replicas, max_replicas, cpu, …}`."""
    ready_within_s: PositiveInt = 180
    """On Kubernetes: seconds within which a release must be ready; otherwise the one before is restored."""
    drain_s: Annotated[int, Field(ge=0, le=600)] = 5
    """On Kubernetes: seconds that a replica serves on after it was taken out, until no caller knows it any more."""
