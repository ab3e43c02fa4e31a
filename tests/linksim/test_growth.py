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
from channels import kinds
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


def test_metrics_come_and_go(whole, copy):
    fewer = simulate(copy, {"metrics": ["psnr"]})
    assert fewer.summary.units_run == 0
    assert {*fewer.table().metric} == {"psnr"}
    more = simulate(
        copy, {"metrics": ["psnr", "outage"]}
    )  # of the state alone: tests/linksim/test_measure.py
    assert (more.summary.units_run, more.summary.growth.metrics) == (0, ("outage",))
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
    assert files(copy / "images") == files(whole / "images")  # what the report shows
    assert simulate(copy, {"schemes": [schemes[0]]}).summary.units_run == 0
    assert simulate(copy, {"schemes": [schemes[0], other[1]]}).summary.units_run == 0  # of the second


def half(self, records, left) -> None:
    """What a kill leaves of a rewriting: some lines, and a part of one."""
    lines = [record.to_json() + "\n" for record in records]
    text = "".join(lines[: int(left)]) + (lines[int(left)][:20] if left % 1 else "")
    self.records_path.write_text(text)
    raise KeyboardInterrupt


@pytest.mark.parametrize("again", ["small", "whole"])
@pytest.mark.parametrize("left", [0, 1, 1.5])
def test_a_kill_while_units_are_put_aside_loses_none(whole, copy, monkeypatch, left, again):
    """Whichever of the two scenarios goes on."""
    with monkeypatch.context() as patch:
        patch.setattr(ResultStore, "rewrite", lambda self, records: half(self, records, left))
        with pytest.raises(KeyboardInterrupt):
            simulate(copy, SMALL)
    if again == "small":
        assert simulate(copy, SMALL).summary.units_run == 0
    assert simulate(copy).summary.units_run == 0
    assert units(copy) == units(whole)
    assert table(copy) == table(whole)


@pytest.mark.parametrize(
    "where", ["linksim.results.store.write_whole", "linksim.run.known.opening.take_back"]
)
@pytest.mark.parametrize("again", ["small", "whole"])
@pytest.mark.parametrize("torn", [False, True])
def test_a_kill_while_units_are_taken_back_loses_none(whole, copy, monkeypatch, where, again, torn):
    """Before the header, and behind it; also of a folder whose last line was torn before."""
    simulate(copy, SMALL)
    if torn:
        with (copy / "records.jsonl").open("a") as file:
            file.write('{"key": {"chan')

    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(where, killed)
        with pytest.raises(KeyboardInterrupt):
            simulate(copy)
    if again == "small":
        assert simulate(copy, SMALL).summary.units_run == 0
    assert simulate(copy).summary.units_run == 0
    assert units(copy) == units(whole)
    assert table(copy) == table(whole)


def test_an_append_that_is_killed_is_made_up_for(whole, copy):
    """Some of the units that were taken back, and a part of one."""
    simulate(copy, SMALL)
    simulate(copy)
    lines = (copy / "records.jsonl").read_bytes().splitlines(keepends=True)
    (copy / "records.jsonl").write_bytes(b"".join(lines[:20]) + lines[20][:30])
    summary = simulate(copy).summary
    assert (summary.units_run, summary.growth.back) == (0, 64 - 20)
    assert units(copy) == units(whole)


def test_what_is_aside_already_is_not_put_aside_again(whole, copy):
    for _ in range(3):
        simulate(copy, {"metrics": ["psnr"]})
        simulate(copy, SMALL)
        simulate(copy)
    assert len(list((copy / "former").iterdir())) <= 2
    assert table(copy) == table(whole)


@pytest.mark.parametrize("damage", ["broken", "no header", "another version"])
def test_what_is_aside_and_cannot_be_read_stops_nothing(whole, copy, damage, caplog):
    """Said, left as it is, and its units are run again; names that only look like numbers are no folders."""
    simulate(copy, SMALL)
    header = copy / "former" / "1" / "run.json"
    (copy / "former" / "\N{SUPERSCRIPT TWO}").mkdir()
    if damage == "broken":
        header.write_text("{")
    elif damage == "no header":
        header.unlink()
    else:
        data = json.loads(header.read_text())
        data["scenario"]["schemes"][1]["mcs"] = "of the future"
        header.write_text(json.dumps(data))
    again = simulate(copy)
    assert again.summary.units_run == 60
    assert "left as it is, its units are run again" in caplog.text
    assert table(copy) == table(whole)


def test_swept_fields_in_another_order_are_refused(tmp_path):
    fields = {"snr_db": [2], "schemes.bpg.mcs": [6, 9], "channel.coherence_symbols": [64, 128], "trials": 1}
    data = {**WHOLE, "channels": WHOLE["channels"][1:], "schemes": WHOLE["schemes"][:2], "sweep": fields}
    run = linksim.simulate(data, out=tmp_path / "a", workers=1, progress=False)
    turned = {**data, "sweep": dict(reversed(fields.items()))}
    before = files(run.folder)
    with pytest.raises(linksim.RunFolderError, match=r"sweep\.fields: in another order, got"):
        linksim.simulate(turned, out=tmp_path / "a", workers=1, progress=False)
    assert files(run.folder) == before
    other = linksim.simulate(turned, out=tmp_path / "b", workers=1, progress=False)
    with pytest.raises(linksim.RunFolderError, match="swept in the order"):
        linksim.merge([run, other], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


SET_METRIC = '''
import linksim, numpy as np

@linksim.kind("metric", "mine")
class Mine(linksim.SetMetric):
    """A measure of sets."""
    info = linksim.MetricInfo("mine", "1", False, "here", features="mine", distance="polynomial_mmd")
    def features(self, image):
        return (FACTOR * image.float().mean((1, 2))[None].numpy()).astype(np.float16)
'''
ESTIMATOR = '''
import linksim
from channels.ofdm.estimators.ls import LsEstimator

class E(LsEstimator):
    def read_weights(self, interpolate):
        index, weight = super().read_weights(interpolate)
        return index, weight * FACTOR

@linksim.kind("estimator", "mine")
class Mine(linksim.EstimatorBase):
    """Least squares, scaled."""
    def estimator(self, grid, statistics, pilots): return E(grid, statistics, pilots)
'''


@pytest.fixture
def own(tmp_path):
    """Writes own.py; its kinds are forgotten after the test."""
    before = {(k.family, k.name) for k in kinds.foreign()}

    def write_code(text: str, factor: float) -> str:
        (tmp_path / "own.py").write_text(text.replace("FACTOR", str(factor)))
        return str(tmp_path / "own.py")

    yield write_code
    for family, name in {(k.family, k.name) for k in kinds.foreign()} - before:
        kinds.unregister(family, name)


def test_features_of_a_metric_that_comes_back_as_another_one_are_made_again(tmp_path, own):
    """The distance of the new code, not of what the old one left."""
    with_it, without = {**SMALL, "metrics": ["psnr", "mine"]}, {**SMALL, "metrics": ["psnr"]}
    found = []
    for factor in (1, 3):
        linksim.load_file(Path(own(SET_METRIC, factor)))
        simulate(tmp_path / "run", without)
        mixed = simulate(tmp_path / "run", with_it)
        fresh = simulate(tmp_path / f"fresh{factor}", with_it)
        assert table(mixed.folder) == table(fresh.folder)
        found.append(table(fresh.folder))
    assert found[0] != found[1]


@pytest.mark.slow
def test_code_of_a_kind_that_is_only_swept_is_recorded(tmp_path, own, capsys):
    text = """
name: swept
images: {kind: skimage, names: [coffee], crop: 64}
bandwidth: {data_ratio: 1/12}
channel: {kind: ofdm, num_subcarriers: 32, model: {kind: tdl, profile: A10}, csi: {kind: perfect}}
sweep: {snr_db: [15], trials: 1, channel.csi.kind: [perfect, mine]}
schemes: [{kind: linear_analog, name: linear}]
metrics: [psnr]
"""
    words = ["simulate", write(tmp_path, text), "--with", own(ESTIMATOR, 1), "--no-report", "--out"]
    assert main([*words, str(tmp_path / "1"), "--workers", "1"]) == 0
    assert list(json.loads((tmp_path / "1" / "run.json").read_text())["kinds"]) == ["estimator mine"]
    assert main([*words, str(tmp_path / "2"), "--workers", "2"]) == 0
    assert table(tmp_path / "1") == table(tmp_path / "2")
    own(ESTIMATOR, 0.5)
    capsys.readouterr()
    assert main([*words, str(tmp_path / "1"), "--set", "sweep.trials=2"]) == 2
    assert "made with another estimator mine" in capsys.readouterr().err


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


def test_links_in_a_part_are_not_followed(shards, tmp_path):
    """A run folder of somebody else does not bring files of this machine into the merged one."""
    (tmp_path / "secret").write_text("of this machine")
    part = Path(shutil.copytree(shards[0], tmp_path / "part"))
    (part / "images" / "x.png").symlink_to(tmp_path / "secret")
    run = linksim.merge([part], tmp_path / "merged")
    assert not (run.folder / "images" / "x.png").exists()
    assert list((run.folder / "images").rglob("*.png"))


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
    line["values"]["psnr"] += 1e-4
    (changed / "records.jsonl").write_text("\n".join([json.dumps(line), *text[1:]]) + "\n")
    assert main(["merge", str(whole), str(changed), "--out", str(out)]) == 2
    assert "differs, got other results than in another part, expected the same" in capsys.readouterr().err
    assert main(["merge", str(whole), "--out", str(shards[1])]) == 2
    assert "not empty" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("shard", ["0/3", "4/3", "x", "1/2/3", "-1/3", (1, 2, 3), 2, "1/0"])
def test_parts_that_are_none_are_refused(shard, tmp_path):
    with pytest.raises(
        linksim.ScenarioError, match=r"shard: no part, got .*, expected I/N with I from 1 to N"
    ):
        simulate(tmp_path / "run", shard=shard)
    assert not (tmp_path / "run").exists()


def test_parts_with_other_metrics_are_refused(shards, tmp_path):
    other = simulate(tmp_path / "other", {"metrics": ["psnr", "ssim", "ber", "bler"]}, shard=(2, 3)).folder
    header = json.loads((other / "run.json").read_text())
    del header["metrics"]["ssim"]
    header["unavailable"]["ssim"] = "its weights are gone"
    (other / "run.json").write_text(json.dumps(header))
    for parts in ([shards[0], other], [other, shards[0]]):
        with pytest.raises(linksim.RunFolderError, match=r"measured, got \[.*Run it again with all metrics"):
            linksim.merge(parts, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_a_merge_that_is_killed_leaves_nothing(shards, tmp_path, monkeypatch, whole):
    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("linksim.results.merging.write_csv", killed)
        with pytest.raises(KeyboardInterrupt):
            linksim.merge(shards, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
    assert table(linksim.merge(shards, tmp_path / "merged").folder) == table(whole)


def test_parts_that_differ_in_the_last_digits_are_merged(shards, tmp_path):
    """As networks do beside other pictures; the first one stays."""
    near = Path(shutil.copytree(shards[0], tmp_path / "near"))
    lines = [json.loads(line) for line in (near / "records.jsonl").read_text().splitlines()]
    for line in lines:
        line["values"]["psnr"] *= 1 + 1e-8
        line["shown"] = "0" * 16
    (near / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert units(linksim.merge([shards[0], near], tmp_path / "merged").folder) == units(shards[0])


def test_more_parts_than_batches(tmp_path, capsys, whole):
    """Some have nothing to do: no report, and no fault."""
    made = []
    for part in range(1, 8):
        out = tmp_path / str(part)
        words = [
            "--set",
            "sweep.trials=1",
            "--set",
            "sweep.snr_db=[2]",
            "--set",
            "schemes=[{kind: uncoded, name: qpsk, bits_per_symbol: 2}]",
        ]
        assert main(["simulate", write(tmp_path), *words, "--shard", f"{part}/7", "--out", str(out)]) == 0
        made.append("no units yet: no report" in capsys.readouterr().out)
    assert made == [False, False, True, True, True, True, True]
    run = linksim.merge([tmp_path / str(part) for part in range(1, 8)], tmp_path / "merged")
    assert len(units(run.folder)) == 4


def test_a_shard_of_another_batch_size_keeps_what_it_may(shards, tmp_path):
    """Other batches, so other units: those that are in both are kept, nothing is refused."""
    out = Path(shutil.copytree(shards[0], tmp_path / "run"))
    before = units(out)
    simulate(out, {"batch_size": 2}, shard=(1, 3))
    after = units(out)
    assert before.keys() & after.keys()
    assert simulate(out, {"batch_size": 3}, shard=(1, 3)).summary.units_run == 0
    assert units(out) == before


def test_a_shard_can_become_the_whole(whole, shards, tmp_path):
    out = Path(shutil.copytree(shards[1], tmp_path / "run"))
    kept = len(units(out))
    summary = simulate(out).summary
    assert (summary.units_kept, summary.units_run) == (kept, 64 - kept)
    assert table(out) == table(whole)
