"""A network of the user's own: a Python file beside the spec whose function ``build`` makes it.

The file's text is part of the spec once it is loaded (`pipeline.spec.loading.loading`), so it is pinned by the spec's
commit, and another text is another model.
"""

from __future__ import annotations

import traceback
from types import ModuleType
from typing import Any

from pipeline.errors import TrainingError
from pipeline.spec.own_networks import BUILD
from pipeline.steps.train.neural.network import Params


def build_own(params: Params, inputs: int, outputs: int) -> Any:
    """Run the user's file and let its ``build(inputs, outputs, **arguments)`` make the network.

    Raises
    ------
    TrainingError
        The file cannot be run, has no such function, or this fails; with the line.
    """
    name, source = params["module"]["file"], params["module"]["source"]
    module = ModuleType("modelrail_own_network")
    try:
        exec(compile(source, name, "exec"), module.__dict__)  # noqa: S102 - what the spec's own repository says
        return _function(module, name)(inputs, outputs, **params["arguments"])
    except TrainingError:
        raise
    except (Exception, SystemExit) as error:
        raise TrainingError(
            f"train: {name}{line_of(error, name)}: found {type(error).__name__}: {error}; expected "
            f"{BUILD}(inputs, outputs, **arguments) to give a network (model.params.module)"
        ) from error


def _function(module: ModuleType, name: str) -> Any:
    found = getattr(module, BUILD, None)
    if not callable(found):
        raise TrainingError(f"train: {name}: found no function '{BUILD}'; expected one (model.params.module)")
    return found


def line_of(error: BaseException, name: str) -> str:
    """Tell at which line of the user's file an error was raised, as ``:LINE``; empty if in none of its lines."""
    if isinstance(error, SyntaxError):
        return f":{error.lineno}"
    lines = [each.lineno for each in traceback.extract_tb(error.__traceback__) if each.filename == name]
    return f":{lines[-1]}" if lines else ""
