"""An application as FastAPI's documentation writes one; the model is in the working folder."""

import joblib
import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel

model = joblib.load("model.joblib")
app = FastAPI()


class Request(BaseModel):
    """Rows."""

    inputs: list[list[float]]


class Answer(BaseModel):
    """A class for each row."""

    outputs: list[int]


@app.post("/predict")
def predict(request: Request) -> Answer:
    return Answer(outputs=model.predict(np.array(request.inputs)).tolist())
