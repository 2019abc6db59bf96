"""The normalize step: what is fitted on training rows becomes a graph, and that graph makes the matrix."""

from pipeline.steps.normalize.applying import compile_preprocess, normalize, repeated_rows
from pipeline.steps.normalize.compiling import compile_normalize
from pipeline.steps.normalize.outliers import outlier_rows
from pipeline.steps.normalize.preprocessing import CategoryRule, NumberRule, Preprocessing
from pipeline.steps.normalize.rule_fitting import fit, needs_second_pass
from pipeline.steps.statistics import Statistics, merge

__all__ = [
    "CategoryRule",
    "NumberRule",
    "Preprocessing",
    "Statistics",
    "compile_normalize",
    "compile_preprocess",
    "fit",
    "merge",
    "needs_second_pass",
    "normalize",
    "outlier_rows",
    "repeated_rows",
]
