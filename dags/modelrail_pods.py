"""A step in a pod: Airflow's own operator for pods, with errors that say what to do.

Imported only by a task that starts a pod or goes on with one, or that ends the run of such: no DAG costs the time to
import Airflow's provider. The task waits in the triggerer, which needs no worker. A worker or scheduler that was
killed finds the pod again, and the task's own end ends the pod: a kill, a time-out; the run's last task, since nobody
hears of a task that is marked as failed while it waits for a worker; or, when nothing of Airflow is left, the pod's
own deadline.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.pod_generator import make_safe_label_value
from airflow.sdk.exceptions import AirflowException
from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from pipeline.runs.pods.step_pod import CONTAINER, explain_end, explain_refusal

if TYPE_CHECKING:
    from airflow.sdk import Context

    from pipeline.spec.schema.run import Run

_LOGGED_EACH_S = 15


class StepPod(KubernetesPodOperator):
    """The pod of one step's task; not a task itself, but what a task works with."""

    def __init__(self, *, task_id: str, manifest: Mapping[str, Any], run: Run, timeout_s: int, **kwargs: Any) -> None:
        super().__init__(
            task_id=task_id,
            kubernetes_conn_id=run.connection,
            namespace=run.namespace,
            pod_template_dict=dict(manifest),
            base_container_name=CONTAINER,
            deferrable=True,
            poll_interval=1,
            startup_check_interval_seconds=1,
            startup_timeout_seconds=run.start_timeout_s,
            schedule_timeout_seconds=run.start_timeout_s,
            logging_interval=_LOGGED_EACH_S,
            on_finish_action="delete_pod",
            termination_message_policy="FallbackToLogsOnError",
            log_pod_spec_on_failure=False,
            execution_timeout=timedelta(seconds=timeout_s),
            do_xcom_push=False,
            **kwargs,
        )
        self.last_seen: Mapping[str, Any] | None = None

    def start(self, context: Context) -> None:
        """Start the pod, or find the one that an earlier try has started; then wait in the triggerer."""
        self._act(lambda: self.execute_async(context))

    def go_on(self, context: Context, event: Mapping[str, Any]) -> None:
        """Go on after the triggerer: the pod has ended, or cannot start."""
        self._act(lambda: self.trigger_reentry(context, dict(event)))

    def _act(self, action: Callable[[], object]) -> None:
        try:
            action()
        except ApiException as error:
            raise self._refusal(error.status or 0, error.body or error.reason) from error
        except HTTPError as error:
            raise self._refusal(0, str(error)) from error
        except AirflowException as error:
            seconds = int(self.execution_timeout.total_seconds())
            raise explain_end(self.last_seen, self.task_id, seconds) from error

    def _refusal(self, status: int, said: Any) -> Exception:
        return explain_refusal(status, str(said), self.task_id, str(self.namespace))

    def post_complete_action(self, *, pod: Any, remote_pod: Any, context: Context, result: Any, **kwargs: Any) -> None:
        """Look at the pod before it is removed."""
        self.last_seen = self.client.api_client.sanitize_for_serialization(remote_pod)
        super().post_complete_action(pod=pod, remote_pod=remote_pod, context=context, result=result, **kwargs)

    def convert_config_file_to_dict(self) -> None:
        """Keep the kubeconfig, and the keys in it, out of Airflow's database: the triggerer reads its own."""
        self._config_dict = None


def remove_pods(run: Run, context: Context) -> list[str]:
    """Remove the pods of a run whose steps have all ended; return the names of those that were left.

    Parameters
    ----------
    run : Run
        Says in which cluster and namespace.
    context : Context
        Of any task of the run.

    Raises
    ------
    ModelrailError
        If the cluster refuses or does not answer.
    """
    own = {"dag_id": context["ti"].dag_id, "run_id": str(context["run_id"])}
    labels = ",".join(f"{name}={make_safe_label_value(value)}" for name, value in own.items())
    client = KubernetesHook(conn_id=run.connection).core_v1_client
    try:
        pods = client.list_namespaced_pod(run.namespace, label_selector=f"{labels},kubernetes_pod_operator=True").items
        left = [pod.metadata.name for pod in pods if pod.metadata.deletion_timestamp is None]
        for name in left:
            client.delete_namespaced_pod(name, run.namespace)
    except ApiException as error:
        raise explain_refusal(error.status or 0, str(error.body or error.reason), "close", run.namespace) from error
    except HTTPError as error:
        raise explain_refusal(0, str(error), "close", run.namespace) from error
    return left
