"""Why a pod does not come up or was ended, in words, with what to do about it; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Object = Mapping[str, Any]
Kind = Literal["image", "memory", "crash", "container", "eviction", "place"]

MENDS: Mapping[Kind, str] = {
    "image": "it in the registry, and nodes that may pull it (deploy.image.pull_secret)",
    "memory": "it to fit: raise the memory limit (resources.limits.memory)",
    "crash": "it to stay up ('kubectl logs {name} --previous')",
    "container": "everything that it names to be there",
    "eviction": "room: raise what it requests (resources.requests), so that it is placed where there is enough",
    "place": "one with room: lower what it requests (resources.requests), or add a node",
}
"""What is expected of a pod of a Deployment, and which key mends it; of other pods, other things."""

_TAINTS = "; 'kubectl describe nodes' names the taints (disk-pressure, say, of a node without disk)"
_RESTARTS = 2
_UNPULLABLE = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
_UNMAKEABLE = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_PASSING = ("ErrImagePull", "timed out waiting for the condition")
"""A registry may come back; a busy node reads a ConfigMap a moment later."""


@dataclass(frozen=True)
class Trouble:
    """Something that keeps a pod from its work.

    Attributes
    ----------
    kind : str
        Which, of a few kinds.
    say : str
        What was found; what is expected, and what to do.
    final : bool
        Whether waiting longer, or trying again, is of no use.
    """

    kind: Kind
    say: str
    final: bool = True


def diagnose(pods: Sequence[Object], mends: Mapping[Kind, str] = MENDS) -> Trouble | None:
    """Find what is wrong with pods; a trouble that waiting cannot mend comes first.

    Parameters
    ----------
    pods : sequence of mapping
        As the API gives them.
    mends : mapping
        Kind → what is expected, with the key to change; ``{name}`` stands for the pod's.
    """
    found = [_trouble(kind, pod, said, mends) for pod in pods for kind, look in _LOOKS.items() for said in look(pod)]
    return min(found, key=lambda each: not each.final, default=None)


def _trouble(kind: Kind, pod: Object, said: str, mends: Mapping[Kind, str]) -> Trouble:
    name = pod["metadata"]["name"]
    mend = mends[kind].replace("{name}", name) + (_TAINTS if kind == "place" and "taint" in said else "")
    passing = kind in ("eviction", "place") or any(each in said for each in _PASSING)
    return Trouble(kind, f"pod {name}: found {said}; expected {mend}", final=not passing)


def _image(pod: Object) -> Iterator[str]:
    for status in _containers(pod):
        waiting = _state(status, "waiting")
        if waiting.get("reason") in _UNPULLABLE:
            said = f"{waiting['reason']}: {_first_line(waiting.get('message'))}".removesuffix(": ")
            yield f"an image that cannot be pulled, {status['image']} ({said})"


def _memory(pod: Object) -> Iterator[str]:
    for status in _containers(pod):
        ended = (_state(status, "terminated"), _state(status, "terminated", "lastState"))
        if any(each.get("reason") == "OOMKilled" for each in ended):
            limit = _limit(pod, status["name"])
            had = f" (its limit is {limit})" if limit else ""
            yield f"the container '{status['name']}' killed for want of memory{had}"


def _crash(pod: Object) -> Iterator[str]:
    for status in _containers(pod):
        ended = _state(status, "terminated", "lastState") or _state(status, "terminated")
        looping = _state(status, "waiting").get("reason") == "CrashLoopBackOff"
        if ended.get("reason") != "OOMKilled" and (looping or status.get("restartCount", 0) >= _RESTARTS):
            said = _last_line(ended.get("message")) or "it wrote nothing"
            code = ended.get("exitCode", "?")
            yield f"that the container '{status['name']}' ends again and again, exit code {code}: {said}"


def _container(pod: Object) -> Iterator[str]:
    for status in _containers(pod):
        waiting = _state(status, "waiting")
        if waiting.get("reason") in _UNMAKEABLE:
            yield f"that its container cannot be made ({waiting['reason']}: {_first_line(waiting.get('message'))})"


def _eviction(pod: Object) -> Iterator[str]:
    if pod.get("status", {}).get("reason") == "Evicted":
        yield f"it evicted from its node ({_first_line(pod['status'].get('message'))})"


def _place(pod: Object) -> Iterator[str]:
    for condition in pod.get("status", {}).get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            yield f"no node for it ({_first_line(condition.get('message'))})"


_LOOKS: Mapping[Kind, Callable[[Object], Iterator[str]]] = {
    "image": _image,
    "memory": _memory,
    "crash": _crash,
    "container": _container,
    "eviction": _eviction,
    "place": _place,
}


def _containers(pod: Object) -> list[Object]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _state(status: Object, name: str, of: str = "state") -> Object:
    found: Object = (status.get(of) or {}).get(name) or {}
    return found


def _limit(pod: Object, container: str) -> str | None:
    found = [each for each in pod["spec"]["containers"] if each["name"] == container]
    limit = found[0].get("resources", {}).get("limits", {}).get("memory") if found else None
    return str(limit) if limit else None


def _first_line(text: str | None) -> str:
    return next(iter((text or "").strip().splitlines()), "")[:300]


def _last_line(text: str | None) -> str:
    return next(iter(reversed((text or "").strip().splitlines())), "")[:300]
