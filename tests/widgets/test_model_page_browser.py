"""The model page in a real browser, opened as a file without a network: each part, keyboard, phone, dark, torch."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import chromium_session, serious_faults
from page_models import folders, logits

from longlora_edu.widgets.model_page import Packed, Sample, model_page, pack
from longlora_edu.widgets.model_page.bundle import module, worker

pytestmark = pytest.mark.browser
SHIPPED = Path(__file__).parents[2] / "docs" / "model.html"
TEXT = (
    "def greet(name):\n    return 'hello ' + name\n\nprint(greet('world'))\nfor letter in 'abc':\n    print(letter)\n"
)
SAMPLES = (Sample("greet.py", TEXT), Sample("short.py", "x = 1\ny = 2\n"))
# A worker of our own, from the text that the page starts its own from.
SMALL = """() => {
    const touched = ".mp :is(button, select, textarea, .mp-choice, .mp-layers label, input:not([type=radio]))";
    const isSmall = (element) => element.offsetParent && element.getBoundingClientRect().height < 43.9;
    return [...document.querySelectorAll(touched)].filter(isSmall).map((element) => element.outerHTML.slice(0, 80));
}"""
ASK = """async ([code, ids, asked]) => {
    const worker = new Worker(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
    const call = (job, given) => new Promise((resolve) => {
        worker.onmessage = ({ data }) => (data.result || data.error) && resolve(data.result ?? data.error);
        worker.postMessage({ id: 1, job, ...given });
    });
    const text = document.getElementById("pack").textContent;
    await call("load", { pack: Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer });
    const answers = [];
    for (const [model, name, group] of asked)
        answers.push([...(await call("run", { model, pattern: { name, group }, ids: Uint8Array.from(ids) })).nats]);
    return answers;
}"""


@pytest.fixture(scope="module")
def browser():
    with chromium_session() as browser:
        yield browser


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The pack of a small random model, and the page around it."""
    folder = tmp_path_factory.mktemp("page")
    data = pack(*folders(folder, heads=4, kv_heads=4, context=256), group_size=32)
    (folder / "model.html").write_text(model_page(data, SAMPLES), encoding="utf-8")
    return data, folder / "model.html"


@pytest.fixture
def opened(browser, made):
    """A function that opens the page, offline, and waits until it has read; no error and no request may come up."""
    errors, contexts = [], []

    def opened(settings="", width=1280, wait=True, file=made[1], **options):
        options.setdefault("reduced_motion", "reduce")
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, offline=True, **options))
        page = contexts[-1].new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("request", lambda one: errors.append(one.url) if not one.url.startswith(("file:", "blob:")) else None)
        page.goto(f"{file.as_uri()}#{settings}")
        page.locator("[data-ready=yes]").wait_for()
        if wait:
            wait_for_status(page, "to compare, with before|Read ")
            page.wait_for_function("() => !document.querySelector('progress').classList.contains('mp-on')")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert errors == []


def part(page, name):
    return page.locator(f"[data-part='{name}']")


def wait_for_status(page, pattern):
    page.wait_for_function(
        "pattern => new RegExp(pattern).test(document.querySelector('[data-part=status]').textContent)", arg=pattern
    )


def said(page, name):
    """What a part says, once it says something."""
    page.wait_for_function("name => document.querySelector(`[data-part='${name}']`).textContent.length > 3", arg=name)
    return part(page, name).inner_text()


def rows(page):
    return [row.split("\t")[:2] for row in part(page, "rows").inner_text().splitlines() if row.strip()]


def choose(page, what, value):
    page.locator(f"input[data-set={what}][value='{value}']").check()


@pytest.mark.parametrize("variant", ["before", "stretched", "after"])
def test_the_worker_says_what_torch_says(opened, made, variant):
    ids = np.frombuffer((TEXT * 3)[:256].encode(), np.uint8)
    asked = [(variant, name, 32) for name in ("dense", "s2", "short", "wrap")]
    found = opened().evaluate(ASK, [worker(), ids.tolist(), asked])
    model = Packed.read(made[0]).model(variant)
    for (_, name, group), nats in zip(asked, found, strict=True):
        scores = torch.from_numpy(logits(model, ids, name, group))
        meant = torch.nn.functional.cross_entropy(scores[:-1], torch.tensor(ids[1:].tolist()), reduction="none")
        np.testing.assert_allclose(nats, meant.numpy(), atol=1e-3, err_msg=name)


def test_a_file_is_read_at_once_and_compared_with_the_model_before(opened):
    page = opened()
    wait_for_status(page, "Read with after and, to compare, with before.")
    assert part(page, "text").input_value() == TEXT
    assert part(page, "length").inner_text() == f"{len(TEXT)} of at most 256 bytes."
    assert rows(page) == [["after", "dense"], ["before", "dense"]]
    assert re.search(r"after with dense attention \d+\.\d{3}", part(page, "curve").get_attribute("aria-label"))


def test_typing_is_read_along_and_computes_the_new_bytes_only(opened):
    page = opened()
    part(page, "text").focus()
    page.keyboard.press("Control+End")
    page.keyboard.type("x")
    wait_for_status(page, "^Read 1 new byte in ")
    assert part(page, "length").inner_text().startswith(f"{len(TEXT) + 1} of")
    assert rows(page) == [["after", "dense"]]
    assert page.locator("[data-part=file]").input_value() == ""


def test_what_does_not_fit_is_left_out_and_said(opened):
    page = opened()
    part(page, "text").fill("é" * 150)
    wait_for_status(page, "^Read ")
    assert part(page, "length").inner_text() == "256 of at most 256 bytes. The last 44 are left out."
    part(page, "text").fill("")
    wait_for_status(page, "^Write something")


def test_the_switches_change_the_model_by_keyboard_and_stand_in_the_link(opened):
    page = opened()
    page.locator("input[data-set=model][value=after]").focus()
    page.keyboard.press("ArrowUp")
    wait_for_status(page, "^Read ")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    page.wait_for_function("() => document.querySelectorAll('[data-part=rows] tr').length === 4")
    assert ["stretched", "S²"] in rows(page) and ["stretched", "dense"] in rows(page)
    page.locator("select[data-set=group]").select_option("8")
    page.wait_for_function("() => location.hash === '#model=stretched&attention=s2&group=8'")
    assert said(page, "group-says") == "In training it was 32."
    page.reload()
    page.locator("[data-ready=yes]").wait_for()
    assert page.locator("input[value=stretched]").is_checked() and page.locator("input[value=s2]").is_checked()
    assert page.locator("select[data-set=group]").input_value() == "8"


def test_all_twelve_read_and_one_is_kept(opened):
    page = opened()
    page.locator("[data-do=all]").click()
    wait_for_status(page, "All twelve have read it")
    assert len(rows(page)) == 12
    page.locator("[data-do=forget]").click()
    assert rows(page) == [["after", "dense"]]


def test_a_likely_byte_is_added(opened):
    page = opened()
    button = part(page, "next").locator("button").first
    byte = int(button.get_attribute("data-byte"))
    button.click()
    wait_for_status(page, "^Read 1 new byte in")
    if byte < 128:
        assert part(page, "text").input_value() == TEXT + chr(byte)


def test_it_writes_and_takes_it_back(opened):
    page = opened()
    part(page, "count").fill("7")
    page.locator("[data-do=write]").click()
    page.locator("[data-do=unwrite]").wait_for()
    assert re.match(r"7 bytes, \d+ a second, the first “.+”; on average", said(page, "write-says"))
    wait_for_status(page, "^Read ")
    assert part(page, "text").input_value().startswith(TEXT)
    page.locator("[data-do=unwrite]").click()
    assert part(page, "text").input_value() == TEXT


def test_a_number_is_hidden_and_asked_for(opened):
    page = opened()
    part(page, "answer").fill("48213")
    part(page, "depth").fill("50")
    page.locator("[data-do=hide]").click()
    answer = page.wait_for_function(
        "() => /it wrote/.test(document.querySelector('[data-part=answer-says]').textContent) "
        "&& document.querySelector('[data-part=answer-says]').textContent"
    ).json_value()
    told = part(page, "text").input_value()
    assert told.count("# passkey 48213\n") == 1 and told.endswith("\n# passkey ")
    distance = len(told) - told.index("\n# passkey 48213")
    assert f"The line stands {distance} bytes back" in answer and "That is wrong: it was “48213”" in answer
    part(page, "depth").fill("0")
    page.locator("[data-do=ask-all]").click()
    page.wait_for_function("() => /of 9 found it/.test(document.querySelector('[data-part=answer-says]').textContent)")
    told = part(page, "text").input_value()
    assert told.startswith("\n# passkey 48213\n") and told.count("# passkey") == 2  # moved, not hidden again
    cells = part(page, "answers").locator("tbody td").all_inner_texts()
    assert len(cells) == 12 and cells.count("cannot write") == 3 and all(c[0] in "✓✗c" for c in cells)
    page.locator("[data-do=restore]").click()
    assert part(page, "text").input_value() == TEXT


@pytest.mark.parametrize("number", ["48213", "90750"])
def test_the_shipped_model_finds_the_number_that_the_readme_asks_for(opened, number):
    page = opened(file=SHIPPED, wait=False)
    page.set_default_timeout(120_000)
    wait_for_status(page, "to compare, with before")
    part(page, "answer").fill(number)
    page.locator("[data-do=hide]").click()
    page.wait_for_function("() => /it wrote/.test(document.querySelector('[data-part=answer-says]').textContent)")
    assert f"after, dense: it wrote “{number}”. That is right." in part(page, "answer-says").inner_text()
    distance = int(re.search(r"stands ([\d,]+) bytes back", part(page, "answer-says").inner_text())[1].replace(",", ""))
    assert distance > 1024


def test_words_of_ones_own_are_hidden(opened):
    page = opened()
    part(page, "kind").select_option("own")
    part(page, "statement").fill("the cat is Tom")
    part(page, "question").fill("the cat is ")
    part(page, "answer").fill("Tom")
    page.locator("[data-do=hide]").click()
    page.wait_for_function("() => /it wrote/.test(document.querySelector('[data-part=answer-says]').textContent)")
    told = part(page, "text").input_value()
    assert "\nthe cat is Tom\n" in told and told.endswith("\nthe cat is ")


def test_a_byte_shows_where_its_heads_look(opened):
    page = opened()
    field = part(page, "bytes")
    field.locator("span").nth(40).click()
    assert said(page, "look-says").startswith(f"Byte 40, “{TEXT[40]}”, of layer 2. After it the model expected ")
    captions = page.locator("[data-head]").all_inner_texts()
    assert [c.split(":")[0] for c in captions] == [
        "head 0, plain", "head 1, plain", "head 2, shifted", "head 3, shifted",
    ]  # fmt: skip
    drawn = "() => [...document.querySelectorAll('[data-part=heads] canvas')].map((c) => c.toDataURL())"
    dense = page.evaluate(drawn)
    choose(page, "layer", "0")
    assert page.evaluate(drawn) != dense
    field.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => /^Byte 41,/.test(document.querySelector('[data-part=look-says]').textContent)")
    assert field.get_attribute("aria-valuenow") == "41" and field.get_attribute("aria-valuetext").startswith("byte 41,")
    choose(page, "attention", "short")
    page.wait_for_function(
        "() => [...document.querySelectorAll('[data-head]')].every((c) => /: 100\\s% inside/.test(c.textContent))"
    )
    page.keyboard.press("Tab")
    field.focus()
    page.keyboard.press("Escape")
    page.wait_for_function("() => document.querySelector('[data-part=heads]').hidden")


def test_the_future_leaks_under_wrap_and_only_then(opened):
    page = opened()
    page.locator("[data-do=leak]").click()
    page.wait_for_function("() => /Under wrap/.test(document.querySelector('[data-part=leak-says]').textContent)")
    text = said(page, "leak-says")
    leaks, before, first = map(int, re.search(r"Under wrap (\d+) of the (\d+) .* from byte (\d+) on", text).groups())
    assert 0 < leaks <= before and first == 0
    assert text.endswith("With dense attention 0 moved, with S² 0, with short 0.")
    assert "0 forecasts before the word moved" in page.locator("[data-leak=s2]").inner_text()


def test_wrap_says_why_it_cannot_write(opened):
    page = opened()
    choose(page, "attention", "wrap")
    wait_for_status(page, "Wrap takes whole groups: the last \\d+ bytes are left out.")
    assert page.locator("[data-do=write]").is_disabled() and page.locator("[data-do=hide]").is_disabled()
    assert "nothing can be written on" in part(page, "next-says").inner_text()
    part(page, "text").fill("too short")
    page.locator("select[data-set=group]").select_option("16")
    wait_for_status(page, "Wrap takes whole groups: write at least 16 bytes")


def test_a_long_job_can_be_stopped(opened):
    page = opened()
    part(page, "count").fill("200")
    page.evaluate(
        """async () => {
        const press = (name) => document.querySelector(`[data-do=${name}]`).click();
        press("write");
        await new Promise(requestAnimationFrame);
        press("stop");
    }"""
    )
    wait_for_status(page, "^Read ")
    assert len(part(page, "text").input_value()) < 256
    assert page.locator("[data-do=stop]").is_hidden()


def test_a_text_with_signs_of_html_stays_a_text(opened):
    page = opened()
    part(page, "text").fill("<b>&amp;</b><img src=x onerror=alert(1)>")
    wait_for_status(page, "^Read ")
    page.wait_for_function("() => document.querySelectorAll('[data-part=bytes] span').length === 40")
    assert part(page, "bytes").inner_text() == "<b>&amp;</b><img src=x onerror=alert(1)>"


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault_and_nothing_is_too_small_or_too_wide(opened, width, scheme):
    page = opened(width=width, color_scheme=scheme)
    part(page, "bytes").locator("span").nth(40).click()
    said(page, "look-says")
    page.locator("[data-do=ask-all]").click()
    page.wait_for_function("() => /of 9 found it/.test(document.querySelector('[data-part=answer-says]').textContent)")
    part(page, "kind").select_option("own")
    page.locator("[data-do=leak]").click()
    page.wait_for_function("() => /Under wrap/.test(document.querySelector('[data-part=leak-says]').textContent)")
    assert serious_faults(page) == []
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    assert page.evaluate(SMALL) == []
    ground = page.evaluate("() => getComputedStyle(document.querySelector('.mp-card')).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(27, 30, 33)"}[scheme]


def test_every_part_is_reached_by_the_keyboard_in_its_order(opened):
    page = opened()
    page.locator("body").focus()
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "() => { const { part, do: act, set, byte } = document.activeElement.dataset;"
                " return part ?? act ?? set ?? (byte && 'byte') ?? document.activeElement.tagName; }"
            )
        )
    order = [name for at, name in enumerate(reached) if name not in reached[:at]]
    wanted = ["file", "text", "model", "attention", "all", "forget", "byte", "write", "count", "heat", "kind", "answer"]
    wanted += ["depth", "hide", "ask-all", "bytes", "layer", "leak"]
    assert [name for name in order if name in wanted] == wanted


def test_the_page_never_blocks_while_it_reads(opened):
    """The page's own thread goes on, however slow the machine: it takes many turns while the worker reads."""
    page = opened()
    turns = page.evaluate(
        """async () => {
        const status = document.querySelector("[data-part=status]");
        const { port1, port2 } = new MessageChannel();
        let turns = 0;
        const done = new Promise((resolve) => {
            port1.onmessage = () => {
                if (/All twelve/.test(status.textContent)) return resolve();
                turns += 1;
                port2.postMessage(0);
            };
        });
        document.querySelector("[data-do=all]").click();
        port2.postMessage(0);
        await done;
        return turns;
    }"""
    )
    assert turns > 12 * 5  # a page that read by itself would have one turn a reading, twelve in all


def test_a_kernel_sends_the_weights_and_moves_the_switches(opened, made):
    """The module as a notebook uses it: a model that has the weights only when it is asked for them."""
    page = opened()
    page.evaluate(
        """async ([code, samples]) => {
        const source = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
        const { default: widget } = await import(source);
        const text = document.getElementById("pack").textContent;
        const data = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
        const values = { samples, variant: "before", attention: "short", group: 8, text: "" };
        const heard = {};
        window.model = {
            get: (name) => values[name],
            set: (name, value) => { values[name] = value; },
            moves: (name, value) => { values[name] = value; (heard[`change:${name}`] ?? []).forEach((f) => f()); },
            on: (event, f) => (heard[event] ??= []).push(f),
            off: (event, f) => { heard[event] = heard[event].filter((other) => other !== f); },
            save_changes: () => {},
            send: ({ ask }) => {
                const answer = (f) => f({ answer: ask }, [new DataView(data.buffer)]);
                setTimeout(() => heard["msg:custom"].forEach(answer));
            },
            listening: () => Object.keys(values).flatMap((name) => heard[`change:${name}`] ?? []).length,
        };
        document.querySelector("main").innerHTML = "<div id='cell'></div>";
        window.end = widget.render({ model: window.model, el: document.getElementById("cell") });
    }""",
        [module(), [vars(sample) for sample in SAMPLES]],
    )
    page.locator("[data-ready=yes]").wait_for()
    wait_for_status(page, "^Read ")
    assert rows(page)[0] == ["before", "short"]
    page.evaluate("() => { model.moves('variant', 'after'); model.moves('attention', 's2'); }")
    page.wait_for_function("() => document.querySelectorAll('[data-part=rows] tr').length === 2")
    assert ["after", "S²"] in rows(page)
    page.evaluate("() => model.moves('text', 'print(1)\\n' )")
    page.wait_for_function("() => document.querySelector('[data-part=text]').value === 'print(1)\\n'")
    page.evaluate("() => end()")
    assert page.evaluate("() => model.listening()") == 0
