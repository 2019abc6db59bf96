"""A service as BentoML's documentation writes one, with its adaptive batches; the model is in the working folder."""

import bentoml
import joblib
import numpy as np


@bentoml.service(workers=1)
class Model:
    """The model of one process."""

    def __init__(self) -> None:
        self.model = joblib.load("model.joblib")

    @bentoml.api(batchable=True)
    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Return a class for each row."""
        return self.model.predict(rows)
