"""What a model can be asked for: a class, or a number."""

from __future__ import annotations

from typing import Literal

Task = Literal["classification", "regression"]
