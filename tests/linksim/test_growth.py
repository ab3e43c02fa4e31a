"""Run folders that are asked for more or less than before, and runs that are made in parts: units that mean the same are
used again, no others.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

import linksim
from linksim.cli.commands import main
from linksim.results.store import ResultStore
from tests.linksim.tiny import TINY, write

WHOLE = yaml.safe_load(TINY)
SMALL = {
    "sweep.trials": 1,
    "sweep.snr_db": [14],
    "channels": WHOLE["channels"][:1],
    "schemes": WHOLE["schemes"][:2],
}


def simulate(out: Path, changes: dict | None = None, **options):
    return linksim.simulate(WHOLE, changes or {}, out=out, workers=1, progress=False, **options)


def units(folder: Path) -> dict:
    """Records by unit, without the time that they took."""
    return {r.key: replace(r, seconds=0.0) for r in ResultStore(folder).records()}


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def table(folder: Path) -> bytes:
    return (folder / "results.csv").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The run made at once: 2 pictures, 2 trials, 2 SNRs, 2 channels, 4 schemes."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert simulate(folder).summary.units_run == 64
    return folder


@pytest.fixture
def copy(whole, tmp_path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def test_a_run_grown_in_steps_equals_the_run_made_at_once(whole, tmp_path, caplog):
    """Pictures, then trials and SNRs, then channels and schemes; only what is new is run."""
    out = tmp_path / "run"
    steps = [
        (SMALL, 1, 2, 0),
        (SMALL, None, 2, 2),
        (SMALL | {"sweep.trials": 2, "sweep.snr_db": [2, 14]}, None, 12, 4),
        ({"sweep.snr_db": [14, 2]}, None, 48, 16),
    ]
    for changes, limit, new, kept in steps:
        summary = simulate(out, changes, limit=limit).summary
        assert (summary.units_run, summary.units_kept) == (new, kept)
    assert "the scenario has changed: 16 units of the folder are kept, 48 are new" in caplog.text
    assert simulate(out).summary.units_run == 0  # the order of SNRs is that of the file again
    assert table(out) == table(whole)
    assert units(out) == units(whole)
    assert not (out / "former").exists()
    assert json.loads((out / "run.json").read_text())["num_units"] == 64


def test_what_is_not_asked_for_is_put_aside_and_taken_back(whole, copy):
    small = simulate(copy, SMALL, limit=1)
    assert (small.summary.units_run, small.summary.units_kept) == (0, 2)
    assert len(small.per_image()) == 2
    assert {*small.table().scheme} == {"linear", "bpg"}
    assert units(copy / "former" / "1") == units(whole)  # a run folder that can be looked at
    back = simulate(copy)
    assert back.summary.units_run == 0
    assert back.summary.growth.back == 62
    assert table(copy) == table(whole)
    assert units(copy) == units(whole)


def test_a_metric_that_was_not_measured_runs_units_again(whole, copy):
    """What it is run again for is the same as before, to the last bit."""
    fewer = simulate(copy, {"metrics": ["psnr"]})
    assert fewer.summary.units_run == 0
    assert {*fewer.table().metric} == {"psnr"}
    more = simulate(copy, {"metrics": ["psnr", "outage"]})
    assert (more.summary.units_run, more.summary.growth.metrics) == (64, ("outage",))
    back = simulate(copy)
    assert back.summary.units_run == 0
    assert table(copy) == table(whole)


@pytest.mark.parametrize(
    ("change", "field", "values"),
    [
        ({"seed": 8}, "seed", ("7", "8")),
        ({"bandwidth.data_ratio": "1/24"}, "bandwidth.data_ratio", ("1/12", "1/24")),
        ({"schemes.bpg.mcs": 9}, "schemes.bpg.mcs", ("6", "9")),
        ({"schemes.bpg.interleave": True}, "schemes.bpg.interleave", ("None", "True")),
        ({"channels.1.coherence_symbols": 64}, "channels.rayleigh-lmmse.coherence_symbols", ("128", "64")),
    ],
)
def test_another_meaning_is_refused_and_named(copy, change, field, values, tmp_path, capsys):
    before = files(copy)
    sets = [word for path, value in change.items() for word in ("--set", f"{path}={json.dumps(value)}")]
    assert main(["simulate", write(tmp_path), "--out", str(copy), *sets]) == 2
    said = capsys.readouterr().err
    assert (
        f"{field}: made with another value, got {values[0]}, expected {values[1]}. Use another --out." in said
    )
    assert files(copy) == before


def test_other_pictures_of_the_same_names_are_refused(copy):
    with pytest.raises(linksim.RunFolderError, match="made with other images, got astronaut"):
        simulate(copy, {"images.crop": 96})


def test_a_scheme_that_comes_back_under_its_name_is_taken_for_what_it_is(whole, copy):
    """Gone, another under its name, and the first again: no unit of one is shown as one of the other."""
    schemes = WHOLE["schemes"]
    other = [{**s, "mcs": 9} if s["name"] == "bpg" else s for s in schemes]
    assert simulate(copy, {"schemes": [schemes[0]]}).summary.units_run == 0
    another = simulate(copy, {"schemes": [schemes[0], other[1]]})
    assert (another.summary.units_run, another.summary.growth.back) == (16, 0)
    assert units(copy) != units(whole)
    assert simulate(copy, {"schemes": [schemes[0]]}).summary.units_run == 0
    assert simulate(copy).summary.units_run == 0
    assert table(copy) == table(whole)
    again = [schemes[0]]
    assert simulate(copy, {"schemes": again}).summary.units_run == 0
    assert simulate(copy, {"schemes": [schemes[0], other[1]]}).summary.units_run == 0  # of the second


@pytest.mark.parametrize("left", [0, 1, 3.5])
def test_a_kill_while_units_are_put_aside_loses_none(whole, copy, monkeypatch, left):
    """Records that are rewritten up to a line, or a part of one; the header is still the old one."""

    def killed(self, records):
        lines = self.records_path.read_bytes().splitlines(keepends=True)
        half = b"".join(lines[: int(left)]) + (lines[int(left)][:20] if left % 1 else b"")
        self.records_path.write_bytes(half)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ResultStore, "rewrite", killed)
        with pytest.raises(KeyboardInterrupt):
            simulate(copy, SMALL)
    assert simulate(copy, SMALL).summary.units_run == 0
    assert simulate(copy).summary.units_run == 0
    assert units(copy) == units(whole)
    assert table(copy) == table(whole)


def test_a_folder_of_another_name_is_refused(copy):
    with pytest.raises(linksim.RunFolderError, match="folder of another scenario, got tiny"):
        simulate(copy, {"name": "other"})


def test_a_metric_that_cannot_be_measured_any_more_loses_nothing(copy, monkeypatch):
    from linksim.metrics.base import MetricUnavailable
    from linksim.metrics.distortion import Ssim

    def gone(self):
        raise MetricUnavailable("ssim: its weights are gone")

    before = files(copy)
    monkeypatch.setattr(Ssim, "__init__", gone)
    with pytest.raises(linksim.RunFolderError, match=r"metrics\.ssim: measured before.*weights are gone"):
        simulate(copy)
    assert files(copy) == before


# ------------------------------------------------------------------------------------------------ shards


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("shards")
    made = [simulate(folder / str(i), shard=(i, 3)) for i in (1, 2, 3)]
    counts = [run.summary.units_run for run in made]
    assert sum(counts) == 64
    assert max(counts) - min(counts) <= 2 * 3  # batches of at most three units
    return [run.folder for run in made]


def test_three_shards_merged_are_the_run_made_at_once(whole, shards, tmp_path, capsys):
    out = tmp_path / "merged"
    assert main(["merge", *map(str, shards), "--out", str(out)]) == 0
    assert "64 units of 3 runs\n" in capsys.readouterr().out
    assert table(out) == table(whole)
    assert units(out) == units(whole)
    assert {p.relative_to(out) for p in (out / "images").rglob("*.png")} == {
        p.relative_to(whole) for p in (whole / "images").rglob("*.png")
    }
    assert (out / "report.html").exists()
    header = json.loads((out / "run.json").read_text())
    assert "shard" not in header
    assert header["num_units"] == 64
    assert simulate(out).summary.units_run == 0


def test_what_no_part_has_is_said_and_run_by_simulate(whole, shards, tmp_path, capsys):
    out = tmp_path / "merged"
    assert main(["merge", str(shards[0]), str(shards[2]), "--out", str(out), "--no-report"]) == 0
    missing = 64 - len(units(out))
    assert f"{missing} are missing: linksim simulate runs them" in capsys.readouterr().out
    assert simulate(out).summary.units_run == missing
    assert table(out) == table(whole)


def test_runs_of_other_pictures_of_a_set_are_merged(whole, tmp_path):
    first = simulate(tmp_path / "first", limit=1)
    run = linksim.merge([whole, first], tmp_path / "merged")
    assert table(run.folder) == table(whole)
    assert len(run.header["images"]) == 2


def test_runs_that_do_not_belong_together_are_refused(whole, shards, tmp_path, capsys):
    other = simulate(tmp_path / "other", SMALL | {"seed": 8}).folder
    out = tmp_path / "merged"
    assert main(["merge", str(whole), str(other), "--out", str(out)]) == 2
    assert f"{other}: part of another run than {whole}, got tiny (hash " in capsys.readouterr().err
    changed = Path(shutil.copytree(shards[0], tmp_path / "changed"))
    text = (changed / "records.jsonl").read_text().splitlines()
    line = json.loads(text[0])
    line["values"]["psnr"] += 1e-9
    (changed / "records.jsonl").write_text("\n".join([json.dumps(line), *text[1:]]) + "\n")
    assert main(["merge", str(whole), str(changed), "--out", str(out)]) == 2
    assert "differs, got other results than in another part, expected the same" in capsys.readouterr().err
    assert main(["merge", str(whole), "--out", str(shards[1])]) == 2
    assert "a run already" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("shard", ["0/3", "4/3", "x", "1/2/3", "-1/3", (1, 2, 3), 2, "1/0"])
def test_parts_that_are_none_are_refused(shard, tmp_path):
    with pytest.raises(
        linksim.ScenarioError, match=r"shard: no part, got .*, expected I/N with I from 1 to N"
    ):
        simulate(tmp_path / "run", shard=shard)
    assert not (tmp_path / "run").exists()


def test_a_shard_can_become_the_whole(whole, shards, tmp_path):
    out = Path(shutil.copytree(shards[1], tmp_path / "run"))
    kept = len(units(out))
    summary = simulate(out).summary
    assert (summary.units_kept, summary.units_run) == (kept, 64 - kept)
    assert table(out) == table(whole)
