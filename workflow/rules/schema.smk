"""The check of the configuration where the package is not installed, as on a host of containers; no rules.

It needs what Snakemake itself installs. What only the package can check, preflight does, inside the container.
"""

import json

from jsonschema import Draft202012Validator
from snakemake.exceptions import WorkflowError


def read_schema():
    """The JSON schema of the configuration, wherever this workflow comes from."""
    path = workflow.current_basedir.join("../schemas/config.schema.json")
    with workflow.sourcecache.open(path) as handle:
        return json.load(handle)


def check_by_schema(schema):
    """Check the merged configuration, with the words of the package where that is possible.

    Raises:
        WorkflowError: one line for every key that is unknown, absent or has a bad value.
    """
    lines = schema_lines(config, schema) or names_lines() or variants_lines(schema)
    if lines:
        raise WorkflowError(
            "\n".join(["the configuration is not valid:", *lines])
            + "\n  fix: correct the key; config/README.md says what each one means"
        )


def schema_lines(instance, schema, prefix=()):
    """A line for each place at which `instance` breaks the schema."""
    errors = Draft202012Validator(schema).iter_errors(instance)
    return [line for error in errors for line in error_lines(error, prefix)]


def error_lines(error, prefix):
    """One error of the schema as lines that name the keys."""
    where = [*prefix, *map(str, error.absolute_path)]
    if error.validator == "additionalProperties":
        unknown = sorted(set(error.instance) - set(error.schema["properties"]))
        return [f"  - {'.'.join([*where, key])}: unknown key" for key in unknown]
    if error.validator == "required":
        absent = error.message.split("'")[1]
        return [f"  - {'.'.join([*where, absent])}: this key is needed"]
    if error.validator == "anyOf":  # null, or what the error is about
        parts = [part for part in error.context if part.schema != {"type": "null"}]
        return [line for part in parts for line in error_lines(part, prefix)]
    # The patterns of addresses keep secrets out, which must not be printed either.
    address = error.validator == "pattern" and "://" in error.instance
    said = "a user, a password or a token in the address" if address else error.message
    return [f"  - {'.'.join(where) or 'configuration'}: {said}"]


def names_lines():
    """A line for each chosen model or variant that is in no catalogue, and each seed that is written with a point."""
    catalogues = {"models": "policies", "variants": "training_variants"}
    points = [
        f"  - seeds: {seed} is written with a point"
        for seed in config["seeds"]
        if isinstance(seed, float)
    ]
    return points + [
        f"  - {key}: '{name}' is not one of {', '.join(sorted(config[catalogue]))}"
        for key, catalogue in catalogues.items()
        for name in config[key]
        if name not in config[catalogue]
    ]


def variants_lines(schema):
    """A line for each key of a variant that `training` would not take."""
    training = {"$defs": schema["$defs"], "$ref": "#/$defs/Training"}
    return [
        line
        for name, variant in config["training_variants"].items()
        for line in schema_lines(
            {**config["training"], **variant}, training, ("training_variants", name)
        )
    ]
