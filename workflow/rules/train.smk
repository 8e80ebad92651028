rule train:
    input:
        policy=f"{RESULTS}/policies/{{model}}/policy.json",
        problems=f"{RESULTS}/data/train.jsonl",
        measure=same_cost,
    output:
        policy=f"{RESULTS}/train/{RUN}/policy.json",
        metrics=f"{RESULTS}/train/{RUN}/metrics.jsonl",
        completions=f"{RESULTS}/train/{RUN}/completions.jsonl",
        summary=f"{RESULTS}/train/{RUN}/training.json",
    log:
        f"{LOGS}/train/{RUN}.log",
    benchmark:
        f"{BENCHMARKS}/train/{RUN}.jsonl"
    priority: training_priority
    resources:
        device=1,
    params:
        launch=launcher(),
        config=CONFIG,
        round=budget_round("train"),
        settings=training_settings,
    message:
        "Training {wildcards.model} ({wildcards.variant}, seed {wildcards.seed})"
    shell:
        "{params.launch}reinforce-lite train --config {params.config:q} --model {wildcards.model:q}"
        " --variant {wildcards.variant:q} --seed {wildcards.seed} --round {params.round} 2>&1 | tee {log:q}"
