# Nothing waits for its file (see write_config): it comes first by priority, and the rules that spend refuse to start
# before it has passed.
rule preflight:
    output:
        report(
            f"{RESULTS}/preflight.json",
            category="Provenance",
            caption="../report/preflight.rst",
        ),
    log:
        f"{LOGS}/preflight.log",
    benchmark:
        f"{BENCHMARKS}/preflight.jsonl"
    priority: 100
    resources:
        device=1,
    params:
        config=CONFIG,
        round=budget_round("preflight"),
        settings=planned(),
    message:
        "Checking device, memory, price, disk, data and policies, and planning what the rest costs"
    shell:
        "reinforce-lite preflight --config {params.config:q} --round {params.round} 2>&1 | tee {log:q}"


rule prepare_dataset:
    output:
        train=f"{RESULTS}/data/train.jsonl",
        dev=f"{RESULTS}/data/dev.jsonl",
        test=f"{RESULTS}/data/test.jsonl",
        demonstrations=f"{RESULTS}/data/demonstrations.jsonl",
        manifest=report(
            f"{RESULTS}/data/manifest.json",
            category="Provenance",
            caption="../report/manifest.rst",
        ),
    log:
        f"{LOGS}/prepare_dataset.log",
    benchmark:
        f"{BENCHMARKS}/prepare_dataset.jsonl"
    params:
        config=CONFIG,
        settings=chosen("task"),
    message:
        "Preparing the dataset"
    shell:
        "reinforce-lite prepare-dataset --config {params.config:q} 2>&1 | tee {log:q}"
