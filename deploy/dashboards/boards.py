"""This module says what each dashboard shows. `python -m deploy.dashboards` writes them as JSON."""

# ruff: noqa: S608 - questions of constants, for Grafana to ask

from __future__ import annotations

from core.metrics import METRICS
from deploy.dashboards.parts import ROLLUPS, Ask, Board, Prom, alerts, bars, figure, lines, listed, unit_of

__all__ = ["boards"]

_HERE = '"district" =~ /^${district:regex}$/'
_PICKED = f'{_HERE} AND "metric" =~ /^${{metric:regex}}$/'
_DEVICE = '"device" = \'$device\' AND "metric" =~ /^${metric:regex}$/'
_RATE = "$__rate_interval"

_GREEN, _YELLOW, _ORANGE, _RED, _PURPLE = "green", "yellow", "orange", "red", "purple"
_FLAGGED = ((None, _GREEN), (1, _YELLOW))
_NONE = ((None, _GREEN), (1, _RED))
_MUST = ((None, _RED), (1, _GREEN))

# WHO global air quality guidelines 2021, table 0.1: the guideline (24 hours; O3: 8 hours) and its interim targets,
# from best to worst, in the units of core.metrics
_BANDS: dict[str, tuple[float, ...]] = {
    "pm25": (15, 25, 37.5, 50, 75),
    "pm10": (45, 50, 75, 100, 150),
    "no2": (25, 50, 120),
    "o3": (100, 120, 160),
    "so2": (40, 50, 125),
    "co": (4, 7),
}
_NAMES = {"pm25": "PM2.5", "pm10": "PM10", "no2": "NO₂", "o3": "O₃", "so2": "SO₂", "co": "CO"}


def _steps(metric: str) -> tuple[tuple[float | None, str], ...]:
    limits = _BANDS[metric]
    colours = (_YELLOW, _ORANGE, _RED, _PURPLE, "dark-purple")[: len(limits)]
    return ((None, _GREEN), *zip(limits, colours, strict=True))


def boards() -> list[Board]:
    """Return all dashboards."""
    return [_city(), _district(), _sensor(), _air(), _platform(), _alert_load()]


def _district_choice(board: Board, *, multi: bool = True) -> Board:
    return board.choice("district", "District", 'SHOW TAG VALUES FROM "reading" WITH KEY = "district"', multi=multi)


def _metric_choice(board: Board) -> Board:
    return board.sector().choice(
        "metric",
        "Metric",
        f'SHOW TAG VALUES FROM "reading" WITH KEY = "metric" WHERE {_HERE} AND "metric" =~ /^(${{sector:raw}})$/',
    )


def _mean(metric: str, by: str) -> Ask:
    return Ask(
        f'SELECT mean("value") FROM "reading" WHERE {_HERE} AND "metric" = \'{metric}\' AND $timeFilter '
        f'GROUP BY time($__interval), "{by}" fill(none)',
        alias=f"$tag_{by}",
    )


def _city() -> Board:
    board = Board(
        "urbanpulse-city", "City overview", "Is every district reporting, and how are air, traffic and power?"
    )
    _district_choice(board)
    where = f'FROM "reading" WHERE {_HERE} AND $timeFilter'
    board.add(
        figure(
            "Readings",
            "Readings stored in the time shown.",
            Ask(f'SELECT count("value") {where} GROUP BY time($__interval) fill(0)', "readings"),
            unit="short",
            of="sum",
        ),
        figure(
            "Series reporting",
            "Series (a metric of a device) with at least one reading in the time shown.",
            Ask(
                f'SELECT count("last") FROM (SELECT last("value") AS "last" {where} GROUP BY "device", "metric")',
                "series",
            ),
            unit="short",
        ),
        figure(
            "Flagged readings",
            "Readings that quality checks or detectors marked; their values are stored unaltered.",
            Ask(f'SELECT count("q") {where} AND "q" > 0 GROUP BY time($__interval) fill(0)', "flagged"),
            unit="short",
            steps=_FLAGGED,
            of="sum",
        ),
        figure(
            "Newest reading",
            "When the newest reading was measured. It should be seconds ago.",
            Ask(f'SELECT last("value") {where}', "newest", as_table=True),
            unit="dateTimeFromNow",
            columns="/^[Tt]ime$/",
        ),
        width=6,
        height=4,
    )
    board.add(
        lines(
            "Readings by district",
            "A district that falls to nothing has lost its network, power or gateway.",
            Ask(f'SELECT count("value") {where} GROUP BY time($__interval), "district" fill(0)', "$tag_district"),
            unit="short",
            stacked=True,
        ),
        lines(
            "Flagged readings by district",
            "Readings marked by quality checks or detectors. A rise in one district is an event or a gateway fault.",
            Ask(
                f'SELECT count("q") {where} AND "q" > 0 GROUP BY time($__interval), "district" fill(0)',
                "$tag_district",
            ),
            unit="short",
            stacked=True,
        ),
    )
    board.row("How the city is")
    for title, metric, text in (
        ("Fine dust", "pm25", "Mean PM2.5 of each district; dashed: WHO guideline (24 hours) and interim targets."),
        ("Traffic", "flow", "Mean vehicles per hour past the counters of each district."),
        ("Power", "power", "Mean power of the meters of each district; 0 everywhere is an outage."),
        ("Temperature", "temperature", "Mean air temperature of each district."),
        ("Noise", "noise", "Mean noise level of each district."),
        ("Water pressure", "water_pressure", "Mean pressure in the mains of each district; a fall is a burst main."),
    ):
        board.add(
            lines(
                title,
                text,
                _mean(metric, "district"),
                unit=unit_of(metric),
                steps=_steps(metric) if metric in _BANDS else (),
            ),
            width=8,
        )
    board.row("Alerts")
    board.add(
        alerts("Alerts", "What `urbanpulse grafana push --annotations` noted.", ("urbanpulse", "alert")), width=24
    )
    return board


def _district() -> Board:
    board = Board(
        "urbanpulse-district",
        "District",
        "All metrics of one district: course, spread, history, and who reports what.",
        alert_tags=("urbanpulse", "alert", "district:$district"),
    )
    _metric_choice(_district_choice(board, multi=False))
    where = f'FROM "reading" WHERE {_PICKED} AND $timeFilter'
    hourly = f'FROM "reading_1h" WHERE {_PICKED} AND $timeFilter'
    board.add(
        lines(
            "Means",
            "Mean of all devices of the district, by metric.",
            Ask(f'SELECT mean("value") {where} GROUP BY time($__interval), "metric" fill(none)', "$tag_metric"),
            unit="by metric",
        ),
        width=24,
        height=9,
    )
    board.add(
        lines(
            "Lowest and highest",
            "The lowest and highest reading of any device: the spread that the mean hides.",
            Ask(
                f'SELECT min("value") AS "lowest", max("value") AS "highest" {where} '
                'GROUP BY time($__interval), "metric" fill(none)',
                "$tag_metric $col",
            ),
            unit="by metric",
        ),
        lines(
            "Hourly means",
            "The last 7 days from the hourly rollups, which outlive the readings.",
            Ask(
                f'SELECT sum("sum") / sum("n") {hourly} GROUP BY time(1h), "metric" fill(none)', "$tag_metric", ROLLUPS
            ),
            unit="by metric",
            last="7d",
        ),
        bars(
            "Flagged readings by device",
            "Devices whose readings were marked in the time shown: the first to visit.",
            Ask(f'SELECT count("q") {where} AND "q" > 0 GROUP BY "device"', "$tag_device"),
            unit="short",
            steps=_FLAGGED,
        ),
        listed(
            "Latest readings",
            "The latest reading of each series in the time shown, and how many there were.",
            Ask(
                f'SELECT last("value") AS "latest", count("value") AS "readings" {where} GROUP BY "device", "metric"',
                as_table=True,
            ),
            unit="none",
        ),
    )
    board.add(
        alerts("Alerts", "Alerts of this district.", ("urbanpulse", "alert", "district:$district")),
        width=24,
    )
    return board


def _sensor() -> Board:
    board = Board(
        "urbanpulse-sensor",
        "Sensor",
        "One device: readings, what was expected, gaps, marks, battery and radio.",
        span="now-6h",
        refresh="10s",
        alert_tags=("urbanpulse", "alert", "device:$device"),
    )
    _metric_choice(_district_choice(board))
    board.choice("device", "Device", f'SHOW TAG VALUES FROM "reading" WITH KEY = "device" WHERE {_PICKED}', multi=False)
    where = f'FROM "reading" WHERE {_DEVICE} AND $timeFilter'
    band = f'FROM "band" WHERE {_DEVICE} AND $timeFilter'
    daily = f'FROM "reading_1d" WHERE {_DEVICE} AND $timeFilter'
    board.add(
        lines(
            "Readings and what was expected",
            "Readings, and per hour the band that the detectors expected; outside of it is not yet a fault.",
            Ask(f'SELECT mean("value") {where} GROUP BY time($__interval), "metric" fill(none)', "$tag_metric"),
            Ask(
                f'SELECT mean("expected") AS "expected", min("low") AS "low", max("high") AS "high" {band} '
                'GROUP BY time(1h), "metric" fill(none)',
                "$tag_metric $col",
                ROLLUPS,
            ),
            unit="by metric",
        ),
        width=24,
        height=10,
    )
    board.add(
        lines(
            "Readings per interval",
            "How many readings came: a gap is a device that was silent, a double is one that repeats itself.",
            Ask(f'SELECT count("value") {where} GROUP BY time($__interval), "metric" fill(0)', "$tag_metric"),
            unit="short",
        ),
        lines(
            "Marked readings",
            "Readings marked by quality checks or detectors.",
            Ask(f'SELECT count("q") {where} AND "q" > 0 GROUP BY time($__interval), "metric" fill(0)', "$tag_metric"),
            unit="short",
        ),
        lines(
            "Battery and radio",
            "What the device says of itself; battery below 20 % wants a visit, signal below -120 dBm a better place.",
            Ask(
                'SELECT mean("value") FROM "reading" WHERE "device" = \'$device\' AND "metric" =~ '
                '/^(battery|rssi)$/ AND $timeFilter GROUP BY time($__interval), "metric" fill(none)',
                "$tag_metric",
            ),
            unit="by metric",
        ),
        lines(
            "Daily course",
            "Lowest, mean and highest of each of the last 30 days (UTC), from the daily rollups.",
            Ask(
                f'SELECT min("min") AS "lowest", sum("sum") / sum("n") AS "mean", max("max") AS "highest" {daily} '
                'GROUP BY time(1d), "metric" fill(none)',
                "$tag_metric $col",
                ROLLUPS,
            ),
            unit="by metric",
            last="30d",
        ),
        listed(
            "Last readings",
            "The last 100 readings as stored; `q` is the mask of quality flags.",
            Ask(
                f'SELECT "metric", "value", "q" {where} ORDER BY time DESC LIMIT 100',
                as_table=True,
            ),
            unit="none",
            hide=(),
        ),
    )
    board.add(alerts("Alerts", "Alerts of this device.", ("urbanpulse", "alert", "device:$device")))
    return board


def _air() -> Board:
    board = Board(
        "urbanpulse-air",
        "Air quality",
        "Pollutants beside the WHO guidelines of 2021 (24 hours; ozone 8 hours) and their interim targets.",
        span="now-7d",
        refresh="1m",
    )
    _district_choice(board)
    for metric, name in _NAMES.items():
        limits = ", ".join(f"{limit:g}" for limit in _BANDS[metric])
        unit = METRICS[metric].unit
        board.add(
            bars(
                f"{name} now",
                f"Mean of the last {_HOURS[metric]} hours shown, by district. Colours change at {limits} {unit}: "
                "the WHO guideline, then its interim targets.",
                Ask(
                    f'SELECT moving_average(mean("value"), {_HOURS[metric]}) FROM "reading" WHERE {_HERE} AND '
                    f'"metric" = \'{metric}\' AND $timeFilter GROUP BY time(1h), "district" fill(none)',
                    "$tag_district",
                ),
                unit=unit_of(metric),
                steps=_steps(metric),
            ),
            width=8,
            height=6,
        )
    board.row("Course")
    for metric, name in _NAMES.items():
        board.add(
            lines(
                name,
                f"Mean {name} of each district; dashed: WHO guideline and interim targets.",
                _mean(metric, "district"),
                unit=unit_of(metric),
                steps=_steps(metric),
            ),
            width=8,
        )
    board.row("History")
    board.add(
        lines(
            "Days",
            "Mean of each of the last 90 days (UTC) over all chosen districts, from the daily rollups.",
            Ask(
                f'SELECT sum("sum") / sum("n") FROM "reading_1d" WHERE {_HERE} AND "metric" =~ '
                f'/^({"|".join(_NAMES)})$/ AND $timeFilter GROUP BY time(1d), "metric" fill(none)',
                "$tag_metric",
                ROLLUPS,
            ),
            unit="by metric",
            last="90d",
        ),
        width=24,
    )
    return board


_HOURS = {metric: 8 if metric == "o3" else 24 for metric in _BANDS}


def _rate(metric: str, by: str = "") -> str:
    return f"sum{f' by ({by})' if by else ''} (rate({metric}[{_RATE}]))"


def _within(histogram: str, *shares: float) -> list[Prom]:
    return [
        Prom(
            f"histogram_quantile({share}, sum by (le) (rate({histogram}_bucket[{_RATE}])))",
            f"{round(share * 100)} of 100 within",
        )
        for share in shares
    ]


def _platform() -> Board:
    board = Board(
        "urbanpulse-platform",
        "Platform health",
        "Does every message find its way? From the platform's own metrics.",
        span="now-3h",
        refresh="10s",
        alert_tags=("urbanpulse", "alert"),
    )
    for title, text, ask, unit, steps in (
        (
            "Gateway at the broker",
            "1 while the gateway is subscribed.",
            Prom("min(city_gateway_connected)", "connected"),
            "none",
            _MUST,
        ),
        (
            "Intake held",
            "1 while nothing is read because nothing can be kept. Devices wait, nothing is lost.",
            Prom("max(city_gateway_held)", "held"),
            "none",
            _NONE,
        ),
        (
            "Stores away",
            "Stores that do not answer; the log keeps what they miss.",
            Prom("sum(city_processor_store_away)", "away"),
            "none",
            _NONE,
        ),
        (
            "Behind",
            "Log entries that the processor has not judged yet.",
            Prom("max(city_processor_lag_entries)", "entries"),
            "short",
            ((None, _GREEN), (100, _YELLOW), (1000, _RED)),
        ),
        (
            "Live view silent for",
            "Silence of the live feed at the api; above 5 s the console says so.",
            Prom("max(city_api_live_age_seconds)", "silence"),
            "s",
            ((None, _GREEN), (5, _RED)),
        ),
        (
            "Not booked yet",
            "Log positions that the ledger has not counted: 0 means that the balance sheet is complete.",
            Prom("max(city_gateway_log_position) - max(city_gateway_ledger_position)", "positions"),
            "short",
            ((None, _GREEN), (1000, _YELLOW)),
        ),
    ):
        board.add(figure(title, text, ask, unit=unit, steps=steps), width=4, height=4)
    _platform_intake(board)
    _platform_processing(board)
    _platform_api(board)
    return board


def _platform_intake(board: Board) -> None:
    board.row("Intake: broker, gateway, log")
    board.add(
        lines(
            "Where messages went",
            "The ledger's balance as a rate: every message is exactly one of these outcomes.",
            Prom(_rate("city_gateway_messages_total", "outcome"), "{{outcome}}"),
            unit="suffix: msg/s",
            stacked=True,
        ),
        lines(
            "Why messages were not accepted",
            "Reasons of what was late, quarantined or refused.",
            Prom(
                f'sum by (outcome, reason) (rate(city_gateway_messages_total{{outcome!="accepted"}}[{_RATE}]))',
                "{{outcome}}: {{reason}}",
            ),
            unit="suffix: msg/s",
        ),
        lines(
            "Time until a message is acknowledged",
            "Duration of the durable append that each acknowledgement waits for.",
            *_within("city_gateway_commit_seconds", 0.5, 0.95, 0.99),
            unit="s",
        ),
        lines(
            "Log",
            "What the kept log entries take on disk: it grows while a store is away.",
            Prom("max(city_log_used_bytes)", "used"),
            unit="bytes",
        ),
        lines(
            "Trouble at intake",
            "Commits tried again, appends refused (log over its budget), readings that replaced another value.",
            Prom(_rate("city_gateway_commit_retries_total"), "commit retries"),
            Prom(_rate("city_log_refused_appends_total"), "refused appends"),
            Prom(_rate("city_gateway_conflicts_total"), "conflicts"),
            Prom(_rate("city_gateway_unreadable_entries_total"), "unreadable entries"),
            unit="suffix: /s",
        ),
        lines(
            "Broker",
            "Wrong logins, devices that publish below another's name, restarts of the embedded broker.",
            Prom(_rate("city_broker_refused_logins_total"), "refused logins"),
            Prom(_rate("city_broker_violations_total"), "violations"),
            Prom(_rate("city_broker_restarts_total"), "restarts"),
            unit="suffix: /s",
        ),
        width=8,
    )


def _platform_processing(board: Board) -> None:
    board.row("Processing and stores")
    board.add(
        lines(
            "Readings",
            "Readings that the gateway kept, the processor judged, and the store made durable: the lines lie together.",
            Prom(_rate("city_gateway_readings_total"), "kept"),
            Prom(_rate("city_processor_readings_total"), "judged"),
            Prom(_rate("city_series_rows_total"), "stored (with bands and rollups)"),
            unit="suffix: /s",
        ),
        lines(
            "Age of the entry processed last",
            "How old readings are when they are judged; it falls again after an outage.",
            Prom("max(city_processor_lag_seconds)", "age"),
            unit="s",
            steps=((None, _GREEN), (1, _YELLOW), (5, _RED)),
        ),
        lines(
            "Stores behind the log",
            "Log positions that each store has yet to take; while a store is away it grows, afterwards it falls to 0.",
            Prom(
                "scalar(max(city_gateway_log_position)) - max by (store) (city_processor_store_position)", "{{store}}"
            ),
            unit="short",
        ),
        lines(
            "Time to judge one batch",
            "Reading, decoding and judging one log entry.",
            *_within("city_processor_cycle_seconds", 0.5, 0.95),
            unit="s",
        ),
        lines(
            "What stores refused",
            "Readings that InfluxDB refused (they are in quarantine) or that are older than it keeps, requests halved.",
            Prom(_rate("city_series_rejected_rows_total"), "refused readings"),
            Prom(_rate("city_series_too_old_rows_total"), "too old"),
            Prom(_rate("city_series_bisected_requests_total"), "requests halved to find them"),
            Prom(_rate("city_series_halved_requests_total"), "requests too large"),
            unit="suffix: /s",
        ),
        lines(
            "Upkeep",
            "Hours and days that wait to be summed up (InfluxDB), rows in the journal (embedded store).",
            Prom("max(city_series_due_rollups)", "due rollups"),
            Prom("max(city_series_unsealed_rows)", "rows in the journal"),
            unit="short",
        ),
        lines(
            "Waiting for the series store",
            "Batches in the spool, which keeps what the series store has not taken; it empties after an outage.",
            Prom("max(city_processor_spool_entries)", "batches"),
            unit="short",
        ),
        lines(
            "Waiting since",
            "For how long the oldest batch in the spool has waited.",
            Prom("max(city_processor_spool_oldest_seconds)", "oldest"),
            unit="s",
        ),
        lines(
            "Trouble in processing",
            "What could not be read or kept; each of these lines should stay at 0.",
            Prom(_rate("city_processor_entries_damaged_total"), "damaged log entries"),
            Prom(_rate("city_processor_spool_damaged_total"), "damaged in the spool"),
            Prom(_rate("city_processor_spool_refused_total"), "refused by a full spool"),
            Prom(_rate("city_processor_series_unknown_total"), "unknown series"),
            unit="suffix: /s",
        ),
        width=8,
    )


def _platform_api(board: Board) -> None:
    board.row("Interface")
    board.add(
        lines(
            "Requests",
            "Requests answered, by class of status.",
            Prom(_rate("city_api_requests_total", "status"), "{{status}}"),
            unit="reqps",
            stacked=True,
        ),
        lines(
            "Time to answer",
            "The slowest routes: 95 of 100 requests end within this.",
            Prom(
                "topk(8, histogram_quantile(0.95, sum by (le, route) "
                f"(rate(city_api_request_seconds_bucket[{_RATE}]))))",
                "{{route}}",
            ),
            unit="s",
        ),
        lines(
            "Live streams",
            "Open consoles and programs, and those told to fetch anew because they were too slow.",
            Prom("sum by (transport) (city_api_stream_clients)", "{{transport}}"),
            Prom(_rate("city_api_stream_resyncs_total"), "told to fetch anew /s"),
            unit="short",
        ),
        width=8,
    )


def _alert_load() -> Board:
    board = Board(
        "urbanpulse-alert-load",
        "Alert load",
        "Can an operator keep up? Counts come from the processor's metrics, the list from pushed annotations: alerts "
        "themselves are in the catalog. Goals after ANSI/ISA-18.2 as commonly quoted: 6 an hour, at most 12; at most "
        "10 in 10 minutes.",
        span="now-24h",
        refresh="1m",
    )
    raised = "city_processor_alerts_raised_total"
    hour = ((None, _GREEN), (6, _YELLOW), (12, _RED))
    for title, text, ask, steps in (
        (
            "Raised in the last hour",
            "Good: about 6; more than 12 is too many for one person.",
            Prom(f"sum(increase({raised}[1h]))", "alerts"),
            hour,
        ),
        (
            "Raised in the last 10 minutes",
            "Above 10 is a flood: nobody reads each of them.",
            Prom(f"sum(increase({raised}[10m]))", "alerts"),
            ((None, _GREEN), (3, _YELLOW), (10, _RED)),
        ),
        (
            "Raised in 24 hours",
            "Good: about 150; tolerable: about 300.",
            Prom(f"sum(increase({raised}[24h]))", "alerts"),
            ((None, _GREEN), (150, _YELLOW), (300, _RED)),
        ),
        ("Pending or open", "Alerts that are followed now.", Prom("sum(city_processor_alert_machines)", "alerts"), ()),
    ):
        board.add(figure(title, text, ask, unit="short", steps=steps), width=6, height=4)
    board.add(
        lines(
            "Alerts per hour by priority",
            "Dashed: 6 an hour is good, 12 tolerable.",
            Prom(f"sum by (priority) (increase({raised}[1h]))", "{{priority}}"),
            unit="short",
            steps=hour,
            stacked=True,
        ),
        lines(
            "Alerts per 10 minutes",
            "Dashed: a flood begins above 10 and ends below 5.",
            Prom(f"sum(increase({raised}[10m]))", "alerts"),
            unit="short",
            steps=((None, _GREEN), (5, _YELLOW), (10, _RED)),
        ),
    )
    board.add(
        bars(
            "Shares of priorities",
            "In the last 24 hours. Goal: few of the highest, most of the lowest.",
            Prom(f"sum by (priority) (increase({raised}[24h]))", "{{priority}}"),
            unit="short",
        ),
        lines(
            "Notices",
            "Attempts to tell somebody, by channel and outcome.",
            Prom(_rate("city_processor_notices_total", "channel, outcome"), "{{channel}}: {{outcome}}"),
            unit="suffix: /s",
        ),
        lines(
            "Waiting and refused",
            "Notices that wait in the outbox; alerts not followed because too many were.",
            Prom("sum(city_processor_notices_waiting)", "notices waiting"),
            Prom("sum(city_processor_alert_machines_refused)", "alerts not followed, since start"),
            unit="short",
            steps=(),
        ),
        width=8,
    )
    board.add(
        alerts("Alerts", "What `urbanpulse grafana push --annotations` noted.", ("urbanpulse", "alert")),
        width=24,
        height=10,
    )
    return board
