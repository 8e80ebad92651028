"""Names, paths and the check of the configuration; no rules."""

import json
import os
import shlex
import sys

import yaml
from snakemake.exceptions import WorkflowError


def plain(value):
    """The configuration in JSON's types: dates as text, and the numbers that --config hands over as text as numbers."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [plain(part) for part in value]
    if isinstance(value, str):
        read = yaml.safe_load(value) if len(value) < 32 and ":" not in value else value
        return read if isinstance(read, int | float | bool | None) else value
    return value if isinstance(value, int | float | bool | None) else str(value)


def check_config():
    """Check the merged configuration: by the package if it is installed, else by its JSON schema."""
    try:
        from reinforce_lite import errors, settings
    except ImportError:
        return check_by_schema(read_schema())
    try:
        settings.validate(config)
    except errors.UserError as error:
        raise WorkflowError(str(error)) from None


def add_ablations():
    """With `snakemake ablations`, run every variant of the catalogue behind those that are chosen anyway.

    The Snakemake that a cluster's job starts is not told: it makes that job alone, which reads the written configuration.
    """
    if "ablations" in sys.argv[1:]:
        every = dict.fromkeys([*config["variants"], *config["training_variants"]])
        config["variants"] = list(every)


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


config.update(plain(config))
check_config()
add_ablations()

EXPERIMENT = config["experiment"]
RESULTS = f"{config.get('results', 'results')}/{EXPERIMENT}"
LOGS = f"logs/{EXPERIMENT}"
BENCHMARKS = f"{RESULTS}/benchmarks"
CONFIG = f"{RESULTS}/config.json"
WORKFLOW = workflow_folder()
RUN = "{model}/{variant}/seed{seed}"


wildcard_constraints:
    model="|".join(map(re.escape, config["models"])),
    variant="|".join(map(re.escape, config["training_variants"])),
    seed=r"\d+",


def chosen(*keys):
    """The parts of the configuration that a rule depends on, so that no other key runs it (and costs money) again."""
    return {key: config[key] for key in keys}


def policy_settings(wildcards):
    """What the policy before training depends on: its own settings, and the device's arithmetic."""
    return {**config["policies"][wildcards.model], **arithmetic()}


def planned():
    """What preflight plans with; the limit is not among it, for what has found room under one is not looked at again."""
    keys = ("models", "variants", "hardware", "task", "policies", "training")
    seeds = {name: seeds_of(name) for name in config["variants"]}
    variants = {name: config["training_variants"][name] for name in config["variants"]}
    evaluation = {
        key: value
        for key, value in config["evaluation"].items()
        if key != "bootstrap_resamples"
    }
    more = {"seeds": seeds, "chosen": variants, "evaluation": evaluation}
    return {**chosen(*keys), **more}


def prompt_of(wildcards):
    """The prompt of a variant, or of the policy before training."""
    variant = config["training_variants"].get(getattr(wildcards, "variant", None), {})
    own = variant.get("prompt", config["training"].get("prompt"))
    return own if own and hasattr(wildcards, "variant") else config["task"]["prompt"]


def same_cost(wildcards):
    """The training whose cost is the measure for this one, if there is one."""
    other = config["training_variants"][wildcards.variant].get(
        "same_cost_as", config["training"].get("same_cost_as")
    )
    run = f"{RESULTS}/train/{wildcards.model}/{other}/seed{wildcards.seed}"
    return f"{run}/training.json" if other else []


def training_priority(wildcards):
    """All trainings of one seed come before those of the next: what the money leaves out are whole seeds."""
    seeds, seed = config["seeds"], int(wildcards.seed)
    return max(1, 40 - (seeds.index(seed) if seed in seeds else len(seeds)))


def training_settings(wildcards):
    """What a training run depends on; the price is not among it."""
    training = {**config["training"], **config["training_variants"][wildcards.variant]}
    count = config["hardware"].get("count", 1)
    return {
        **training,
        "prompt": prompt_of(wildcards),
        "count": count,
        **arithmetic(),
    }


def evaluation_settings(wildcards):
    """What an evaluation depends on; how often the bootstrap resamples is not among it."""
    evaluation = {
        key: value
        for key, value in config["evaluation"].items()
        if key != "bootstrap_resamples"
    }
    return {**evaluation, "prompt": prompt_of(wildcards), **arithmetic()}


def arithmetic():
    """The keys of `hardware` that can change a number."""
    return {key: config["hardware"].get(key) for key in ("device", "cpu_threads")}


def launcher():
    """What stands before a command that is to run once for each device: nothing, or Accelerate's launcher."""
    count = config["hardware"].get("count", 1)
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


def runs(path):
    """`path` for every model and each of its trainings."""
    return [
        one
        for model in config["models"]
        for variant in config["variants"]
        for one in expand(path, model=model, variant=variant, seed=seeds_of(variant))
    ]


def budget_round(stage):
    """How often a job has been given another budget: what had no room under an old one is run again under a new one.

    The job's command writes the file (src/reinforce_lite/accounting/verdict.py). A job that is finished keeps its
    round, so no budget runs it again.
    """

    def count(wildcards):
        run = [
            getattr(wildcards, name)
            for name in ("model", "variant")
            if hasattr(wildcards, name)
        ]
        run += [f"seed{wildcards.seed}"] if hasattr(wildcards, "seed") else []
        path = os.path.join(RESULTS, "budget", stage, *run) + ".json"
        if not os.path.exists(path):
            return 0
        with open(path) as handle:
            told = json.load(handle)
        again = {
            None: False,
            "not run": differs(told["under"], config),
            "stopped": richer(told["under"]),
        }
        return told["round"] + again[told["kind"]]

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
