"""The spec as types: what one YAML file may say about one model.

Every description here is what editors show (through ``models/model.schema.json``) and what
``docs/spec.md`` is generated from. What one key says about another is checked in ``checking.py``.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, Field, NonNegativeInt, PositiveInt

from pipeline.model.columns import ColumnType
from pipeline.model.missing import MissingValue
from pipeline.model.task import Task
from pipeline.spec.schema.deploy import Deploy
from pipeline.spec.schema.mending import Actions
from pipeline.spec.schema.notify import Notify
from pipeline.spec.schema.run import Prices, Run, Schedule
from pipeline.spec.schema.section import Section, shorthand
from pipeline.spec.schema.transform import Image, Transformer

Scalar: TypeAlias = bool | int | float | str
Share = Annotated[float, Field(ge=0, le=1)]


def _lower_case(value: Any) -> Any:
    """Accept names as people write them: ``Local`` and ``AWS`` for ``local`` and ``aws``."""
    return value.lower() if isinstance(value, str) else value


def _read_moment(value: Any) -> Any:
    """Read ISO 8601 alone (never a number, as seconds of an epoch), as UTC without a zone, as in all frames."""
    if not isinstance(value, str):
        return value
    try:
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except OverflowError as error:
        raise ValueError(str(error)) from error


Moment = Annotated[datetime, BeforeValidator(_read_moment)]

SPAN = r"[1-9]\d{0,4} (minute|hour|day|week|month|year)s?"
"""How a span of time is written: ``2 months``."""
_PERCENT = r"\d{1,2}(\.\d+)?%"


def _read_percent(value: Any) -> Any:
    """Read ``20%`` as 0.2."""
    return float(value[:-1]) / 100 if isinstance(value, str) and re.fullmatch(_PERCENT, value) else value


Extent = Annotated[
    Annotated[float, Field(ge=0, lt=1)] | Annotated[str, Field(pattern=f"^({SPAN}|{_PERCENT})$")],
    BeforeValidator(_read_percent),
]
"""A share, or a span of time."""


class EarlyStopping(Section):
    """Stop training when the loss on the validation rows no longer improves."""

    patience: PositiveInt = 10
    """Rounds without improvement after which training stops."""
    min_improvement: float = Field(1e-4, ge=0)
    """Smallest decrease of the loss that counts as an improvement."""


class Interval(Section):
    """A range of values to draw a parameter from."""

    low: float
    """Smallest value."""
    high: float
    """Largest value."""
    log: bool = False
    """Draw the logarithm evenly instead of the value; for scales such as a learning rate."""
    integer: bool = False
    """Draw whole numbers only."""


class Search(Section):
    """Look for better parameters: each trial is a nested run, scored on the validation rows."""

    method: Literal["random", "halving"] = "random"
    """`random` draws and fits every trial on all training rows; `halving` keeps the better half on twice the rows."""
    trials: PositiveInt = 10
    """Number of parameter sets tried."""
    metric: str | None = None
    """What is maximized (or minimized, for errors); by default the first of `evaluate.metrics`."""
    space: dict[str, list[Scalar | None] | Interval] = Field(min_length=1)
    """Parameter name → a list of values or a range `{low, high, log, integer}`."""


class Model(Section):
    """What is trained, and what it predicts."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,62}$")
    """Name of the model, of its releases (`NAME@v1.2.3`) and of its DAG. A trainer's name chooses that trainer."""
    description: str = ""
    """What the model is for; shown in Airflow, MLflow and the model card."""
    owner: str = ""
    """Who answers for the model: a person, team or e-mail address."""
    trainer: str | None = None
    """A trainer, such as `hist_gradient_boosting`; by default the one that `name` names, else `linear_regression`."""
    params: dict[str, Any] = {}
    """Parameters of the trainer, by its own names."""
    target: str | None = None
    """Column that is predicted (may be a derived one)."""
    task: Task | None = None
    """`classification` or `regression`; needed only where trainer and target leave it open."""
    class_weight: Literal["balanced"] | dict[str, Annotated[float, Field(gt=0)]] | None = None
    """Weight of each class in training; `balanced` weighs inversely to its frequency."""
    early_stopping: EarlyStopping | None = None
    """Stop early on the validation rows, for trainers that learn in rounds."""
    search: Search | None = None
    """Search for better parameters before the final fit."""
    seed: NonNegativeInt = 0
    """Seed of everything random; the same seed gives the same model, bit for bit."""


class Column(Section):
    """The contract of one column; rows that break it are quarantined with the rule they broke."""

    type: ColumnType
    """Type of the values."""
    range: tuple[float | None, float | None] | None = Field(None, strict=False)
    """Smallest and largest value allowed, `null` for no bound."""
    allowed: list[Scalar] | None = Field(None, min_length=1)
    """Every value that may occur."""
    pattern: str | None = None
    """Regular expression, as Python's but without look-around and references, that the whole text must match."""
    nullable: bool = True
    """Whether a value may be missing."""
    optional: bool = False
    """Whether a file may lack the whole column; then all of its values are missing."""
    missing_values: list[MissingValue] = []
    """What stands for a missing value in this column, besides `data.missing_values`."""
    format: str | None = None
    """How a `datetime` is written, in strptime's codes; by default ISO 8601."""
    image: Image | None = None
    """How an `image` becomes numbers; by default its pixels, 32 × 32, in gray."""


ColumnRule = Annotated[Column, shorthand("type")]


class Data(Section):
    """Where the rows come from and what they must look like."""

    repository: str | None = None
    """Git repository that holds the data, a path or URL; by default the one that holds the spec."""
    branch: str | None = None
    """Branch whose newest commit is used; by default what the repository has checked out."""
    connection: str | None = None
    """Airflow connection with the key or token for a repository named by a URL; commands use Git's settings."""
    remotes: list[str] | None = None
    """Addresses and folders that contents behind pointers of Git LFS and DVC may come from, with all that lies below
    them: `https://lfs.example.org/team`, `s3://bucket`, `/srv/dvc`. By default any but those of this machine and of its
    nearest network."""
    files: str | None = None
    """Path of the files, with `{name}` for the part that tells partitions apart: `flights/{month}.csv`.

    In a path of images `*` stands for any name, so that a partition is many files: `digits/{part}/*/*.png`."""
    images: str | None = None
    """Folder of the images that columns of type `image` name by their path in it: `photos/{month}`, with every `{name}`
    of `files`. Without it such columns hold the images themselves."""
    format: Literal["csv", "parquet", "jsonl", "images"] | None = None
    """Format of the files; by default told from their ending (`.gz` and `.zip` are unpacked)."""
    encoding: str = "utf-8"
    """Character encoding of text files."""
    delimiter: str = Field(",", min_length=1, max_length=1)
    """What separates the fields of a CSV file."""
    decimal: Literal[".", ","] = "."
    """What stands before the decimals of a number in a CSV file."""
    thousands: Literal[",", ".", " ", "'", "_"] | None = None
    """What parts the thousands of a number in a CSV file, as in `1,234,567.5`; by default nothing may."""
    columns: dict[str, ColumnRule] = {}
    """Column → type or contract. Without it, types are inferred and numbers are read as `float`."""
    extra_columns: Literal["ignore", "infer", "error"] = "ignore"
    """What to do with a file's columns that `columns` does not name: leave them out, infer their types, or fail.

    By default a list of columns is complete, so that a new column of the data changes no model by itself."""
    derive: dict[str, str] = {}
    """New column → expression over the others, such as `late: arr_delay > 15`."""
    key: list[str] = []
    """Columns that together identify a row, for duplicates and for the split."""
    missing_values: list[MissingValue] = []
    """What stands for a missing value in every column, such as `[NA, unknown, -999]`.

    Without it only the empty field does in a text; in numbers, flags and times the usual words do too (`NA`, `N/A`,
    `null`, `NULL`, `None`, `NaN`, `nan`, `n/a`, `<NA>`, `#N/A` and the like). Requests are read in the same way."""
    max_quarantined: Share = 0.05
    """Largest share of a partition's rows that may break the contract before the step fails."""
    max_missing_target: Share = 0.2
    """Largest share of all rows that may be left out because their target is missing; above 5 % the run says so."""

    @property
    def is_complete(self) -> bool:
        """Whether `columns` lists every column there is."""
        return bool(self.columns) and self.extra_columns != "infer"

    def missing_values_of(self, column: str) -> list[MissingValue]:
        """List what stands for a missing value in a column: what does in every one, and what does in it alone."""
        rule = self.columns.get(column)
        return [*self.missing_values, *(rule.missing_values if rule else ())]


class Duplicates(Section):
    """How repeated rows are treated, within a partition and across partitions."""

    by: Literal["key", "row"] | None = None
    """What makes two rows the same: `data.key`, or all columns. By default the key where there is one."""
    keep: Literal["first", "last", "none"] = "first"
    """Which of the repeated rows stays; `first` and `last` go by partition, then by position."""


class Missing(Section):
    """What replaces a missing value."""

    fill: Literal["mean", "median", "mode", "constant", "interpolate", "forward_fill", "drop", "keep"] = "constant"
    """`drop` drops the row; `mean`, `median` and `mode` are those of the training rows and travel with the model."""
    value: Scalar | None = None
    """The value, for `constant`."""
    along: str | None = None
    """For `interpolate`: a column to go by (usually the time); by default the order of the rows."""
    indicator: bool = False
    """Add a feature that is 1 where the value was missing."""


_FILLS = ("mean", "median", "mode", "interpolate", "forward_fill", "drop", "keep")


def _read_missing(value: Any) -> Any:
    if isinstance(value, dict | BaseModel):
        return value
    return {"fill": value} if value in _FILLS else {"fill": "constant", "value": value}


class Outliers(Section):
    """What to do with values far from the others."""

    by: Literal["range", "quantile", "iqr", "zscore"]
    """How the bounds are found: given, at quantiles, at `factor` interquartile ranges or standard deviations."""
    action: Literal["clip", "drop"] = "clip"
    """`clip` moves the value to the bound, in serving too; `drop` leaves the row out of training."""
    bounds: tuple[float, float] | None = Field(None, strict=False)
    """The two bounds for `range`; the two shares for `quantile`, such as `[0.01, 0.99]`."""
    factor: float | None = Field(None, gt=0)
    """For `iqr` (1.5 by default) and `zscore` (3 by default)."""


class Text(Section):
    """How text is made uniform, in training and in serving alike."""

    trim: bool = True
    """Remove white space at both ends."""
    case: Literal["lower", "upper"] | None = None
    """Fold to one case."""
    unicode: Literal["NFC", "NFKC"] | None = None
    """Unicode normal form."""


class Clean(Section):
    """What is repaired or removed before anything is computed."""

    duplicates: Annotated[
        Duplicates | Literal["keep"],
        BeforeValidator(lambda value: {} if value == "drop" else value),
    ] = "keep"
    """`keep`, `drop` (the first stays), or `{by, keep}`."""
    missing: dict[str, Annotated[Missing, BeforeValidator(_read_missing)]] = {}
    """Column or `"*"` → `drop`, `mean`, `median`, `mode`, `interpolate`, `forward_fill`, a constant, or `{fill, …}`."""
    outliers: dict[str, Outliers] = {}
    """Column → rule."""
    text: dict[str, Text] = {}
    """Column or `"*"` → `{trim, case, unicode}`."""
    sample: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the rows to use, chosen by a hash of the row's key."""


class Features(Section):
    """Which columns the model sees."""

    select: list[str] | None = Field(None, min_length=1)
    """The features; by default every column but the target and those it is derived from."""
    drop: list[str] = []
    """Columns left out of the default."""
    interactions: list[Annotated[tuple[str, str], Field(strict=False)]] = []
    """Pairs of numeric features whose product is one more feature."""


class Split(Section):
    """Which rows train, which choose, which judge. A row never changes sides when data arrive, unless time moves on."""

    by: Literal["key", "time", "group"] = "key"
    """A hash of the row's key, a column's time, or a hash of a column's value (a group stays together)."""
    test: Extent = 0.2
    """Share of the rows that judge the model. For `time`: the newest `2 months`, or a share of the time line (`20%`).

    Spans count back from the end of the day of the newest row, those of hours and minutes from the end of its hour or
    minute; a share is one of the time between the oldest and the newest row. With an as-of date, of the rows until
    then. `minutes`, `hours`, `days`, `weeks`, `months` and `years` are known."""
    validation: Extent = 0.1
    """Share of the rows for early stopping, search and the parity check. For `time`: as `test`, right before it; by
    default there are none."""
    column: str | None = None
    """The time or group column."""
    validation_from: Moment | None = None
    """For `time`: validation rows start here, at a fixed time."""
    test_from: Moment | None = None
    """For `time`: test rows start here, at a fixed time."""
    stratify: str | None = None
    """Column whose values get the same shares on each side, partition by partition."""

    def extent(self, side: Literal["test", "validation"]) -> float | str:
        """Return how far a side of a split by time reaches; 0 where that is not said."""
        return getattr(self, side) if side in self.model_fields_set else 0.0


class Bound(Section):
    """What a metric must reach for the model to be released."""

    at_least: float | None = None
    """Smallest value that passes."""
    at_most: float | None = None
    """Largest value that passes."""
    behind_champion_at_most: Annotated[float, Field(ge=0)] | None = None
    """How much worse than the live release it may be, on the same test rows."""
    ahead_of_champion_at_least: Annotated[float, Field(ge=0)] | None = None
    """How much better than the live release it must be, on the same test rows."""


class Evaluate(Section):
    """How the model is judged, on the test rows."""

    metrics: list[str] = []
    """Metrics to compute; by default those usual for the task."""
    gate: dict[str, Bound] = {}
    """Metric → bounds; a model that misses one is not released."""
    slices: list[str] = []
    """Columns by whose values the metrics are also computed."""
    min_rows: NonNegativeInt = 10
    """Fewest test rows that a model may be released on; below 30 the run says that they are few."""
    bootstrap: Annotated[int, Field(ge=0, le=10_000)] = 200
    """Resamples behind the 95 % confidence intervals; 0 for none. Of fewer than 10 rows there are none."""


class Environment(Section):
    """Where the release goes."""

    platform: Annotated[
        Literal["local", "kubernetes", "server", "aws", "gcp", "azure"], BeforeValidator(_lower_case)
    ] = "local"
    """Platform that serves the model; this version deploys to `local`, `kubernetes` and `server`."""
    region: str | None = None
    """Region of a cloud platform."""
    prices: Prices | None = None
    """What computing costs there, for `modelrail plan` and `modelrail cost`; by default nothing is priced."""
    models: list[str] = []
    """In `environments/`: models that are to be live there; one that never was goes live with its first release."""


class LatencyObjective(Section):
    """How soon answers should come."""

    within_s: Annotated[float, Field(gt=0)] = 0.1
    """Seconds; one of the bounds that servers count durations by: 0.00025, 0.0005, 0.001, 0.0025, … 10."""
    share: Annotated[float, Field(gt=0, lt=1)] = 0.99
    """Share of the answers that should come within that time."""


class Monitoring(Section):
    """What is watched once the model is live."""

    metrics: list[str] = []
    """Metrics that the model card names and that a server shows beside its counts; by default all that are computed.

    `loss` is what training ended with."""
    features: Annotated[int, Field(ge=0, le=1000)] = 50
    """Columns that a server counts of each row that it answers, the most important first; 0 counts nothing."""
    min_requests: PositiveInt = 1000
    """Requests of a window, from which on `modelrail watch` judges it."""
    max_drift: Annotated[float, Field(gt=0)] = 0.2
    """Stability index (PSI) of a column or a prediction from which on it has drifted, where chance is ruled out."""
    max_decline: Annotated[float, Field(ge=0)] = 0.02
    """Share of a metric of the test rows by which what came true may be worse; more is told where chance is ruled
    out."""
    false_alarm: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """Probability of a false alarm of drift in 30 days, over all columns and however often one looks."""
    availability: Annotated[float, Field(gt=0, lt=1)] = 0.999
    """Share of the requests that should not fail by the service's fault (status 5xx and 429); the rest is the error
    budget of 30 days."""
    latency: LatencyObjective = LatencyObjective()
    """How soon answers should come, as `{within_s, share}`."""
    max_age_days: PositiveInt | None = None
    """Days after which the data commit behind the live release counts as old; by default never."""
    actions: Actions = {}
    """What a look finds (`failures`, `refusals`, `quality`, `drift`, or why: `pipeline`, `data`, `concept`) → what is
    done: `alert`, `retrain`, `rollback`, `hold`, or `{do, after, …}`."""


class Tasks(Section):
    """How steps behave as Airflow tasks."""

    retries: NonNegativeInt = 2
    """Further tries after a failure that trying again can mend."""
    timeout_s: PositiveInt = 3600
    """Seconds after which a step is ended."""


class Spec(Section):
    """One model, from its data to its deployment."""

    version: Annotated[int, Field(ge=1, le=1)] = 1
    """Version of this format."""
    model: Model
    """What is trained, and what it predicts."""
    data: Data = Data()
    clean: Clean = Clean()
    features: Features = Features()
    transform: dict[str, Annotated[Transformer, shorthand("kind")]] = {}
    """Column → how it becomes features: a kind, or `{kind, …}`."""
    normalize: dict[str, Literal["standard", "min_max", "robust", "none"]] = {"*": "standard"}
    """Feature's column or `"*"` → `standard`, `min_max`, `robust` or `none`."""
    split: Split = Split()
    evaluate: Evaluate = Evaluate()
    deploy: Deploy = Deploy()
    environment: Environment = Environment()
    monitoring: Monitoring = Monitoring()
    notify: Notify = {}
    """What happened (`failed`, `released`, `drift`, …, or `"*"`) → who is told: webhooks, e-mail addresses, names."""
    schedule: Schedule = Schedule()
    tasks: Tasks = Tasks()
    run: Run = Run()
