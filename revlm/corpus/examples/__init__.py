"""Training and validation examples: from tokens to what one step sees.

`corpus` says what training, evaluation and planning see of any corpus. `packing` decides which tokens form an example,
and `packed` takes them from a token store; `mixture` takes turns among several stores; `streamed` packs texts that are
tokenized while they are trained on (`streamed_documents`). `opening` chooses by the recipe, and `loader` shares examples
out among ranks and prepares the next ones.
"""
