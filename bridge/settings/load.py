"""Settings from all their sources, or one line that says what is wrong with them."""

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from bridge.errors import StartError
from bridge.settings.model import Settings
from bridge.settings.sources import (
    PORTS,
    Given,
    from_kubernetes,
    in_dotenv,
    in_environment,
    in_yaml,
    unknown,
    yaml_path,
)

_LONGEST_SHOWN = 200


def load_settings(**overrides: Any) -> Settings:
    """Read the settings: `overrides` win over the environment, then `.env`, then `bridge.yaml`.

    An override of None stands for an option that was not given. Raises StartError for an unknown
    setting, a value that is not allowed and settings that do not go together; no secret is in it.
    """
    options = {name: value for name, value in overrides.items() if value is not None}
    given = [
        *(Given(name, name, value) for name, value in options.items()),
        *in_environment(),
        *in_dotenv(),
    ]
    problems = unknown(given, Settings.model_fields)
    if not problems:
        try:
            return Settings(**options)
        except ValidationError as error:
            problems = list(_problems(error, given))
    # Raised out of the `except`, so that no traceback shows the values that pydantic holds.
    raise StartError("; ".join(problems))


def _problems(error: ValidationError, given: list[Given]) -> Iterator[str]:
    config_dir = next((one.value for one in given if one.name == "config_dir"), None)
    path = yaml_path(str(config_dir)) if config_dir else None
    everywhere = [*given, *(in_yaml(path) if path else ())]
    for details in error.errors():
        if not details["loc"]:
            yield _sentence(details)
            continue
        name = str(details["loc"][0])
        source = next(one for one in everywhere if one.name == name)
        yield _problem(source, Settings.model_fields[name], details)


def _problem(source: Given, field: FieldInfo, details: ErrorDetails) -> str:
    if source.name in PORTS and from_kubernetes(str(source.value)):
        service = "-".join(("bridge", *source.name.split("_")[:-1]))
        return (
            f"{source.where} is {source.value}, which Kubernetes sets for a Service called "
            f"`{service}`: set BRIDGE_{source.name.upper()}={field.default} in the container's "
            "env, or `enableServiceLinks: false` in the pod's spec"
        )
    said = _sentence(details) if details["type"] == "value_error" else _allowed(field)
    return f"{source.where} is {_shown(source.value, field)}: it {said}"


def _sentence(details: ErrorDetails) -> str:
    return str(details.get("ctx", {}).get("error", details["msg"]))


def _allowed(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return f"must be one of {', '.join(get_args(field.annotation))}"
    kinds = _kinds(field.annotation)
    if bool in kinds:
        return "must be true or false"
    if int not in kinds and float not in kinds:
        return "must be a text"
    number = "a whole number" if int in kinds else "a number"
    least, most = _limit(field, "ge"), _limit(field, "le")
    if most is not None:
        return f"must be {number} from {least} to {most}"
    return f"must be {number}" + ("" if least is None else f", at least {least}")


def _kinds(annotation: Any) -> set[Any]:
    """Give what an annotation is made of: SecretStr too in `Annotated[SecretStr, …] | None`."""
    parts = get_args(annotation)
    return set().union(*map(_kinds, parts)) if parts else {annotation}


def _limit(field: FieldInfo, which: str) -> Any:
    return next((getattr(one, which) for one in field.metadata if hasattr(one, which)), None)


def _shown(value: object, field: FieldInfo) -> str:
    """Show a wrong value, unless it is or may hold a secret: a login in a URL, a pasted key."""
    text = str(value)
    if (
        SecretStr in _kinds(field.annotation)
        or "@" in text
        or "-----" in text
        or len(text) > _LONGEST_SHOWN
    ):
        return "wrong (not shown, it may hold a secret)"
    return repr(text)
