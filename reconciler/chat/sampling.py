"""The sliders that say how an answer is chosen, with their limits in words."""

from __future__ import annotations

import gradio as gr

LONGEST = 2048  # tokens of an answer, until the service says what it can
FIRST = 256


def sampling(prefix: str = "") -> tuple[gr.Slider, gr.Slider, gr.Slider]:
    """Temperature, top p and the length of an answer."""
    return (
        gr.Slider(
            0.0,
            2.0,
            value=0.7,
            step=0.05,
            label="Temperature",
            info="0 to 2; 0 gives the same answer each time",
            elem_id=f"{prefix}temperature",
        ),
        gr.Slider(
            0.05,
            1.0,
            value=0.95,
            step=0.05,
            label="Top p",
            info="above 0, up to 1; 1 leaves out no token",
            elem_id=f"{prefix}top-p",
        ),
        gr.Slider(1, LONGEST, value=FIRST, step=1, label="Max tokens", elem_id=f"{prefix}length"),
    )


def limits_of(longest: int | None) -> str:
    """What is said of the length; `longest` is the model's context, None where it tells none."""
    if longest is None:
        return "of an answer; the service does not tell how many it can"
    return f"of an answer; prompt and answer together have at most {longest}"
