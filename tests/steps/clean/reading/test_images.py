from __future__ import annotations

import base64
import io
import json
import zipfile

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import DataError
from pipeline.spec.loading.loading import with_defaults
from pipeline.spec.schema.spec import Data, Spec
from pipeline.steps.clean.reading import read
from pipeline.ui.examples.digits import write_png

pytestmark = pytest.mark.extra("images")

IMAGES = [write_png(np.full((8, 8), value)) for value in (0, 51, 255)]
RULE = {"photo": {"type": "image", "image": {"size": [4, 4]}}, "kind": "str"}


def packed(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, each in files.items():
            archive.writestr(name, each)
    return content.getvalue()


def data_of(**keys: object) -> Data:
    return with_defaults(Spec.model_validate({"model": {"name": "m", "target": "folder"}, "data": keys})).data


def test_image_files_become_rows_with_the_name_of_their_folder() -> None:
    data = data_of(files="photos/{day}/*/*.png")
    files = {f"{kind}/{place}.png": image for place, (kind, image) in enumerate(zip("abb", IMAGES, strict=True))}
    found = read(packed(files), "photos/1/*/*.png", data)
    assert list(found.rows.columns[:1]) == ["image"]
    assert found.rows["folder"].tolist() == ["a", "b", "b"]
    assert found.rows["file"].tolist() == list(files)
    assert found.rows["image[0,31,31]"].tolist() == [0.0, 0.2, 1.0]
    assert found.columns["image"] == "image"
    assert base64.b64decode(found.rows["image"][1]) == IMAGES[1]


def test_a_broken_image_is_quarantined_with_what_is_wrong() -> None:
    data = data_of(files="photos/*.png", max_quarantined=0.7)
    found = read(packed({"a.png": IMAGES[0], "b.png": IMAGES[1][:-9], "c.png": b"text"}), "photos/*.png", data)
    assert len(found.rows) == 1
    assert found.quarantined["row"].tolist() == [2, 3]
    assert found.quarantined["text"].tolist() == ["b.png", "c.png"]
    rules = found.quarantined["rule"].tolist()
    assert rules[0].startswith("image: found")
    assert rules[0].endswith("expected an image that is not cut off (data.columns.image.type)")
    assert "expected a PNG, JPEG, WebP or BMP image" in rules[1]


def test_too_many_broken_images_refuse_the_partition() -> None:
    files = {"a.png": IMAGES[0], "b.png": b"?", "c.png": IMAGES[1][:-9], "d.png": b"?"}
    with pytest.raises(DataError) as caught:
        read(packed(files), "photos/*.png", data_of(files="photos/*.png"))
    first, *others = str(caught.value).splitlines()
    assert "3 of 4 rows (75.0%) break the contract" in first
    assert [each.split(": found")[0] for each in others] == ["  b.png: image", "  c.png: image"]
    assert ["not cut off" in each for each in others] == [False, True]


def test_images_stand_as_base64_in_csv_and_json_lines_and_as_bytes_in_parquet() -> None:
    texts = [base64.b64encode(each).decode() for each in IMAGES]
    frame = pd.DataFrame({"photo": texts, "kind": ["x", "y", "z"]})
    binary = io.BytesIO()
    frame.assign(photo=IMAGES).to_parquet(binary)
    sources = {
        "a.csv": frame.to_csv(index=False).encode(),
        "a.jsonl": "\n".join(json.dumps(each) for each in frame.to_dict("records")).encode(),
        "a.parquet": binary.getvalue(),
    }
    read_ = [read(source, name, Data.model_validate({"columns": RULE})).rows for name, source in sources.items()]
    for each in read_[1:]:
        pd.testing.assert_frame_equal(read_[0], each)
    assert read_[0]["photo[0,3,3]"].tolist() == [0.0, 0.2, 1.0]


def test_a_missing_image_is_a_missing_value() -> None:
    data = Data.model_validate({"columns": RULE})
    found = read(b"photo,kind\n,x\n", "a.csv", data)
    assert found.rows.iloc[0][["photo", "photo[0,0,0]"]].isna().all()


def test_rows_name_their_images_by_path() -> None:
    rule = {"photo": {**RULE["photo"], "nullable": False}, "kind": "str"}  # type: ignore[dict-item]
    data = data_of(files="rows/{day}.csv", images="photos/{day}", columns=rule, max_quarantined=0.5)
    files = {
        "rows/mon.csv": b"photo,kind\na/1.png,x\n2.png,y\nlost.png,z\n,w\n",
        "photos/mon/a/1.png": IMAGES[1],
        "photos/mon/2.png": IMAGES[2],
    }
    found = read(packed(files), "rows/mon.csv", data)
    assert found.rows["photo[0,0,0]"].tolist() == [0.2, 1.0]
    assert base64.b64decode(found.rows["photo"][0]) == IMAGES[1]
    assert found.quarantined["row"].tolist() == [3, 4]
    rule_text = "photo: found 'lost.png'; expected the path of a file in photos/{day} (data.columns.photo.type)"
    assert found.quarantined["rule"].tolist()[0] == rule_text
    assert found.quarantined["text"].tolist() == ["lost.png,z", ",w"]


def test_a_damaged_image_that_a_row_names_is_quarantined() -> None:
    data = data_of(files="rows.csv", images="photos", columns=RULE, max_quarantined=1.0)
    found = read(packed({"rows.csv": b"photo,kind\na.png,x\n", "photos/a.png": IMAGES[0][:-9]}), "rows.csv", data)
    assert "expected an image that is not cut off" in found.quarantined["rule"][0]
