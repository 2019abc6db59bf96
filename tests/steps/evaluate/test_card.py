from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from pipeline.spec.schema.spec import Bound
from pipeline.steps.evaluate.card import DataFacts, Facts, model_card
from pipeline.steps.evaluate.page import card_html
from pipeline.steps.evaluate.results import Estimate, Evaluation, Importance, Importances, Slice
from pipeline.steps.gate import judge


def auc(value, low=None, high=None):
    return {"roc_auc": Estimate(value, low, high)}


EVALUATION = Evaluation(
    task="classification",
    rows=6000,
    metrics=auc(0.74, 0.73, 0.75),
    slices={
        "carrier": {
            "UA": Slice(3000, auc(0.76, 0.75, 0.77)),
            "MQ": Slice(2980, auc(0.62, 0.6, 0.64)),
            "OO": Slice(20, auc(0.4, 0.2, 0.6), few=True),
        }
    },
    classes=(False, True),
    confusion=((3000, 1000), (1000, 1000)),
    notes=("slices by carrier with fewer than 50 rows, too few to judge by: 1",),
)
DATA = DataFacts(
    repository="flights.git",
    commit="0123abc",
    as_of="2014-01-01",
    partitions=["2013-01", "2013-02", "2013-03"],
    rows_read=30_000,
    rows_quarantined=150,
    rows_dropped=300,
    split={"train": 21_000, "validation": 2_550, "test": 6_000},
    known_categories={"carrier": 16},
)
FACTS = Facts(
    name="flight-delay",
    description="Says whether a flight arrives late.",
    owner="ops@airline.example",
    task="classification",
    target="late",
    trainer="hist_gradient_boosting",
    parameters={"learning_rate": 0.1, "max_iter": 100},
    data=DATA,
    evaluation=EVALUATION,
    verdict=judge(EVALUATION.metrics, None, {"roc_auc": Bound(at_least=0.7)}),
    champion=auc(0.735),
    champion_version="v1.2.0",
    importances=Importances("roc_auc", 5000, (Importance("dep_time", 0.1), Importance("tailnum", -0.001))),
    watched=["accuracy"],
    provenance={"Data commit": "0123abc", "Run": "f00", "Date": "2014-01-02"},
)

QUARANTINE = (
    "- 150 of 30,000 rows (0.50%) broke the data's contract and were neither learnt from nor judged on: "
    "what the model makes of such records is unknown."
)


@pytest.mark.parametrize(
    "line",
    [
        "# Model card: flight-delay",
        "Says whether a flight arrives late.",
        "| Owner | ops@airline.example |",
        "| Task | classification of late |",
        "| Parameters | learning_rate = 0.1, max_iter = 100 |",
        "| Partitions | 3, 2013-01 to 2013-03 |",
        "| Quarantined | 150 (0.50%) |",
        "| Dropped in cleaning | 300 (1.00%) |",
        "| Rows for train | 21,000 |",
        "| Metric | Value | 95 % interval | Better | Live release v1.2.0 |",
        "| roc_auc | 0.74 | 0.73 to 0.75 | greater | 0.735 |",
        "The one bound of the gate is kept.",
        r"- roc_auc 0.74 \[0.73, 0.75\] is at least 0.7: passed",
        "| OO | 20 (few) | 0.4 |",
        "| dep_time | +0.1000 |",
        "- Notably worse where carrier is MQ: roc_auc 0.62 against 0.74 overall (2,980 rows).",
        "- Slices by carrier with fewer than 50 rows, too few to judge by: 1.",
        QUARANTINE,
        "- Of carrier, 16 values are told apart; any other counts as unseen.",
        "- Once live, accuracy should be watched; nothing here says how the model does on newer data.",
        "| Date | 2014-01-02 |",
    ],
)
def test_model_card_says_what_the_facts_are(line):
    assert line in model_card(FACTS).splitlines()


def test_model_card_leaves_out_what_it_has_no_facts_on():
    bare = Facts(
        name="line",
        task="regression",
        target="y",
        trainer="linear_regression",
        data=DataFacts("", "", "", [], 0),
        evaluation=Evaluation(task="regression", rows=0, metrics={"r2": Estimate(None)}),
    )
    card = model_card(bare)
    assert [line for line in card.splitlines() if line.startswith("## ")] == [
        "## What it is", "## Data", "## Metrics", "## Limits",
    ]  # fmt: skip
    assert "| r2 | undefined | none | greater |" in card
    assert "Nothing is watched once the model is live (monitoring.metrics)" in card


def test_model_card_names_the_worst_slices_first_and_counts_the_rest():
    bad = {f"v{place}": Slice(100, auc(place / 100, place / 100, place / 100)) for place in range(7)}
    card = model_card(replace(FACTS, evaluation=replace(EVALUATION, slices={"c": bad})))
    assert card.index("c is v0") < card.index("c is v4")
    assert "c is v5" not in card
    assert "- 2 more slices are notably worse than all rows together." in card


def test_model_card_says_when_no_slice_is_worse():
    fine = {"c": {"a": Slice(100, auc(0.74, 0.7, 0.8))}}
    card = model_card(replace(FACTS, evaluation=replace(EVALUATION, slices=fine)))
    assert "- Of 1 slices with enough rows, none is notably worse in roc_auc than all rows together." in card


def test_a_slice_is_worse_when_its_error_is_greater():
    whole = {"rmse": Estimate(10.0, 9.0, 11.0)}
    parts = {
        "c": {
            "low": Slice(100, {"rmse": Estimate(5.0, 4.0, 6.0)}),
            "high": Slice(90, {"rmse": Estimate(20.0, 18.0, 22.0)}),
        }
    }
    card = model_card(replace(FACTS, evaluation=Evaluation("regression", 190, whole, parts)))
    assert "Notably worse where c is high: rmse 20 against 10 overall (90 rows)." in card
    assert "c is low" not in card


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def read(page):
    tags = Tags()
    tags.feed(page)
    return tags


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[a](javascript:alert(1))",
    "![a](http://evil.example/x.png)",
    "a | b | c",
    "**bold** _it_ `code` ~~no~~",
    "&lt;script&gt;",
    "line\n\n# heading\n\n<b>x</b>",
    "<https://evil.example>",
    "\\<b>",
    "``` x",
    "- item",
    "1. item",
    "+ item",
    "=== x",
    "</title></style><script>",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_comes_from_data_neither_formats_nor_scripts(text):
    value = Slice(100, auc(0.1, 0.1, 0.1))
    facts = replace(
        FACTS,
        name=text,
        description=text,
        owner=text,
        target=text,
        parameters={text: text},
        data=replace(DATA, partitions=[text], known_categories={text: 1}),
        evaluation=replace(EVALUATION, slices={text: {text: value}}, notes=(text,)),
        importances=Importances("roc_auc", 1, (Importance(text, 1.0),)),
        provenance={text: text},
    )
    card = model_card(facts)
    assert not any(hostile in card for hostile in ("<script", "<img", "<b", "</title"))
    page = read(card_html(card))
    plain = read(card_html(model_card(FACTS)))
    assert {tag for tag, _ in page.found} == {tag for tag, _ in plain.found}
    assert [tag for tag, _ in page.found].count("table") == 6
    assert page.text.count(re.sub("\n+", " ", text)) >= 14


def test_page_stands_by_itself():
    page = card_html(model_card(FACTS), {"roc": b"png", 'a"b': b"png"})
    found = read(page).found
    assert not [tag for tag, _ in found if tag in {"script", "link", "iframe"}]
    assert [attrs["src"][:22] for tag, attrs in found if tag == "img"] == ["data:image/png;base64,"] * 2
    assert "<title>Model card: flight-delay</title>" in page
    assert "color-scheme: light dark" in page
    assert page.count("<table>") == 6


def test_page_shows_html_of_any_markdown_as_text():
    assert "<script>" not in card_html("# <script>x</script>\n\n<script>y</script>\n")
