from __future__ import annotations

import hashlib
import sys
from dataclasses import replace

import numpy as np
import pytest

from longlora_edu.training.corpus import Corpus, Document, Windows, package_document, read_corpus, standard_library

# Written down once: no machine and no version may disagree.
TRAINED = ["argparse.py", "asyncio/tasks.py", "difflib.py", "json/decoder.py", "turtle.py", "typing.py"]
HELD_OUT = ["collections/__init__.py", "enum.py", "http/cookies.py", "json/tool.py", "pydoc.py", "uuid.py"]


def write_tree(root, files):
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def names(documents):
    return [document.name for document in documents]


def letters(*lengths):
    """Documents in which each byte stands once, so that a window tells where it was cut."""
    first, documents = 1, []
    for number, length in enumerate(lengths):
        documents.append(Document(f"{number}", bytes(range(first, first + length))))
        first += length
    assert first <= 256
    return tuple(documents)


@pytest.fixture(scope="module")
def library():
    return standard_library()


def test_held_out_documents_are_known_by_their_name_alone():
    for data in (b"any", b"other"):
        assert [name for name in TRAINED + HELD_OUT if Document(name, data).is_held_out] == HELD_OUT


def test_one_document_in_sixteen_is_held_out():
    share = np.mean([hashlib.sha256(f"{i}".encode()).digest()[0] % 16 == 0 for i in range(4000)])
    ours = np.mean([Document(f"{i}", b"x").is_held_out for i in range(4000)])
    assert ours == share
    assert abs(ours - 1 / 16) < 4 * (1 / 16 * 15 / 16 / 4000) ** 0.5


def test_the_standard_library_is_split_by_names_without_its_tests(library):
    train, held_out = names(library.train), names(library.held_out)
    assert train == sorted(train)
    assert held_out == sorted(held_out)
    assert not set(train) & set(held_out)
    assert set(TRAINED) <= set(train)
    assert set(HELD_OUT) <= set(held_out)
    assert all(document.is_held_out for document in library.held_out)
    assert not any(document.is_held_out for document in library.train)
    for name in (*train, *held_out):
        assert name.endswith(".py")
        assert not {"test", "tests", "site-packages", "__pycache__"} & set(name.split("/"))


def test_the_standard_library_holds_megabytes_and_documents_long_enough_for_16k(library):
    about = library.describe()
    assert about["source"] == "standard library"
    assert about["python"] == sys.version.split()[0]
    assert about["sha256"] == library.hash
    assert about["train_bytes"] > 8e6
    assert about["held_out_bytes"] > 2e5
    assert about["train_documents"] == len(library.train)
    Windows(library.train, 16_384)
    Windows(library.held_out, 16_384)


def test_the_split_does_not_depend_on_where_the_folder_lies(tmp_path):
    files = {f"{letter}/{i}.txt": b"text %d" % i for letter in "ab" for i in range(40)}
    write_tree(tmp_path / "one", files)
    write_tree(tmp_path / "two" / "deeper", dict(reversed(files.items())))
    one, two = read_corpus(tmp_path / "one"), read_corpus(tmp_path / "two" / "deeper")
    assert (one.train, one.held_out, one.hash) == (two.train, two.held_out, two.hash)
    assert one.held_out
    assert names(one.train) == sorted(names(one.train))


def test_the_hash_changes_with_a_byte_a_name_or_a_side():
    corpus = Corpus("x", (Document("a", b"one"), Document("b", b"two")), (Document("c", b"three"),))
    others = [
        replace(corpus, train=(Document("a", b"onE"), corpus.train[1])),
        replace(corpus, train=(Document("A", b"one"), corpus.train[1])),
        replace(corpus, held_out=(Document("c", b"thre"),)),
        replace(corpus, train=corpus.train[:1], held_out=(corpus.train[1], *corpus.held_out)),
        replace(corpus, train=(Document("a", b"oneb\0003\0two"),)),
    ]
    assert len({corpus.hash, *(other.hash for other in others)}) == 6
    assert replace(corpus, source="y").hash == corpus.hash
    assert len(corpus.hash) == 64


def test_long_lines_on_both_sides_are_counted():
    long, other = b"x" * 40, b"y" * 50
    corpus = Corpus(
        "x",
        (Document("a", b"  " + long + b"\nshort\n"),),
        (Document("b", b"short\n" + long + b"\n" + other + b"\n\t" + long + b"\n" + b"z" * 39),),
    )
    assert corpus.shared_lines() == {"shortest": 40, "held_out_lines": 3, "also_in_train": 2}
    assert corpus.shared_lines(5)["also_in_train"] == 3


def test_windows_never_cross_documents_and_end_in_0_only_with_their_document():
    documents = letters(10, 23, 5)
    texts = [document.data + b"\0" for document in documents]
    drawn = Windows(documents, 6).draw(np.random.default_rng(0), 500)
    assert (drawn.shape, drawn.dtype) == ((500, 6), np.uint8)
    for window in drawn:
        assert any(window.tobytes() in text for text in texts)
        assert 0 not in window[:-1]
    assert (drawn[:, -1] == 0).any()


def test_every_position_of_every_long_enough_document_is_equally_likely():
    documents = letters(10, 23, 3)
    length, draws = 5, 24_000
    drawn = Windows(documents, length).draw(np.random.default_rng(0), draws)
    starts = [document.data[i] for document in documents[:2] for i in range(len(document.data) + 2 - length)]
    counts = np.array([np.sum(drawn[:, 0] == start) for start in starts])
    assert counts.sum() == draws, "nothing else may be drawn"
    expected = draws / len(starts)
    # Chi-square has len - 1 degrees of freedom and, for so many, is near normal: 5 deviations.
    statistic = ((counts - expected) ** 2 / expected).sum()
    assert statistic < (len(starts) - 1) + 5 * (2 * (len(starts) - 1)) ** 0.5


def test_windows_are_a_function_of_the_generator():
    windows = Windows(letters(30), 4)
    first, again, other = (windows.draw(np.random.default_rng(seed), 20) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_drawn_window_is_the_callers_own():
    windows = Windows(letters(4), 5)
    windows.draw(np.random.default_rng(0), 1)[:] = 7
    np.testing.assert_array_equal(windows.draw(np.random.default_rng(0), 1), [[1, 2, 3, 4, 0]])


def test_a_document_one_byte_short_counts_its_end():
    np.testing.assert_array_equal(Windows(letters(3), 4).draw(np.random.default_rng(0), 1), [[1, 2, 3, 0]])


def test_windows_longer_than_every_document_are_refused():
    with pytest.raises(ValueError, match="corpus must hold a document of at least 12 bytes, got 10 as the longest"):
        Windows(letters(10, 4), 12)
    with pytest.raises(ValueError, match="corpus must hold a document of at least 1 bytes, got 0 as the longest"):
        Windows((), 1)


@pytest.mark.parametrize("length", [0, -3])
def test_windows_without_length_are_refused(length):
    with pytest.raises(ValueError, match=f"length must be positive, got {length}"):
        Windows(letters(10), length)


def test_no_windows_are_refused():
    with pytest.raises(ValueError, match="count must be positive, got 0"):
        Windows(letters(10), 2).draw(np.random.default_rng(0), 0)


def test_a_package_is_one_document_of_all_its_source():
    document = package_document("json")
    assert document.name == "json"
    assert b"class JSONDecoder" in document.data
    assert b"class JSONEncoder" in document.data
    assert document.data.index(b"class JSONDecoder") < document.data.index(b"class JSONEncoder"), (
        "in order of file names"
    )
    assert b"\0" not in document.data


def test_a_package_inside_a_package_can_be_named():
    assert b"def fromstring" in package_document("xml.etree").data


@pytest.mark.parametrize("name", ["no_such_package", "no_such_package.inner", "json.no_such_module", "argparse", ""])
def test_what_is_no_installed_package_is_refused(name):
    with pytest.raises(ValueError, match=f"package must be an installed package with a folder of source, got '{name}'"):
        package_document(name)


def test_a_package_without_source_is_refused(tmp_path, monkeypatch):
    write_tree(tmp_path, {"only_data_here/table.csv": b"1,2"})
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="package must be .* got 'only_data_here'"):
        package_document("only_data_here")


def test_a_file_is_cut_in_two_and_its_last_tenth_held_out(tmp_path):
    (tmp_path / "book.txt").write_bytes(bytes(range(1, 101)))
    corpus = read_corpus(tmp_path / "book.txt")
    assert corpus.train == (Document("book.txt", bytes(range(1, 91))),)
    assert corpus.held_out == (Document("book.txt", bytes(range(91, 101))),)


def test_a_folder_whose_names_hold_nothing_out_is_cut_too(tmp_path):
    files = {name: bytes(range(1, 21)) for name in ("a", "b") if not Document(name, b"").is_held_out}
    write_tree(tmp_path, files)
    corpus = read_corpus(tmp_path)
    assert [(document.name, len(document.data)) for document in corpus.train] == [(name, 18) for name in files]
    assert [(document.name, len(document.data)) for document in corpus.held_out] == [(name, 2) for name in files]


def test_hidden_binary_and_empty_files_are_left_out(tmp_path):
    write_tree(
        tmp_path,
        {
            "text.txt": b"plain text of a file",
            "sub/more.md": "Grüße".encode(),
            "tests/notes.txt": b"a folder of any other name",
            "image.png": b"\x89PNG\0\0",
            ".hidden": b"secret",
            ".git/config": b"secret",
            "empty.txt": b"",
        },
    )
    corpus = read_corpus(tmp_path)
    assert {*names(corpus.train), *names(corpus.held_out)} == {"text.txt", "sub/more.md", "tests/notes.txt"}


def test_a_hidden_folder_that_is_named_outright_is_read(tmp_path):
    write_tree(tmp_path / ".notes", {"a.txt": b"0123456789"})
    assert names(read_corpus(tmp_path / ".notes").train) == ["a.txt"]


def a_folder_with_packages(folder):
    """Two packages, one of them with a package inside, beside files that are in none."""
    files = {"note.txt": b"A note.", "scripts/run.py": b"run()", "outer/__init__.py": b"", "outer/b.py": b"b = 2"}
    files |= {"outer/a.py": b"a = 1", "outer/inner/__init__.py": b"c = 3", "outer/table.csv": b"1,2"}
    files |= {"outer/tests/test_a.py": b"assert a", "scripts/two/__init__.py": b"d = 4", "empty/__init__.py": b""}
    write_tree(folder, files | {".hidden/three/__init__.py": b"secret"})
    return folder


def test_a_package_folder_is_one_document_where_that_is_asked_for(tmp_path):
    corpus = read_corpus(a_folder_with_packages(tmp_path / "all"), document="package")
    # None of these names is held out, so each is cut in two.
    found = {one.name: one.data + two.data for one, two in zip(corpus.train, corpus.held_out, strict=True)}
    assert found == {
        "note.txt": b"A note.",
        "scripts/run.py": b"run()",
        "outer": b"a = 1\nb = 2\nc = 3",
        "scripts/two": b"d = 4",
    }
    assert "outer/b.py" in names(read_corpus(tmp_path / "all").train)


def test_a_folder_that_is_a_package_itself_is_one_document(tmp_path):
    corpus = read_corpus(a_folder_with_packages(tmp_path) / "outer", document="package")
    assert corpus.train == (Document("outer", b"a = 1\nb = 2\nc ="),)
    assert corpus.held_out == (Document("outer", b" 3"),)


def test_another_rule_of_what_a_document_is_is_refused(tmp_path):
    with pytest.raises(ValueError, match="document must be one of file, package, got 'folder'"):
        read_corpus(tmp_path, document="folder")


def test_a_path_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="corpus must be a file or a folder, got .*nowhere, which does not exist"):
        read_corpus(tmp_path / "nowhere")


@pytest.mark.parametrize("files", [{}, {"a": b""}, {"a": b"\0bin"}, {".hidden": b"text"}])
def test_a_folder_without_text_is_refused(tmp_path, files):
    write_tree(tmp_path, files)
    with pytest.raises(ValueError, match="corpus must hold at least one text file, got .* with none"):
        read_corpus(tmp_path)


@pytest.mark.parametrize("data", [b"", b"a\0b"])
def test_a_file_without_text_is_refused(tmp_path, data):
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(ValueError, match="corpus must hold at least one text file, got .*file with none"):
        read_corpus(tmp_path / "file")


def test_the_same_text_from_windows_is_the_same_text(tmp_path):
    for name, end in (("here", b"\n"), ("windows", b"\r\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.py").write_bytes(end.join([b"x = 1", b"y = '\r'", b""] * 9))
    here, windows = (read_corpus(tmp_path / name) for name in ("here", "windows"))
    assert here.hash == windows.hash
    assert b"'\r'" in here.train[0].data
