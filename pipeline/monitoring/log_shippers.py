"""What reads the logs and sends them to an index: the configuration of each such program.

Each sends a line as it stands in its file, with the file's path and which program wrote it; the index takes it apart
(`pipeline.monitoring.log_index`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.delivery.platforms.kubernetes.manifests import to_yaml
from pipeline.errors import InputError
from pipeline.monitoring.log_index import INDEX

_SERVING, _OF_PODS = "modelrail.serving", "/var/log/containers/{name}-*_{namespace}_server-*.log"
"""Where a node keeps what the containers of a model's prediction servers have written."""
_FILES: Mapping[str, tuple[str, ...]] = {
    _SERVING: ("deployments/*/server.log",),
    "airflow.task": tuple(
        f"airflow/logs/dag_id=*/run_id=*/task_id=*/{mapped}attempt=*.log" for mapped in ("", "map_index=*/")
    ),
    "mlflow": ("logs/mlflow.log",),
}
"""Who writes → the files, in the folder of local state."""


@dataclass(frozen=True)
class Shipping:
    """Which logs are sent, and where to.

    Attributes
    ----------
    address : str
        Of Elasticsearch or OpenSearch.
    state : Path
        The folder of local state.
    pods : sequence of (str, str)
        Name and namespace of each model on Kubernetes.

    Raises
    ------
    InputError
        The address is none of HTTP, or has a password in it, which would then stand in a file.
    """

    address: str
    state: Path
    pods: Sequence[tuple[str, str]] = ()

    def __post_init__(self) -> None:
        parts = urlsplit(self.address)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
            raise InputError(f"--logs: found {self.address!r}; expected http://HOST:PORT or https://HOST:PORT")
        if parts.username or parts.password:
            raise InputError("--logs: found a login in it; expected none: the programs read it from their environment")

    @property
    def host(self) -> str:
        """The host, without the port."""
        return urlsplit(self.address).hostname or ""

    @property
    def port(self) -> int:
        """The port; that of the scheme's, if the address has none."""
        parts = urlsplit(self.address)
        return parts.port or (443 if self.is_encrypted else 80)

    @property
    def is_encrypted(self) -> bool:
        """Whether it is asked by TLS."""
        return urlsplit(self.address).scheme == "https"

    @property
    def files(self) -> list[tuple[str, str]]:
        """Who writes, with the pattern of the files."""
        mine = [(dataset, f"{self.state}/{pattern}") for dataset, patterns in _FILES.items() for pattern in patterns]
        return [*mine, *((_SERVING, _OF_PODS.format(name=name, namespace=space)) for name, space in self.pods)]


def to_rsyslog(to: Shipping) -> str:
    """Write rsyslog's configuration; its work folder keeps what could not be sent."""
    tls = "on" if to.is_encrypted else "off"
    inputs = "\n".join(
        f'input(type="imfile" file={json.dumps(path)} tag="{dataset}" ruleset="modelrail"\n'
        '      addMetadata="on" freshStartTail="off" reopenOnTruncate="on")'
        for dataset, path in to.files
    )
    return f"""\
# rsyslog with omelasticsearch (package rsyslog-elasticsearch). workDirectory must be set in the main file.
module(load="imfile")
module(load="omelasticsearch")

template(name="modelrail-line" type="list" option.jsonf="on") {{
  property(outname="@timestamp" name="timereported" dateFormat="rfc3339" format="jsonf" date.inUTC="on")
  property(outname="message" name="msg" format="jsonf")
  property(outname="host.name" name="hostname" format="jsonf")
  property(outname="event.dataset" name="programname" format="jsonf")
  property(outname="log.file.path" name="$!metadata!filename" format="jsonf")
}}
template(name="modelrail-id" type="string" string="%uuid%")

ruleset(name="modelrail" queue.type="LinkedList" queue.filename="modelrail" queue.saveOnShutdown="on") {{
  action(type="omelasticsearch" server="{to.host}" serverport="{to.port}" usehttps="{tls}"
         uid=`echo $SHIPPER_USER` pwd=`echo $SHIPPER_PASSWORD`
         template="modelrail-line" searchIndex="{INDEX}" searchType="" bulkmode="on" writeoperation="create"
         bulkid="modelrail-id" dynBulkId="on" maxbytes="1m" action.resumeRetryCount="-1"
         retryfailures="off" errorFile={json.dumps(f"{to.state}/logs/refused-lines.log")})
}}

{inputs}
"""


def to_fluent_bit(to: Shipping) -> str:
    """Write Fluent Bit's configuration; a file of offsets lets it go on after a restart."""
    pipeline = {
        "service": {"flush": 1, "storage.path": "/var/lib/modelrail-fluent-bit"},
        "pipeline": {
            "inputs": [
                {
                    "name": "tail", "tag": f"modelrail.{number}", "path": path, "path_key": "log.file.path",
                    "key": "message", "read_from_head": True, "storage.type": "filesystem", "skip_long_lines": False,
                    "db": f"/var/lib/modelrail-fluent-bit/{number}.db", "buffer_max_size": "1M",
                    "processors": {"logs": [{"name": "content_modifier", "action": "insert",
                                             "key": "event.dataset", "value": dataset}]},
                }
                for number, (dataset, path) in enumerate(to.files)
            ],
            "outputs": [
                {
                    "name": "opensearch", "match": "modelrail.*", "host": to.host, "port": to.port,
                    "tls": to.is_encrypted, "index": INDEX, "write_operation": "create", "suppress_type_name": True,
                    "generate_id": False, "time_key": "@timestamp", "retry_limit": "no_limits",
                    "http_user": "${SHIPPER_USER}", "http_passwd": "${SHIPPER_PASSWORD}",
                }
            ],
        },
    }  # fmt: skip
    return to_yaml([pipeline])


def to_logstash(to: Shipping) -> str:
    """Write Logstash's pipeline."""
    inputs = "\n".join(
        f'  file {{ path => {json.dumps(path)} start_position => "beginning" codec => plain {{ charset => "UTF-8" }}\n'
        f'         add_field => {{ "[event][dataset]" => "{dataset}" }} ecs_compatibility => "v8" }}'
        for dataset, path in to.files
    )
    return f"""\
input {{
{inputs}
}}
filter {{ mutate {{ remove_field => ["[event][original]"] }} }}
output {{
  elasticsearch {{
    hosts => ["{to.address}"] user => "${{SHIPPER_USER}}" password => "${{SHIPPER_PASSWORD}}"
    index => "{INDEX}" action => "create" manage_template => false ilm_enabled => false data_stream => false
  }}
}}
"""


SHIPPERS: Mapping[str, tuple[str, Callable[[Shipping], str]]] = {
    "rsyslog": ("modelrail-rsyslog.conf", to_rsyslog),
    "fluent-bit": ("modelrail-fluent-bit.yaml", to_fluent_bit),
    "logstash": ("modelrail-logstash.conf", to_logstash),
}
"""Program → its file, and what writes it."""
