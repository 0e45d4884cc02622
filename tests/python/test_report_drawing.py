"""The small vector drawings of the report: ticks, scales, escapes."""

from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from allelegro.report import plots
from allelegro.report.svg import Axes, Drawing, blend, limits, log_ticks, round_ticks, short, trace


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [(0, 1, 6, [0, 0.2, 0.4, 0.6, 0.8, 1]), (-0.31, 0.29, 3, [-0.2, 0, 0.2]), (0, 35, 4, [0, 10, 20, 30]), (3, 3, 5, [3])],
)  # fmt: skip
def test_ticks_are_round_and_within(low: float, high: float, most: int, expected: list[float]) -> None:
    assert round_ticks(low, high, most).tolist() == pytest.approx(expected)


def test_log_ticks() -> None:
    assert log_ticks(0.01, 1).tolist() == pytest.approx([0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1])
    assert log_ticks(1, 1e4).tolist() == [1, 10, 100, 1000, 10000]


def test_scales_map_limits_to_edges() -> None:
    axes = Axes(Drawing(100), 10, 5, 200, 80, (0.01, 1), (-2, 2), log_x=True)
    assert axes.x([0.01, 0.1, 1]).tolist() == pytest.approx([10, 110, 210])
    assert axes.y([-2, 2]).tolist() == [85, 5]


def test_limits_hold_all_finite_values() -> None:
    low, high = limits([[1.0, np.nan], [np.inf, 3.0]], around=0)
    assert low < 0 and 3 < high < 4
    assert limits([]) == (0.0, 1.0)


def test_a_line_breaks_where_a_value_is_missing() -> None:
    assert trace([0, 1, 2, 3], [0, np.nan, 1, 2]) == "M0.0 0.0M2.0 1.0L3.0 2.0"


def test_drawing_is_well_formed_whatever_the_names() -> None:
    drawing = Drawing(50)
    drawing.text(0, 0, "a<b & \"c\" 'd'")
    drawing.dot(1, 1, fill="#000000", tip='</title><script>"')
    drawing.legend([('x<&"y', "#123456")], 0)
    drawing.open("s\"'<")
    drawing.close()
    root = ElementTree.fromstring(drawing.svg("t\"<&'"))
    assert root.attrib["aria-label"] == "t\"<&'"
    assert "script" not in {element.tag.rpartition("}")[2] for element in root.iter()}


def test_colours_and_numbers() -> None:
    assert blend(0.5, ["#000000", "#ffffff"]) == "#808080" and blend(2.0, ["#000000", "#ffffff"]) == "#ffffff"
    assert [short(value) for value in (0.05, 1500, 25000, 3e6, -0.5)] == ["0.05", "1,500", "25k", "3M", "−0.5"]


def test_names_of_rows_are_whole_where_they_fit_on_two_lines_and_begin_within_the_drawing() -> None:
    labels = ["pretrained_cell1 (significant)", "SATURATE_SEQUENCES", "a_name_that_is_longer_than_any_room_for_it"]
    rows = pd.DataFrame({"label": labels, "value": 1.0, "ci_low": 0.5, "ci_high": 1.5, "n": 9})
    figure = plots.forest("name", "title", "caption", rows, "r")
    assert figure is not None
    words = [text.text for text in ElementTree.fromstring(figure.svg).iter("{http://www.w3.org/2000/svg}text")]
    assert {"pretrained_cell1", "(significant)", "SATURATE_SEQUENCES"} <= set(words)
    assert any(word.startswith("a_name_that") and word.endswith("…") for word in words if word)
