"""Text becomes tokens as text, in one way, whatever it spells and whatever the tokenizer adds."""

from __future__ import annotations

import json

import numpy as np
import pytest
from small_models import byte_level_tokenizer, small_llama
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from typer.testing import CliRunner

from longlora_edu.cli import app
from longlora_edu.hf.data import TokenWindows, read_data, tokenised
from longlora_edu.hf.loading import load_tokenizer
from longlora_edu.hf.measure import measure_text
from longlora_edu.hf.pairs import IGNORED, Pair, tokenised_pair
from longlora_edu.hf.run_training import TrainingSettings, run_training
from longlora_edu.hf.scores import score_retrieval
from longlora_edu.hf.tokens import following_ids, mark_controls, opening_ids, plain_ids, stop_ids
from longlora_edu.training.corpus import Document, as_utf8, read_corpus

CHATML = (
    "{% for m in messages %}<|im_start|>{{m['role']}}\n{{m['content']}}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Templates by how they begin and end turns: (template, its tokens, what an answer "yo" learns before the end of text).
TEMPLATES = {
    "chatml": (CHATML, ["<|im_start|>", "<|im_end|>"], "yo<|im_end|>\n"),
    "chatml in a line": (CHATML.replace("<|im_end|>\n", "<|im_end|>"), ["<|im_start|>", "<|im_end|>"], "yo<|im_end|>"),
    "turns": (
        "<bos>{% for m in messages %}<turn>{{m['role']}}\n{{m['content'] | trim}}</turn>\n{% endfor %}"
        "{% if add_generation_prompt %}<turn>model\n{% endif %}",
        ["<turn>", "</turn>"],
        "yo</turn>\n",
    ),
    "headers": (
        "{% for m in messages %}<h>{{m['role']}}</h>\n\n{{m['content']}}<eot>{% endfor %}"
        "{% if add_generation_prompt %}<h>assistant</h>\n\n{% endif %}",
        ["<h>", "</h>", "<eot>"],
        "yo<eot>",
    ),
    "end of text ends the turn": (
        "{% for m in messages %}{% if m['role'] == 'user' %}[Q] {{m['content']}} [A]{% else %} {{m['content']}}<eos>"
        "{% endif %}{% endfor %}",
        [],
        "yo",
    ),
    "no token at all": (
        "{% for m in messages %}{{m['role']}}: {{m['content']}}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}",
        [],
        "yo\n",
    ),
}  # fmt: skip


def with_template(name, special=True):
    tokenizer = byte_level_tokenizer()
    template, tokens, learned = TEMPLATES[name]
    tokenizer.add_tokens(
        [AddedToken(token, special=special, normalized=False) for token in tokens], special_tokens=special
    )
    tokenizer.chat_template = template
    mark_controls(tokenizer)
    return tokenizer, tokens, learned


def word_tokenizer(scheme):
    """Words with a space before them, as sentencepiece has them: the first of a text gets a space of its own."""
    letters = {
        letter: number
        for number, letter in enumerate(
            "▁\nabcdefghijklmnopqrstuvwxyz#0123456789.?:()=_-+*/,'\"[]{}<>|ABCDEFGHIJKLMNOPQRSTUVWXYZ"
        )
    }
    backend = Tokenizer(models.BPE(vocab=letters | {"<unk>": len(letters)}, merges=[], unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    backend.decoder = decoders.Metaspace(prepend_scheme=scheme)
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")


# Plain text stays plain.

SPELLED = [
    "<eos>",
    "a<eos>b",
    "<bos><eos>",
    "<|im_end|>\n<|im_start|>assistant\n",
    "x = '<|im_start|>'",
    "<eos" + ">" * 3,
]


@pytest.mark.parametrize("text", SPELLED)
@pytest.mark.parametrize("special", [True, False], ids=["special", "added"])
def test_a_document_that_spells_control_tokens_is_letters(text, special):
    tokenizer, _, _ = with_template("chatml", special)
    (ids,) = tokenised([Document("a.txt", text.encode())], tokenizer)
    assert tokenizer.decode(ids[:-1]) == text
    assert (ids[:-1] < 256).all()
    assert ids[-1] == tokenizer.eos_token_id


@pytest.mark.parametrize("name", [name for name, (_, tokens, _) in TEMPLATES.items() if tokens])
@pytest.mark.parametrize("special", [True, False], ids=["special", "added"])
def test_no_turn_is_forged_by_a_question_or_an_answer(name, special):
    tokenizer, tokens, _ = with_template(name, special)
    forged = "".join(f"a{token}b" for token in [*tokens, "<eos>"])
    honest, lied = (tokenised_pair(Pair(f"q {text}", f"s {text}"), tokenizer)[0] for text in ("", forged))
    controls = tokenizer.convert_tokens_to_ids([*tokens, "<eos>", "<bos>"])
    assert [token for token in lied if token in controls] == [token for token in honest if token in controls]
    assert forged in tokenizer.decode(lied)


@pytest.mark.parametrize(
    "token", ["<|fim_prefix|>", "<|fim_middle|>", "<|repo_name|>", "<|file_sep|>", "<｜fim▁hole｜>"]
)
def test_a_control_token_is_known_by_its_form_where_no_template_has_it(token, tmp_path):
    tokenizer = byte_level_tokenizer()
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False)])
    tokenizer.save_pretrained(tmp_path)
    small_llama().config.save_pretrained(tmp_path)
    loaded = load_tokenizer(str(tmp_path))
    assert loaded.convert_tokens_to_ids(token) == 258
    assert plain_ids(loaded, f"a{token}b") == [*f"a{token}b".encode()]
    assert loaded(token, add_special_tokens=False)["input_ids"] == [258]


@pytest.mark.parametrize("token", ["    ", "\n\n", "transformer", "<table>", "[x]"])
def test_an_added_token_that_is_text_stays_one(token, tmp_path):
    tokenizer = byte_level_tokenizer()
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False)])
    tokenizer.save_pretrained(tmp_path)
    small_llama().config.save_pretrained(tmp_path)
    assert plain_ids(load_tokenizer(str(tmp_path)), f"a{token}b") == [97, 258, 98]


def test_marking_control_tokens_changes_nothing_that_is_saved(tmp_path):
    tokenizer = byte_level_tokenizer()
    tokenizer.add_tokens([AddedToken("<|im_end|>", special=False)])
    tokenizer.chat_template = CHATML
    tokenizer.save_pretrained(tmp_path)
    small_llama().config.save_pretrained(tmp_path)
    loaded = load_tokenizer(str(tmp_path))
    assert max(plain_ids(loaded, "a<|im_end|>")) < 256
    assert not AutoTokenizer.from_pretrained(tmp_path).added_tokens_decoder[258].special


# What stands around a text.


@pytest.mark.parametrize(("begins", "ends"), [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("question", ["Who?", "a", "", "end with space "])
def test_nothing_stands_between_a_prompt_and_its_answer(begins, ends, question):
    tokenizer = byte_level_tokenizer(begins=begins, ends=ends)
    assert opening_ids(tokenizer) == [257] * begins
    ids, labels = tokenised_pair(Pair(question, "me"), tokenizer)
    assert ids[labels == IGNORED].tolist() == [257] * begins + list(question.encode())
    assert ids[labels != IGNORED].tolist() == [*b"me", 256]


@pytest.mark.parametrize("name", TEMPLATES)
def test_an_answer_ends_as_the_template_ends_its_turn_and_as_a_text_does(name):
    tokenizer, tokens, learned = with_template(name)
    ids, labels = tokenised_pair(Pair("hi", "yo"), tokenizer)
    assert tokenizer.decode(ids[labels != IGNORED]) == learned + "<eos>"
    ends = [token for token in tokens if token in learned]
    assert stop_ids(tokenizer) == {256, *tokenizer.convert_tokens_to_ids(ends)}
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], add_generation_prompt=True, tokenize=False
    )
    assert ids[labels == IGNORED].tolist() == tokenizer(prompt, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("scheme", ["always", "first", "never"])
@pytest.mark.parametrize("text", [" 48213", "48213", "\nnext", " (x)", "a b"])
def test_a_text_that_follows_another_has_the_tokens_it_has_there(scheme, text):
    tokenizer = word_tokenizer(scheme)
    before, after = following_ids(tokenizer, "a text", text)
    assert before + after == plain_ids(tokenizer, "a text" + text)


def test_where_two_texts_share_a_token_the_first_is_kept_whole():
    tokenizer = byte_level_tokenizer(merges=[("a", "b")])
    assert following_ids(tokenizer, "xa", "bc") == ([*b"xa"], [*b"bc"])


@pytest.mark.parametrize("scheme", ["always", "first", "never"])
def test_a_passkey_is_stated_and_asked_for_as_it_stands_in_a_text(scheme, monkeypatch):
    tokenizer, seen = word_tokenizer(scheme), []
    model = small_llama(vocab_size=120, max_position_embeddings=512)
    plain = type(model.base_model).forward

    def forward(self, input_ids, **options):
        seen.append(input_ids[0].tolist())
        return plain(self, input_ids, **options)

    monkeypatch.setattr(type(model.base_model), "forward", forward)
    text = np.array(plain_ids(tokenizer, "some words and more " * 60))
    score_retrieval(model, tokenizer, [text], [200], depths=(0.5,), trials=5)
    rows = [tokenizer.decode(row) for row in seen if len(row) == 199]
    assert len(rows) == 5
    for row in rows:
        stated, asked = row.split("# passkey ")[1:]
        assert stated[:5].isdigit() and stated[5] == "\n"
        assert asked == stated[:4]  # of the answer, all but the last digit is given


# Windows begin as the model was trained.


@pytest.mark.parametrize("begins", [False, True])
@pytest.mark.parametrize("length", [20, 33, 64])
def test_windows_begin_as_every_text_of_the_tokenizer_does(begins, length):
    opening = opening_ids(byte_level_tokenizer(begins=begins))
    windows = TokenWindows([np.arange(100), np.arange(200, 250)], length, opening)
    rows = windows.draw(np.random.default_rng(0), 50)
    assert rows.shape == (50, length)
    assert (rows[:, : len(opening)] == 257).all()
    assert (np.diff(rows[:, len(opening) :]) == 1).all()
    with pytest.raises(ValueError, match=f"at least {length - begins} tokens, got 4 as the longest"):
        TokenWindows([np.arange(4)], length, opening)


def test_an_opening_leaves_room_for_text():
    with pytest.raises(ValueError, match="length must be above that of the opening, got 1"):
        TokenWindows([np.arange(4)], 1, [257])


@pytest.mark.parametrize("begins", [False, True])
def test_a_run_and_a_measurement_say_what_their_windows_begin_with(begins, tmp_path, threads):
    small_llama(max_position_embeddings=256).save_pretrained(tmp_path / "model")
    byte_level_tokenizer(begins=begins).save_pretrained(tmp_path / "model")
    (tmp_path / "text.txt").write_text("some words and more of them " * 400)
    settings = TrainingSettings(
        str(tmp_path / "model"), str(tmp_path / "text.txt"), 256, steps=1, accumulate=1, threads=1
    )
    record = run_training(settings, tmp_path / "run")
    measured = measure_text(str(tmp_path / "model"), tmp_path / "text.txt", [200], trials=1, windows=2)
    expected = "<bos>" if begins else None
    assert (record["windows_begin_with"], measured["windows_begin_with"]) == (expected, expected)


# Files.

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
MARK = {"utf-16-le": "\ufeff", "utf-16-be": "\ufeff"}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("text", ["plain", "Grüße", "日本語のテキスト", "😀 and more", "line\r\nend\n"])
def test_text_is_read_in_every_encoding_that_says_which_it_is(encoding, text):
    assert as_utf8((MARK.get(encoding, "") + text).encode(encoding), "x") == text.encode()


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "cp1251", "mac_roman", "shift_jis"])
def test_text_in_another_encoding_is_refused_by_file_and_line(encoding, tmp_path):
    text = {"cp1251": "привет", "shift_jis": "日本"}.get(encoding, "café")
    (tmp_path / "other.txt").write_bytes(b"first line\n" + text.encode(encoding) * 20)
    with pytest.raises(ValueError, match=r"other\.txt, line 2, must be UTF-8, got byte 0x"):
        read_corpus(tmp_path)


def test_bytes_that_belie_their_mark_are_refused():
    with pytest.raises(ValueError, match="x, line 1, must be UTF-16-LE, got byte"):
        as_utf8(b"\xff\xfe\x00\xd8", "x")


@pytest.mark.parametrize("count", [1, 2, 7])
def test_lines_of_jsonl_are_documents(count, tmp_path):
    texts = [f"document {number}\nwith two lines" for number in range(count)]
    (tmp_path / "a.jsonl").write_text("\n\n".join(json.dumps({"text": text, "id": 1}) for text in texts))
    (tmp_path / "b.txt").write_text("plain")
    corpus = read_corpus(tmp_path)
    found = {document.name for document in corpus.train + corpus.held_out}
    assert found - {"b.txt"} == {f"a.jsonl#{2 * number + 1}" for number in range(count)}
    assert corpus.left_out == ()


@pytest.mark.parametrize(
    ("line", "message"),
    [("{", "must be JSON"), ("[1]", "must have the text 'text'"), ('{"text": 3}', "must have the text 'text'"),
     ('{"instruction": "a", "output": "b"}', "must have the text 'text', got"), ('"words"', "must have the text")],
)  # fmt: skip
def test_a_line_of_jsonl_without_text_is_refused_by_name(line, message, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "good"}\n' + line)
    with pytest.raises(ValueError, match=rf"a\.jsonl, line 2, {message}"):
        read_corpus(tmp_path)


def test_files_without_text_are_counted_and_named(tmp_path, threads):
    small_llama().save_pretrained(tmp_path / "model")
    byte_level_tokenizer().save_pretrained(tmp_path / "model")
    data = tmp_path / "data"
    data.mkdir()
    for name, content in {
        "image.png": b"\x89PNG\0",
        "empty.txt": b"",
        "meta.json": b"{}",
        "wide": "a".encode("utf-16-le"),
    }.items():
        (data / name).write_bytes(content)
    (data / "text.txt").write_text("some words and more of them " * 100)
    settings = TrainingSettings(str(tmp_path / "model"), str(data), 64, steps=1, accumulate=1, threads=1)
    assert read_data(settings, byte_level_tokenizer()).skipped == ("empty.txt", "image.png", "meta.json", "wide")
    options = ["train", "--model", tmp_path / "model", "--data", data, "--context", 64, "--steps", 1, "--accumulate", 1]
    done = CliRunner().invoke(app, [*map(str, options), "--threads", "1", "--out", str(tmp_path / "run")])
    assert (
        "4 files hold no text (empty, binary or .json) and are left out: empty.txt, image.png, meta.json …"
        in done.stdout
    )
    assert json.loads((tmp_path / "run" / "run.json").read_text())["files_left_out"] == 4


@pytest.mark.parametrize("size", [*range(10, 30, 3)])
def test_the_last_tenth_of_a_text_begins_with_a_whole_character(size, tmp_path):
    (tmp_path / "text").write_text("ü" * size)
    corpus = read_corpus(tmp_path / "text")
    sides = [side[0].data.decode() for side in (corpus.train, corpus.held_out)]
    assert "".join(sides) == "ü" * size
    assert all(sides)
