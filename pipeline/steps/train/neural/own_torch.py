"""The user's own network in PyTorch, and its graph by PyTorch's exporter."""

from __future__ import annotations

import copy
import io
import warnings
from dataclasses import dataclass
from typing import Any

import onnx
import torch
from onnx import version_converter
from torch import nn

from pipeline.errors import TrainingError
from pipeline.model.graphs import OPSET
from pipeline.steps.train.graph import INPUT, Graph
from pipeline.steps.train.neural.modules import build_own, line_of
from pipeline.steps.train.neural.network import Params, Scale

_EXPORTED = 20
"""The newest operators that the exporter knows."""


@dataclass(frozen=True)
class OwnModule:
    """A fitted module, for the conversion."""

    module: nn.Module
    scale: Scale

    def add(self, graph: Graph) -> str:
        """Add its nodes, which give the raw outputs in double precision."""
        exported = _export(self.module, graph.columns)
        return graph.cast(graph.splice(exported), "double")


def build_own_module(params: Params, inputs: int, outputs: int, seed: int) -> nn.Module:
    """Let the user's file build its module, with weights that follow from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build_own(params, inputs, outputs)
        if not isinstance(module, nn.Module):
            raise TrainingError(
                f"train: {params['module']['file']}: found {type(module).__name__} from build; expected a "
                "torch.nn.Module (model.params.module)"
            )
        _try(params, module, inputs, outputs)
    return module


def _try(params: Params, module: nn.Module, inputs: int, outputs: int) -> None:
    """Look at what the module gives for two rows, before anything is trained."""
    trial, name, line = copy.deepcopy(module).eval(), params["module"]["file"], ""
    try:
        with torch.no_grad():
            found: Any = tuple(trial(torch.zeros(2, inputs)).shape)
    except Exception as error:  # noqa: BLE001 - whatever the user's code raises
        found, line = f"{type(error).__name__}: {error}", line_of(error, name)
    if found != (2, outputs):
        raise TrainingError(
            f"train: {name}{line}: found {found} for two rows of {inputs} features; expected the shape "
            f"{(2, outputs)} (model.params.module)"
        )


def _export(module: nn.Module, columns: int) -> onnx.ModelProto:
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's advice to use a newer one, which needs more packages
        torch.onnx.export(
            copy.deepcopy(module).cpu().eval(),
            (torch.zeros(2, columns),),
            content,
            dynamo=False,
            input_names=[INPUT],
            output_names=["outputs"],
            dynamic_axes={INPUT: {0: "N"}, "outputs": {0: "N"}},
            opset_version=_EXPORTED,
        )
    return version_converter.convert_version(onnx.load_model_from_string(content.getvalue()), OPSET)
