"""Reads a dataclass of settings: command-line option, else environment, else TOML file, else default.

Nothing here knows a setting by name: the fields' types say what a value may be, in whichever form it comes.

    str | int | float | bool | Path | Literal["a", "b"], each also `| None`
    tuple[str, ...]           TOML: a list.     Environment: separated by commas, or a JSON list.
    a dataclass               TOML: [name].     Environment: a JSON object.
    tuple[a dataclass, ...]   TOML: [[name]].   Environment: a JSON list.
    Tables                    TOML: [name.any]. Environment: PREFIX_NAME__ANY__KEY, key by key.

Numbers are greater than zero unless `Annotated[int, Between(0, 9)]` says otherwise; `Annotated[…, SECRET]` is never
shown; `Annotated[…, Example("…")]` is what messages and `config example` show where the default says nothing.
Whatever can be set can be set by the path of a file that holds the text: `name_file`, PREFIX_NAME_FILE.
"""

from gateway.configuration.reading import Option, Origin, Problem, Reader, Reading
from gateway.configuration.tables import Tables
from gateway.configuration.values import SECRET, Between, Checked, Example, Kind

__all__ = [
    "SECRET",
    "Between",
    "Checked",
    "Example",
    "Kind",
    "Option",
    "Origin",
    "Problem",
    "Reader",
    "Reading",
    "Tables",
]
