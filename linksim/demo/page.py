"""The page of the demo. All that it shows comes from :class:`linksim.demo.session.Session`."""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from torch import Tensor

from linksim.api.errors import USER_ERRORS, foreign_as_user_errors
from linksim.demo.choices import CHANNELS, PICTURES, SCHEMES, SNR_DB, Settings, scenario_of, scheme_names
from linksim.demo.pictures import DemoPicture, bundled_picture, own_picture
from linksim.demo.session import Arrival, Session, what_happened
from linksim.link import RunError
from linksim.weights.zoo import BUNDLED_MODELS

if TYPE_CHECKING:  # an extra
    import gradio as gr

__all__ = ["CSS", "answer", "build_page", "facts_html", "theme"]

_REFUSED: tuple[type[Exception], ...] = (*USER_ERRORS, RunError, TypeError, ValueError, OSError)
_SUFFIXES = [".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm"]
_FONTS = (["system-ui", "sans-serif"], ["ui-monospace", "monospace"])  # none is fetched
CSS = """
.facts table {border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; margin: 0}
.facts table, .facts tr, .facts td {border: 0 !important; background: none}
.facts td {padding: 4px 12px 4px 0 !important; vertical-align: top;
  border-bottom: 1px solid var(--border-color-primary) !important}
.facts td:first-child {white-space: nowrap; opacity: .75; width: 1%}
.facts .fate {font-size: 1.15em; font-weight: 600; margin: 4px 0 8px}
.facts .lost {color: #b91c1c} .facts .arrived {color: #15803d}
.dark .facts .lost {color: #fca5a5} .dark .facts .arrived {color: #86efac}
@media (max-width: 700px) { #arrival {order: -1} }
"""


def theme() -> Any:
    """Colours of the page, with the fonts of the machine that shows it."""
    import gradio as gr

    font, mono = _FONTS
    return gr.themes.Default(font=font, font_mono=mono)


def _array(picture: Tensor) -> Any:
    """[H, W, 3] uint8."""
    return picture.permute(1, 2, 0).numpy()


def _value(name: str, value: float, titles: dict[str, tuple[str, str]]) -> tuple[str, str]:
    title, unit = titles[name]
    return title, f"{value:.4f}" if unit == "1" else f"{value:.2f} {unit}"


def facts_html(arrival: Arrival, titles: dict[str, tuple[str, str]]) -> str:
    """What happened to a picture, its quality and what it cost, as a table.

    Args:
        arrival: of the session.
        titles: label and unit of every metric.
    """
    record = arrival.record
    rows = [_value(name, value, titles) for name, value in record.values.items()]
    for name, (errors, trials) in record.counts.items():
        rows.append((titles[name][0], f"{errors} of {trials}"))
    total = record.data_uses + record.pilot_uses + record.guard_uses
    parts = f"{record.data_uses} data + {record.pilot_uses} pilot + {record.guard_uses} guard"
    rows.append(("channel uses", f"{total} = {parts}"))
    rows.append(("CBR", f"{record.cbr_data:.5f} data, {record.cbr_total:.5f} in all"))
    facts = {
        k: v for k, v in record.info.items() if k in ("mcs", "mcs_table", "quality", "resolution", "bytes")
    }
    if facts:
        rows.append(("transmitter", ", ".join(f"{name} {value}" for name, value in facts.items())))
    height, width = arrival.original.shape[1:]
    rows.append(("picture", f"{width} x {height}" + (f", {arrival.note}" if arrival.note else "")))
    rows.append(("computed in", f"{arrival.seconds:.2f} s"))
    return _panel(what_happened(arrival), record.state == "ok", rows)


def _panel(said: str, good: bool, rows: list[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><td>{html.escape(a)}</td><td>{html.escape(b)}</td></tr>" for a, b in rows)
    mark = "arrived" if good else "lost"
    return f'<p class="fate {mark}" role="status">{html.escape(said)}</p><table>{cells}</table>'


def _picture(name: str, own: str | None, remembered: dict[str, DemoPicture]) -> DemoPicture:
    """The picture that was dropped, or else the one that was picked."""
    key = own or name
    if key not in remembered:
        if len(remembered) > len(PICTURES):
            remembered.clear()
        remembered[key] = own_picture(Path(own)) if own else bundled_picture(name)
    return remembered[key]


def answer(session: Session, picture: DemoPicture, settings: Settings) -> tuple[Any, str, str]:
    """Pictures for the slider, facts, and the same as a scenario; of what fails the message.

    Args:
        session: that sends.
        picture, settings: what is sent, and how.
    """
    import gradio as gr

    try:
        with foreign_as_user_errors():
            arrival = session.send(picture, settings)
    except _REFUSED as problem:
        return None, _panel(str(problem), False, []), ""
    block = scenario_of(settings, picture)
    text = yaml.safe_dump(block, sort_keys=False, default_flow_style=None, allow_unicode=True)
    shown = gr.update(  # no larger than it is: a pixel of the picture is one of the page
        value=(_array(arrival.original), _array(arrival.shown)), max_height=picture.size[1]
    )
    return shown, facts_html(arrival, session.titles()), text


def _responder(session: Session) -> Callable[..., tuple[Any, str, str, Any]]:
    """What the page calls when anything is changed."""
    import gradio as gr

    remembered: dict[str, DemoPicture] = {}

    def respond(
        name: str,
        own: str | None,
        channel: str,
        scheme: str,
        ratio: str,
        snr_db: float,
        realism: float,
        seed: float,
    ) -> tuple[Any, str, str, Any]:
        dial = gr.update(interactive=scheme in SCHEMES and SCHEMES[scheme].dial)
        try:
            picture = _picture(name, own, remembered)
            settings = Settings(channel, scheme, ratio, float(snr_db), float(realism), int(seed))
        except _REFUSED as problem:
            return None, _panel(str(problem), False, []), "", dial
        return *answer(session, picture, settings), dial

    return respond


def build_page(session: Session) -> gr.Blocks:
    """The page.

    Args:
        session: that sends pictures.
    """
    import gradio as gr

    first = Settings()
    with gr.Blocks(title="linksim", analytics_enabled=False, delete_cache=(600, 600)) as page:
        gr.Markdown("# linksim\nOne picture over one wireless link: move anything and see what arrives.")
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                name = gr.Dropdown(list(PICTURES), value=PICTURES[0], label="Picture")
                own = gr.File(
                    label="or drop one of your own",
                    file_types=_SUFFIXES,
                    height=140,
                )
                channel = gr.Radio(list(CHANNELS), value=first.channel, label="Channel")
                scheme = gr.Radio(scheme_names(), value=first.scheme, label="Scheme")
                snr_db = gr.Slider(
                    *SNR_DB, value=first.snr_db, step=0.5, label="SNR: Es/N0 per data use [dB]"
                )
                ratio = gr.Radio(
                    list(BUNDLED_MODELS["dial"].ratios), value=first.ratio,
                    label="CBR: complex data uses per colour value",
                )  # fmt: skip
                realism = gr.Slider(
                    0, 1, value=first.realism, step=0.1,
                    label="Realism: 0 nearest picture, 1 most natural one (learned schemes)",
                )  # fmt: skip
                seed = gr.Number(first.seed, precision=0, minimum=0, label="Seed of noise and fading")
            with gr.Column(scale=3, min_width=300, elem_id="arrival"):
                pictures = gr.ImageSlider(
                    label="original | what arrives", format="png", type="numpy", interactive=False,
                    max_height=560, slider_position=50, elem_id="pictures",
                    buttons=["download", "fullscreen"],
                )  # fmt: skip
                facts = gr.HTML(elem_classes="facts", elem_id="facts")
                with gr.Accordion("The same as a scenario for linksim simulate", open=False):
                    text = gr.Code(language="yaml", interactive=False, show_label=False)
        inputs = [name, own, channel, scheme, ratio, snr_db, realism, seed]
        gr.on(
            [page.load, *(control.change for control in inputs)],
            _responder(session),
            inputs,
            [pictures, facts, text, realism],
            show_progress="minimal",
            trigger_mode="always_last",
            concurrency_limit=1,
            api_name=False,
        )
    return page
