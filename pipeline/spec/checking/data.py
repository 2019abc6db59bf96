"""Checks of ``data``: files, column contracts, derived columns, the key."""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime

from pipeline.messages import describe, quote
from pipeline.model.columns import ColumnType
from pipeline.spec.catalogue.trainers import IMAGE_ENDINGS
from pipeline.spec.checking.view import EVERY, NUMERIC, View, kinds
from pipeline.spec.expressions import Call, ExpressionError, Name, Node, kind_of, parse, walk
from pipeline.spec.findings import Finding, KeyPath
from pipeline.spec.patterns import PatternError, to_re2
from pipeline.spec.schema.spec import Column, Data, Scalar

_ENDINGS = (".csv", ".parquet", ".jsonl", *IMAGE_ENDINGS)
_PACKED = (".gz", ".zip")
_REMOTE = re.compile(r"[a-z][a-z0-9+.-]*://[^/@%\s]+(/\S*)?|(/|~).*")
_NO_GIT = re.compile(r"(?!(https?|ssh|git|git\+ssh|ssh\+git|file)://)[A-Za-z][A-Za-z0-9.+-]*://")
_INSTEAD = (
    "a folder, or a URL by https://, ssh:// or file://; files of an object store are read through pointers of Git LFS"
    " or DVC (docs/large-files.md), and rows of a database once they are exported to files and committed"
)
_MOST_JOINED = 200
"""Texts that a derived column may join, in each row."""
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


def check_files(view: View) -> Iterator[Finding]:
    """Check where the data come from."""
    data = view.spec.data
    if data.files is None:
        # Any of these keys means data of one's own; without them, the built-in example is meant.
        given = [key for key in ("repository", "branch", "format") if getattr(data, key) is not None]
        own = [*given, *(["columns"] if "columns" in data.model_fields_set and not _is_example(view) else [])]
        if own:
            expected = f"the path of the files, since data.{own[0]} is given; such as data/{{month}}.csv"
            yield Finding(("data", "files"), "nothing", expected)
    else:
        yield from _check_template(data.files, data.format)
    if data.images is not None:
        yield from _check_images(data.images, view)
    for place, remote in enumerate(data.remotes or []):
        if not _REMOTE.fullmatch(remote) or {".", ".."} & {*remote.split("/")}:
            expected = "an address without a login, such as https://lfs.example.org/team, or a folder from / or ~ on"
            yield Finding(("data", "remotes", place), quote(remote), expected)
    if data.repository == "":
        yield Finding(("data", "repository"), "an empty text", "the path or URL of a Git repository")
    elif match := _NO_GIT.match(data.repository or ""):
        yield Finding(("data", "repository"), f"an address by {match[0]}, where no Git repository is", _INSTEAD)
    try:
        codecs.lookup(data.encoding)
    except (LookupError, ValueError):
        yield Finding(("data", "encoding"), quote(data.encoding), "a character encoding, such as utf-8 or latin-1")
    if data.delimiter in '"\r\n':
        yield Finding(("data", "delimiter"), describe(data.delimiter), "a character that is no quote or line end")
    yield from _check_numbers(data)


def _check_numbers(data: Data) -> Iterator[Finding]:
    if data.thousands == data.decimal:
        yield Finding(("data", "thousands"), f"{quote(data.decimal)}, as data.decimal", "another, or none")
    if data.decimal == "," == data.delimiter:
        yield Finding(("data", "decimal"), "',', which separates the fields too", "another data.delimiter, such as ';'")


def _is_example(view: View) -> bool:
    columns = view.spec.data.columns
    return list(columns) == ["x", "y"] and all(
        column == Column(type="float", nullable=False) for column in columns.values()
    )


def _check_template(files: str, form: str | None) -> Iterator[Finding]:
    path = ("data", "files")
    rest = _PLACEHOLDER.sub("x", files)
    repeated = [name for name, n in Counter(_PLACEHOLDER.findall(files)).items() if n > 1]
    packed = next((rest.removesuffix(ending) for ending in _PACKED if rest.endswith(ending)), rest)
    if not files or files.startswith("/") or "\\" in files or ".." in files.split("/") or files.endswith("/"):
        yield Finding(path, describe(files), "a path within the repository, with / between folders")
    elif re.search(r"[{}]", rest) or "}{" in files:
        yield Finding(path, quote(files), "{name} for each part that tells partitions apart, and a text between two")
    elif repeated:
        yield Finding(path, f"{{{repeated[0]}}} twice", "a name of its own for each part")
    elif re.search(r"[?\[\]]" if form == "images" or rest.lower().endswith(IMAGE_ENDINGS) else r"[*?\[\]]", rest):
        of_images = "; for images of several kinds, data.format: images" if "*" in rest and form is None else ""
        yield Finding(path, quote(files), "{name} for a part that varies, instead of a wildcard" + of_images)
    elif form is None and not packed.lower().endswith(_ENDINGS):
        yield Finding(path, quote(files), "a path that ends in .csv, .parquet, .jsonl or .png (or say data.format)")


def _check_images(images: str, view: View) -> Iterator[Finding]:
    path, data = ("data", "images"), view.spec.data
    wanted = [f"{{{name}}}" for name in _PLACEHOLDER.findall(data.files or "")]
    given = [f"{{{name}}}" for name in _PLACEHOLDER.findall(images)]
    if not images or images.startswith("/") or re.search(r"[*?\[\]\\]", images) or {"", ".."} & {*images.split("/")}:
        yield Finding(path, describe(images), "the path of a folder within the repository, with / between folders")
    elif given != wanted:
        names = f"{', '.join(wanted)}, in the order of data.files" if wanted else "no {name}, as in data.files"
        yield Finding(path, ", ".join(given) or "no {name}", names)
    if not any(column.type == "image" for column in data.columns.values()):
        yield Finding(path, "a folder of images, but no column of type image", "one (data.columns)", "key")


def check_columns(view: View) -> Iterator[Finding]:
    """Check the contract of each column."""
    for name, column in view.spec.data.columns.items():
        path = ("data", "columns", name)
        if name in {"", EVERY}:
            yield Finding(path, f"a column named {quote(name)}", "another name; '*' means every column", "key")
        yield from _check_range(path, column)
        yield from _check_allowed(path, column)
        yield from _check_pattern(path, column)
        yield from _check_format(path, column)
        if column.optional and not column.nullable:
            yield Finding((*path, "optional"), "true with nullable: false", "one of the two", "key")
        if column.image is not None and column.type != "image":
            yield Finding((*path, "image"), f"how to read images for {quote(column.type)}", "it only for image", "key")


def _check_range(path: KeyPath, column: Column) -> Iterator[Finding]:
    if column.range is None:
        return
    low, high = column.range
    if column.type not in NUMERIC:
        yield Finding((*path, "range"), f"a range for {quote(column.type)}", "a range only for float and int")
    elif low is not None and high is not None and low > high:
        yield Finding((*path, "range"), f"[{low:g}, {high:g}]", "the smaller bound first")


def _check_allowed(path: KeyPath, column: Column) -> Iterator[Finding]:
    for i, value in enumerate(column.allowed or ()):
        if not fits(value, column.type):
            yield Finding((*path, "allowed", i), describe(value), VALUES[column.type])
    repeated = [value for value, n in Counter(map(repr, column.allowed or ())).items() if n > 1]
    if repeated:
        yield Finding((*path, "allowed"), f"{repeated[0]} twice", "each value once")


def _check_pattern(path: KeyPath, column: Column) -> Iterator[Finding]:
    if column.pattern is None:
        return
    if column.type != "str":
        yield Finding((*path, "pattern"), f"a pattern for {quote(column.type)}", "a pattern only for str")
        return
    try:
        to_re2(column.pattern)
    except PatternError as error:
        expected = "a pattern without it, which is matched in a time that grows with the text alone"
        yield Finding((*path, "pattern"), f"{quote(column.pattern)} with {error}", expected)
    except (re.error, OverflowError, RecursionError) as error:
        offset = getattr(error, "pos", None) or 0
        yield Finding((*path, "pattern"), f"{quote(column.pattern)} ({error})", "a regular expression", offset=offset)


def _check_format(path: KeyPath, column: Column) -> Iterator[Finding]:
    if column.format is None:
        return
    if column.type != "datetime":
        yield Finding((*path, "format"), f"a format for {quote(column.type)}", "a format only for datetime")
        return
    moment = datetime(2013, 12, 31, 23, 59, 58)  # noqa: DTZ001 - only its digits matter
    try:
        read = datetime.strptime(moment.strftime(column.format), column.format)  # noqa: DTZ007
    except (ValueError, re.error):
        read = None
    if read is None or "%" not in column.format:
        yield Finding((*path, "format"), quote(column.format), "strptime's codes, such as %Y-%m-%d %H:%M:%S")


VALUES: Mapping[ColumnType, str] = {
    "float": "a number",
    "int": "a whole number",
    "str": "a text (in quotes, where it looks like something else)",
    "bool": "true or false",
    "datetime": "a time in ISO 8601, such as 2013-10-01T12:00:00Z",
    "image": "nothing, since this is a column of images",
}


def fits(value: Scalar, type_: ColumnType) -> bool:
    """Tell whether a value can stand in a column."""
    if type_ == "datetime":
        return isinstance(value, str) and _is_time(value)
    if type_ == "image":
        return False
    if type_ in NUMERIC:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and (type_ == "float" or float(value).is_integer())
    return isinstance(value, bool if type_ == "bool" else str)


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def check_derived(view: View) -> Iterator[Finding]:
    """Check each expression, and that it reads only what stands above it."""
    above: dict[str, int] = {}  # → texts that are joined in it
    for name, text in view.spec.data.derive.items():
        path = ("data", "derive", name)
        if name in {"", EVERY}:
            yield Finding(path, f"a column named {quote(name)}", "another name; '*' means every column", "key")
        if name in view.spec.data.columns:
            yield Finding(path, f"the name {quote(name)}, which is a column of the data too", "a new name", "key")
        yield from _check_expression(view, path, text, above)
        above[name] = _count_joined(view, name, above)
        if above[name] > _MOST_JOINED:
            above[name] = 1  # said once, and not of all that is built on it
            expected = f"at most {_MOST_JOINED} texts in one, or numbers (declare what they are made of: data.columns)"
            yield Finding(path, f"a sum of more than {_MOST_JOINED} values, columns above it included", expected)


def _count_joined(view: View, name: str, above: Mapping[str, int]) -> int:
    """Count the texts that are joined in a column: each column that joins the last one to itself doubles them."""
    if view.types.get(name, "str") != "str" or name not in view.expressions:
        return 1
    return _joined(view.expressions[name].root, above)


def _joined(node: Node, above: Mapping[str, int]) -> int:
    if isinstance(node, Name):
        return above.get(node.name, 1)
    parts = [_joined(each, above) for each in node.arguments] if isinstance(node, Call) else []
    if isinstance(node, Call) and node.name == "+":
        return sum(parts)
    return max(parts) if isinstance(node, Call) and node.name in {"if", "coalesce"} else 1


def _check_expression(view: View, path: KeyPath, text: str, above: Collection[str]) -> Iterator[Finding]:
    try:
        expression = parse(text)
    except ExpressionError as error:
        yield Finding(path, error.found, error.expected, offset=error.offset)
        return
    names = [node for node in walk(expression.root) if isinstance(node, Name)]
    findings = [finding for node in names for finding in _check_name(view, path, node, above)]
    yield from findings
    if findings or not view.declared:
        return
    if not expression.names <= view.types.keys():
        return
    try:
        kind_of(expression, kinds(view.types))
    except ExpressionError as error:
        yield Finding(path, error.found, error.expected, offset=error.offset)


def _check_name(view: View, path: KeyPath, node: Name, above: Collection[str]) -> Iterator[Finding]:
    own = path[-1]
    if node.name in view.spec.data.derive and node.name not in above and node.name not in view.spec.data.columns:
        cyclic = own in view.sources(node.name)
        found = "itself" if node.name == own else quote(node.name)
        reason = f"{found}, which reads {quote(str(own))} in turn" if cyclic and node.name != own else found
        expected = "columns that don't depend on it" if cyclic else f"{quote(node.name)} to be derived above it"
        yield Finding(path, f"an expression that reads {reason}", expected, offset=node.offset)
    else:
        yield from view.missing_column(path, node.name, offset=node.offset)


def check_key(view: View) -> Iterator[Finding]:
    """Check the columns that identify a row."""
    yield from check_names(view, ("data", "key"), view.spec.data.key, derived=False)


def check_names(view: View, path: KeyPath, names: Sequence[str], *, derived: bool = True) -> Iterator[Finding]:
    """Check a list of columns: each exists, none is named twice."""
    for i, name in enumerate(names):
        yield from view.missing_column((*path, i), name, derived=derived)
        if name in names[:i]:
            yield Finding((*path, i), f"{quote(name)} a second time", "each column once")
