"""What other programs watch a model with, as the files that they read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.delivery.platforms.kubernetes.manifests import MONITORING, service_monitor, to_yaml
from pipeline.errors import InputError
from pipeline.monitoring.alertmanager import configuration
from pipeline.monitoring.dashboard import dashboard
from pipeline.monitoring.log_index import for_elasticsearch, for_opensearch, saved_objects
from pipeline.monitoring.log_shippers import SHIPPERS, Shipping
from pipeline.monitoring.rules import rules_of
from pipeline.spec.schema.spec import Spec


@dataclass(frozen=True)
class Watched:
    """A model to watch: its spec, as an environment's overlay makes it."""

    spec: Spec
    environment: str | None

    @property
    def name(self) -> str:
        """The model's name."""
        return self.spec.model.name


@dataclass(frozen=True)
class Asked:
    """What is to be rendered: models, the address that alerts are sent to, if any, and the one of logs."""

    models: Sequence[Watched]
    webhook: str | None = None
    logs: str = "http://127.0.0.1:9200"
    state: Path = Path(".modelrail")

    @property
    def shipping(self) -> Shipping:
        """Which logs are sent, and where to.

        Raises
        ------
        InputError
            The address is not fit.
        """
        specs = [each.spec for each in self.models if each.spec.environment.platform == "kubernetes"]
        return Shipping(self.logs, self.state, [(each.model.name, each.deploy.namespace) for each in specs])

    def __post_init__(self) -> None:
        if not self.models:
            raise InputError("models/: found no spec; expected at least one YAML file (docs/your-own-data.md)")


def to_prometheus(asked: Asked) -> Iterator[tuple[str, str]]:
    """Yield the file of rules of each model."""
    for each in asked.models:
        yield f"modelrail-{each.name}.rules.yml", to_plain_yaml({"groups": rules_of(each.spec)})


def to_alertmanager(asked: Asked) -> Iterator[tuple[str, str]]:
    """Yield the configuration, for all models.

    Raises
    ------
    InputError
        Without an address to send alerts to.
    """
    if asked.webhook is None:
        raise InputError("--webhook: found none; expected the address that alerts are sent to (--to alertmanager)")
    yield "alertmanager.yml", to_plain_yaml(configuration([each.name for each in asked.models], asked.webhook))


def to_grafana(asked: Asked) -> Iterator[tuple[str, str]]:
    """Yield a dashboard: of the model, or of all, one of which is chosen there."""
    name = asked.models[0].name if len(asked.models) == 1 else None
    yield f"modelrail{f'-{name}' if name else ''}.dashboard.json", json.dumps(dashboard(name), indent=1) + "\n"


def to_service_monitor(asked: Asked) -> Iterator[tuple[str, str]]:
    """Yield the objects of the Prometheus operator of each model: what it scrapes, and the rules.

    Raises
    ------
    InputError
        A model is not on Kubernetes.
    """
    for each in asked.models:
        if each.spec.environment.platform != "kubernetes":
            raise InputError(
                f"{each.name}: found the platform {each.spec.environment.platform}; expected kubernetes, which alone"
                " has an operator (environment.platform, --environment)"
            )
        scraped = service_monitor(each.spec, each.environment)
        rules = {
            "apiVersion": MONITORING,
            "kind": "PrometheusRule",
            "metadata": scraped["metadata"],
            "spec": {"groups": rules_of(each.spec)},
        }
        yield f"modelrail-{each.name}.monitoring.yaml", to_yaml([scraped, rules])


def _requests(
    of: Callable[[], Iterator[tuple[str, Mapping[str, Any]]]],
) -> Callable[[Asked], Iterator[tuple[str, str]]]:
    return lambda _: ((f"{path}.json", json.dumps(body, indent=1) + "\n") for path, body in of())


def to_kibana(_: Asked) -> Iterator[tuple[str, str]]:
    """Yield the saved objects that Kibana and OpenSearch Dashboards import."""
    yield "modelrail-logs.ndjson", "".join(json.dumps(each) + "\n" for each in saved_objects())


def _shipper(name: str) -> Callable[[Asked], Iterator[tuple[str, str]]]:
    file, write = SHIPPERS[name]
    return lambda asked: iter([(file, write(asked.shipping))])


RENDERERS: Mapping[str, Callable[[Asked], Iterator[tuple[str, str]]]] = {
    "prometheus": to_prometheus,
    "alertmanager": to_alertmanager,
    "grafana": to_grafana,
    "servicemonitor": to_service_monitor,
    "elasticsearch": _requests(for_elasticsearch),
    "opensearch": _requests(for_opensearch),
    "kibana": to_kibana,
    **{name: _shipper(name) for name in SHIPPERS},
}
"""Program → what yields the name and the content of each of its files."""


def in_one(files: Sequence[tuple[str, str]], program: str) -> str:
    """Put the files of a program together, as it would read them from one."""
    if program in ("elasticsearch", "opensearch"):  # as their consoles take them
        return "\n".join(f"PUT /{path.removesuffix('.json')}\n{text}" for path, text in files)
    if program != "prometheus" or len(files) == 1:
        return "".join(text for _, text in files)
    groups = [text.removeprefix("---\ngroups:\n") for _, text in files]
    return "---\ngroups:\n" + "".join(groups)


def to_plain_yaml(content: Mapping[str, Any]) -> str:
    """Write one document."""
    return to_yaml([dict(content)])
