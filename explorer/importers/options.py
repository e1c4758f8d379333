"""`--option key=value`: values that a file does not state. The number of experts must come from an option
or the file; the largest id is only a lower bound, since an expert may be idle."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from explorer.errors import ConfigError, ForeignFileError
from explorer.recording.folder_schema import MAX_EXPERTS, MAX_LAYERS
from explorer.recording.info import RUN_ID_PATTERN

COMMON = (
    "num_experts",
    "top_k",
    "layers",
    "layer_offset",
    "phase",
    "scope",
    "unit",
    "name",
    "run_id",
    "balancer",
    "reference",
)
"""Options of every format."""
LONGEST_VALUE = 2000
RANGE = re.compile(r"(\d{1,9})-(\d{1,9})")


def parse_options(pairs: Iterable[str]) -> dict[str, str]:
    """`key=value` texts as a dictionary. Raises ConfigError for a text without `=` or a key given twice."""
    options: dict[str, str] = {}
    for text in pairs:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ConfigError("--option", text, "must be key=value", "write e.g. --option num_experts=60")
        if key.strip() in options:
            raise ConfigError("--option", text, "is given twice", "give each option once")
        options[key.strip()] = value.strip()
    return options


class Options:
    """The options of one import, each validated when a format reads it."""

    def __init__(self, values: Mapping[str, str], own: Sequence[str], file_name: str) -> None:
        """own: the options of the format beside the common ones. Raises ConfigError for an unknown one."""
        names = (*COMMON, *own)
        for key, value in values.items():
            if key not in names:
                raise ConfigError(
                    "--option", key, "is not an option of this format", f"choose one of {', '.join(names)}"
                )
            if len(value) > LONGEST_VALUE:
                raise _wrong(key, value, f"must have at most {LONGEST_VALUE} characters")
        if "run_id" in values and not RUN_ID_PATTERN.fullmatch(values["run_id"]):
            raise _wrong(
                "run_id", values["run_id"], "must be 1 to 100 of A-Z a-z 0-9 . _ -, a letter or digit first"
            )
        self.values = dict(values)
        self._file = file_name

    def text(self, name: str, default: str = "") -> str:
        """An option as it was written; `default` if it is not given."""
        return self.values.get(name, default)

    def integer(self, name: str, *, least: int = 0, most: int = 2**53) -> int | None:
        """An integer, or None if the option is not given."""
        value = self.values.get(name)
        if value is None:
            return None
        if not re.fullmatch(r"-?\d{1,18}", value) or not least <= int(value) <= most:
            raise _wrong(name, value, f"must be a whole number from {least} to {most}")
        return int(value)

    def choice(self, name: str, allowed: Sequence[str]) -> str:
        """One of the allowed values; the first one if the option is not given."""
        value = self.values.get(name, allowed[0])
        if value not in allowed:
            raise _wrong(name, value, f"must be one of {', '.join(allowed)}")
        return value

    def numbers(self, name: str, most: int = MAX_LAYERS * 10) -> tuple[int, ...] | None:
        """Integers in ascending order, e.g. `3-60` or `0,2,4`; None if the option is not given."""
        value = self.values.get(name)
        if value is None:
            return None
        numbers: list[int] = []
        for part in value.split(","):
            span = RANGE.fullmatch(part.strip())
            if span and int(span[2]) - int(span[1]) <= MAX_LAYERS:
                numbers += range(int(span[1]), int(span[2]) + 1)
            elif re.fullmatch(r"\d{1,9}", part.strip()):
                numbers.append(int(part))
            else:
                raise _wrong(name, value, "must be numbers such as 3-60 or 0,2,4")
        if not numbers or sorted(set(numbers)) != numbers or numbers[-1] > most or len(numbers) > MAX_LAYERS:
            raise _wrong(name, value, f"must be at most {MAX_LAYERS} different numbers in ascending order")
        return tuple(numbers)

    def num_experts(
        self, in_file: int | None = None, largest_id: Callable[[], int | None] | None = None
    ) -> int:
        """E: from the option, else from the file. Raises ForeignFileError if neither states it, or if they
        differ. largest_id: asked if neither does, so that the error names the ids that occur."""
        own = self.integer("num_experts", least=1, most=MAX_EXPERTS)
        if in_file is not None and not 1 <= in_file <= MAX_EXPERTS:
            raise ForeignFileError(
                f"{self._file}: states {in_file} experts, which must be 1 to {MAX_EXPERTS}; check the file."
            )
        if own is not None and in_file is not None and own != in_file:
            raise ForeignFileError(
                f"{self._file}: has {in_file} experts per layer, but --option num_experts={own} was given; "
                "leave the option out or check the file."
            )
        number = in_file if own is None else own
        if number is None:
            raise self._unknown_experts(None if largest_id is None else largest_id())
        return number

    def _unknown_experts(self, largest_id: int | None) -> ForeignFileError:
        if largest_id is None:
            return self.question("num_experts", "how many experts a layer has", "60")
        least = largest_id + 1
        return ForeignFileError(
            f"{self._file}: does not say how many experts a layer has; its expert ids run to {largest_id}, "
            f"so at least {least}, and more if some are idle; give it with --option num_experts=…, e.g. "
            f"--option num_experts={least}."
        )

    def top_k(self, in_file: int | None = None) -> int | None:
        """K: from the option, else from the file; None if neither states it."""
        own = self.integer("top_k", least=1, most=MAX_EXPERTS)
        return in_file if own is None else own

    def question(self, name: str, what: str, example: str) -> ForeignFileError:
        """The error for a missing option."""
        return ForeignFileError(
            f"{self._file}: does not say {what}, and its rows cannot show it; "
            f"give it with --option {name}=…, e.g. --option {name}={example}."
        )


def _wrong(name: str, value: str, rule: str) -> ConfigError:
    return ConfigError(f"--option {name}", value, rule, "correct the option")
