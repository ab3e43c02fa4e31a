"""Three walks through the code: functions in the order in which a run calls them. ``tests/test_docs_site.py`` follows a run
and holds the order; what stands in the boxes is the first sentence of each docstring.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["WALKS", "Walk"]


@dataclass(frozen=True)
class Walk:
    """A walk.

    Args:
        title: in words.
        steps: full names of functions and classes, by what passes between them and the next one.
    """

    title: str
    steps: tuple[tuple[str, str], ...]


WALKS = {
    "picture": Walk(
        "A picture",
        (
            ("linksim.images.picture_file.read_image", "uint8 pixels [3, H, W]"),
            ("linksim.run.computing.sent", "a batch, its seeds, the budget n"),
            ("linksim.link.run_link", "image [B, 3, H, W] in [0, 1]"),
            ("linksim.schemes.jscc.JsccScheme.transmit", "Frame: symbols [B, n], layout, side information"),
            ("channels.base.ChannelOperator.__call__", "Received: y [B, n], csi, uses"),
            ("linksim.schemes.jscc.JsccScheme.receive", "received symbols and what is known of their gains"),
            ("linksim.jscc.linear_analog.LinearAnalogCodec.decode", "what a network would get, too"),
            (
                "channels.equalization.equalize",
                "x_hat [B, n]; from there coefficients, and the image [B, 3, H, W]",
            ),
            ("linksim.images.sets.round_to_uint8", "what a screen can show"),
            ("linksim.run.measuring.records_of", "metrics, counts, uses, state of each picture"),
            ("linksim.results.store.ResultStore.append", "a line of records.jsonl"),
        ),
    ),
    "realisation": Walk(
        "A channel realisation",
        (
            ("channels.ofdm.link.OfdmChannel.draw", "a seed per image"),
            ("channels.models.tdl.TdlModel.__call__", "gains of paths over time"),
            ("channels.models.base.frequency_response", "Draw: h of every resource element"),
            ("channels.ofdm.link.OfdmChannel.propagate", "symbols x [B, n]"),
            ("channels.ofdm.grid.SlotGrid.fill", "grid with data and pilots"),
            ("channels.ofdm.link.OfdmChannel.observe", "h·x + noise on every element"),
            ("channels.ofdm.receiver.OfdmReceiver.__call__", "pilots, data"),
            ("channels.ofdm.estimators.ls.LsEstimator.__call__", "estimate and its error"),
            ("channels.ofdm.estimators.base.Moments.posterior", "Received: y, Csi(h, no, err_var), uses"),
        ),
    ),
    "field": Walk(
        "A field of a scenario (channel.csi.kind)",
        (
            ("linksim.scenario.files.load_any", "file, name or mapping, with --set"),
            ("linksim.scenario.reading.extended", "keys and values, extends followed"),
            ("linksim.scenario.sweeps.validated", "Scenario: types, bounds, kinds"),
            ("linksim.scenario.sweeps.variants", "a scenario per swept point"),
            ("linksim.run.plan.make_plan", "pictures, budgets, units"),
            ("linksim.scenario.effects.check_effects", "refuses what would do nothing"),
            ("linksim.build.channels.build_channel", "the description comes to life"),
            ("linksim.kinds.channels.ofdm.OfdmSpec.build", "arguments of the operator"),
            ("channels.ofdm.link.OfdmChannel.__init__", "knows nothing of scenarios"),
            ("channels.ofdm.estimators.ls.LsEstimator.__init__", "weights of the interpolation"),
            ("linksim.run.header.header_of", "run.json: the value, and a hash of all that matters"),
        ),
    ),
}
