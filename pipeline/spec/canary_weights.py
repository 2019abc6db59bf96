"""Which part of the requests a canary can get if only the number of pods divides them.

A Service sends each of its pods as much as the next. Stable pods are never taken away, and the baseline is as large as
the canary, so with S stable pods and C canaries the canary gets C / (S + 2 C): less than half. A shadow has no
baseline, so its pods get C / (S + C). So there are two further tracks, or one.
"""

from __future__ import annotations

from pipeline.errors import InputError

_SHOWN = 5


def weight_of(canaries: int, stable: int, tracks: int = 2) -> int:
    """Compute the weight of so many canary pods, as whole percent."""
    return round(100 * canaries / (stable + tracks * canaries))


def replicas_for(weight: int, stable: int, tracks: int = 2) -> int | None:
    """Compute the number of canary pods with which the canary has a weight; None if no number does.

    Parameters
    ----------
    weight : int
        Percent of all requests.
    stable, tracks : int
        Number of stable pods; number of further tracks.
    """
    if not 0 < weight < 100 / tracks:
        return None
    exact = weight * stable / (100 - tracks * weight)
    near = [count for count in (int(exact), int(exact) + 1) if count and weight_of(count, stable, tracks) == weight]
    return min(near, key=lambda count: abs(count - exact), default=None)


def reachable(stable: int, tracks: int = 2) -> list[int]:
    """List the first weights that can be reached."""
    return list(dict.fromkeys(weight_of(count, stable, tracks) for count in range(1, _SHOWN + 1)))


def expect_weight(stable: int, tracks: int = 2) -> str:
    """Say which weights can be reached, for a message."""
    listed = ", ".join(map(str, reachable(stable, tracks)))
    pods = "1 stable pod leaves" if stable == 1 else f"{stable} stable pods leave"
    return (
        f"a weight that {pods} room for ({listed}, …), or another number of them (deploy.replicas), or deploy.gateway"
    )


def require_replicas(weight: int, stable: int, tracks: int = 2) -> int:
    """Compute the number of canary pods for a weight.

    Raises
    ------
    InputError
        If the weight cannot be reached: it is never silently another.
    """
    count = replicas_for(weight, stable, tracks)
    if count is None:
        raise InputError(f"deploy.canary.steps: found the weight {weight}; expected {expect_weight(stable, tracks)}")
    return count


def argo_weights(replicas: int) -> list[int]:
    """List the weights, in percent, that Argo Rollouts reaches with pods alone: with as many, or with one more.

    It starts the one more (``maxSurge: 1``) where that comes nearer to the weight.
    """
    return sorted({round(100 * part / pods) for pods in (replicas, replicas + 1) for part in range(1, pods)})
