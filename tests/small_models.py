"""Small transformers models, tokenizers and GGUF files, made in memory for tests of hf/."""

from __future__ import annotations

import torch
from gguf import GGUFWriter
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

SIZES = {
    "vocab_size": 280, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "bos_token_id": 257, "eos_token_id": 256,
}  # fmt: skip


def small_llama(seed=0, **changes):
    """A random Llama of 280 words, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(LlamaConfig(**SIZES | changes)).eval()


def byte_level_tokenizer(*, begins=False, ends=False, merges=(), **special):
    """A tokenizer of 256 bytes, `<eos>` 256 and `<bos>` 257, which it may put around every text."""
    vocabulary = {letter: byte for byte, letter in bytes_to_unicode().items()}
    for left, right in merges:
        vocabulary[left + right] = 270 + len(vocabulary) - 256
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=list(merges)))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<eos>", "<bos>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>", bos_token="<bos>", **special)
    if begins or ends:
        around = "<bos> " * begins + "$A" + " <eos>" * ends
        ids = [(name, tokenizer.convert_tokens_to_ids(name)) for name in ("<bos>", "<eos>")]
        tokenizer._tokenizer.post_processor = TemplateProcessing(single=around, special_tokens=ids)
    return tokenizer


def gguf_file(path, entries, tensor=None):
    """A GGUF file of a Llama without weights, with these entries about its positions."""
    writer = GGUFWriter(path, "llama")
    writer.add_name("small")
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(1)
    writer.add_feed_forward_length(48)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(8)
    writer.add_rope_freq_base(500.0)
    writer.add_vocab_size(40)
    kinds = {str: writer.add_string, bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32}
    for name, value in entries.items():
        kinds[type(value)](f"llama.rope.{name}", value)
    if tensor is not None:
        writer.add_tensor("rope_freqs.weight", tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
