"""The configuration of an exported model."""

import json
import os
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig

from revlm.recipe import Model
from revlm.runs import ExportedModel
from revlm.runs.exported import CONFIG, SEAL, SECTION, unseal

CODE_FILE = "modeling_revlm.py"
CODE = '''"""The classes of this model; `pip install 'revlm[huggingface]'` provides them."""

from revlm.huggingface import RevlmConfig, RevlmForCausalLM, RevlmTokenizer

__all__ = ["RevlmConfig", "RevlmForCausalLM", "RevlmTokenizer"]
'''
_MODULE = CODE_FILE.removesuffix(".py")


def write_code(folder: str | os.PathLike[str]) -> None:
    """Writes the module that `trust_remote_code` imports, which only imports from here."""
    (Path(folder) / CODE_FILE).write_text(CODE, encoding="utf-8")


class RevlmConfig(PreTrainedConfig):
    """The configuration of a model: `exported` decides it, and the usual names of transformers are derived from it.

    Attributes:
        revlm: the values of `exported` as JSON.
        use_cache: whether a forward pass returns a cache by default.
    """

    model_type = "revlm"
    has_no_defaults_at_init = True

    revlm: dict[str, Any] | None = None
    use_cache: bool = True

    def __post_init__(self, **options: Any) -> None:
        """Derives the names of transformers; config.json has them for programs that do not know revlm.

        Raises:
            StorageError: the values in the file changed after they were written, or another version of revlm wrote
                them.
        """
        if self.revlm is None:  # transformers builds a configuration without arguments to learn the default values
            tiny = Model(d_model=16, n_layers=1, n_heads=1, d_ff=16, n_buckets=4)
            self.revlm = ExportedModel(model=tiny, vocab_size=257, begin_id=256, seed=0).model_dump(mode="json")
        elif SEAL in self.revlm or not self.revlm:
            self.exported = unseal(self.revlm, Path(options.get("name_or_path", ""), CONFIG))
        values = self.revlm
        derived = {
            "vocab_size": values["vocab_size"],
            "bos_token_id": values["begin_id"],
            "max_position_embeddings": values["seq_len"],
            "hidden_size": values["model"]["d_model"],
            "intermediate_size": values["model"]["d_ff"],
            "num_hidden_layers": values["model"]["n_layers"],
            "num_attention_heads": values["model"]["n_heads"],
            "tie_word_embeddings": False,  # RevLM ties them itself
            "auto_map": {
                "AutoConfig": f"{_MODULE}.RevlmConfig",
                "AutoModelForCausalLM": f"{_MODULE}.RevlmForCausalLM",
            },
        }
        super().__post_init__(**{**options, **derived})

    @classmethod
    def of(cls, exported: ExportedModel, **options: Any) -> "RevlmConfig":
        """Returns the configuration of a model."""
        return cls(revlm=exported.model_dump(mode="json"), **options)

    @property
    def exported(self) -> ExportedModel:
        """The settings that decide the model."""
        # Through JSON, because a list in JSON may be a tuple in the schema.
        return ExportedModel.model_validate_json(json.dumps(self.revlm))

    @exported.setter
    def exported(self, exported: ExportedModel) -> None:
        self.revlm = exported.model_dump(mode="json")

    def to_dict(self) -> dict[str, Any]:
        """Returns the values that config.json holds, sealed."""
        return {**super().to_dict(), SECTION: self.exported.sealed()}

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], *arguments: Any, **options: Any
    ) -> Any:
        """Returns the configuration in a folder or on the hub, as transformers does; an error names the folder."""
        options.setdefault("name_or_path", str(pretrained_model_name_or_path))
        return super().from_pretrained(pretrained_model_name_or_path, *arguments, **options)

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoConfig") -> None:
        """Does nothing: saving writes its own short module, not a copy of this one."""

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], push_to_hub: bool = False, **options: Any
    ) -> None:
        """Writes config.json, and the module that it names."""
        os.makedirs(save_directory, exist_ok=True)
        write_code(save_directory)
        super().save_pretrained(save_directory, push_to_hub=push_to_hub, **options)
