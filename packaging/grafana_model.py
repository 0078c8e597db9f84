"""The JSON model of Grafana's dashboards, from what one has to say of each panel. It knows nothing of PostgreSQL."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

# Of Grafana 10.4. Later versions bring older dashboards forward as they load them.
SCHEMA_VERSION = 39
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
SERVER = 'job=~"$job", instance=~"$instance"'
DATABASE = SERVER + ', datname=~"$database"'
# One variable of each dashboard, so that it is changed in one place.
DOCS = os.environ.get("DOCS", "https://example.com/pg-lambda-exporter/docs")

Steps = Sequence[tuple[float, str]]
GREEN = "green"


@dataclass(frozen=True)
class Query:
    """An expression, and how its series are called."""

    expression: str
    legend: str = "{{instance}}"


@dataclass(frozen=True)
class Panel:
    """What one panel shows. `steps` are the values from which on it has another colour than green."""

    title: str
    description: str
    queries: Sequence[Query]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    height: int = 8
    steps: Steps = ()
    mappings: dict[int, tuple[str, str]] = field(default_factory=dict)
    # The name of an alert of docs/alerts.md, which a click leads to.
    runbook: str | None = None
    stacked: bool = False
    maximum: float | None = None
    # Of a table: the labels that make its rows; and NAME:UNIT of its columns, in the order of the queries. Without
    # columns, what the labels say is all.
    rows: Sequence[str] = ()
    units: Sequence[str] = ()
    # Of a stat: whether it shows the name of the series, such as a version, and not the value.
    names: bool = False

    def lines(self) -> bool:
        return self.kind == "timeseries"


@dataclass(frozen=True)
class Row:
    """A question, and the panels that answer it. Closed, it asks Prometheus nothing."""

    title: str
    panels: Sequence[Panel]
    closed: bool = False


@dataclass(frozen=True)
class Dashboard:
    """A page."""

    uid: str
    title: str
    description: str
    rows: Sequence[Row]
    by_database: bool


def dashboard(page: Dashboard, others: Sequence[Dashboard]) -> dict:
    """The JSON model of a dashboard, with links to the others."""
    return {
        "uid": page.uid,
        "title": page.title,
        "description": page.description,
        "tags": ["postgresql", "pg-lambda-exporter"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "graphTooltip": 1,  # One crosshair in all panels.
        "timezone": "browser",
        "time": {"from": "now-3h", "to": "now"},
        "refresh": "1m",
        "annotations": {"list": []},
        "links": [
            {
                "type": "link",
                "title": other.title,
                "url": f"/d/{other.uid}",
                "icon": "dashboard",
                "tooltip": other.description,
                "tags": [],
                "asDropdown": False,
                "targetBlank": False,
                "includeVars": True,
                "keepTime": True,
            }
            for other in others
        ],
        "templating": {"list": list(variables(page))},
        "panels": list(laid_out(page.rows)),
    }


def variables(page: Dashboard) -> Iterator[dict]:
    yield {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus", "hide": 0}
    yield choice("job", "Job", "label_values(pg_up, job)")
    yield choice("instance", "Server", 'label_values(up{job=~"$job"}, instance)')
    if page.by_database:
        yield choice("database", "Database", f"label_values(pg_stat_database_backends{{{SERVER}}}, datname)")
    yield {"type": "constant", "name": "docs", "label": "Where docs/ is read", "query": DOCS, "hide": 2}


def choice(name: str, label: str, query: str) -> dict:
    """A variable with the values that a label has, of which one, several or all are chosen."""
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,  # When the time range changes, since servers come and go.
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "hide": 0,
    }


def laid_out(rows: Sequence[Row]) -> Iterator[dict]:
    """Rows and panels with their numbers and places."""
    number, top = 0, 0
    for row in rows:
        number += 1
        head = {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": row.closed,
            "gridPos": {"x": 0, "y": top, "w": 24, "h": 1},
            "panels": [],
        }
        top += 1
        inside, left, height = [], 0, 0
        for each in row.panels:
            if left + each.width > 24:
                left, top, height = 0, top + height, 0
            number += 1
            inside.append(panel(each, number, {"x": left, "y": top, "w": each.width, "h": each.height}))
            left, height = left + each.width, max(height, each.height)
        top += height
        # Grafana keeps the panels of a closed row in it, and those of an open one behind it.
        yield head | {"panels": inside if row.closed else []}
        if not row.closed:
            yield from inside


def panel(each: Panel, number: int, place: dict) -> dict:
    """The JSON model of a panel."""
    made = {
        "id": number,
        "type": each.kind,
        "title": each.title,
        "description": each.description,
        "gridPos": place,
        "datasource": DATASOURCE,
        "targets": [target(each, query, index) for index, query in enumerate(each.queries)],
        "fieldConfig": {"defaults": defaults(each), "overrides": overrides(each)},
        "options": options(each),
        "transformations": transformations(each),
    }
    if each.runbook:
        url = f"${{docs}}/alerts.md#{each.runbook.lower()}"
        made["links"] = [{"title": f"Runbook: {each.runbook}", "url": url, "targetBlank": True}]
    return made


def target(each: Panel, query: Query, index: int) -> dict:
    now = each.kind in ("stat", "bargauge", "table")
    return {
        "refId": chr(ord("A") + index),
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": query.expression.replace("SERVER", SERVER).replace("DATABASE", DATABASE),
        "legendFormat": query.legend.strip() if each.kind != "table" else "",
        "format": {"table": "table", "heatmap": "heatmap"}.get(each.kind, "time_series"),
        "instant": now,
        "range": not now,
    }


def defaults(each: Panel) -> dict:
    base = [] if each.steps and each.steps[0][0] == 0 else [{"value": None, "color": GREEN}]
    steps = base + [{"value": value, "color": color} for value, color in each.steps]
    steps[0]["value"] = None  # The first one has no lower end.
    made: dict = {
        "unit": each.unit,
        "thresholds": {"mode": "absolute", "steps": steps},
        "color": {"mode": "palette-classic" if each.lines() else "thresholds"},
        "mappings": [
            {"type": "value", "options": {str(value): {"text": text, "color": color, "index": index}}}
            for index, (value, (text, color)) in enumerate(each.mappings.items())
        ],
    }
    if each.kind != "heatmap":
        made["min"] = 0
    if each.maximum is not None:
        made["max"] = each.maximum
    if each.lines():
        made["custom"] = {
            "lineWidth": 1,
            "fillOpacity": 20 if each.stacked else 5,
            "showPoints": "never",
            "stacking": {"mode": "normal" if each.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "dashed" if each.steps else "off"},
        }
    return made


def overrides(each: Panel) -> list[dict]:
    """The units of a table's columns."""
    columns = [column.split(":") for column in each.units]
    return [
        {"matcher": {"id": "byName", "options": name}, "properties": [{"id": "unit", "value": unit}]}
        for name, unit in columns
    ]


def transformations(each: Panel) -> list[dict]:
    """The answers of a table's queries side by side, under the names of its columns, the first the greatest first."""
    if each.kind != "table":
        return []
    names = [column.split(":")[0] for column in each.units]
    # With one query Grafana calls the column Value, with several Value #A and so on.
    values = ["Value"] if len(each.queries) == 1 else [f"Value #{chr(ord('A') + index)}" for index in range(len(names))]
    order = [*each.rows, *values]
    organize = {
        "excludeByName": {"Time": True} | ({} if names else {"Value": True}),
        "indexByName": {name: index for index, name in enumerate(order)},
        "renameByName": dict(zip(values, names, strict=False)),
    }
    return [{"id": "merge", "options": {}}, {"id": "organize", "options": organize}]


def options(each: Panel) -> dict:
    last = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    match each.kind:
        case "timeseries":
            return {
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }
        case "stat":
            return {
                "reduceOptions": last,
                "orientation": "auto",
                "textMode": "name" if each.names else "auto",
                "colorMode": "none" if each.names else "value",
                "graphMode": "none",
                "justifyMode": "auto",
            }
        case "bargauge":
            return {
                "reduceOptions": last,
                "orientation": "horizontal",
                "displayMode": "basic",
                "showUnfilled": True,
                "valueMode": "color",
            }
        case "table":
            greatest = [{"displayName": column.split(":")[0], "desc": True} for column in each.units[:1]]
            return {"showHeader": True, "cellHeight": "sm", "sortBy": greatest}
        case "heatmap":
            return {
                "calculate": False,
                "cellGap": 1,
                "color": {
                    "mode": "scheme",
                    "scheme": "Oranges",
                    "steps": 64,
                    "exponent": 0.5,
                    "fill": "dark-orange",
                    "reverse": False,
                },
                "yAxis": {"unit": each.unit, "axisPlacement": "left"},
                "tooltip": {"mode": "single", "yHistogram": False},
                "legend": {"show": True},
            }
        case "state-timeline":
            return {
                "showValue": "never",
                "rowHeight": 0.9,
                "mergeValues": True,
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False, "calcs": []},
                "tooltip": {"mode": "single", "sort": "none"},
            }
    raise ValueError(f"no options for {each.kind}")
