"""The rules, one for each stage of the package's table (src/reinforce_lite/stages.py, written to stages.json)."""


def read_stages():
    """The stages that are not switched off, wherever this workflow comes from."""
    path = workflow.current_basedir.join("../stages.json")
    with workflow.sourcecache.open(path) as handle:
        stages = json.load(handle)
    on = [
        one
        for one in stages
        if not one["switch"] or config["evaluation"].get(one["switch"])
    ]
    made = {path for one in on for path in one["outputs"].values()}
    return [{**one, "inputs": present(one["inputs"], made)} for one in on]


def present(inputs, made):
    """The inputs that some stage makes: those of a stage that is switched off do not count."""
    return {name: path for name, path in inputs.items() if path in made}


STAGES = read_stages()


def every(path):
    """`path` for every model, and for each of its trainings if it names one."""
    if "{variant}" not in path:
        return expand(path, model=config["models"]) if "{model}" in path else [path]
    return [
        one
        for model in config["models"]
        for variant in config["variants"]
        for one in expand(path, model=model, variant=variant, seed=seeds_of(variant))
    ]


def inputs_of(stage):
    """What a job reads; a job of the whole experiment reads the files of every model or run."""
    own = stage["wildcards"]
    inputs = {}
    for name, path in stage["inputs"].items():
        path = f"{RESULTS}/{path}"
        inputs[name] = path if own or "{" not in path else every(path)
    if stage["like"]:
        inputs["measure"] = measure_of(stage["like"])
    return inputs


def measure_of(like):
    """The job of another variant, if the settings of this one name it, that has to come first."""

    def path(wildcards):
        other = training_part(wildcards).get(like["key"])
        run = {**dict(wildcards.items()), "variant": other}
        return f"{RESULTS}/{like['file']}".format(**run) if other else []

    return path


def outputs_of(stage):
    """What a job makes; some of it stands in Snakemake's own report."""
    outputs = {name: f"{RESULTS}/{path}" for name, path in stage["outputs"].items()}
    for name, (category, caption) in stage["captions"].items():
        caption = f"../report/{caption}.rst"
        outputs[name] = report(outputs[name], category=category, caption=caption)
    return outputs


def params_of(stage):
    """What a job depends on beside its inputs."""
    params = {"launch": launcher()} if stage["all_devices"] else {}
    params["config"] = CONFIG
    if stage["device"]:
        params["round"] = budget_round(stage)
    if stage["key"]:
        params["settings"] = settings_of(stage)
    return params


def priority_of(stage):
    """A number, or, where seeds come one after the other, a function of the seed and the variant.

    Of a seed the first variant comes first: it is the result, the others are held against it. Snakemake (9.27) takes
    the jobs with the largest sum of priorities: preflight alone comes before all that might run instead, side by side.
    """
    if stage["name"] == "preflight":
        return stage["priority"] * jobs_at_once()
    if not stage["seed_by_seed"]:
        return stage["priority"]

    def place(value, values):
        return values.index(value) if value in values else len(values)

    def priority(wildcards):
        variants = config["variants"]
        late = place(wildcards.variant, variants) / (len(variants) + 1)
        return max(
            1, stage["priority"] - place(int(wildcards.seed), config["seeds"]) - late
        )

    return priority


def devices_of(stage):
    """Devices that a job takes. Preflight measures speeds, so nothing may run beside it."""
    if not stage["device"]:
        return {}
    return {"device": jobs_at_once() if stage["name"] == "preflight" else 1}


def command_of(stage):
    """The shell command of a job."""
    words = [
        "{params.launch}" * stage["all_devices"] + "reinforce-lite",
        stage["command"],
    ]
    words += ["--config {params.config:q}"]
    words += [f"--{name} {{wildcards.{name}:q}}" for name in stage["wildcards"]]
    words += ["--round {params.round}"] * stage["device"]
    # Not a parameter: in a container the workflow lies in another place.
    words += [f"--workflow {word(WORKFLOW)}"] * ("workflow" in stage["options"])
    return " ".join([*words, "2>&1 |", TEE])


def targets():
    """What no other job reads. A crate holds the workflow's files, so it is made where they lie in a folder."""
    stages = [
        stage for stage in STAGES if WORKFLOW or "workflow" not in stage["options"]
    ]
    read = {path for stage in stages for path in stage["inputs"].values()}
    last = [stage for stage in stages if not read & set(stage["outputs"].values())]
    paths = [path for stage in last for path in stage["outputs"].values()]
    return [one for path in paths for one in every(f"{RESULTS}/{path}")]


def add_rule(stage):
    """In a function each keeps its own stage until its shell command is evaluated, which is when a job starts."""

    rule:
        name:
            stage["name"]
        input:
            **inputs_of(stage),
        output:
            **outputs_of(stage),
        log:
            f"{LOGS}/{stage['log']}",
        benchmark:
            f"{RESULTS}/{stage['benchmark']}"
        priority: priority_of(stage)
        resources:
            **devices_of(stage),
        params:
            **params_of(stage),
        message:
            stage["message"]
        shell:
            command_of(stage)


for stage in STAGES:
    add_rule(stage)
