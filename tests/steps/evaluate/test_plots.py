from __future__ import annotations

import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.font_manager import fontManager
from PIL import Image

from pipeline.spec.schema.spec import Evaluate
from pipeline.steps.evaluate.evaluating import evaluate
from pipeline.steps.evaluate.letters import font_of, fonts_for
from pipeline.steps.evaluate.plot_data import shorten
from pipeline.steps.evaluate.plots import draw_plots
from pipeline.steps.evaluate.results import Importance, Importances
from pipeline.steps.evaluate.sample import Prediction

RANDOM = np.random.default_rng(2)
IMPORTANCES = Importances("f1", 10, (Importance("$x$", 0.2), Importance("_hidden\n" * 9, -0.1)))
LOSSES = {"training": [3.0, 2.0, 1.0], "validation": [3.5]}


def classify(truth, classes):
    raw = np.random.default_rng(0).random((len(truth), classes)) + np.eye(classes)[truth]
    return Prediction(labels=raw.argmax(axis=1), probabilities=raw / raw.sum(axis=1, keepdims=True))


def draw(truth, prediction, **more):
    found = evaluate(truth, prediction, Evaluate(bootstrap=5), classes=more.pop("classes", None))
    return draw_plots("model_$x$", truth, prediction, found, **more)


MANY = RANDOM.integers(0, 40, 500)
HALF = np.repeat([0, 1], 50)
CURVES = ["confusion", "roc", "pr", "calibration"]


@pytest.mark.parametrize(
    ("truth", "prediction", "expected"),
    [
        (HALF, classify(HALF, 2), CURVES),
        (MANY, classify(MANY, 40), CURVES),
        (np.zeros(9, int), classify(np.zeros(9, int), 2), ["confusion"]),
        (np.array([0, 1, -1]), classify(np.array([0, 1, 1]), 2), CURVES),
        (HALF, Prediction(labels=HALF), ["confusion"]),
        (np.zeros(0, int), Prediction(labels=np.zeros(0, int), probabilities=np.zeros((0, 2))), []),
        (np.arange(9.0), Prediction(values=np.arange(9.0)), ["predicted", "residuals"]),
        (np.array([1.0]), Prediction(values=np.array([1.0])), ["predicted", "residuals"]),
        (np.array([1.0, np.nan, 2.0]), Prediction(values=np.array([1.0, 1.0, np.inf])), ["predicted", "residuals"]),
        (np.array([]), Prediction(values=np.array([])), []),
    ],
)
def test_every_plot_that_the_data_allow_is_drawn(truth, prediction, expected):
    found = draw(truth, prediction)
    assert list(found) == expected
    assert {Image.open(BytesIO(each)).size for each in found.values()} <= {(616, 484)}


def test_importance_and_loss_are_drawn_where_given():
    assert list(draw(HALF, classify(HALF, 2), importances=IMPORTANCES, losses=LOSSES))[-2:] == ["importance", "loss"]
    assert "loss" not in draw(HALF, classify(HALF, 2), losses={"training": []})


def test_the_same_numbers_give_the_same_bytes_without_date_or_software():
    first, second = (draw(HALF, classify(HALF, 2), importances=IMPORTANCES, losses=LOSSES) for _ in range(2))
    assert first == second
    assert all(set(Image.open(BytesIO(each)).info) <= {"dpi"} for each in first.values())


def test_class_names_are_drawn_as_they_are():
    draw(HALF, classify(HALF, 2), classes=["$\\frac{", "_x" * 40])


CJK = "重量"


def make_font(path):
    """Write a font that has two letters only, each a full square."""
    builder, pen = FontBuilder(1000, isTTF=True), TTGlyphPen(None)
    for command, place in [(pen.moveTo, (0, 0)), *((pen.lineTo, each) for each in [(0, 900), (900, 900), (900, 0)])]:
        command(place)
    pen.closePath()
    names = [".notdef", *(f"uni{ord(each):04X}" for each in CJK)]
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(letter): f"uni{ord(letter):04X}" for letter in CJK})
    builder.setupGlyf({names[0]: TTGlyphPen(None).glyph(), **dict.fromkeys(names[1:], pen.glyph())})
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "Two Letters", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return path


@pytest.fixture
def _no_other_font(monkeypatch):
    monkeypatch.setattr(fontManager, "ttflist", [each for each in fontManager.ttflist if "DejaVu" in each.name])
    font_of.cache_clear()
    yield
    font_of.cache_clear()


def draw_cjk():
    importances = Importances(
        "f1", 10, (Importance(CJK, 0.2), Importance("数" * 30, 0.1), Importance("größe\x01", 0.0))
    )
    return draw(HALF, classify(HALF, 2), classes=[CJK, "b"], importances=importances)


@pytest.mark.usefixtures("_no_other_font")
def test_letters_that_no_font_has_are_drawn_by_their_numbers_without_a_warning():
    assert list(draw_cjk()) == [*CURVES, "importance"]  # a warning would be an error
    assert [shorten(each) for each in (CJK, "größe\x01", "$重$")] == [r"\u91cd\u91cf", r"größe\x01", r"\$\u91cd\$"]


@pytest.mark.usefixtures("_no_other_font")
def test_letters_are_taken_from_a_font_of_this_machine_that_has_them(tmp_path, caplog):
    without = draw_cjk()
    fontManager.addfont(make_font(tmp_path / "two.ttf"))
    font_of.cache_clear()
    assert (shorten(CJK), fonts_for(["abc", "ü", CJK])) == (CJK, ["DejaVu Sans", "Two Letters"])
    changed = {name for name, drawn in draw_cjk().items() if without[name] != drawn}
    assert changed == {"confusion", "importance"}
    assert caplog.messages == []


def test_plots_do_without_pyplot():
    code = "import sys, pipeline.steps.evaluate.plots; print('matplotlib.pyplot' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
