rule evaluate_baseline:
    input:
        policy=f"{RESULTS}/policies/{{model}}/policy.json",
        problems=f"{RESULTS}/data/test.jsonl",
    output:
        outcomes=f"{RESULTS}/baseline/{{model}}/items.jsonl",
        summary=f"{RESULTS}/baseline/{{model}}/evaluation.json",
    log:
        f"{LOGS}/evaluate_baseline/{{model}}.log",
    benchmark:
        f"{BENCHMARKS}/evaluate_baseline/{{model}}.jsonl"
    priority: 50  # before training: what it measures tells better what training will cost
    resources:
        device=1,
    params:
        config=CONFIG,
        round=budget_round("evaluate_baseline"),
        settings=evaluation_settings,
    message:
        "Evaluating {wildcards.model} before training"
    shell:
        "reinforce-lite evaluate --config {params.config:q} --model {wildcards.model:q}"
        " --round {params.round} 2>&1 | tee {log:q}"


rule evaluate_trained:
    input:
        policy=f"{RESULTS}/train/{RUN}/policy.json",
        problems=f"{RESULTS}/data/test.jsonl",
    output:
        outcomes=f"{RESULTS}/trained/{RUN}/items.jsonl",
        summary=f"{RESULTS}/trained/{RUN}/evaluation.json",
    log:
        f"{LOGS}/evaluate_trained/{RUN}.log",
    benchmark:
        f"{BENCHMARKS}/evaluate_trained/{RUN}.jsonl"
    priority: 75  # before the next training: until then this one's last checkpoint takes up disk
    resources:
        device=1,
    params:
        config=CONFIG,
        round=budget_round("evaluate_trained"),
        settings=evaluation_settings,
    message:
        "Evaluating {wildcards.model} after training ({wildcards.variant}, seed {wildcards.seed})"
    shell:
        "reinforce-lite evaluate --config {params.config:q} --model {wildcards.model:q}"
        " --variant {wildcards.variant:q} --seed {wildcards.seed} --round {params.round} 2>&1 | tee {log:q}"


rule compare:
    input:
        baseline=f"{RESULTS}/baseline/{{model}}/items.jsonl",
        trained=f"{RESULTS}/trained/{RUN}/items.jsonl",
    output:
        f"{RESULTS}/compare/{RUN}.json",
    log:
        f"{LOGS}/compare/{RUN}.log",
    benchmark:
        f"{BENCHMARKS}/compare/{RUN}.jsonl"
    params:
        config=CONFIG,
        settings=config["evaluation"].get("bootstrap_resamples"),
    message:
        "Comparing {wildcards.model} before and after ({wildcards.variant}, seed {wildcards.seed})"
    shell:
        "reinforce-lite compare --config {params.config:q} --model {wildcards.model:q}"
        " --variant {wildcards.variant:q} --seed {wildcards.seed} 2>&1 | tee {log:q}"
