"""Names, paths and the check of the configuration; no rules."""

import getpass
import hashlib
import json
import os
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError


def plain(value, given=None):
    """The configuration in JSON's types: dates as text, and the numbers that --config hands over as text as numbers.

    What stands as text in a file is text, "2025" too.

    Args:
        value: a part of the configuration.
        given: the same part of what --config gave; None for nothing.
    """
    if isinstance(value, dict):
        own = given if isinstance(given, Mapping) else {}
        return {key: plain(part, own.get(key)) for key, part in value.items()}
    if isinstance(value, list):
        return [plain(part, given) for part in value]
    if isinstance(value, str) and given is not None:
        try:
            read = yaml.safe_load(value)
        except yaml.YAMLError:  # no value of YAML's but a text, such as the operator *
            return value
        return read if isinstance(read, int | float | bool | None) else value
    return value if isinstance(value, int | float | bool | None) else str(value)


def has_package():
    """Whether the package is installed here; a module that it lacks is an error, and no reason to do less."""
    try:
        import reinforce_lite  # noqa: F401
    except ImportError:
        return False
    return True


def shown_path(path):
    """A path as it was given, from the working directory if it leads into it."""
    path = Path(path)
    inside = path.is_absolute() and path.is_relative_to(Path.cwd())
    return path.relative_to(Path.cwd()) if inside else path


def refused(check):
    """Run a check; if it refuses, its words are the last ones, without the lines that Snakemake has for an error."""
    try:
        check()
    except WorkflowError as error:
        sys.exit(str(error))


LAYERS = []  # the files of the configuration, where the package has read them


def where(*keys):
    """File and line of a key, as far as they are known."""
    if not LAYERS:
        return ""
    from reinforce_lite.io import layers

    return layers.where(keys, LAYERS)


def check_config():
    """Check the merged configuration: by the package if it is installed, else by its JSON schema."""
    if not has_package():
        return check_by_schema(read_schema())
    from reinforce_lite import config as settings
    from reinforce_lite import errors
    from reinforce_lite.io import layers

    shipped = os.path.normpath(SHIPPED.get_path_or_uri(secret_free=True))
    try:
        # Snakemake has read them already, but neither their lines nor what stands twice.
        base = OWN if os.path.exists(OWN) else shipped
        files = [base, *workflow.config_settings.configfiles]
        LAYERS[:] = [
            layers.read(path) for path in map(shown_path, files) if path.exists()
        ]
        if given := workflow.config_settings.config:
            LAYERS.append(layers.Layer(Path("--config"), dict(given), {}))
        settings.check_layers(LAYERS)
        config.update(settings.own_words(LAYERS))
        settings.validate(config, LAYERS)
    except errors.UserError as error:
        raise WorkflowError(str(error)) from None


def add_ablations():
    """With `snakemake ablations`, run every variant of the catalogue behind those that are chosen anyway.

    The Snakemake that a cluster's job starts is not told: it makes that job alone, which reads the written configuration.
    """
    if "ablations" in sys.argv[1:]:
        every = dict.fromkeys([*config["variants"], *config["training_variants"]])
        config["variants"] = list(every)


def check_folders():
    """See that the folders of results and logs are folders, or can become some."""
    for folder in (RESULTS, LOGS):
        place = folder
        while place and not os.path.isdir(place):
            if os.path.lexists(place):
                raise WorkflowError(
                    f"{place} is a file, or a link that leads to no folder\n"
                    "  fix: move it away, or make the folder that it leads to"
                )
            place = os.path.dirname(place)


def check_experiment():
    """See that results that have cost something are this experiment's: another one would overwrite them."""
    if not os.path.exists(f"{RESULTS}/preflight.json"):
        return
    try:
        with open(CONFIG) as handle:
            there = dict(names_of(json.load(handle)))
    except (OSError, ValueError, KeyError, TypeError):
        return  # it is written anew
    here = dict(names_of(config))
    common = {key for key in there if key in here}
    other = [k for k in sorted(common - {"models"}) if there[k] != here[k]]
    if not any(key.startswith("policies.") for key in common):
        other.append("models")
    for key in other[:1]:
        raise WorkflowError(
            f"{where('experiment')}experiment: {RESULTS} holds the results of another experiment of this name, whose "
            f"{key} is {there[key]} and not {here[key]}\n"
            f"  fix: set `experiment` to a name of its own, or move {RESULTS} away"
        )


def names_of(settings):
    """What an experiment is about: its task and where its policies come from, whatever folders they lie in."""
    task, chosen = settings["task"], settings["models"]
    yield "models", ", ".join(chosen)
    for key in ("name", "train", "test", "repo", "subset"):
        if isinstance(task.get(key), str):
            yield f"task.{key}", os.path.basename(task[key])
    for name in chosen:
        policy = settings["policies"][name]
        scratch = policy.get("from_scratch") or {}
        source = policy.get("repo") or scratch.get("architecture")
        yield f"policies.{name}", source or "a folder or a file"


def check_paths():
    """See that the files and folders that are named exist, before the first job; of finished results they may be gone."""
    if not workflow.is_main_process or os.path.exists(f"{RESULTS}/report.html"):
        return
    lines = [
        f"{where(*keys)}{'.'.join(keys)}: {path} does not exist"
        for keys, path in named_paths()
        if path and not os.path.exists(os.path.expanduser(path))
    ]
    if lines:
        fix = f"correct the path; a relative one starts at {os.getcwd()}"
        raise WorkflowError("\n".join(dict.fromkeys(lines)) + f"\n  fix: {fix}")


def named_paths():
    """Every path that the configuration names for the chosen models and variants, with its keys."""
    task, training = config["task"], config["training"]
    for name in config["models"]:
        yield ("policies", name, "path"), config["policies"][name].get("path")
    for key in ("path", "train", "test"):
        yield ("task", key), task[key] if isinstance(task.get(key), str) else None
    yield ("task", "name"), task["name"] if task["name"].endswith(".py") else None
    yield ("task", "grade"), file_of(task.get("grade"))
    for name in config["variants"]:
        own = config["training_variants"][name]
        keys = ("training_variants", name) if "reward" in own else ("training",)
        yield (*keys, "reward"), file_of({**training, **own}.get("reward"))


def name_user():
    """Give a user of a bare number, as in a container, a name: Snakemake (9.27) wants one and stops without."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ.update(USER=f"uid{os.getuid()}")


def write_config():
    """Write the merged configuration for the rules, whole or not at all.

    It is nobody's output and nobody's input: Snakemake (9.27) does not look at the other changes of a job while a job
    before it runs, even if an `ancient` file is all that joins them. The keys that a job depends on are its `params`.
    """
    temporary = f"{CONFIG}.{os.getpid()}.tmp"
    try:
        os.makedirs(RESULTS, exist_ok=True)
        with open(temporary, "w") as handle:
            json.dump(config, handle, indent=2)
        os.replace(temporary, CONFIG)
    except OSError as error:
        raise WorkflowError(
            f"cannot write {CONFIG}: {error.strerror}\n"
            "  fix: free some disk space, or make the folder writable for this user"
        ) from None


def workflow_folder():
    """Where the files of this workflow lie; None if it is a module from elsewhere, whose files lie in no folder."""
    rules = workflow.current_basedir.get_path_or_uri(secret_free=True)
    return None if "://" in rules else os.path.dirname(os.path.abspath(rules))


def word(text):
    """`text` as one word of a shell command that Snakemake is still to fill in."""
    return shlex.quote(str(text)).replace("{", "{{").replace("}", "}}")


config.update(plain(config, workflow.config_settings.config))
refused(check_config)
add_ablations()

EXPERIMENT = config["experiment"]
RESULTS = f"{config.get('results', 'results')}/{EXPERIMENT}"
LOGS = f"logs/{EXPERIMENT}"
CONFIG = f"{RESULTS}/config.json"
WORKFLOW = workflow_folder()
SCHEMA = read_schema()

refused(check_folders)
name_user()


wildcard_constraints:
    model="|".join(map(re.escape, config["models"])),
    variant="|".join(map(re.escape, config["training_variants"])),
    seed=r"\d+",


def sum_of(name, path):
    """The SHA-256 of a file of the user's own, by a name; nothing where there is none."""
    if not path or not os.path.isfile(path):
        return {}
    with open(path, "rb") as handle:
        return {name: hashlib.file_digest(handle, "sha256").hexdigest()}


def file_of(function):
    """The file of a function of the user's own, such as my_reward.py:score; None for any other value."""
    found = (
        re.fullmatch(r"(.+\.py):\w+", function) if isinstance(function, str) else None
    )
    return found and os.path.expanduser(found[1])


def task_file():
    """The SHA-256 of a task's own code, which can change every result; nothing for a task of the package."""
    task = config["task"]
    named = sum_of("task_file", task["name"]) if task["name"].endswith(".py") else {}
    return {**named, **sum_of("grade_file", file_of(task.get("grade")))}


def data_files():
    """The SHA-256 of the user's own questions."""
    files = {}
    for key in ("train", "test"):
        named = config["task"].get(key)
        if isinstance(named, str):
            files.update(sum_of(f"{key}_file", os.path.expanduser(named)))
    return files


def task_part(wildcards):
    return {"task": config["task"], **task_file(), **data_files()}


def policy_part(wildcards):
    """The policy before training: its own settings."""
    return config["policies"][wildcards.model]


def plan_part(wildcards):
    """What preflight plans with; the limit is not among it: what has found room under one is not checked again."""
    keys = ("models", "variants", "hardware", "task", "policies", "training")
    seeds = {name: seeds_of(name) for name in config["variants"]}
    variants = {name: config["training_variants"][name] for name in config["variants"]}
    rewards = {
        name: {**config["training"], **variants[name]}.get("reward")
        for name in variants
    }
    files = {**task_file(), **data_files()}
    for name, chosen in rewards.items():
        files.update(sum_of(f"reward_file {name}", file_of(chosen)))
    more = {"seeds": seeds, "chosen": variants, "evaluation": evaluation_part(None)}
    return {**{key: config[key] for key in keys}, **more, **files}


def training_part(wildcards):
    settings = {**config["training"], **config["training_variants"][wildcards.variant]}
    return {**settings, **sum_of("reward_file", file_of(settings.get("reward")))}


def prompt_part(wildcards):
    """The prompt of a variant, or of the policy before training."""
    trained = hasattr(wildcards, "variant")
    own = training_part(wildcards).get("prompt") if trained else None
    return {"prompt": own or config["task"]["prompt"]}


def jobs_at_once():
    """How many jobs may use devices at the same time, as `Hardware.jobs_at_once` has it."""
    hardware = config["hardware"]
    return hardware.get("count", 1) if hardware.get("side_by_side") else 1


def count_part(wildcards):
    """How many devices a training takes."""
    return {"count": config["hardware"].get("count", 1) // jobs_at_once()}


def evaluation_part(wildcards):
    """How often the bootstrap resamples changes no evaluation, nor whether there is a second one."""
    left_out = ("bootstrap_resamples", "noise_floor")
    return {
        key: value for key, value in config["evaluation"].items() if key not in left_out
    }


def resamples_part(wildcards):
    return config["evaluation"].get("bootstrap_resamples")


def arithmetic_part(wildcards):
    """What can change any number: the device, and the file of a task."""
    keys = ("device", "cpu_threads")
    parts = {**{key: config["hardware"].get(key) for key in keys}, **task_file()}
    if config["hardware"].get("cpu_instructions", "native") != "native":
        parts["cpu_instructions"] = config["hardware"]["cpu_instructions"]
    return parts


def all_part(wildcards):
    """Everything but the image, because each result says what made it, and how often checkpoints are written.

    Whether the noise floor is measured is part of it only if it is: older configurations do not have the key.
    """
    left_out = ("container", "checkpoint")
    own = config["evaluation"].items()
    evaluation = {key: part for key, part in own if part or key != "noise_floor"}
    parts = {**config, "evaluation": evaluation}
    return {key: part for key, part in parts.items() if key not in left_out}


def settings_of(stage):
    """The parts of the configuration that decide a job's result: no other key may run it, and cost money, again."""
    parts = [globals()[f"{name}_part"] for name in stage["key"]]

    def settings(wildcards):
        values = [part(wildcards) for part in parts]
        if len(values) == 1:
            return values[0]
        every = {key: value for part in values for key, value in part.items()}
        return unread_as_made(stage, wildcards, every) if stage["unread"] else every

    return settings


def unread_as_made(stage, wildcards, settings):
    """The settings with those that change no number as they were when the job was done: it is not done again for them.

    A key that had its default then is taken for absent.
    """
    path = f"{RESULTS}/{stage['decision']}".format(**dict(wildcards.items()))
    if not os.path.exists(path):
        return settings
    with open(path) as handle:
        under = json.load(handle)["under"]
    sections = {
        "training": (
            "Training",
            lambda: {
                **under["training"],
                **under["training_variants"].get(wildcards.variant, {}),
            },
        ),
        "evaluation": ("Evaluation", lambda: under["evaluation"]),
        "policy": ("PolicySettings", lambda: under["policies"][wildcards.model]),
    }
    section, made = sections[stage["key"][0]]
    made, known = made(), SCHEMA["$defs"][section]["properties"]
    for name in stage["unread"]:
        default = known[name].get("default")
        if name in made and differs(made[name], settings.get(name, default)):
            settings = {**settings, name: made[name]}
            if made[name] == default:
                del settings[name]
    return settings


def launcher():
    """What stands before a command that is to run once for each device: nothing, or Accelerate's launcher."""
    count = config["hardware"].get("count", 1) // jobs_at_once()
    if count == 1:
        return ""
    # Without --multi_gpu Accelerate (1.15) starts a single process on a CPU, whatever it is told. Port 0 is a free one.
    device = "ACCELERATE_USE_CPU=true " if config["hardware"]["device"] == "cpu" else ""
    return (
        f"{device}accelerate launch --multi_gpu --num_processes {count} --num_machines 1 --mixed_precision no"
        " --dynamo_backend no --main_process_port 0 --no_python "
    )


def seeds_of(variant):
    """The training seeds of a variant, as `Settings.seeds_of` has them."""
    some = config.get("control_seeds")
    return config["seeds"] if some is None or variant == config["variants"][0] else some


def budget_round(stage):
    """How often a job has been given another budget: what had no room under an old one is run again under a new one.

    The job's command writes the file (src/reinforce_lite/budget/decision.py). A job that is finished keeps its
    round, so no budget runs it again.
    """

    def count(wildcards):
        path = f"{RESULTS}/{stage['decision']}".format(**dict(wildcards.items()))
        if not os.path.exists(path):
            return 0
        with open(path) as handle:
            decision = json.load(handle)
        again = {
            None: False,
            "not run": differs(decision["under"], config),
            "stopped": richer(decision["under"]),
        }
        return decision["round"] + again[decision["kind"]]

    return count


def differs(under, now):
    """Whether a key has another value now than `under`; keys that are left out have their default."""
    if not (isinstance(under, dict) and isinstance(now, dict)):
        return under != now
    return any(differs(under[key], now[key]) for key in now if key in under)


def richer(under):
    """Whether a training that was stopped could now take more steps than `under` an old limit or price."""
    limits = config["budget"]["limit_usd"], under["budget"]["limit_usd"]
    prices = config["hardware"]["usd_per_hour"], under["hardware"]["usd_per_hour"]
    return limits[0] > limits[1] or prices[0] < prices[1]


refused(check_experiment)
refused(check_paths)
