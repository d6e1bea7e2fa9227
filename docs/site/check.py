"""What is wrong with built pages: links that lead nowhere, and anything that a browser would fetch from elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

ELSEWHERE = re.compile(r"^(https?:)?//", re.IGNORECASE)
# What a browser loads by itself, by tag; an <a> it only follows when asked to.
LOADS = {
    **dict.fromkeys(("script", "img", "iframe", "source", "video", "audio", "embed", "track", "input"), "src"),
    "object": "data",
}
LOADED_LINKS = {"stylesheet", "icon", "preload", "prefetch", "preconnect", "dns-prefetch", "modulepreload", "manifest"}
IN_STYLE = re.compile(r"""(?:url\(\s*|@import\s+)["']?((?:https?:)?//[^"')\s]+)""", re.IGNORECASE)
# Servers that scripts and fonts are commonly fetched from; a script could ask for them in ways no tag shows.
CDN = re.compile(
    r"\bcdn[\w-]*\.[\w.-]+|unpkg\.com|jsdelivr\.|googleapis\.com|gstatic\.com|esm\.sh|skypack\.dev|jspm\.\w+"
    r"|polyfill\.io|bootstrapcdn|use\.fontawesome",
    re.IGNORECASE,
)
# Pages that read their settings from what stands behind the #.
SETTINGS = ("explorer.html", "model.html")


@dataclass
class Page(HTMLParser):
    """What one page names: anchors, links, and what it loads."""

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    in_style: bool = False

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag names."""
        said = {name: value or "" for name, value in attrs}
        self.anchors |= {said[name] for name in ("id", "name") if name in said}
        self.in_style = tag == "style"
        if tag == "a" and "href" in said:
            self.links.append(said["href"])
        if tag == "link" and LOADED_LINKS & set(said.get("rel", "").split()):
            self.loads.append(said.get("href", ""))
        elif tag in LOADS:
            self.loads.append(said.get(LOADS[tag], ""))
        self.loads += [part.split()[0] for part in said.get("srcset", "").split(",") if part.strip()]
        self.loads += IN_STYLE.findall(said.get("style", ""))

    def handle_data(self, data: str) -> None:
        """Note what a style sheet inside of the page loads."""
        if self.in_style:
            self.loads += IN_STYLE.findall(data)


def problems(folder: Path, apart: Path | None = None) -> list[str]:
    """One sentence for each problem, of all files under `folder`; nothing is asked of the network.

    `apart` is a folder in it that others made and that may ask a server: links into it are checked, its pages are not.
    """
    there = [path for path in sorted(folder.rglob("*")) if apart is None or apart not in path.parents]
    pages = {path.resolve(): _read(path) for path in there if path.suffix == ".html"}
    found = []
    for path, page in pages.items():
        name = path.relative_to(folder.resolve()).as_posix()
        found += [f"{name} loads {target}" for target in page.loads if ELSEWHERE.match(target)]
        local = [target for target in [*page.links, *page.loads] if not re.match(r"[a-z]+:|//", target, re.IGNORECASE)]
        found += [f"{name} has {wrong}" for target in dict.fromkeys(local) if (wrong := _wrong(target, path, pages))]
    for path in there:
        if path.suffix in (".html", ".js", ".css", ".json", ".mjs") and path.is_file():
            name, text = path.relative_to(folder).as_posix(), path.read_text(encoding="utf-8")
            found += [f"{name} names {server}" for server in sorted(set(CDN.findall(text)))]
            if path.suffix == ".css":
                found += [f"{name} loads {target}" for target in IN_STYLE.findall(text)]
    return found


def _read(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def _wrong(target: str, path: Path, pages: dict[Path, Page]) -> str:
    """What a local link lacks, or nothing."""
    place, _, anchor = unquote(target).partition("#")
    place = place.partition("?")[0]
    file = (path.parent / place).resolve() if place else path
    if not file.is_file():
        return f"a link to {target!r}, which is no file"
    if anchor and file.name not in SETTINGS and file in pages and anchor not in pages[file].anchors:
        return f"a link to {target!r}, which is no place there"
    return ""
