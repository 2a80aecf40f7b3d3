"""RevLM as a causal language model of transformers."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.utils import cached_file

from revlm.errors import StorageError, UsageError
from revlm.huggingface.cache import RevlmCache, product_precision
from revlm.huggingface.configuration import RevlmConfig
from revlm.model import RevLM, evaluating, tile_tokens
from revlm.model.precision import autocast
from revlm.runs.exported import CONFIG, WEIGHTS, require_digest
from revlm.storage import sha256_of

_IGNORED = -100  # the label of a token that is no target, as everywhere in transformers
# Arguments of other models that this one rejects rather than ignores; other unknown ones come from `generate`.
_NOT_TAKEN = ("inputs_embeds", "position_ids", "token_type_ids", "output_attentions", "output_hidden_states")


class RevlmForCausalLM(PreTrainedModel, GenerationMixin):
    """A model of revlm. The rows of a batch are documents of one sequence, so masked tokens cost nothing.

    Weights are float32. With `dtype=torch.bfloat16`, the weights of linear layers are bfloat16 and products are
    computed in bfloat16, as with `train.precision: bf16`; everything else that a hash depends on stays float32.
    Fine-tuning uses the hashes of evaluation.

    Attributes:
        model: the `RevLM`.
    """

    config_class = RevlmConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    accepts_loss_kwargs = True
    _no_split_modules = ["RevLM"]  # noqa: RUF012 - every layer reads both streams, so one device holds them all

    def __init__(self, config: RevlmConfig) -> None:
        super().__init__(config)
        exported = config.exported
        self.model = RevLM(exported.model, vocab_size=exported.vocab_size, seed=exported.seed)
        self._tiled_for = "cpu"  # the kind of device
        self._keep_in_fp32_modules_strict = _outside_linear_maps(self)
        self.post_init()

    def forward(
        self,
        input_ids: Int[Tensor, "batch columns"] | None = None,
        attention_mask: Int[Tensor, "batch all_columns"] | None = None,
        cache: RevlmCache | None = None,
        past_key_values: RevlmCache | None = None,
        labels: Int[Tensor, "batch columns"] | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Int[Tensor, "some"] = 0,
        num_items_in_batch: int | Tensor | None = None,
        return_dict: bool | None = None,
        **others: Any,
    ) -> CausalLMOutputWithPast | tuple[Any, ...]:
        """Returns the logits of each token, the loss if there are labels, and a cache that can be continued.

        `attention_mask` is 0 where a row has no token; with a cache (also accepted as `past_key_values`), it covers the
        cached columns too. The logits at a masked column are those of the row's latest token, or zero before its first
        token, so a row can be continued wherever its padding is. `logits_to_keep` is the number of last columns whose
        logits are returned (0: all), or the columns themselves.

        The label of a token is the target of the token before it in its row; -100 marks a token that is no target. The
        loss is the sum of the targets' cross-entropies, divided by their number or by `num_items_in_batch`. In training
        mode the loss comes without logits, which would take more memory than the whole step.

        Without `use_cache`, the returned cache costs nothing until it is continued. With `use_cache`, and when a cache
        is continued, there are no gradients.

        Raises:
            UsageError: an argument has another shape or meaning.
        """
        cache = past_key_values if cache is None else cache
        if input_ids is None:
            raise UsageError("input_ids is missing: give the ids of tokens")
        if given := [name for name in _NOT_TAKEN if others.get(name) is not None and others[name] is not False]:
            raise UsageError(f"revlm does not support {', '.join(given)}: leave it out")
        if cache is not None and not isinstance(cache, RevlmCache):
            raise UsageError(
                f"a {type(cache).__name__} is not a cache of revlm: give the cache that the model returned"
            )
        if self.model.embedding.weight.dtype not in (torch.float32, torch.float64):
            raise UsageError(
                "all weights were converted to half precision, but hashes need float32: "
                "load the model with from_pretrained(..., dtype=torch.bfloat16)"
            )
        if self._tiled_for != input_ids.device.type:
            self._tiled_for = input_ids.device.type
            self.model.stack.tile = tile_tokens(self.model.recipe, "auto", self._tiled_for)
        real = _real_tokens(input_ids, attention_mask, 0 if cache is None else cache.get_seq_length())
        columns = _columns(logits_to_keep, input_ids.shape[1], input_ids.device)
        loss = logits = None
        if cache is not None or use_cache:
            if labels is not None:
                raise UsageError("labels need gradients, which a cache does not have: leave one of them out")
            cache = RevlmCache(self.model, input_ids.shape[0]) if cache is None else cache
            keep = input_ids.shape[1] - int(columns.min()) if len(columns) else 0
            # Changing the mode of every module twice would take a tenth of the time of a small model's token.
            with evaluating(self.model) if self.model.training else torch.no_grad():
                hidden = cache.extend(input_ids, real, keep)[:, columns - (input_ids.shape[1] - keep)]
                with self._products(cache.precision):
                    logits = self.model.logits(hidden.flatten(0, 1)).float().unflatten(0, hidden.shape[:2])
        else:
            documents = torch.arange(len(input_ids), device=input_ids.device)[:, None].expand_as(real)[real]
            with self._products(product_precision(self.model)):
                hidden = self._hidden(input_ids[real], documents)
                if labels is not None:
                    loss = self._loss(hidden, labels[real], documents, num_items_in_batch)
                if loss is None or not self.training:
                    logits = self._logits(hidden, real, columns)
            if self.config.use_cache and use_cache is None and not self.training:
                cache = RevlmCache(self.model, input_ids.shape[0])
                cache.defer(input_ids, real)
        output = CausalLMOutputWithPast(loss=loss, logits=logits, cache=cache)
        return output.to_tuple() if return_dict is False else output

    def _hidden(self, ids: Int[Tensor, "tokens"], documents: Int[Tensor, "tokens"]) -> Float[Tensor, "tokens d_model"]:
        if len(ids) == 0:
            return self.model.embedding(ids.long())
        return self.model(ids, documents)

    def _loss(
        self,
        hidden: Float[Tensor, "tokens d_model"],
        labels: Int[Tensor, "tokens"],
        documents: Int[Tensor, "tokens"],
        count: int | Tensor | None,
    ) -> Float[Tensor, ""]:
        is_target = (labels[1:] != _IGNORED) & (documents[1:] == documents[:-1])
        targets = labels[1:][is_target]
        nats = self.model.loss(hidden[:-1][is_target], targets)
        return nats / (max(len(targets), 1) if count is None else count)

    def _logits(
        self, hidden: Float[Tensor, "tokens d_model"], real: Bool[Tensor, "batch columns"], columns: Int[Tensor, "some"]
    ) -> Float[Tensor, "batch some vocabulary"]:
        if len(hidden) == real.numel() and len(columns) == real.shape[1]:
            return self.model.logits(hidden).float().view(*real.shape, -1)
        within = real.cumsum(1) - 1  # of the latest token in its row; -1 before the first
        first = (real.sum(1).cumsum(0) - real.sum(1))[:, None]
        places, inverse = (first + within.clamp(min=0))[:, columns].unique(return_inverse=True)
        if not len(hidden):
            hidden = hidden.new_zeros(1, hidden.shape[1])
        logits = self.model.logits(hidden[places.clamp(max=len(hidden) - 1)]).float()[inverse]
        return logits.masked_fill(within[:, columns, None] < 0, 0.0)

    @contextmanager
    def _products(self, precision: str) -> Iterator[None]:
        """Computes matrix products in bf16 if the weights are bf16; otherwise keeps the caller's autocast."""
        if precision != "bf16":
            yield
            return
        with autocast(precision, self.model.head_weight.device):
            yield

    def use_rounds(self, rounds: int | None = None, buckets: int | None = None) -> None:
        """Makes the hash layers use so many rounds and buckets (`RevLM.use_rounds`); the model is saved with them.

        Raises:
            UsageError: there are no hash layers, or the rounds or buckets are out of range.
        """
        self.model.use_rounds(rounds, buckets)
        self.config.exported = self.config.exported.model_copy(update={"model": self.model.recipe})

    def scale_attention(self, factor: float) -> None:
        """Multiplies the attention logits of layers lsh and full (`RevLM.scale_attention`); `save_pretrained` omits it.

        Raises:
            UsageError: all layers are local, or the factor is out of range.
        """
        self.model.scale_attention(factor)

    def get_input_embeddings(self) -> nn.Embedding:
        """Returns the embedding."""
        return self.model.embedding

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Raises UsageError: the vocabulary is that of the tokenizer."""
        raise UsageError("the vocabulary of a model of revlm cannot be changed: keep that of its tokenizer")

    def get_output_embeddings(self) -> nn.Linear | None:
        """Returns the output head; None where it shares the weights of the embedding."""
        return self.model.head

    def _init_weights(self, module: nn.Module) -> None:
        """Does nothing: RevLM draws its own weights."""

    def _prepare_cache_for_generation(self, generation_config: Any, model_kwargs: dict[str, Any], *others: Any) -> None:
        """Creates no cache: `forward` creates one of its own kind."""
        if generation_config.cache_implementation is not None:
            raise UsageError("revlm decodes with a cache of its own: leave out cache_implementation")

    def _prepare_attention_mask_for_generation(
        self, inputs_tensor: Tensor, generation_config: Any, model_kwargs: dict[str, Any]
    ) -> Int[Tensor, "batch columns"]:
        """Returns the mask for a batch without one: 0 at padding, 1 elsewhere.

        Where the padding token is the begin token, because the tokenizer has no other token without text, the begin
        token right before the text is not padding.
        """
        padding = inputs_tensor == generation_config.pad_token_id
        if generation_config.pad_token_id == self.config.bos_token_id:
            before_text = ~padding[:, 1:] & (padding.cumprod(1)[:, :-1] == 1)
            padding = padding & ~nn.functional.pad(before_text, (0, 1))
        return (~padding).long()

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoModel") -> None:
        """Does nothing: saving writes its own short module, not a copy of this one."""

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], *arguments: Any, **options: Any
    ) -> Any:
        """Returns the model in a folder or on the hub, as transformers does, after verifying its weights.

        Raises:
            StorageError: a file of weights is missing or damaged, or does not fit the model.
            UsageError: the dtype is neither float32 nor bfloat16.
        """
        dtype = options.get("dtype", options.get("torch_dtype"))
        if dtype in (torch.float16, "float16"):
            raise UsageError("revlm computes in float32 or bfloat16: give dtype=torch.bfloat16")
        place = str(pretrained_model_name_or_path)
        with_info = options.pop("output_loading_info", False)
        options["use_safetensors"] = True  # nothing is unpickled
        try:
            model, info = super().from_pretrained(
                pretrained_model_name_or_path, *arguments, output_loading_info=True, **options
            )
        except (SafetensorError, RuntimeError) as error:
            cause = next(iter(str(error).strip().splitlines()), "no message")
            raise StorageError(
                f"the weights in {place} are damaged or of another model ({cause}): export the checkpoint again"
            ) from error
        if names := [*info["missing_keys"], *info["unexpected_keys"]]:
            raise StorageError(
                f"the weights in {place} are of another model than its config.json describes "
                f"({min(names)}, {len(names)} in all): export the checkpoint again"
            )
        at_hub = {key: options[key] for key in ("revision", "cache_dir", "token", "subfolder") if key in options}
        for name, digest in model.config.exported.weights_sha256.items():
            found = cached_file(place, name, _raise_exceptions_for_missing_entries=False, **at_hub)
            if found is not None:
                require_digest(Path(found), digest)
        return (model, info) if with_info else model

    def save_pretrained(self, save_directory: str | os.PathLike[str], *arguments: Any, **options: Any) -> None:
        """Writes the model as transformers does, then the sha256 of its weights into config.json."""
        if options.pop("push_to_hub", False):
            raise UsageError("the weights are verified by config.json, written after them: call push_to_hub instead")
        super().save_pretrained(save_directory, *arguments, **options)
        if not (Path(save_directory) / CONFIG).exists():
            return  # only an adapter was saved, as peft does
        digests = {path.name: sha256_of(path) for path in sorted(Path(save_directory).glob(WEIGHTS))}
        self.config.exported = self.config.exported.model_copy(update={"weights_sha256": digests})
        self.config.save_pretrained(save_directory)


def _real_tokens(
    ids: Int[Tensor, "batch columns"], mask: Int[Tensor, "batch all_columns"] | None, before: int
) -> Bool[Tensor, "batch columns"]:
    """Returns where a batch holds tokens; `before` columns of the mask are in the cache."""
    if ids.ndim != 2:
        raise UsageError(f"input_ids has the shape {tuple(ids.shape)}: give a batch of rows")
    if mask is None:
        return torch.ones_like(ids, dtype=torch.bool)
    expected = (ids.shape[0], before + ids.shape[1])
    if tuple(mask.shape) != expected:
        raise UsageError(f"attention_mask has the shape {tuple(mask.shape)} and should have {expected}")
    return mask[:, before:].bool()


def _columns(keep: int | Int[Tensor, "some"], columns: int, device: torch.device) -> Int[Tensor, "some"]:
    """Returns the columns whose logits a caller wants."""
    every = torch.arange(columns, device=device)
    if isinstance(keep, Tensor):
        return every[keep]
    return every[-keep:] if keep else every


def _outside_linear_maps(model: nn.Module) -> set[str]:
    """Returns the names of all parameters and buffers but the weights of linear maps."""
    linear = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    return {name for name, _ in [*model.named_parameters(), *model.named_buffers()] if name not in linear}
