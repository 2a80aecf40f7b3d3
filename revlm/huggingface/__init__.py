"""Models of revlm as classes of transformers (the extra `huggingface`); importing this registers them.

    configuration   config.json: the sealed description of an exported model (`revlm.runs.exported`)
    modeling        RevLM with the interface of a causal language model; a batch is packed into one sequence
    cache           decoding caches of the rows of a batch, for `generate` and `past_key_values`
    tokenization    the tokenizer, with batches, padding and offsets
    exporting       a run's checkpoint as a folder that `from_pretrained` opens, with a model card (`card`)

After the import, `AutoConfig`, `AutoModelForCausalLM` and `AutoTokenizer` know the classes. A folder also holds a short
`modeling_revlm.py` that imports them from here, for `trust_remote_code=True`.
"""

from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from revlm.huggingface.cache import RevlmCache
from revlm.huggingface.configuration import RevlmConfig
from revlm.huggingface.exporting import export_model
from revlm.huggingface.modeling import RevlmForCausalLM
from revlm.huggingface.tokenization import RevlmTokenizer

__all__ = ["RevlmCache", "RevlmConfig", "RevlmForCausalLM", "RevlmTokenizer", "export_model"]

AutoConfig.register(RevlmConfig.model_type, RevlmConfig, exist_ok=True)
AutoModelForCausalLM.register(RevlmConfig, RevlmForCausalLM, exist_ok=True)
AutoTokenizer.register(RevlmConfig, tokenizer_class=RevlmTokenizer, exist_ok=True)
