"""Contents of a file as a pydantic model, and pydantic's errors as sentences of `course.files`."""

import collections.abc
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import AfterValidator, BaseModel, ConfigDict, Strict, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from explorer.course.cards import slug_of
from explorer.course.files import FileProblem, Mistake, read_toml
from explorer.errors import value_text

RULES_BROKEN = "rules_broken"
"""Type of the errors that `refuse` raises."""


class FileModel(BaseModel):
    """A table of a file: unknown fields are mistakes, and values are never converted from text."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


Model = TypeVar("Model", bound=FileModel)


def refuse(mistakes: Iterable[Mistake]) -> None:
    """Raise the mistakes as a validator's error; return if there are none."""
    broken = list(mistakes)
    if broken:
        raise PydanticCustomError(RULES_BROKEN, "breaks a rule", {"mistakes": broken})


def _stripped(text: str) -> str:
    """Strip the text."""
    text = text.strip()
    refuse([] if text else [Mistake(None, "must not be empty")])
    return text


def at_most(words: int) -> Callable[[str], str]:
    """A validator of the length of a text."""

    def check(text: str) -> str:
        count, start = len(text.split()), " ".join(text.split()[:4])
        mistake = Mistake(f"{start} …", f"has {count} words; {words} are the most")
        refuse([mistake] if count > words else [])
        return text

    return check


AnyText = Annotated[str, Strict()]
Text = Annotated[AnyText, AfterValidator(_stripped)]
Number = Annotated[float, Strict()]
"""Whole numbers too, but not true and false."""


def load(path: Path, model: type[Model], context: object, **values: object) -> Model:
    """Read one file.

    context: what the validators of the model may look names up in. values: fields that do not come from the
    file. Raises FileProblem with one sentence per mistake.
    """
    content = read_toml(path)
    reserved = [(name,) for name in content if name in values]
    own = {name: value for name, value in content.items() if name not in values}
    try:
        result = model.model_validate({**own, **values}, context=context)
    except ValidationError as error:
        lines = error.errors(include_url=False)
    else:
        lines = []
    words = [_unknown(model, location, content[location[0]], values) for location in reserved]
    words += [sentence for line in lines for sentence in _sentences(model, line, values)]
    if words:
        raise FileProblem([f"{path.name}: {sentence}." for sentence in words])
    return result


def load_folder(folder: Path, read: Callable[[Path], Model]) -> tuple[tuple[Model, ...], tuple[str, ...]]:
    """Every `*.toml` of a folder, in the order of the file names, and one sentence per mistake.

    read: returns the content of one file or raises FileProblem; a damaged file does not stop the others. Of
    two files whose names differ only in their number, the first counts.
    """
    contents: dict[str, Model] = {}
    problems: list[str] = []
    for path in sorted(folder.glob("*.toml")):
        slug = slug_of(path)
        try:
            content = read(path)
        except FileProblem as error:
            problems += error.sentences
            continue
        if slug in contents:
            problems.append(f"{path.name}: another file has the name {slug!r}; rename one.")
        contents.setdefault(slug, content)
    return tuple(contents.values()), tuple(problems)


def _sentences(model: type[FileModel], line: ErrorDetails, values: Mapping[str, object]) -> list[str]:
    """The sentences of one pydantic error; an error of `refuse` has one per mistake."""
    location, value, kind = line["loc"], line["input"], line["type"]
    if kind == RULES_BROKEN:
        mistakes: list[Mistake] = line["ctx"]["mistakes"]
        return [
            _complaint(location, value if m.value is None else m.value, m.rule, m.under) for m in mistakes
        ]
    if kind == "extra_forbidden":
        return [_unknown(model, location, value, values)]
    kind_name = kind_of(_annotation(model, location))
    if kind == "missing":
        return [f"{_path(location)} is missing: it must be {kind_name}"]
    if kind == "literal_error":
        return [
            _complaint(location, value, f"must be one of {', '.join(get_args(_annotation(model, location)))}")
        ]
    is_entry = bool(location) and isinstance(location[-1], int)
    return [
        _complaint(
            location, value, f"every entry must be {kind_name}" if is_entry else f"must be {kind_name}"
        )
    ]


def _complaint(location: Sequence[int | str], value: object, rule: str, under: str = "") -> str:
    return f"{_path(location)}{under} = {value_text(value)}: {rule}"


def _unknown(
    model: type[FileModel], location: Sequence[int | str], value: object, values: Mapping[str, object]
) -> str:
    table = _annotation(model, location[:-1])
    fields = [name for name in table.model_fields if name not in values or len(location) > 1]
    return _complaint(location, value, f"is not a field here; the fields are {', '.join(fields)}")


def _path(location: Sequence[int | str]) -> str:
    """`steps[1].panel`; entries of a list of values have the path of the list."""
    parts = list(location[:-1] if location and isinstance(location[-1], int) else location)
    text = ""
    for part in parts:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _annotation(model: type[FileModel], location: Sequence[int | str]) -> Any:
    """Annotation of a location in the model: a class, a `FieldInfo` for a field with bounds, or a type."""
    place: Any = model
    for part in location:
        if isinstance(part, int):
            place = get_args(_plain(place))[0]
        else:
            field: FieldInfo = _plain(place).model_fields[part]
            place = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    return _plain(place) if not _bounds(place) else place


def _plain(annotation: Any) -> Any:
    """Without `Annotated` and without `| None`."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) is UnionType:
        return next(_plain(part) for part in get_args(annotation) if part is not NoneType)
    return annotation


def _bounds(annotation: Any) -> tuple[Any, Any] | None:
    """Lowest and highest value of a number."""
    parts = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    low = next((part.ge for part in parts if isinstance(part, Ge)), None)
    high = next((part.le for part in parts if isinstance(part, Le)), None)
    return None if low is None else (low, high)


def kind_of(annotation: Any) -> str:
    """A type in words, to complete the sentence "must be …"."""
    bounds, kind = _bounds(annotation), _plain(annotation)
    if bounds is not None:
        low, high = bounds
        return f"a whole number of at least {low}" if high is None else f"a whole number from {low} to {high}"
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (tuple, list):
        return f"a list of {kind_of(parts[0]).partition(' ')[2]}s"
    if origin is collections.abc.Mapping or (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return "a table"
    return {bool: "true or false", float: "a number", int: "a whole number"}.get(kind, "a text")
