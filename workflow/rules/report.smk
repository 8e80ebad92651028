rule report:
    input:
        preflight=f"{RESULTS}/preflight.json",
        manifest=f"{RESULTS}/data/manifest.json",
        comparisons=runs(f"{RESULTS}/compare/{RUN}.json"),
        trainings=runs(f"{RESULTS}/train/{RUN}/training.json"),
        metrics=runs(f"{RESULTS}/train/{RUN}/metrics.jsonl"),
        evaluations=runs(f"{RESULTS}/trained/{RUN}/evaluation.json"),
        baselines=expand(
            f"{RESULTS}/baseline/{{model}}/evaluation.json", model=config["models"]
        ),
    output:
        html=report(
            f"{RESULTS}/report.html",
            category="Result",
            caption="../report/report.rst",
        ),
        summary=report(
            f"{RESULTS}/summary.json",
            category="Result",
            caption="../report/summary.rst",
        ),
        verdicts=report(
            f"{RESULTS}/verdicts.json",
            category="Result",
            caption="../report/verdicts.rst",
        ),
    log:
        f"{LOGS}/report.log",
    benchmark:
        f"{BENCHMARKS}/report.jsonl"
    params:
        config=CONFIG,
        # Which image runs the rules is no part of the result; each result says what made it. Nor is how often
        # checkpoints are written.
        settings=chosen(
            *(key for key in config if key not in ("container", "checkpoint"))
        ),
    message:
        "Writing the report"
    shell:
        "reinforce-lite report --config {params.config:q} 2>&1 | tee {log:q}"


# Where the workflow lies is no parameter: in a container it is another place, and the crate need not be made again.
rule crate:
    input:
        html=f"{RESULTS}/report.html",
        summary=f"{RESULTS}/summary.json",
    output:
        metadata=report(
            f"{RESULTS}/ro-crate-metadata.json",
            category="Provenance",
            caption="../report/crate.rst",
        ),
        workflow=f"{RESULTS}/workflow/Snakefile",
    log:
        f"{LOGS}/crate.log",
    benchmark:
        f"{BENCHMARKS}/crate.jsonl"
    params:
        config=CONFIG,
    message:
        "Describing the results and where they came from (RO-Crate)"
    shell:
        "reinforce-lite crate --config {params.config:q}"
        f" --workflow {word(WORKFLOW)}"
        " 2>&1 | tee {log:q}"
