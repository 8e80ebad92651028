rule fetch_policy:
    input:
        demonstrations=f"{RESULTS}/data/demonstrations.jsonl",
    output:
        policy=f"{RESULTS}/policies/{{model}}/policy.json",
    log:
        f"{LOGS}/fetch_policy/{{model}}.log",
    benchmark:
        f"{BENCHMARKS}/fetch_policy/{{model}}.jsonl"
    priority: 60  # before training: the plan shares by what all models need, and seeds are trained whole, over all models
    resources:
        device=1,
    params:
        config=CONFIG,
        round=budget_round("fetch_policy"),
        settings=policy_settings,
    message:
        "Fetching {wildcards.model}, with its supervised start if it has one"
    shell:
        "reinforce-lite fetch-policy --config {params.config:q} --model {wildcards.model:q}"
        " --round {params.round} 2>&1 | tee {log:q}"
