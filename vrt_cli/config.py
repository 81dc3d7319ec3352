"""Settings of a command in a TOML file: read as defaults, which the command line overrides, and printed."""

import difflib
import json
from pathlib import Path
from typing import Any

import typer

NO_SETTINGS = ("config", "print_config", "help")
"""Parameters that a file does not hold."""


def load_defaults(context: typer.Context, path: Path | None) -> Path | None:
    """Take the settings of a file as defaults of the command; callback of an eager option.

    Raises:
        BadParameter: If the file cannot be read, or has a key that is no setting of the command, or a value of another
            kind.
    """
    if path is None or context.resilient_parsing:
        return path
    import tomllib  # from Python 3.11 on; the other commands do without

    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise typer.BadParameter(f"{path}: {reason}", param_hint="--config") from None
    parameters = {key_of(parameter): parameter for parameter in _parameters(context)}
    defaults = {}
    for key, value in table.items():
        parameter = parameters.get(key.replace("_", "-"))
        if parameter is None:
            nearest = difflib.get_close_matches(key, parameters, n=1, cutoff=0)
            raise typer.BadParameter(
                f"{path}: {key!r} is no setting of vrt {context.info_name}; the nearest is {nearest[0]!r}",
                param_hint="--config",
            )
        if not _fits(parameter, value):
            raise typer.BadParameter(f"{path}: {key} must be {_kind(parameter)}", param_hint="--config")
        defaults[parameter.name] = _as_words(value)
    context.default_map = {**(context.default_map or {}), **defaults}
    return path


def format_settings(context: typer.Context) -> str:
    """Return the settings of the command as TOML, those that are not set as comments.

    Raises:
        BadParameter: If one of them is no text in Unicode, which a file name need not be.
    """
    lines = []
    for parameter in _parameters(context):
        key, value = key_of(parameter), context.params[parameter.name]
        lines.append(f"# {key} is not set" if value is None else f"{key} = {_format(value, key)}")
    return "\n".join(lines)


def key_of(parameter: Any) -> str:
    """Return the key of a parameter in a file: its name with hyphens, as most flags have it."""
    return str(parameter.name).replace("_", "-")


def _parameters(context: typer.Context) -> list[Any]:
    return [parameter for parameter in context.command.params if parameter.name not in NO_SETTINGS]


def _kind(parameter: Any) -> str:
    if getattr(parameter, "is_flag", False):
        return "true or false"
    return "a list of texts" if _is_list(parameter) else "a text or a number"


def _is_list(parameter: Any) -> bool:
    return getattr(parameter, "multiple", False) or parameter.nargs == -1


def _fits(parameter: Any, value: Any) -> bool:
    """Return whether a value is of the kind of a parameter."""
    if getattr(parameter, "is_flag", False):
        return isinstance(value, bool)
    if _is_list(parameter):
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)


def _as_words(value: Any) -> Any:
    """Return a value as the command line would give it, so that the same values are refused."""
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _format(value: Any, key: str) -> str:
    """Return a value in TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_format(item, key) for item in value)}]"
    try:
        str(value).encode()
    except UnicodeEncodeError:
        raise typer.BadParameter(f"{key} ({value!r}) is no text in Unicode, and TOML holds no other") from None
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
