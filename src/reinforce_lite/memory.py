"""How much of a device's memory an update takes at its peak, by arithmetic.

The rollout is left out: a second copy of the weights takes the place of the gradients then, and its cache that of what
is computed here. Beside weights, gradients and what the optimiser keeps (precision.py) there are, in an update whose
layers are recomputed,

    the hidden states of every layer      2 bytes x layers x hidden a token
    and the larger of
    - the head: the logits of a chunk, their log-softmax and both gradients, in float32
                                          4 x 4 bytes x vocabulary a token of the chunk
      five copies of what predicts the completions
                                          5 x 2 bytes x hidden a token of theirs
      the gradient of the head, beside the one that is summed up, from the second chunk on
                                          2 bytes x vocabulary x hidden
    - one layer, computed again, with its gradients
                                          53 bytes x hidden a token
      and the gradient of the head, which waits there for that of the embedding that it is tied to

and 75 MB that are fitted, not derived. Without recomputing, each layer keeps 43 bytes x hidden a token instead of its
hidden state. The copies were counted in a trace of the update in fake tensors; the 43 bytes are a measurement, the 53
are those and an estimate of 10 for gradients. Against the eleven peaks that were measured on an H200
(tests/test_update_memory.py) the whole is off by 1.5% at most. What an optimiser's step takes by itself is less: 12
bytes for each of 2**24 weights.
"""

from dataclasses import dataclass

VOCABULARY = 128_256
"""Of Llama 3, taken for every model: the configuration does not tell. Phi-3.5 has 32,064, so its peak is overestimated
by 2.2 GB; of a model with more, by 22 KB for each word too little."""
WIDTH_PER_LAYER = 100
"""hidden / layers: 110 of Llama-3.2-3B, 96 of Phi-3.5, 19 of SmolLM2-135M."""
LAYER, SAVED, FITTED = 53, 43, 75e6


@dataclass(frozen=True)
class Shape:
    """The measures of a model that its activations depend on."""

    layers: float
    hidden: float
    vocabulary: float


def shape_of(parameters: float) -> Shape:
    """A usual shape of so many weights: 12 x layers x hidden^2 of them, and the largest head that they can hold.

    layers x hidden, which counts, is 4% more than that of Llama-3.2-3B and 2% more than that of Phi-3.5; of
    SmolLM2-135M, which is narrow and deep, it is 0.6 times as much.

    >>> shape = shape_of(3.21e9)
    >>> round(shape.layers, 1), round(shape.hidden), shape.vocabulary
    (29.9, 2991, 128256)
    """
    hidden = (WIDTH_PER_LAYER * parameters / 12) ** (1 / 3)
    return Shape(hidden / WIDTH_PER_LAYER, hidden, min(VOCABULARY, parameters / hidden))


def update_bytes(
    shape: Shape, tokens: int, chosen: float, chunk: int, itemsize: int = 2, recomputed: bool = True
) -> float:
    """Bytes of an update at its peak beside weights, gradients and what the optimiser keeps.

    Args:
        shape: of the model.
        tokens: padded, of the largest micro-batch.
        chosen: of these, those of completions.
        chunk: tokens whose logits exist at the same time.
        itemsize: bytes of a weight.
        recomputed: layers keep their hidden states alone (gradient checkpointing).
    """
    states = tokens * shape.layers * shape.hidden * (itemsize if recomputed else SAVED / 2 * itemsize)
    tied = itemsize * shape.vocabulary * shape.hidden
    logits = 4 * 4 * shape.vocabulary * min(chunk, chosen)
    head = logits + 5 * itemsize * shape.hidden * chosen + (tied if chosen > chunk else 0)
    layer = tokens * shape.hidden * (LAYER if recomputed else LAYER - SAVED) / 2 * itemsize + tied
    return states + max(head, layer) + FITTED
