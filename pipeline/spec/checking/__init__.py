"""What one key of a spec says about another: checks over a spec that is right in form.

Each check is a function from a `View` of the spec to findings; `CHECKS` lists them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pipeline.spec.checking.cleaning import check_duplicates, check_missing, check_outliers, check_text
from pipeline.spec.checking.data import check_columns, check_derived, check_files, check_key
from pipeline.spec.checking.deploying import check_deploy, check_rollout
from pipeline.spec.checking.features import check_features, check_normalize, check_token_ids, check_transform
from pipeline.spec.checking.judging import (
    check_gate,
    check_metrics,
    check_monitoring,
    check_slices,
    check_split,
    check_validation_rows,
)
from pipeline.spec.checking.learning import (
    check_companion_files,
    check_own_image,
    check_pixels,
    check_saved_model,
    check_search,
    check_target,
    check_trainer,
    check_weights,
)
from pipeline.spec.checking.placing import check_run, check_schedule
from pipeline.spec.checking.view import View, view_of
from pipeline.spec.findings import Finding
from pipeline.spec.schema.spec import Spec

CHECKS: tuple[Callable[[View], Iterator[Finding]], ...] = (
    check_files,
    check_columns,
    check_derived,
    check_key,
    check_duplicates,
    check_missing,
    check_outliers,
    check_text,
    check_features,
    check_transform,
    check_token_ids,
    check_normalize,
    check_split,
    check_validation_rows,
    check_target,
    check_trainer,
    check_pixels,
    check_weights,
    check_search,
    check_companion_files,
    check_saved_model,
    check_own_image,
    check_metrics,
    check_gate,
    check_slices,
    check_monitoring,
    check_schedule,
    check_rollout,
    check_run,
    check_deploy,
)


def check(spec: Spec) -> list[Finding]:
    """Find everything in a spec that contradicts itself or could only fail later.

    Parameters
    ----------
    spec : Spec
        With its defaults filled in (`pipeline.spec.loading.loading.with_defaults`).
    """
    view = view_of(spec)
    return [finding for each in CHECKS for finding in each(view)]
