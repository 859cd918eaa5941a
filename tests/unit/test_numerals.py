"""Numbers as the report writes them."""

import numpy as np
import pytest

from ddpde.report import numerals


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (1.0706, 0.0012, "1.0706 ± 0.0012"),
        (0.69969, 0.0161, "0.700 ± 0.016"),
        (1.23e-4, 4.5e-5, "(1.23 ± 0.45) × 10⁻⁴"),
        (-0.00001, 0.007, "0.0000 ± 0.0070"),
        (2.0, 0.0996, "2.00 ± 0.10"),
        (0.395327685, 2e-9, "0.3953276850 ± 2.0 × 10⁻⁹"),
        (1.5, None, "1.50000"),
        (None, 0.1, "—"),
        (np.nan, 0.1, "—"),
    ],
)
def test_digits_follow_the_error(value, error, text):
    assert numerals.pm(value, error) == text.replace(" ", "\u00a0")


def test_numbers_in_words():
    text = numerals.proper("at t = 0.1: gap +3.29e-05 ± 7.2e-3, from -4 to 2018-05")
    assert text == "at t = 0.1: gap +3.29 × 10⁻⁵ ± 0.0072, from −4 to 2018-05".replace(
        " × ", "\u00a0×\u00a0"
    )
    assert numerals.sig(9.996e-5, 3) == "1.00\u00a0×\u00a010⁻⁴"
    assert numerals.sig(-5e-324) == "0"
    assert numerals.short(-0.0) == "0" and numerals.short(1e-6) == "10⁻⁶"
