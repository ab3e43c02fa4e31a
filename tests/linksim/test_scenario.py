"""YAML traps, extends, overrides, sweeps, hash and schema."""

from __future__ import annotations

import json
from fractions import Fraction

import jsonschema
import pytest
import torch

from benchmarks.make_diffjscc_checkpoint import SIZES, make
from linksim.build.checkpoints import save_checkpoint
from linksim.cli.commands import main
from linksim.kinds.networks import Bourtsoulatze2019Spec, SwinJsccSpec
from linksim.run.runner import make_plan, preflight
from linksim.scenario.files import (
    ScenarioError,
    json_schema,
    load_any,
    load_scenario,
    parse_overrides,
    scenario_dir,
    scenario_hash,
    variants,
)
from linksim.scenario.reading import read_mapping
from linksim.scenario.schema import Scenario
from tests.linksim.tiny import TINY, write

SHIPPED = [p for p in sorted(scenario_dir().rglob("*.yaml")) if p.parent.name != "base"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("100e-9", 1e-7),
        ("100.0e-9", 1e-7),
        ("1e-7", 1e-7),
        ("3.5e9", 3.5e9),
        ("15e3", 15e3),
        ("+1.5E+3", 1.5e3),
        (".5", 0.5),
        ("007", 7),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("off", "off"),
        ("true", True),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("1/48", "1/48"),
    ],
)
def test_yaml_values_mean_what_they_look_like(text, value):
    ((_, parsed),) = parse_overrides([f"a={text}"])
    assert parsed == value
    assert type(parsed) is type(value)


def test_plain_exponents_work_in_a_file(tmp_path):
    text = TINY.replace(
        "{kind: awgn}",
        "{kind: ofdm, carrier_hz: 3.5e9, model: {kind: tdl, profile: B, delay_spread_s: 100e-9}}",
    )
    channel = load_scenario(write(tmp_path, text)).channels[0]
    assert channel.carrier_hz == 3.5e9
    assert channel.model.delay_spread_s == 1e-7


def test_ratio_is_an_exact_fraction(tmp_path):
    assert load_scenario(write(tmp_path)).bandwidth.data_ratio == Fraction(1, 12)


def test_extends_merges_blocks_and_replaces_lists(tmp_path):
    write(tmp_path, TINY, "base.yaml")
    child = "extends: base.yaml\nname: child\nsweep: {trials: 5}\nchannel: {kind: awgn, name: quiet}\n"
    scenario = load_scenario(write(tmp_path, child, "child.yaml"))
    assert scenario.name == "child"
    assert scenario.sweep.trials == 5
    assert scenario.sweep.snr_db == (2.0, 14.0)
    assert [c.name for c in scenario.channels] == ["quiet"]
    assert len(scenario.schemes) == 4


def test_overrides_reach_lists_by_index_and_by_name(tmp_path):
    pairs = ["schemes.bpg.mcs=9", "schemes.0.scale=blind", "sweep.snr_db=[1, 3]", "images.crop=96"]
    scenario = load_scenario(write(tmp_path), parse_overrides(pairs))
    assert scenario.schemes[1].mcs == 9
    assert scenario.schemes[0].scale == "blind"
    assert scenario.sweep.snr_db == (1.0, 3.0)
    assert scenario.images.crop == (96, 96)
    with pytest.raises(ScenarioError, match="expected one of linear, bpg, qpsk, bound"):
        load_scenario(write(tmp_path), parse_overrides(["schemes.jpg.mcs=9"]))


def test_variants_are_the_product_of_swept_fields(tmp_path):
    text = TINY.replace(
        "sweep: {snr_db: [2, 14]",
        "sweep: {schemes.bpg.mcs: [3, 6], bandwidth.data_ratio: [1/12, 1/6], snr_db: [2]",
    )
    found = list(variants(load_scenario(write(tmp_path, text))))
    assert [dict(v.values) for v in found] == [
        {"schemes.bpg.mcs": m, "bandwidth.data_ratio": r} for m in (3, 6) for r in ("1/12", "1/6")
    ]
    assert [v.scenario.schemes[1].mcs for v in found] == [3, 3, 6, 6]
    assert found[1].scenario.bandwidth.data_ratio == Fraction(1, 6)
    assert not found[0].scenario.sweep.fields


def test_hash_follows_what_changes_numbers_and_nothing_else(tmp_path):
    base = scenario_hash(load_scenario(write(tmp_path)))
    assert (
        scenario_hash(load_scenario(write(tmp_path, TINY + "\nquestion: why?\npanel: {images: 1}\n"))) == base
    )
    assert scenario_hash(load_scenario(write(tmp_path, TINY.replace("seed: 7", "seed: 8")))) != base
    assert scenario_hash(load_scenario(write(tmp_path, TINY.replace("mcs: 6", "mcs: 7")))) != base


def test_scenarios_are_frozen_and_round_trip(tmp_path):
    scenario = load_scenario(write(tmp_path))
    with pytest.raises(Exception, match="frozen"):
        scenario.seed = 3
    assert Scenario.model_validate(scenario.model_dump(mode="json")) == scenario


def test_scenario_text_cannot_execute_code(tmp_path):
    mark = tmp_path / "executed"
    text = TINY + f"\nquestion: !!python/object/apply:os.system ['touch {mark}']\n"
    with pytest.raises(ScenarioError, match="not valid YAML"):
        load_scenario(write(tmp_path, text))
    assert not mark.exists()


@pytest.mark.parametrize("path", sorted(scenario_dir().rglob("*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_scenario_is_valid_and_says_its_question(path):
    if path.parent.name == "base":
        return
    assert load_any(str(path)).question.endswith("?")


@pytest.fixture(scope="module")
def schema():
    return jsonschema.Draft202012Validator(json_schema())


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_every_shipped_file_fits_the_schema(path, schema):
    data = read_mapping(path)
    schema.validate(data)
    data["sead"] = 1
    assert not schema.is_valid(data)


@pytest.mark.parametrize("path", [p for p in SHIPPED if p.parent.name != "train"], ids=lambda p: p.stem)
def test_every_shipped_scenario_has_its_weights_and_tables(path, tmp_path, monkeypatch):
    """Built and checked against its pictures; Kodak is stood in for by a photograph of its size, published
    checkpoints by small ones for the same number of symbols.
    """
    scenario = load_scenario(str(path))
    overrides = []
    if scenario.images.kind == "folder":
        overrides.append("images={kind: skimage, names: [motorcycle], crop: [496, 736]}")
    if scenario.images.kind == "cifar10":
        overrides.append("images={kind: skimage, names: [coffee], crop: 32}")
        channels = int(96 * scenario.bandwidth.data_ratio)  # C/2 uses for 3 x 4 x 4 values
        network = Bourtsoulatze2019Spec(kind="bourtsoulatze2019", latent_channels=channels)
        save_checkpoint(tmp_path / "stand-in", network, network.build().state_dict(), {}, torch.float32)
    if path.stem == "swinjscc-kodak":  # all of its rates, narrow
        network = SwinJsccSpec(
            kind="swinjscc", widths=(8, 8, 8, 320), depths=(2, 2, 2, 2), heads=(2, 2, 2, 2)
        )
        save_checkpoint(tmp_path / "stand-in", network, network.build().state_dict(), {}, torch.float32)
    if "kid_lite2" in scenario.metrics:  # of sets of pictures
        overrides.append(f"metrics=[{', '.join(m for m in scenario.metrics if m != 'kid_lite2')}]")
    if any(scheme.kind == "diffjscc" for scheme in scenario.schemes):
        channels = int(1536 * scenario.bandwidth.data_ratio)  # C/2 uses for 3 x 16 x 16 values
        monkeypatch.setitem(SIZES, "stand-in", {**SIZES["tiny"], "jscc": (4, 8, channels, "AWGN")})
        make(tmp_path / "stand-in", "stand-in")
    for i, scheme in enumerate(scenario.schemes):
        if "/" in getattr(scheme, "checkpoint", ""):
            overrides.append(f"schemes.{i}.checkpoint={tmp_path / 'stand-in'}")
        if getattr(scheme, "caption", "none") != "none":
            overrides.append(f"schemes.{i}.caption=none")
    plan = make_plan(load_scenario(str(path), parse_overrides(overrides)), limit=1)
    preflight(plan, torch.device("cpu"))


def test_schema_describes_every_shipped_file_key(capsys):
    assert main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema == json.loads(json.dumps(json_schema()))
    scenario = schema["$defs"]["Scenario"]["properties"]
    assert {"channel", "channels", "sweep", "schemes", "extends"} <= set(scenario)
    assert schema["$defs"]["OfdmSpec"]["additionalProperties"] is False


def test_schema_says_what_every_field_means():
    """Editors show it; kinds name themselves, and need no words for that."""
    fields = {
        f"{name}.{field}": facts
        for name, model in json_schema()["$defs"].items()
        for field, facts in model.get("properties", {}).items()
        if "const" not in facts and field != "schema_version"
    }
    assert len(fields) > 400
    assert [field for field, facts in fields.items() if not facts.get("description")] == []
    said = {field: facts["description"] for field, facts in fields.items()}
    assert said["PhaseNoise.at"] == "whose oscillator"  # of a dataclass: from the docstring, by its own name
    assert said["RicianSpec.k_factor_db"].startswith("power of the line of sight")


@pytest.mark.parametrize("what", ["channels", "schemes", "metrics", "models", "scenarios"])
def test_list_prints_a_line_each(what, capsys):
    assert main(["list", what]) == 0
    out = capsys.readouterr().out
    expected = {
        "channels": "ofdm",
        "schemes": "separation",
        "metrics": "lpips_squeeze",
        "models": "lean-awgn-1-96",
    }
    assert expected.get(what, "quickstart") in out


def test_check_prints_uses_and_units(tmp_path, capsys):
    assert main(["check", write(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "units: 64 = 1 swept points x 2 channels x 4 schemes x 2 SNRs x 2 images x 2 trials" in out
    assert "rayleigh-lmmse, 64 x 64 pixels: 1024 data + 16 pilot + 0 guard uses, CBR 0.083333 data" in out


def test_help_and_version(capsys):
    assert main(["--help"]) == 0
    assert "simulate" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert main([]) == 0
    capsys.readouterr()
