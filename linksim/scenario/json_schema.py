"""The JSON schema of scenario files, for editors."""

from __future__ import annotations

from typing import Any

from linksim.kinds import names
from linksim.kinds.fields import RANGE_PATTERN
from linksim.kinds.union import refresh
from linksim.scenario.schema import ControlTrainScenario, DenoiserTrainScenario, Scenario, TrainScenario

__all__ = ["json_schema"]


def json_schema() -> dict[str, Any]:
    """JSON schema of evaluation and training scenarios, for editors; of all kinds that are known today."""
    refresh()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "linksim scenario",
        "description": "Add 'extends: FILE' to start from another file.",
        "anyOf": [
            {"$ref": "#/$defs/Scenario"},
            {"$ref": "#/$defs/TrainScenario"},
            {"$ref": "#/$defs/ControlTrainScenario"},
            {"$ref": "#/$defs/DenoiserTrainScenario"},
        ],
        "$defs": _definitions(),
    }


def _definitions() -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for model in (Scenario, TrainScenario, ControlTrainScenario, DenoiserTrainScenario):
        schema = model.model_json_schema(ref_template="#/$defs/{model}")
        merged.update(schema.pop("$defs", {}))
        merged[model.__name__] = schema
    span = {"type": "string", "pattern": RANGE_PATTERN, "description": "from:step:to"}
    values = {"type": "array", "minItems": 1}
    merged["SweepSpec"]["patternProperties"] = {r"\.": {"anyOf": [values, span]}}
    for name in ("SweepSpec", "PanelSpec"):
        merged[name]["properties"]["snr_db"]["anyOf"].append(span)
    for name in ("TrainSpec", "ControlTrainSpec", "DenoiserTrainSpec"):
        validation = merged[name]["properties"]["validation_snr_db"]
        own = {
            key: validation.pop(key)
            for key in [*validation]
            if key not in ("default", "description", "title")
        }
        validation["anyOf"] = [own, span]
        merged[name]["properties"]["channel"] = merged["TrainChannelSpec"]["properties"]["channel"]
        merged[name]["required"].remove("channels")
    merged["BandwidthSpec"]["properties"]["data_ratio"] = {
        "type": ["string", "integer"],
        "pattern": r"^\s*\d+\s*/\s*\d+\s*$",
        "description": "complex data uses / (3·H·W), an exact fraction such as 1/48",
    }
    for definition in merged.values():
        properties = definition.get("properties", {})
        if "crop" in properties and "anyOf" in properties["crop"]:
            properties["crop"]["anyOf"].append({"type": "integer", "minimum": 1})
        if "source" in properties:
            known = {"type": "string", "enum": names("source_codec")}
            said = {"description": properties["source"].pop("description")}
            properties["source"] = {"anyOf": [properties["source"], known], **said}
        if properties.get("codec", {}).get("const") == "bpg":
            definition["required"] = [r for r in definition["required"] if r != "codec"]  # the usual one
    evaluation = merged["Scenario"]
    channels = evaluation["properties"]["channels"]
    evaluation["properties"]["channel"] = {**channels["items"], "description": channels["description"]}
    evaluation["required"] = [r for r in evaluation.get("required", []) if r not in ("channels", "images")]
    for name in ("Scenario", "TrainScenario"):
        merged[name]["properties"]["extends"] = {"type": "string", "description": "file to start from"}
    return merged
