"""Tests of the indices: every breakpoint and its neighbours from the official tables, typed here a second time."""

from __future__ import annotations

import math
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from core.errors import SettingsError
from core.indices import (
    Index,
    NoisePeriods,
    air_index,
    builtin_indices,
    day_noise,
    heat_index,
    load_index,
    nowcast,
    parse_index,
    running_mean,
)
from core.indices.units import MOLAR_VOLUME, convert
from core.metrics import metric

if TYPE_CHECKING:
    from collections.abc import Iterator

NAN = math.nan
NEW, OLD = date(2024, 5, 6), date(2024, 5, 5)
MASS = {"o3": 48.00, "no2": 46.01, "so2": 64.07, "co": 28.01}

# -- US AQI, copied from 40 CFR 58 appendix G: in force since 6 May 2024, and before ---------------------------------

AQI_NEW = "0-50 51-100 101-150 151-200 201-300 301-500"
AQI_OLD = "0-50 51-100 101-150 151-200 201-300 301-400 401-500"
US = {
    NEW: {
        ("pm25", 24, "µg/m³", 1): (AQI_NEW, "0.0-9.0 9.1-35.4 35.5-55.4 55.5-125.4 125.5-225.4 225.5-325.4"),
        ("pm10", 24, "µg/m³", 0): (AQI_NEW, "0-54 55-154 155-254 255-354 355-424 425-604"),
        ("o3", 8, "ppm", 3): (AQI_NEW, "0.000-0.054 0.055-0.070 0.071-0.085 0.086-0.105 0.106-0.200"),
        ("co", 8, "ppm", 1): (AQI_NEW, "0.0-4.4 4.5-9.4 9.5-12.4 12.5-15.4 15.5-30.4 30.5-50.4"),
        ("so2", 1, "ppb", 0): (AQI_NEW, "0-35 36-75 76-185 186-304"),
        ("no2", 1, "ppb", 0): (AQI_NEW, "0-53 54-100 101-360 361-649 650-1249 1250-2049"),
    },
    OLD: {
        ("pm25", 24, "µg/m³", 1): (
            AQI_OLD,
            "0.0-12.0 12.1-35.4 35.5-55.4 55.5-150.4 150.5-250.4 250.5-350.4 350.5-500.4",
        ),
        ("pm10", 24, "µg/m³", 0): (AQI_OLD, "0-54 55-154 155-254 255-354 355-424 425-504 505-604"),
        ("o3", 8, "ppm", 3): (AQI_OLD, "0.000-0.054 0.055-0.070 0.071-0.085 0.086-0.105 0.106-0.200"),
        ("co", 8, "ppm", 1): (AQI_OLD, "0.0-4.4 4.5-9.4 9.5-12.4 12.5-15.4 15.5-30.4 30.5-40.4 40.5-50.4"),
        ("so2", 1, "ppb", 0): (AQI_OLD, "0-35 36-75 76-185 186-304"),
        ("no2", 1, "ppb", 0): (AQI_OLD, "0-53 54-100 101-360 361-649 650-1249 1250-1649 1650-2049"),
    },
}
US_NAMES = {
    50: "Good",
    100: "Moderate",
    150: "Unhealthy for sensitive groups",
    200: "Unhealthy",
    300: "Very unhealthy",
    500: "Hazardous",
}
# terms that begin above another one's end: O3 over an hour from 101, SO2 over a day from 201
US_UPPER = {
    NEW: {
        ("o3", 1, "ppm", 3): ("101-150 151-200 201-300 301-500", "0.125-0.164 0.165-0.204 0.205-0.404 0.405-0.604"),
        ("so2", 24, "ppb", 0): ("201-300 301-500", "305-604 605-1004"),
    },
    OLD: {
        ("o3", 1, "ppm", 3): (
            "101-150 151-200 201-300 301-400 401-500",
            "0.125-0.164 0.165-0.204 0.205-0.404 0.405-0.504 0.505-0.604",
        ),
        ("so2", 24, "ppb", 0): ("201-300 301-400 401-500", "305-604 605-804 805-1004"),
    },
}

EAQI_NAMES = ("Good", "Fair", "Moderate", "Poor", "Very poor", "Extremely poor")
EAQI = {
    date(2024, 1, 1): {
        "pm25": (5, 15, 50, 90, 140),
        "pm10": (15, 45, 120, 195, 270),
        "no2": (10, 25, 60, 100, 150),
        "o3": (60, 100, 120, 160, 180),
        "so2": (20, 40, 125, 190, 275),
    },
    date(2023, 12, 31): {
        "pm25": (10, 20, 25, 50, 75),
        "pm10": (20, 40, 50, 100, 150),
        "no2": (40, 90, 120, 230, 340),
        "o3": (50, 100, 130, 240, 380),
        "so2": (100, 200, 350, 500, 750),
    },
}

eaqi_tables, us_tables = builtin_indices()


def us(hours: dict[str, list[float]], day: date = NEW, celsius: int = 25) -> Index:
    found = air_index(us_tables, hours, day=day, reference_celsius=celsius)
    assert found is not None
    return found


def rows(indices: str, bands: str) -> Iterator[tuple[int, int, Decimal, Decimal]]:
    for index, band in zip(indices.split(), bands.split(), strict=False):
        first, last = (int(part) for part in index.split("-"))
        low, high = (Decimal(part) for part in band.split("-"))
        yield first, last, low, high


def official(table: list[tuple[int, int, Decimal, Decimal]], value: Decimal) -> int:
    """EPA's equation in fractions; above the top the last line goes on."""
    first, last, low, high = next((row for row in table if value <= row[3]), table[-1])
    exact = Fraction(last - first) / Fraction(high - low) * Fraction(value - low) + first
    return math.floor(exact + Fraction(1, 2))


def in_metric(value: Decimal, pollutant: str, unit: str) -> float:
    """Return *value* in the unit that we store, a hair above it: dividing and multiplying must not lose the step."""
    if unit == "µg/m³":
        return float(value)
    ppb = float(value) * (1000 if unit == "ppm" else 1)
    micrograms = ppb * MASS[pollutant] / 24.45
    return micrograms / 1000 if metric(pollutant).unit == "mg/m³" else micrograms


def us_cases() -> Iterator[object]:
    for day, table in US.items():
        for (pollutant, hours, unit, digits), (indices, bands) in table.items():
            step = Decimal(1).scaleb(-digits)
            table_rows = list(rows(indices, bands))
            edges = sorted({edge for *_, low, high in table_rows for edge in (low, high)})
            values = sorted({edge + move * step for edge in edges for move in (-1, 0, 1)})
            for value in values:
                if value < 0 or (pollutant in {"o3", "so2"} and value > edges[-1]):
                    continue  # beyond its end another averaging time decides: tested below
                yield pytest.param(
                    day, pollutant, hours, in_metric(value, pollutant, unit), value, official(table_rows, value),
                    id=f"{pollutant} {value} {unit} on {day}",
                )  # fmt: skip


@pytest.mark.parametrize(("day", "pollutant", "hours", "stored", "value", "expected"), list(us_cases()))
def test_us_aqi_at_every_breakpoint_and_its_neighbours(
    day: date, pollutant: str, hours: int, stored: float, value: Decimal, expected: int
) -> None:
    """At, one step below and one step above each bound the index is what EPA's equation says."""
    found = us({pollutant: [stored] * hours}, day)

    assert (expected, pollutant) == (found.value, found.dominant)
    assert found.parts[0].concentration == float(value)
    name = next((name for end, name in US_NAMES.items() if expected <= end), "Hazardous")
    assert name == found.category


def upper_cases() -> Iterator[object]:
    for day, table in US_UPPER.items():
        for (pollutant, hours, unit, digits), (indices, bands) in table.items():
            step = Decimal(1).scaleb(-digits)
            table_rows = list(rows(indices, bands))
            edges = sorted({edge for *_, low, high in table_rows for edge in (low, high)})
            for value in sorted({edge + move * step for edge in edges for move in (-1, 0, 1)}):
                expected = official(table_rows, value) if value >= edges[0] else None
                yield pytest.param(
                    day, pollutant, hours, in_metric(value, pollutant, unit), expected,
                    id=f"{pollutant} {value} {unit} over {hours} h on {day}",
                )  # fmt: skip


@pytest.mark.parametrize(("day", "pollutant", "hours", "stored", "expected"), list(upper_cases()))
def test_us_aqi_of_high_terms(day: date, pollutant: str, hours: int, stored: float, expected: int | None) -> None:
    """O3 over an hour begins at 101, SO2 over a day at 201; below its first row a term says nothing."""
    if pollutant == "o3":
        found = air_index(us_tables, {"o3": [stored]}, day=day)  # no eight hours
    else:
        found = air_index(us_tables, {"so2": [NAN] + [stored] * 23}, day=day)  # the newest hour is missing

    assert expected == (found.value if found else None)


def test_so2_of_an_hour_ends_at_200_where_the_day_is_clean() -> None:
    """A peak of one hour above 304 ppb is 200; only a day's mean makes it more."""
    peak = in_metric(Decimal(900), "so2", "ppb")

    assert us({"so2": [peak] + [0.0] * 23}).value == 200
    assert not us({"so2": [peak] + [0.0] * 23}).beyond


def test_ozone_of_eight_hours_ends_at_300_and_the_hour_goes_on() -> None:
    """Above 0.200 ppm over eight hours the hour decides."""
    high = us({"o3": [in_metric(Decimal("0.500"), "o3", "ppm")] * 8})
    assert (high.value, high.parts[0].average) == (
        official(list(rows(*US_UPPER[NEW]["o3", 1, "ppm", 3])), Decimal("0.500")),
        "1h",
    )
    # the newest hour is low, the eight hours are high
    hours = [0.0] + [in_metric(Decimal("0.400"), "o3", "ppm")] * 7
    assert us({"o3": hours}).value == 300


@pytest.mark.parametrize(
    ("value", "cut"),
    [
        pytest.param(9.09, 9.0, id="9.09 is still good"),
        pytest.param(35.49999, 35.4, id="rounding would make it 35.5"),
        pytest.param(9.1, 9.1, id="a decimal that floats hit from below"),
        pytest.param(0.1 + 0.2, 0.3, id="a sum with noise above"),
        pytest.param(9.1 - 1e-12, 9.1, id="the noise of a mean is not a step"),
        pytest.param(-3.0, 0.0, id="below zero is zero"),
    ],
)
def test_epa_cuts_and_does_not_round(value: float, cut: float) -> None:
    """Averages lose the digits beyond the table's."""
    assert us({"pm25": [value] * 12}).parts[0].concentration == cut


def test_above_the_table_the_line_goes_on_and_says_so() -> None:
    """Beyond the AQI is not capped silently."""
    found = us({"pm25": [400.0] * 12})

    line = [(301, 500, Decimal("225.5"), Decimal("325.4"))]
    assert (found.value, found.beyond, found.category) == (official(line, Decimal(400)), True, "Hazardous")


def test_tables_change_on_their_day() -> None:
    """12.0 µg/m³ was good until 5 May 2024 and is moderate from the 6th."""
    hours = {"pm25": [12.0] * 12}

    assert (us(hours, OLD).value, us(hours, OLD).version) == (50, "2015-12-28")
    assert (us(hours, NEW).value, us(hours, NEW).version) == (56, "2024-05-06")
    assert air_index(us_tables, hours, day=date(2015, 12, 27)) is None


@pytest.mark.parametrize("celsius", sorted(MOLAR_VOLUME))
def test_the_reference_condition_is_carried(celsius: int) -> None:
    """Micrograms told at 20 °C are fewer ppb than at 25 °C, and the answer says which was meant."""
    found = us({"no2": [100.0]}, celsius=celsius)

    assert found.reference_celsius == celsius
    assert found.parts[0].concentration == math.floor(100 * {20: 24.06, 25: 24.45}[celsius] / 46.01)
    assert us({"pm25": [5.0] * 12}, celsius=celsius).reference_celsius is None


def test_units_convert_both_ways() -> None:
    """Our µg/m³ and mg/m³ reach every unit of the tables."""
    assert convert(1.0, "co", "mg/m³", "ppm", celsius=25) == pytest.approx(24.45 / 28.01)
    assert convert(1.0, "co", "mg/m³", "µg/m³", celsius=25) == 1000
    assert convert(1000.0, "pm25", "µg/m³", "mg/m³", celsius=25) == 1
    assert convert(7.0, "pm25", "µg/m³", "µg/m³", celsius=0) == 7


# -- EAQI --------------------------------------------------------------------------------------------------------------


def eaqi_cases() -> Iterator[object]:
    for day, table in EAQI.items():
        for pollutant, bounds in table.items():
            for bound in bounds:
                for value in (bound - 1, bound, bound + 1):
                    expected = 1 + sum(value > edge for edge in bounds)
                    yield pytest.param(day, pollutant, value, expected, id=f"{pollutant} {value} on {day}")


@pytest.mark.parametrize(("day", "pollutant", "value", "expected"), list(eaqi_cases()))
def test_eaqi_at_every_breakpoint_and_its_neighbours(day: date, pollutant: str, value: int, expected: int) -> None:
    """A bound belongs to the lower level."""
    found = air_index(eaqi_tables, {pollutant: [float(value)] * 24}, day=day)

    assert found is not None
    assert (expected, EAQI_NAMES[expected - 1], pollutant) == (found.value, found.category, found.dominant)


def test_eaqi_rounds_to_whole_micrograms_first() -> None:
    """5.4 is level 1, 5.5 is 6 and so level 2."""
    day = date(2026, 1, 1)
    levels = [air_index(eaqi_tables, {"pm25": [value]}, day=day) for value in (5.4, 5.5)]

    assert [found.value for found in levels if found] == [1, 2]


def test_eaqi_takes_the_hour_now_and_took_the_day_before() -> None:
    """PM went from a mean of 24 hours to hourly values with the revision."""
    hours = {"pm25": [100.0] + [0.0] * 23}

    values = [air_index(eaqi_tables, hours, day=day) for day in (date(2026, 1, 1), date(2023, 1, 1))]

    assert [found.value for found in values if found] == [5, 1]


def test_what_is_missing_is_named() -> None:
    """The worst of what is there counts, and nobody takes it for the whole index."""
    found = air_index(eaqi_tables, {"pm25": [7.0], "no2": [70.0], "o3": [NAN]}, day=NEW)

    assert found is not None
    assert (found.value, found.dominant, found.missing) == (4, "no2", ("pm10", "o3", "so2"))
    assert found.incomplete
    whole = air_index(eaqi_tables, {code: [1.0] for code in ("pm25", "pm10", "no2", "o3", "so2")}, day=NEW)
    assert whole is not None
    assert (whole.dominant, whole.missing, whole.incomplete) == ("pm25", (), False)
    assert air_index(eaqi_tables, {"pm25": [NAN]}, day=NEW) is None
    assert air_index(eaqi_tables, {}, day=NEW) is None


# -- averages ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        pytest.param([10.0] * 12, 10.0, id="steady air is its mean"),
        pytest.param([0.0] * 12, 0.0, id="clean air does not divide by zero"),
        pytest.param([71.0] + [0.0] * 11, 71 * 2048 / 4095, id="a pulse of the newest hour counts half"),
        pytest.param([0.0, 71.0] + [0.0] * 10, 71 * 1024 / 4095, id="an hour later a quarter"),
        pytest.param([20.0, 15.0] + [15.0] * 10, (20 + 15 * sum(0.75**i for i in range(1, 12))) / sum(0.75**i for i in range(12)), id="weight 15/20"),  # noqa: E501
        pytest.param([NAN, 8.0, 4.0], (8 * 0.5 + 4 * 0.25) / 0.75, id="weights go by age, not by place"),
        pytest.param([8.0, NAN, 4.0], (8 + 4 * 0.25) / 1.25, id="two of the newest three are enough"),
        pytest.param([8.0, NAN, NAN] + [8.0] * 9, None, id="one of the newest three is not"),
        pytest.param([NAN] * 12, None, id="nothing is nothing"),
        pytest.param([], None, id="no hours"),
        pytest.param([10.0] * 12 + [900.0], 10.0, id="the thirteenth hour is over"),
    ],
)  # fmt: skip
def test_nowcast(hours: list[float], expected: float | None) -> None:
    """EPA's weights, by hand."""
    assert nowcast(hours) == (None if expected is None else pytest.approx(expected, rel=1e-12))


def test_nowcast_pulse_is_the_published_index() -> None:
    """The worked example of one hour at 71 µg/m³ after a clean day: 35.5 µg/m³, AQI 101."""
    found = us({"pm25": [71.0] + [0.0] * 11})

    assert (found.parts[0].concentration, found.value) == (35.5, 101)


@pytest.mark.parametrize(
    ("length", "present"), [pytest.param(8, 6, id="eight hours need six"), pytest.param(24, 18, id="a day needs 18")]
)
def test_means_need_three_quarters(length: int, present: int) -> None:
    """One hour fewer and the mean is none."""
    enough = [4.0] * present + [NAN] * (length - present)

    assert running_mean(enough, length, present) == 4.0
    assert running_mean([NAN, *enough[1:]], length, present) is None
    pollutant, needed = ("o3", 8) if length == 8 else ("so2", 24)
    high = in_metric(
        Decimal("0.060") if pollutant == "o3" else Decimal(400), pollutant, "ppm" if length == 8 else "ppb"
    )
    hours = [NAN] * (needed - present) + [high] * present
    assert air_index(us_tables, {pollutant: hours}, day=NEW) is not None
    assert air_index(us_tables, {pollutant: [*hours[:-1], NAN]}, day=NEW) is None


# -- noise -------------------------------------------------------------------------------------------------------------


def test_lden_by_hand() -> None:
    """Day 60, evening 55, night 50 dB: 10 lg((12·10⁶ + 4·10⁶ + 8·10⁶)/24) = 60."""
    found = day_noise([60.0] * 12 + [55.0] * 4 + [50.0] * 8)

    assert (found["lden"].value, found["lden"].category) == (60.0, "60-64")
    assert (found["lnight"].value, found["lnight"].category) == (50.0, "50-54")
    assert not found["lden"].incomplete


def test_levels_are_averaged_as_energies() -> None:
    """Half a day at 70 and half at 60 dB, then 60 in the evening and 50 at night, by hand."""
    found = day_noise([70.0] * 6 + [60.0] * 6 + [60.0] * 4 + [50.0] * 8)

    by_hand = 10 * math.log10((12 * (1e7 + 1e6) / 2 + 4 * 10**6.5 + 8 * 1e6) / 24)
    assert round(by_hand, 1) == found["lden"].value == 65.6


def test_a_constant_level_gains_six_and_a_half_decibels() -> None:
    """A known property of Lden with the directive's periods: +6.4 dB."""
    assert day_noise([50.0] * 24)["lden"].value == 56.4


def test_periods_are_settings() -> None:
    """A shorter evening makes the day longer."""
    hours = [60.0] * 14 + [40.0] * 10

    found = day_noise(hours, NoisePeriods(7, 21, 23))

    assert found["lden"].value == round(10 * math.log10((14 * 1e6 + 2 * 10**4.5 + 8 * 1e5) / 24), 1)


@pytest.mark.parametrize(
    ("gone", "missing"),
    [
        pytest.param(range(3), (), id="three hours of the day may be gone"),
        pytest.param(range(4), ("day",), id="four not"),
        pytest.param(range(16, 18), (), id="two of the night may"),
        pytest.param(range(16, 19), ("night",), id="three not"),
        pytest.param(range(12, 14), ("evening",), id="half of the evening"),
    ],
)
def test_incomplete_periods_are_named(gone: range, missing: tuple[str, ...]) -> None:
    """Three quarters of each period must be there."""
    found = day_noise([NAN if hour in gone else 50.0 for hour in range(24)])

    assert missing == found["lden"].missing
    assert (("night",) if "night" in missing else ()) == found["lnight"].missing


def test_without_a_night_there_is_neither() -> None:
    """An index of a period without one hour is not told."""
    assert day_noise([50.0] * 16 + [NAN] * 8) == {}
    assert list(day_noise([NAN] * 16 + [50.0] * 8)) == ["lnight"]
    with pytest.raises(ValueError, match="23 hours: 24 expected"):
        day_noise([50.0] * 23)
    with pytest.raises(ValueError, match="hours of a day, growing"):
        NoisePeriods(7, 7, 23)


@pytest.mark.parametrize(
    ("level", "lden"), [(54.9, "below 55"), (55.0, "55-59"), (59.9, "55-59"), (75.0, "75 and more")]
)
def test_noise_bands_of_the_directive(level: float, lden: str) -> None:
    """Lower bounds belong to the band."""
    found = day_noise([level] * 12 + [level - 5] * 4 + [level - 10] * 8)

    assert lden == found["lden"].category


# -- heat --------------------------------------------------------------------------------------------------------------

# the chart of the National Weather Service, °F: rows by relative humidity, columns from 80 °F by two
CHART = {
    40: "80 81 83 85 88 91 94 97 101 105 109 114 119 124 130 136",
    45: "80 82 84 87 89 93 96 100 104 109 114 119 124 130 137",
    50: "81 83 85 88 91 95 99 103 108 113 118 124 131 137",
    55: "81 84 86 89 93 97 101 106 112 117 124 130 137",
    60: "82 84 88 91 95 100 105 110 116 123 129 137",
    65: "82 85 89 93 98 103 108 114 121 128 136",
    70: "83 86 90 95 100 105 112 119 126 134",
    75: "84 88 92 97 103 109 116 124 132",
    80: "84 89 94 100 106 113 121 129",
    85: "85 90 96 102 110 117 126 135",
    90: "86 91 98 105 113 122 131",
    95: "86 93 100 108 117 127",
    100: "87 95 103 112 121 132",
}


@pytest.mark.parametrize("humidity", CHART)
def test_heat_index_against_the_chart(humidity: int) -> None:
    """Within a degree Fahrenheit of the printed chart, which was made without the adjustment for humid air."""
    for column, printed in enumerate(CHART[humidity].split()):
        fahrenheit = 80 + 2 * column
        found = heat_index((fahrenheit - 32) * 5 / 9, float(humidity))
        adjustment = (humidity - 85) / 10 * max(87 - fahrenheit, 0) / 5 if humidity > 85 else 0.0

        assert found is not None
        assert abs(found.value * 9 / 5 + 32 - adjustment - int(printed)) <= 1.1  # a tenth of °C is 0.18 °F


def regression(t: float, r: float) -> float:
    """Rothfusz's equation as printed."""
    return (
        -42.379 + 2.04901523 * t + 10.14333127 * r - 0.22475541 * t * r - 0.00683783 * t * t - 0.05481717 * r * r
        + 0.00122874 * t * t * r + 0.00085282 * t * r * r - 0.00000199 * t * t * r * r
    )  # fmt: skip


@pytest.mark.parametrize(
    ("fahrenheit", "humidity", "expected"),
    [
        pytest.param(95.0, 5.0, regression(95, 5) - 2.0, id="dry: two degrees less"),
        pytest.param(111.0, 9.0, regression(111, 9) - (17 - 16) ** 0.5 / 17**0.5, id="dry and far from 95"),
        pytest.param(113.0, 5.0, regression(113, 5), id="dry above 112: as it is"),
        pytest.param(95.0, 13.0, regression(95, 13), id="13 % is not dry"),
        pytest.param(82.0, 95.0, regression(82, 95) + 1.0, id="humid: a degree more"),
        pytest.param(88.0, 95.0, regression(88, 95), id="humid above 87: as it is"),
        pytest.param(60.0, 50.0, (60 + (60 + 61 + (60 - 68) * 1.2 + 4.7) / 2) / 2, id="cool: the simple formula"),
    ],
)
def test_heat_index_adjustments(fahrenheit: float, humidity: float, expected: float) -> None:
    """The corrections of the NWS for dry and for humid heat."""
    found = heat_index((fahrenheit - 32) * 5 / 9, humidity)

    assert found is not None
    assert found.value * 9 / 5 + 32 == pytest.approx(expected, abs=0.1)


def test_heat_categories_and_nonsense() -> None:
    """Danger begins at 103 °F; no humidity, no index."""
    danger, none = heat_index(35.0, 50.0), heat_index(20.0, 50.0)

    assert danger is not None
    assert none is not None
    assert (danger.category, none.category) == ("danger", "none")
    assert heat_index(NAN, 50.0) is None
    assert heat_index(30.0, NAN) is None
    assert heat_index(30.0, 101.0) is None


# -- a table of one's own ----------------------------------------------------------------------------------------------

GOOD = """
name = "national"
title = "National index"
score = "level"

[[table]]
version = "1"
from = 2020-01-01
categories = [{ name = "low", to = 1 }, { name = "high", to = 2 }]

[[table.term]]
pollutant = "pm25"
average = "1h"
upper = [25]
"""


def test_an_index_of_ones_own(tmp_path: Path) -> None:
    """A file is all it takes."""
    path = tmp_path / "national.toml"
    path.write_text(GOOD, "utf-8")

    found = air_index(load_index(path), {"pm25": [25.4]}, day=NEW)

    assert found is not None
    assert (found.name, found.value, found.category, found.version) == ("national", 1, "low", "1")


LINEAR = GOOD.replace('"level"', '"linear"').replace("upper = [25]", "bands = [[0, 25, 0, 50], [26, 50, 51, 100]]")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        pytest.param(GOOD.replace("upper", "uper"), r"own.toml: .*`uper`.*term\[0\]", id="a key that is none"),
        pytest.param(GOOD.replace('title = "National index"\n', ""), "own.toml: .*`title`", id="a key is missing"),
        pytest.param(GOOD.replace("[25]", "[25, 30]"), r"\(pm25\): 1 bounds in 'upper'", id="too many bounds"),
        pytest.param(GOOD.replace("[25]", "[25.5]"), "25.5 is no number of at most 0 decimals", id="too many decimals"),
        pytest.param(GOOD.replace("[25]", "[nan]"), "NaN is no number|nan", id="a bound that is no number"),
        pytest.param(GOOD.replace("[25]", "[-1]"), "-1 is no number", id="a bound below zero"),
        pytest.param(GOOD.replace('"pm25"', '"pm2"'), "no such metric; did you mean 'pm25'", id="a metric misspelt"),
        pytest.param(GOOD.replace('"1h"', '"25h"'), "average '25h'", id="more hours than are kept"),
        pytest.param(GOOD.replace('"1h"', '"1h"\nunit = "ppb"'), "unit 'ppb'", id="dust has no volume"),
        pytest.param(GOOD.replace('"1h"', '"1h"\nleast_hours = 2'), "least_hours 2", id="two hours of one"),
        pytest.param(GOOD.replace('"1h"', '"1h"\ndigits = 7'), "digits 7", id="too many digits"),
        pytest.param(GOOD.replace("to = 2", "to = 3"), "levels end at 1, 2, 3", id="a level is left out"),
        pytest.param(GOOD.replace("to = 2", "to = 1"), "'to' must grow", id="categories that do not grow"),
        pytest.param(GOOD.replace('"national"', '"a b"'), "name 'a b'", id="a name that is none"),
        pytest.param(GOOD.split("[[table]]", maxsplit=1)[0], "table", id="no table"),
        pytest.param(GOOD.split("[[table.term]]", maxsplit=1)[0], "term", id="no term"),
        pytest.param(GOOD + GOOD[GOOD.index("[[table]]") :], "must begin after", id="two tables of one day"),
        pytest.param(GOOD + "[[table.term]]" + GOOD.split("[[table.term]]")[1], "two terms", id="a term twice"),
        pytest.param("name = ", "not TOML", id="not TOML"),
        pytest.param(LINEAR.replace("[26,", "[27,"), r"\[27, …, 51\] does not follow", id="a gap"),
        pytest.param(LINEAR.replace("51, 100", "52, 100"), "does not follow", id="a gap of the index"),
        pytest.param(LINEAR.replace("[0, 25,", "[25, 0,"), "must grow", id="a row that falls"),
        pytest.param(LINEAR.replace("bands", "upper"), "own.toml", id="rows under the wrong name"),
        pytest.param(GOOD.replace('"level"', '"linear"'), "rows in 'bands' expected", id="bounds where rows belong"),
    ],
)  # fmt: skip
def test_a_wrong_table_is_refused_with_file_and_key(text: str, named: str) -> None:
    """Each mistake is named, none is guessed away."""
    with pytest.raises(SettingsError, match=named):
        parse_index(text, "own.toml")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """No file, a folder, not UTF-8, too large."""
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(SettingsError, match=path.name):
            load_index(path)
    bad = tmp_path / "bad.toml"
    bad.write_bytes(b"\xff")
    with pytest.raises(SettingsError, match=r"bad\.toml"):
        load_index(bad)
    bad.write_bytes(b"#" * 1_000_001)
    with pytest.raises(SettingsError, match="larger than 1000000 bytes"):
        load_index(bad)


def test_days_choose_tables_without_a_gap() -> None:
    """Every day since the first table has one."""
    for index in builtin_indices():
        first = index.table[0].since
        assert index.at(first - timedelta(1)) is None
        assert all(index.at(table.since) is table for table in index.table)


def test_the_example_of_the_docs_works() -> None:
    """What docs/indices.md shows can be copied."""
    page = (Path(__file__).parents[3] / "docs" / "indices.md").read_text("utf-8")
    example = page.split("```toml\n")[1].split("```")[0]

    index = parse_index(example, "docs/indices.md")
    found = air_index(index, {"pm25": [31.0], "co": [0.44] * 6}, day=NEW)

    assert found is not None
    assert (found.value, found.category, found.dominant, found.incomplete) == (4, "poor", "pm25", False)
