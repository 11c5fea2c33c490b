"""This module is the parts that the dashboards are built of: queries, panels, variables, and a grid that fills itself.

It turns them into JSON through Grafana's Foundation SDK, which knows the schema but no InfluxQL and no layout. Ids and
places follow from the order of the panels, so the same description always gives the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any
from warnings import catch_warnings, simplefilter

from core.metrics import METRICS

with catch_warnings():  # it would rather have the second schema, which Grafana reads from 12 on only
    simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.builders import annotationslist, bargauge, common, dashboard, stat, table
    from grafana_foundation_sdk.builders import timeseries as series
    from grafana_foundation_sdk.cog.builder import Builder
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.variants import Dataquery
    from grafana_foundation_sdk.models import common as kinds
    from grafana_foundation_sdk.models import dashboard as model

__all__ = ["METRICS_OF", "READINGS", "ROLLUPS", "Ask", "Board", "Plot", "Prom", "bars", "figure", "lines", "listed"]

READINGS = "urbanpulse-influx"
ROLLUPS = "urbanpulse-influx-rollups"
PROMETHEUS = "urbanpulse-prometheus"

Plot = series.Panel | stat.Panel | bargauge.Panel | table.Panel | annotationslist.Panel
Steps = tuple[tuple[float | None, str], ...]

METRICS_OF: dict[str, str] = {}
"""Of each sector, its metrics as a regular expression."""
for _metric in METRICS.values():
    METRICS_OF[_metric.sector] = "|".join(filter(None, (METRICS_OF.get(_metric.sector), _metric.code)))

# Grafana's names; what is not here is shown as a suffix
_UNITS = {
    "µg/m³": "conμgm3",
    "mg/m³": "conmgm3",
    "°C": "celsius",
    "%": "percent",
    "hPa": "pressurehpa",
    "m/s": "velocityms",
    "°": "degree",
    "km/h": "velocitykmh",
    "dB": "dB",
    "kW": "kwatt",
    "V": "volt",
    "kWh": "kwatth",
    "bar": "pressurebar",
    "ppm": "ppm",
    "dBm": "dBm",
    "": "none",
}


def unit_of(metric: str) -> str:
    """Return Grafana's name of the unit of *metric*."""
    unit = METRICS[metric].unit
    return _UNITS.get(unit, f"suffix: {unit}")


def _by_unit() -> dict[str, str]:
    """Return, by unit, the expression for names of lines that begin with a metric of that unit."""
    found: dict[str, list[str]] = {}
    for code in METRICS:
        found.setdefault(unit_of(code), []).append(code)
    return {unit: f"/^({'|'.join(codes)})\\b/" for unit, codes in found.items()}


@dataclass
class Ask(Dataquery):
    """A question in InfluxQL: the language that all kinds of InfluxDB take."""

    query: str
    alias: str = ""
    source: str = READINGS
    as_table: bool = False
    ref_id: str = "A"

    def to_json(self) -> dict[str, object]:
        """Return what Grafana's editor would save."""
        return {
            "alias": self.alias,
            "datasource": {"type": "influxdb", "uid": self.source},
            "query": self.query,
            "rawQuery": True,
            "refId": self.ref_id,
            "resultFormat": "table" if self.as_table else "time_series",
        }


@dataclass
class Prom(Dataquery):
    """A question in PromQL, and the name of its lines."""

    expr: str
    legend: str
    ref_id: str = "A"
    source: str = PROMETHEUS

    def to_json(self) -> dict[str, object]:
        """Return what Grafana's editor would save."""
        return {
            "datasource": {"type": "prometheus", "uid": self.source},
            "editorMode": "code",
            "expr": self.expr,
            "legendFormat": self.legend,
            "range": True,
            "refId": self.ref_id,
        }


class _Ready(Builder[Any]):
    """What is built already, where the SDK wants a builder."""

    def __init__(self, thing: Any) -> None:
        self._thing = thing

    def build(self) -> Any:
        return self._thing


def _fill(panel: Any, title: str, text: str, asks: tuple[Ask | Prom, ...], unit: str, steps: Steps) -> Any:
    panel = panel.title(title).description(text)
    for name, ask in zip("ABCDEFGH", asks, strict=False):
        panel = panel.with_target(_Ready(replace(ask, ref_id=name)))
    uids = {ask.source for ask in asks}
    if len(uids) == 1:
        uid = uids.pop()
        panel = panel.datasource(
            model.DataSourceRef(type_val="prometheus" if uid == PROMETHEUS else "influxdb", uid=uid)
        )
    else:
        panel = panel.datasource(model.DataSourceRef(type_val="datasource", uid="-- Mixed --"))
    if unit == "by metric":
        for name, pattern in _by_unit().items():
            panel = panel.override_by_regexp(pattern, [model.DynamicConfigValue(id_val="unit", value=name)])
        unit = "none"
    panel = panel.unit(unit)
    if steps:
        levels = [model.Threshold(value=value, color=colour) for value, colour in steps]
        panel = panel.thresholds(dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(levels))
    return panel


def lines(
    title: str, text: str, *asks: Ask | Prom, unit: str, steps: Steps = (), stacked: bool = False, last: str = ""
) -> Plot:
    """Return a plot of lines over time.

    *unit* "by metric" takes it from the beginning of each line's name; *last*, such as "30d", is shown in place of the
    time chosen for the dashboard.
    """
    panel = _fill(series.Panel(), title, text, asks, unit, steps)
    if last:
        panel = panel.time_from(last)
    panel = panel.line_width(1).fill_opacity(30 if stacked else 0).span_nulls(span_nulls=False)
    panel = panel.show_points(kinds.VisibilityMode.AUTO)
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(kinds.StackingMode.NORMAL))
    if steps:
        panel = panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(kinds.GraphThresholdsStyleMode.DASHED))
    legend = common.VizLegendOptions().show_legend(show_legend=True)
    legend = legend.display_mode(kinds.LegendDisplayMode.LIST).placement(kinds.LegendPlacement.BOTTOM)
    panel = panel.legend(legend)
    tooltip = common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI).sort(kinds.SortOrder.DESCENDING)
    return panel.tooltip(tooltip)  # type: ignore[no-any-return] # the SDK's builders return themselves


def figure(
    title: str,
    text: str,
    *asks: Ask | Prom,
    unit: str,
    steps: Steps = (),
    of: str = "lastNotNull",
    columns: str = "",
) -> Plot:
    """Return one large number with the course behind it.

    *of* says how a course becomes one number, *columns* is an expression for which ones are shown (numbers, if empty).
    """
    panel = _fill(stat.Panel(), title, text, asks, unit, steps)
    panel = panel.reduce_options(common.ReduceDataOptions().calcs([of]).values(values=False).fields(columns))
    panel = panel.color_mode(kinds.BigValueColorMode.VALUE if steps else kinds.BigValueColorMode.NONE)
    return panel.graph_mode(kinds.BigValueGraphMode.AREA)  # type: ignore[no-any-return]


def bars(title: str, text: str, *asks: Ask | Prom, unit: str, steps: Steps = (), of: str = "lastNotNull") -> Plot:
    """Return a bar for each line, to compare them."""
    panel = _fill(bargauge.Panel(), title, text, asks, unit, steps)
    panel = panel.reduce_options(common.ReduceDataOptions().calcs([of]).values(values=False))
    panel = panel.orientation(kinds.VizOrientation.HORIZONTAL)
    return panel.display_mode(kinds.BarGaugeDisplayMode.BASIC)  # type: ignore[no-any-return]


def listed(title: str, text: str, *asks: Ask | Prom, unit: str, hide: tuple[str, ...] = ("Time",)) -> Plot:
    """Return a table; the columns of *hide* are left out."""
    panel = _fill(table.Panel(), title, text, asks, unit, ())
    options = {"excludeByName": dict.fromkeys(hide, True)}
    return panel.with_transformation(  # type: ignore[no-any-return]
        model.DataTransformerConfig(id_val="organize", options=options)
    )


def alerts(title: str, text: str, tags: tuple[str, ...]) -> Plot:
    """Return a list of the alerts that `urbanpulse grafana push --annotations` noted with all of *tags*."""
    panel = annotationslist.Panel().title(title).description(text).tags(list(tags)).limit(25)
    panel = panel.datasource(model.DataSourceRef(type_val="grafana", uid="-- Grafana --"))
    panel = panel.only_from_this_dashboard(only_from_this_dashboard=False)
    return panel.only_in_time_range(only_in_time_range=True)


def _annotation(tags: tuple[str, ...]) -> Builder[model.AnnotationQuery]:
    target = dashboard.AnnotationTarget().limit(200).match_any(match_any=False).tags(list(tags)).type("tags")
    query = dashboard.AnnotationQuery().name("Alerts").enable(enable=True).hide(hide=False).icon_color("red")
    query = query.datasource(model.DataSourceRef(type_val="grafana", uid="-- Grafana --"))
    built = query.build()
    built.target = target.build()  # type: ignore[assignment] # the SDK's query of Grafana itself is no data query
    return _Ready(built)


@dataclass
class Board:
    """One dashboard: panels fill rows of 24 columns from left to right."""

    uid: str
    title: str
    text: str
    span: str = "now-24h"
    refresh: str = "30s"
    alert_tags: tuple[str, ...] = ("urbanpulse", "alert")
    _variables: list[Builder[Any]] = field(default_factory=list)
    _panels: list[tuple[Plot | None, str, int, int]] = field(default_factory=list)

    def choice(self, name: str, label: str, query: str, *, multi: bool = True) -> Board:
        """Add a variable whose values InfluxDB knows; *multi* also allows all of them."""
        variable = dashboard.QueryVariable(name).label(label).query({"query": query, "refId": name})
        variable = variable.definition(query).datasource(model.DataSourceRef(type_val="influxdb", uid=READINGS))
        variable = variable.refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        variable = variable.sort(model.VariableSort.ALPHABETICAL_ASC).multi(multi=multi).include_all(include_all=multi)
        if multi:
            everything = model.VariableOption(selected=True, text=["All"], value=["$__all"])
            variable = variable.all_value(".*").current(everything)
        self._variables.append(variable)
        return self

    def sector(self) -> Board:
        """Add the choice of a sector, which stands for its metrics."""
        choices = {"all": ".*", **METRICS_OF}
        variable = dashboard.CustomVariable("sector").label("Sector")
        variable = variable.values(", ".join(f"{name} : {metrics}" for name, metrics in choices.items()))
        variable = variable.options(
            [model.VariableOption(selected=name == "all", text=name, value=value) for name, value in choices.items()]
        )
        self._variables.append(variable.current(model.VariableOption(selected=True, text="all", value=".*")))
        return self

    def row(self, title: str) -> Board:
        """Begin a row with a *title*."""
        self._panels.append((None, title, 24, 1))
        return self

    def add(self, *panels: Plot, width: int = 12, height: int = 8) -> Board:
        """Add *panels*, all of one size."""
        self._panels += ((panel, "", width, height) for panel in panels)
        return self

    def json(self) -> str:
        """Return the dashboard as Grafana reads it."""
        board = dashboard.Dashboard(self.title).uid(self.uid).description(self.text).tags(["urbanpulse"])
        board = board.time(self.span, "now").timezone("browser").refresh(self.refresh).readonly()
        board = board.timepicker(
            dashboard.TimePicker().refresh_intervals(["5s", "10s", "30s", "1m", "5m", "15m", "1h"])
        )
        board = board.tooltip(model.DashboardCursorSync.CROSSHAIR).variables(self._variables)
        board = board.annotation(_annotation(self.alert_tags))
        link = dashboard.DashboardLink("urbanpulse").type(model.DashboardLinkType.DASHBOARDS).tags(["urbanpulse"])
        board = board.link(link.as_dropdown(as_dropdown=True).include_vars(include_vars=True).keep_time(keep_time=True))
        x = y = below = 0
        for n, (panel, title, width, height) in enumerate(self._panels, 1):
            if x + width > 24:
                x, y = 0, below
            place = model.GridPos(h=height, w=width, x=x, y=y)
            if panel is None:
                board = board.with_row(dashboard.Row(title).id(n).grid_pos(place))
            else:
                board = board.with_panel(panel.id(n).grid_pos(place))
            x, below = x + width, max(below, y + height)
        return JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False).encode(board.build()) + "\n"
