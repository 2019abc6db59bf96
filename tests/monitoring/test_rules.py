"""Each rule, evaluated by Prometheus' own tool on series that should raise an alert, and on some that should not."""

from __future__ import annotations

import json
import shutil
import subprocess
from math import log
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from pipeline.monitoring.promql import Drift
from pipeline.monitoring.rendering import RENDERERS, Asked, Watched
from pipeline.monitoring.rules import DRIFT_WINDOWS, drift_of, longest_canary_s
from pipeline.spec.schema.spec import Spec

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="no promtool: install Prometheus ('apt install prometheus')"
)
KEY = 'model="m", version="1.0.0", track="live"'
CANARY = {"strategy": "canary", "canary": {"steps": [{"weight": 20}]}}


def spec(**sections: Any) -> Spec:
    return Spec.model_validate({"model": {"name": "m", "owner": "{{ops}}"}, **sections})


def write_rules(folder: Path, found: Spec) -> Path:
    ((_, text),) = RENDERERS["prometheus"](Asked([Watched(found, None)]))
    path = folder / "rules.yml"
    path.write_text(text)
    return path


def promtool(*arguments: str, folder: Path) -> str:
    done = subprocess.run(["promtool", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run(
    folder: Path,
    found: Spec,
    series: dict[str, str],
    *,
    at: str = "90m",
    alerts: dict[str, list[dict[str, str]]] | None = None,
    true: list[str] | None = None,
) -> None:
    """Have Prometheus' tool evaluate the rules on series, a value a minute.

    Parameters
    ----------
    alerts : dict
        Name of an alert → labels of each that is to fire, but for the model's and the owner's.
    true : list of str
        Expressions that are to hold.
    """
    always = {"model": "m", "owner": "{ {ops}}"}
    expected = [
        {
            "eval_time": at,
            "alertname": name,
            "exp_alerts": [{"exp_labels": always | labels, "exp_annotations": {}} for labels in fired],
        }
        for name, fired in (alerts or {}).items()
    ]
    holds = [{"expr": f"count({each})", "eval_time": at, "exp_samples": [{"labels": "{}", "value": 1}]}
             for each in true or ()]  # fmt: skip
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": expected,
        "promql_expr_test": holds,
    }
    rules = write_rules(folder, found)
    without_annotations(rules)
    document = {"rule_files": [rules.name], "evaluation_interval": "1m", "tests": [test]}
    (folder / "test.json").write_text(json.dumps(document))
    promtool("test", "rules", "test.json", folder=folder)


def without_annotations(rules: Path) -> None:
    """Leave the words out: they are looked at by a test of their own."""
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe")
    document = yaml.load(rules.read_text())
    for group in document["groups"]:
        for rule in group["rules"]:
            rule.pop("annotations", None)
    rules.write_text(json.dumps(document))


def asked(bins: list[float], minutes: int = 90, track: str = "live", feature: str = "x") -> dict[str, str]:
    """Write series of a feature of five bins that get so many rows a minute, with a request for each."""
    labels = f'model="m", version="1.0.0", track="{track}"'
    reference = [0.0, 0.0, 0.5, 0.5, 0.0]
    counts = {
        f'ml_inference_feature_total{{{labels}, feature="{feature}", bin="{number}"}}': f"0+{rate}x{minutes}"
        for number, rate in enumerate(bins)
    }
    shares = {
        f'ml_reference_share{{{labels}, feature="{feature}", bin="{number}"}}': f"{share}+0x{minutes}"
        for number, share in enumerate(reference)
    }
    return (
        counts
        | shares
        | {
            f'ml_reference_rows{{{labels}, feature="{feature}"}}': f"10000+0x{minutes}",
            f'ml_inference_requests_total{{{labels}, status="200"}}': f"0+{sum(bins)}x{minutes}",
        }
    )


DRIFTED = [{"severity": "ticket", "feature": "x", "version": "1.0.0", "track": "live", "window": each.length}
           for each in DRIFT_WINDOWS]  # fmt: skip


@needs_promtool
@pytest.mark.parametrize("sections", [{}, {"deploy": CANARY, "monitoring": {"max_age_days": 90, "features": 5}}])
def test_prometheus_accepts_the_rules(tmp_path: Path, sections: dict[str, Any]) -> None:
    rules = write_rules(tmp_path, spec(**sections))
    assert "SUCCESS" in promtool("check", "rules", rules.name, folder=tmp_path)


@needs_promtool
@pytest.mark.parametrize(
    ("bins", "fired"),
    [
        ([0, 0, 5, 5, 0], []),
        ([0, 0, 9, 1, 0], DRIFTED),
        ([0, 0, 5.2, 4.8, 0], []),  # 18,000 requests rule chance out, and it is too little to matter
        ([5, 0, 2.5, 2.5, 0], DRIFTED),  # every second value is missing
        ([0, 0, 0, 5, 5], DRIFTED),  # more than training ever saw
        ([0, 0, 0.09, 0.01, 0], []),  # nine requests prove nothing
    ],
    ids=["as in training", "shifted", "shifted a little", "missing", "above all", "hardly asked"],
)
def test_drift_needs_size_and_more_than_chance(tmp_path: Path, bins: list[float], fired: list[dict[str, str]]) -> None:
    run(tmp_path, spec(), asked(bins), alerts={"ModelrailDrift": fired})
    run(tmp_path, spec(), asked(bins, track="shadow"), alerts={"ModelrailDrift": []})


@needs_promtool
def test_prometheus_computes_the_index_and_its_limit(tmp_path: Path) -> None:
    """The index as Python computes it of the same shares; the limit as SciPy's chi-square distribution has it."""
    from scipy.stats import chi2

    chance = drift_of(spec(), DRIFT_WINDOWS[0]).chance
    half = 0.5 / 600
    shares = [(0.9, 0.5), (0.1, 0.5)]
    index = sum((p - q) * log((p + half) / (q + half)) for p, q in shares) / (1 + 2 * half)
    limit = chi2.isf(chance, 1) * (1 / 600 + 1 / 10_000)
    run(
        tmp_path,
        spec(),
        asked([0, 0, 9, 1, 0]),
        true=[
            f"abs(modelrail:feature_drift:1h - {index}) < 0.0005",
            f"modelrail:feature_drift_limit:1h >= {limit * 0.99}",
            f"modelrail:feature_drift_limit:1h < {limit * 1.3}",
            "modelrail:feature_bins:1h == 2",
            "modelrail:feature_share:1h{bin='2'} > 0.8999 < 0.9001",
        ],
    )


@pytest.mark.parametrize("free", [1, 2, 5, 10, 22, 30, 64])
def test_the_limit_is_never_below_the_quantile_by_more_than_a_hundredth(free: int) -> None:
    from scipy.stats import chi2

    for window in DRIFT_WINDOWS:
        chance = drift_of(spec(), window).chance
        deviation = NormalDist().inv_cdf(1 - chance)
        assert (
            f"{deviation:.4f}"
            in Drift("m", window.length, chance).records()[f"modelrail:feature_drift_limit:{window.length}"]
        )
        cube = free * (1 - 2 / (9 * free) + deviation * (2 / (9 * free)) ** 0.5) ** 3
        assert 0.99 < cube / chi2.isf(chance, free) < 1.25


@pytest.mark.parametrize("requests", [100, 1_000, 10_000])
@pytest.mark.parametrize(
    "weights",
    [[1.0] * 20, [0.85**place for place in range(20)], [1.0] * 20 + [1e-3] * 3, [0.999, 0.001]],
    ids=["even", "falling", "rare bins", "hardly ever"],
)
def test_a_quiet_window_is_beyond_the_limit_as_seldom_as_its_level_says(weights: list[float], requests: int) -> None:
    """By the formulas of the rules, over 20,000 windows that are samples of what the reference is one of."""
    chance, rows, windows = 1e-3, 10_000, 20_000
    random = np.random.default_rng(5)
    shares = np.array(weights) / sum(weights)
    reference, asked = (random.multinomial(each, shares, windows) / each for each in (rows, requests))
    half = 0.5 / requests
    bins = ((reference > 0) | (asked > 0)).sum(axis=1)
    parts = (asked - reference) * np.log((asked + half) / (reference + half))
    free = np.maximum(bins - 1, 1)
    deviation = NormalDist().inv_cdf(1 - chance)
    cube = free * (1 - 2 / (9 * free) + deviation * np.sqrt(2 / (9 * free))) ** 3
    beyond = parts.sum(axis=1) / (1 + bins * half) > cube * (1 / requests + 1 / rows)
    assert beyond.mean() < 2.5 * chance


def test_all_looks_at_all_features_share_the_level_of_chance() -> None:
    found = spec(monitoring={"false_alarm": 0.05, "features": 3})
    tests = sum(drift_of(found, window).chance * window.looks * (2 * 3 + 2) for window in DRIFT_WINDOWS)
    assert tests == pytest.approx(0.05)


def requests(good: float, failed: float = 0, minutes: int = 90, late: float = 0) -> dict[str, str]:
    return {
        f'ml_inference_requests_total{{{KEY}, status="200"}}': f"0+{good}x{minutes}",
        f'ml_inference_requests_total{{{KEY}, status="500"}}': f"0+{failed}x{minutes}",
        f'ml_inference_requests_total{{{KEY}, status="422"}}': f"0+{good}x{minutes}",
        f'ml_inference_duration_seconds_bucket{{{KEY}, le="0.1"}}': f"0+{2 * good + failed - late}x{minutes}",
        f"ml_inference_duration_seconds_count{{{KEY}}}": f"0+{2 * good + failed}x{minutes}",
    }


PAGE, TICKET = {"severity": "page"}, {"severity": "ticket"}


@needs_promtool
@pytest.mark.parametrize(
    ("series", "errors", "latency"),
    [
        (requests(100), [], []),
        (requests(100, 0.1), [], []),  # 0.05 %, half of the budget's rate
        (requests(100, 0.5), [TICKET], []),  # 0.25 %: more than the budget allows in three days
        (requests(100, 10), [PAGE, TICKET], []),
        (requests(100, late=1), [], []),
        (requests(100, late=20), [], [PAGE, TICKET]),  # 10 %: six times the budget for six hours
    ],
    ids=["well", "a little", "slow burn", "fast burn", "in time", "late"],
)
def test_error_budgets_burn_at_several_rates(
    tmp_path: Path, series: dict[str, str], errors: list[dict[str, str]], latency: list[dict[str, str]]
) -> None:
    run(tmp_path, spec(), series, alerts={"ModelrailErrorBudget": errors, "ModelrailLatencyBudget": latency})


@needs_promtool
def test_a_page_ends_soon_after_the_fault(tmp_path: Path) -> None:
    failing = f'ml_inference_requests_total{{{KEY}, status="500"}}'
    series = requests(100, minutes=120) | {failing: "0+10x60 600x60"}
    run(tmp_path, spec(), series, at="100m", alerts={"ModelrailErrorBudget": [TICKET]})


@needs_promtool
def test_a_model_that_no_server_tells_of_is_absent(tmp_path: Path) -> None:
    there = {f"ml_inference_in_flight{{{KEY}}}": "0+0x10 _x80"}
    run(tmp_path, spec(), there, at="9m", alerts={"ModelrailAbsent": []})
    run(tmp_path, spec(), there, at="30m", alerts={"ModelrailAbsent": [PAGE]})


@needs_promtool
def test_a_model_that_nobody_asks_any_more_is_noticed_where_that_is_unusual(tmp_path: Path) -> None:
    name = f'ml_inference_requests_total{{{KEY}, status="200"}}'
    alert = "ModelrailNoTraffic"
    run(tmp_path, spec(), {name: "0+10x1400 14000x40"}, at="1430m", alerts={alert: [TICKET]})
    run(tmp_path, spec(), {name: "0+10x1440"}, at="1430m", alerts={alert: []})
    run(tmp_path, spec(), {name: "0+0.5x1400 700x40"}, at="1430m", alerts={alert: []})


@needs_promtool
def test_data_count_as_old_from_the_given_day_on(tmp_path: Path) -> None:
    name = f"ml_release_data_timestamp_seconds{{{KEY}}}"
    found = spec(monitoring={"max_age_days": 2})
    run(tmp_path, found, {name: "1+0x4000"}, at="2800m", alerts={"ModelrailDataOld": []})
    run(tmp_path, found, {name: "1+0x4000"}, at="2900m", alerts={"ModelrailDataOld": [TICKET]})
    run(tmp_path, spec(), {name: "1+0x4000"}, at="2900m", alerts={"ModelrailDataOld": []})


@needs_promtool
def test_a_canary_that_stays_too_long_is_stuck(tmp_path: Path) -> None:
    found = spec(deploy=CANARY)
    hours = 2 * longest_canary_s(found) // 3600
    series = {
        f'ml_inference_requests_total{{model="m", version="{version}", track="{track}", status="200"}}': "0+10x300"
        for version, track in (("1.0.0", "live"), ("2.0.0", "canary"))
    }
    early, late = f"{60 * hours - 5}m", f"{60 * hours + 20}m"
    run(tmp_path, found, series, at=early, alerts={"ModelrailCanaryStuck": []})
    run(tmp_path, found, series, at=late, alerts={"ModelrailCanaryStuck": [TICKET]})
    shadow = {name.replace("canary", "shadow"): values for name, values in series.items()}
    run(tmp_path, found, shadow, at=late, alerts={"ModelrailCanaryStuck": []})


def test_each_alert_is_explained(tmp_path: Path) -> None:
    from ruamel.yaml import YAML

    rules = write_rules(tmp_path, spec(deploy=CANARY, monitoring={"max_age_days": 9}))
    groups = YAML(typ="safe").load(rules.read_text())["groups"]
    alerts = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    assert {each["alert"] for each in alerts} == {
        "ModelrailDrift", "ModelrailErrorBudget", "ModelrailLatencyBudget", "ModelrailAbsent", "ModelrailNoTraffic",
        "ModelrailDataOld", "ModelrailCanaryStuck",
    }  # fmt: skip
    for each in alerts:
        assert each["annotations"]["summary"].startswith("m: ")
        assert each["annotations"]["description"].endswith(".")
        assert each["labels"].keys() >= {"severity", "model", "owner"}


@needs_promtool
@pytest.mark.parametrize("feature", ["at[hour]", "at[weekday]"])
def test_an_hour_of_the_day_is_no_drift_of_it(tmp_path: Path, feature: str) -> None:
    run(tmp_path, spec(), asked([0, 0, 9, 1, 0], feature=feature), alerts={"ModelrailDrift": []})
    run(tmp_path, spec(), asked([0, 0, 9, 1, 0], feature=feature), true=["modelrail:feature_drift:1h > 0.2"])
