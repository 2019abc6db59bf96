"""What steps and servers get, held against what they were measured to need.

Steps leave notes of what they took (`pipeline.runs.costs`); servers on a cluster are measured by its kubelets, whose
figures Prometheus keeps. Only what is reserved is judged: a step in Airflow's own process reserves nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.runs.costs import GIB, Spent
from pipeline.spec.placement import companions, is_led, most_batches, placement, pod_steps
from pipeline.spec.quantities import amount_of
from pipeline.spec.schema.run import Prices, StepName
from pipeline.spec.schema.spec import Spec

DAYS = 30
"""What was measured in so many days is looked at."""
LEAST_RUNS = 3
"""Runs of a step from which on its figures are trusted."""
_ROOM, _TIGHT, _LOOSE = 1.25, 0.9, 2.0
"""Memory beyond the largest peak; the share of what is set that is too near; how many times too much is too much."""
_POD_S = 60.0
"""What a pod should compute at least, since starting it takes up to as long."""
_TARGET = 0.7
"""Share of its CPU that a replica should use at the 95th percentile: the rest is for what comes suddenly."""
_MIB, _HOUR_S, _MONTH_H = 2**20, 3600.0, DAYS * 24.0

Kind = Literal["waste", "tight"]


@dataclass(frozen=True)
class Advice:
    """One key of a spec that should be set otherwise.

    Attributes
    ----------
    kind : str
        ``waste``: it reserves more than is used. ``tight``: what is used is near its limit.
    now, better : str
        As the spec writes them.
    why : str
        What was measured.
    saves : float
        A month, in the currency of ``environment.prices``; 0 without prices, and where more is needed.
    """

    key: str
    kind: Kind
    now: str
    better: str
    why: str
    saves: float = 0.0


@dataclass(frozen=True)
class Serving:
    """What the replicas of a release took, as the cluster measured them.

    Attributes
    ----------
    memory : float
        Bytes of the largest working set of a replica.
    cores : float
        Used by all replicas together, 95th percentile.
    replicas : float
        How many there were on average.
    """

    memory: float
    cores: float
    replicas: float


def advise(spec: Spec, spent: Sequence[Spent], serving: Serving | None) -> list[Advice]:
    """Judge what steps in pods and servers get.

    Parameters
    ----------
    spec : Spec
        With its environment.
    spent : sequence of Spent
        What steps took in the last `DAYS` days, in this environment.
    serving : Serving, optional
        What servers took; by default it is not known.
    """
    prices = spec.environment.prices
    found = [each for step in pod_steps(spec.run) for each in _of_step(spec, step, spent, prices)]
    return [*found, *_of_batches(spec, spent), *(_of_serving(spec, serving, prices) if serving else ())]


def _of_step(spec: Spec, step: StepName, spent: Sequence[Spent], prices: Prices | None) -> Iterator[Advice]:
    """Judge the pod of a step, in which others may follow it."""
    if is_led(spec.run, step):
        return
    together = {step, *companions(spec.run, step)}
    mine = [each for each in spent if each.step in together and each.done]
    runs = len({each.run for each in mine})
    if runs < LEAST_RUNS:
        return
    place, hours = placement(spec.run, step), sum(each.seconds for each in mine) / _HOUR_S
    measured = f"in {runs} runs"
    if place.memory is not None:
        peak = max(each.peak_bytes for each in mine)
        price = prices.gib_hour if prices else 0.0
        yield from _of_memory(
            f"run.{step}.memory", place.memory, peak, f"{_mb(peak)} at most {measured}", price * hours
        )
    if place.cpu is not None:
        used = max(each.cpu_s / each.seconds for each in mine if each.seconds)
        better = max(0.5, math.ceil(2 * used) / 2)
        if place.cpu >= _LOOSE * better:
            saves = (place.cpu - better) * hours * (prices.cpu_hour if prices else 0.0)
            why = f"{used:.1f} CPUs at most {measured}"
            yield Advice(f"run.{step}.cpu", "waste", f"{place.cpu:g}", f"{better:g}", why, saves)


def _of_memory(key: str, now: str, peak: float, why: str, price: float) -> Iterator[Advice]:
    """Judge an amount of memory; ``price`` is that of a GiB for as long as it is reserved in a month."""
    better, amount = _memory(peak * _ROOM), amount_of(now)
    if peak > _TIGHT * amount:
        yield Advice(key, "tight", now, better, why)
    elif amount >= _LOOSE * amount_of(better):
        yield Advice(key, "waste", now, better, why, (amount - amount_of(better)) / GIB * price)


def _of_batches(spec: Spec, spent: Iterable[Spent]) -> Iterator[Advice]:
    """Judge how many pods share the partitions: those that work for less time than their start takes are too many."""
    for step in ("clean", "transform"):
        if step not in pod_steps(spec.run) or most_batches(spec.run) == 1:
            continue
        by_run: dict[str, list[float]] = {}
        for each in spent:
            if each.step == step and each.done:
                by_run.setdefault(each.run, []).append(each.seconds)
        better = max((math.ceil(sum(each) / _POD_S) for each in by_run.values()), default=0)
        if len(by_run) >= LEAST_RUNS and spec.run.batches >= _LOOSE * better:
            longest = max(sum(each) for each in by_run.values())
            why = f"{step} took {longest:.0f} s at most in all its pods together; each takes up to a minute to start"
            yield Advice("run.batches", "waste", str(spec.run.batches), str(better), why)
            return  # one key for both


def _of_serving(spec: Spec, serving: Serving, prices: Prices | None) -> Iterator[Advice]:
    resources, hours = spec.deploy.resources, serving.replicas * _MONTH_H
    why = f"{_mb(serving.memory)} at most in {DAYS} days"
    if (limit := resources.limits.memory) is not None:
        yield from _of_memory("deploy.resources.limits.memory", limit, serving.memory, why, 0.0)
    if (reserved := resources.requests.memory) is not None:
        price = hours * (prices.gib_hour if prices else 0.0)
        found = _of_memory("deploy.resources.requests.memory", reserved, serving.memory, why, price)
        yield from (each for each in found if each.kind == "waste")
    if (reserved := resources.requests.cpu) is None:
        return
    cores, each = amount_of(reserved), serving.cores / max(serving.replicas, 1.0)
    why = f"{each:.2f} CPUs a replica, 95th percentile of {DAYS} days"
    better = max(0.05, math.ceil(each / _TARGET * 20) / 20)
    price = hours * (prices.cpu_hour if prices else 0.0)
    if each > cores and spec.deploy.autoscale is None:
        yield Advice("deploy.resources.requests.cpu", "tight", reserved, _cores(better), why)
    elif cores >= _LOOSE * better:
        saves = (cores - better) * price
        yield Advice("deploy.resources.requests.cpu", "waste", reserved, _cores(better), why, saves)


def _memory(size: float) -> str:
    """Write an amount of memory, rounded up to 64 MiB below one GiB, else to 256."""
    step = 64 if size < GIB else 256
    mib = math.ceil(size / _MIB / step) * step
    return f"{mib // 1024}Gi" if mib % 1024 == 0 else f"{mib}Mi"


def _cores(number: float) -> str:
    return f"{round(number * 1000)}m"


def _mb(size: float) -> str:
    return f"{size / _MIB:,.0f} MiB"


def as_patch(found: Iterable[Advice]) -> Mapping[str, Any]:
    """Build what a spec or an overlay would say: nested keys → values."""
    patch: dict[str, Any] = {}
    for each in found:
        *parents, last = each.key.split(".")
        inner = patch
        for name in parents:
            inner = inner.setdefault(name, {})
        inner[last] = float(each.better) if last == "cpu" and parents[0] == "run" else _plain(each.better)
    return patch


def _plain(value: str) -> str | int:
    return int(value) if value.isdecimal() else value
