"""Pages of reports, read again, and run folders to make them of without running anything."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from linksim.results.records import Record, UnitKey
from linksim.results.store import ResultStore, original_file, panel_file

FORMER = Path(__file__).parent.parent / "frozen" / "data" / "run"


def data_of(page: str, name: str = "data") -> dict[str, Any]:
    """What the scripts of a page show; ``kept`` are its pictures."""
    [text] = re.findall(rf'<script type="application/json" id="{name}">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)


class Elements(HTMLParser):
    """Elements of a page with their attributes, and its visible texts up to the results."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.top = ""
        self._in_top = True
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self._in_top &= tag != "main"

    def handle_data(self, data):
        if self._in_top and self.found and self.found[-1][0] not in ("style", "title"):
            self.top += data + " "


def copied(folder: Path) -> ResultStore:
    """The run of a former version, in a folder where it may be changed."""
    shutil.copytree(FORMER, folder)
    return ResultStore(folder)


def changed(
    store: ResultStore,
    header: Callable[[dict[str, Any]], object] = lambda header: None,
    records: Callable[[list[Record]], Iterable[Record]] = lambda records: records,
) -> ResultStore:
    """A run folder with another header, or other records."""
    before, text = list(store.records()), json.loads(store.header_path.read_text())
    header(text)
    store.header_path.write_text(json.dumps(text))
    store.records_path.write_text("".join(r.to_json() + "\n" for r in records(before)))
    return store


def renamed(store: ResultStore, scheme: dict[str, str], image: dict[str, str], question: str) -> None:
    """Other names of schemes and images, in all files."""

    def name(header: dict[str, Any]) -> None:
        header["scenario"]["question"] = question
        for one in header["scenario"]["schemes"]:
            one["name"] = scheme.get(one["name"], one["name"])
        header["images"] = {image.get(i, i): facts for i, facts in header["images"].items()}

    def key_of(key: UnitKey) -> UnitKey:
        return replace(key, scheme=scheme.get(key.scheme, key.scheme), image=image.get(key.image, key.image))

    moves = {panel_file(store, r.key): panel_file(store, key_of(r.key)) for r in store.records()}
    moves |= {original_file(store, i): original_file(store, new) for i, new in image.items()}
    for old, new in moves.items():
        if old.exists():
            new.parent.mkdir(exist_ok=True)
            old.replace(new)
    changed(store, name, lambda records: [replace(r, key=key_of(r.key)) for r in records])


def made_up(
    folder: Path, values: dict[tuple[str, float], list[float]], lost: Iterable[tuple[str, float]] = ()
) -> ResultStore:
    """A run on AWGN of linear schemes: PSNR of every picture by scheme and SNR; at ``lost`` none arrived."""
    store = copied(folder)
    shutil.rmtree(store.images)
    pattern = next(iter(store.records()))
    schemes = list(dict.fromkeys(scheme for scheme, _ in values))
    count = len(next(iter(values.values())))

    def of_linear(header: dict[str, Any]) -> None:
        scenario = header["scenario"]
        linear = scenario["schemes"][0]
        scenario["schemes"] = [{**linear, "name": name} for name in schemes]
        scenario["channels"] = scenario["channels"][:1]
        scenario["sweep"]["snr_db"] = sorted({snr for _, snr in values})
        scenario["statistics"] |= {"against": None, "resamples": 200}
        header["images"] = {f"p{i}": [64, 64, f"{i:016x}"] for i in range(count)}
        header["metrics"] = {"psnr": header["metrics"]["psnr"]}
        header["num_units"] = len(values) * count

    fates = {True: "crc_failed", False: "ok"}
    gone = set(lost)
    units = [
        replace(
            pattern,
            key=UnitKey("awgn", scheme, (), snr, f"p{i}", 0),
            values={"psnr": value},
            state=fates[(scheme, snr) in gone],
        )
        for (scheme, snr), of_pictures in values.items()
        for i, value in enumerate(of_pictures)
    ]
    return changed(store, of_linear, lambda records: units)
