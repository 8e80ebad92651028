"""Reinforce-Lite. Read in this order, and then you know the algorithm:

1. `estimators`: a step's rewards in, the weight of each completion's log-probability out;
2. `experience`: what a step learns from: groups of completions, their rewards, their weights;
3. `batching`: what carries a gradient, packed into micro-batches;
4. `update`: the gradient of the weighted log-probabilities, and the step along it;
5. `loop`: sample a group, score it, estimate, push, record, repeat.

The rest can wait: `objectives` (the loss token by token, with PPO's ratio and a KL), `critic` (PPO's second network),
`drift` (how far the policy has moved), `metrics` and `curves` (what is recorded, and what follows from it), `checks`
(what ends a training with a message), `progress` and `checkpoint` (how a training resumes), `parallel` (several
devices), `supervised` (the start before it).
"""

ESTIMATORS = {
    "leave_one_out": "reinforce_lite.learning.estimators:LEAVE_ONE_OUT",
    "as_published": "reinforce_lite.learning.estimators:AS_PUBLISHED",
    "reinforce_pp": "reinforce_lite.learning.estimators:REINFORCE_PP",
    "critic": "reinforce_lite.learning.estimators:CRITIC",
    "supervised": "reinforce_lite.learning.estimators:SUPERVISED",
}
"""Every value of `training.estimator`, and where its `Estimator` is; the configuration is checked without torch."""
