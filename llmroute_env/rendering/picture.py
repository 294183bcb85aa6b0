"""Scenes as pictures: GPUs and their queues on the left, rates, shares and utility on the right."""

from __future__ import annotations

from dataclasses import dataclass

from llmroute_env.config import EnvConfig
from llmroute_env.rendering.canvas import (
    EMPTY,
    HEIGHT,
    INK,
    PAPER,
    RULE,
    SEEN,
    SLACK_LEVELS,
    SOFT_INK,
    WIDTH,
    Canvas,
    fit,
    model_color,
    slack_color,
    task_color,
)
from llmroute_env.rendering.scene import (
    Batch,
    Queue,
    Row,
    Scene,
    age,
    believed,
    common_prefix,
    describe,
    is_mistaken,
)

MARGIN = 24
SIDE_LEFT, SIDE_RIGHT = 948, WIDTH - MARGIN
MAIN_RIGHT = 912
TOP = 148
LEGEND_TOP = 640
BATCH_LEFT, BATCH_RIGHT = 112, 352
QUEUE_LEFT = 376
MOST_ROW_HEIGHT = 120


@dataclass(frozen=True)
class Table:
    """Where the rows and columns of the main panel lie."""

    rows: int
    columns: int

    @property
    def row_height(self) -> float:
        """Pixels from one GPU to the next."""
        return min((LEGEND_TOP - 12 - TOP) / self.rows, MOST_ROW_HEIGHT)

    @property
    def column_width(self) -> float:
        """Pixels from one queue to the next."""
        return (MAIN_RIGHT - QUEUE_LEFT) / self.columns

    def middle(self, row: int) -> float:
        """Height of the middle of a row."""
        return TOP + (row + 0.5) * self.row_height

    def left(self, column: int) -> float:
        """Left edge of a queue's cells."""
        return QUEUE_LEFT + column * self.column_width

    @property
    def half_bar(self) -> float:
        """Half the height of a batch bar or of a queue's cells."""
        return min(0.38 * self.row_height, 20)


def background(scene: Scene, config: EnvConfig, title: str) -> Canvas:
    """All that does not change during an episode."""
    canvas = Canvas()
    canvas.text((MARGIN, 36), fit(title, SIDE_LEFT - 2 * MARGIN, 24), 24)
    canvas.text((MARGIN, 66), describe(config), 15, SOFT_INK)
    canvas.line([(MARGIN, 88), (SIDE_RIGHT, 88)], RULE)
    _table_head(canvas, scene)
    _legends(canvas, config)
    return canvas


def _table_head(canvas: Canvas, scene: Scene) -> None:
    table = Table(len(scene.rows), len(scene.columns))
    one_each = all(row.gpus == 1 for row in scene.rows)
    batch = (
        ("Running batch", "model, requests, time done") if one_each else ("Busy GPUs", "by model")
    )
    canvas.text((BATCH_LEFT, TOP - 32), batch[0], 15, INK, "ls")
    canvas.text((BATCH_LEFT, TOP - 12), batch[1], 13, SOFT_INK, "ls")
    canvas.text(
        (QUEUE_LEFT, TOP - 32), "Waiting requests, oldest first, and how many", 15, INK, "ls"
    )
    width = table.column_width - 24
    full = all(fit(column.name, width, 13) == column.name for column in scene.columns)
    # Where the columns are too narrow, the panel on the right still has the names in full.
    prefix = "" if full else common_prefix([column.name for column in scene.columns])
    for i, column in enumerate(scene.columns):
        left = table.left(i)
        canvas.box((left, TOP - 23, left + 11, TOP - 12), model_color(i, table.columns))
        name = column.name if full else column.name.removeprefix(prefix).replace(" to ", "…")
        name = fit(name, width, 13)
        canvas.text((left + 16, TOP - 12), name, 13, INK, "ls")


def _legends(canvas: Canvas, config: EnvConfig) -> None:
    canvas.line([(MARGIN, LEGEND_TOP), (MAIN_RIGHT, LEGEND_TOP)], RULE)
    canvas.text((MARGIN, LEGEND_TOP + 22), "Upper half of a request: its task", 13, SOFT_INK)
    shown = config.tasks[:6]
    step = (MAIN_RIGHT - 330) / len(shown)
    for i, task in enumerate(shown):
        _swatch(canvas, 330 + i * step, LEGEND_TOP + 22, task_color(i), fit(task, step - 30, 13))
    text = "Lower half: time left, as a share of the deadline"
    canvas.text((MARGIN, LEGEND_TOP + 48), text, 13, SOFT_INK)
    step = (MAIN_RIGHT - 330) / len(SLACK_LEVELS)
    for i, (_, name, color) in enumerate(SLACK_LEVELS):
        _swatch(canvas, 330 + i * step, LEGEND_TOP + 48, color, name)
    if config.signals.are_late:
        text = "Red: what the router sees, how old that is, and in frames what it is mistaken about"
        canvas.text((MARGIN, LEGEND_TOP + 70), text, 13, SEEN)


def _swatch(
    canvas: Canvas, left: float, middle: float, color: tuple[int, int, int], name: str
) -> None:
    canvas.box((left, middle - 6, left + 12, middle + 6), color)
    canvas.text((left + 18, middle), name, 13)


def draw(scene: Scene, config: EnvConfig, canvas: Canvas) -> None:
    """Draw what changes from step to step onto a copy of the background."""
    _clock(canvas, scene)
    table = Table(len(scene.rows), len(scene.columns))
    for i, row in enumerate(scene.rows):
        _row(canvas, table, i, row)
    _arrivals(canvas, scene)
    top = _bars(
        canvas,
        286,
        "Share of the requests routed to each model",
        [
            (column.name, column.share, model_color(i, table.columns))
            for i, column in enumerate(scene.columns)
        ],
    )
    outcomes = [(name, share, SOFT_INK) for name, share in scene.outcomes.items()]
    _bars(canvas, top, "What became of them", outcomes)
    _utility(canvas, scene)


def _clock(canvas: Canvas, scene: Scene) -> None:
    canvas.text((SIDE_RIGHT, 36), f"{scene.now_s:.3f} s", 24, INK, "rm")
    canvas.text((SIDE_LEFT, 40), f"episode of load {scene.load:.3g}", 15, SOFT_INK)
    if not scene.pending:
        what = f"episode over after {scene.requests:,} requests"
    else:
        which = f"request {scene.request:,} of {scene.requests:,}, {scene.pending}"
        what = f"{which}, waits for a decision"
    canvas.text((SIDE_RIGHT, 66), what, 15, SOFT_INK, "rm")


def _row(canvas: Canvas, table: Table, index: int, row: Row) -> None:
    middle = table.middle(index)
    top, bottom = middle - table.half_bar, middle + table.half_bar
    _name(canvas, row, middle)
    canvas.box((BATCH_LEFT, top, BATCH_RIGHT, bottom), RULE if row.down == row.gpus else EMPTY)
    if row.down == row.gpus:
        canvas.text((BATCH_LEFT + 10, middle), "down", 13, INK)
    elif row.gpus > 1:
        _busy(canvas, table, row, top, bottom)
    elif row.batches:
        _batch(canvas, table, row.batches[0], top, bottom)
    else:
        canvas.text((BATCH_LEFT + 10, middle), "idle", 13, SOFT_INK)
    if is_mistaken(row):
        canvas.frame((BATCH_LEFT - 2, top - 2, BATCH_RIGHT + 2, bottom + 2), SEEN)
    for i, queue in enumerate(row.queues):
        seen = None if row.belief is None else row.belief.waiting[i]
        _queue(canvas, queue, table.left(i), table.column_width, (top, bottom), seen)


def _name(canvas: Canvas, row: Row, middle: float) -> None:
    name = row.name.replace(" to ", "-")
    if row.belief is None:
        canvas.text((MARGIN, middle), name, 14)
        return
    canvas.text((MARGIN, middle - 7), name, 14)
    words = f"{believed(row)}, {age(row.belief.age_s)}"
    canvas.text((MARGIN, middle + 7), fit(words, BATCH_LEFT - MARGIN - 4, 12), 12, SEEN)


def _batch(canvas: Canvas, table: Table, batch: Batch, top: float, bottom: float) -> None:
    """A thin bar of progress under the words, so that the words stay readable on every colour."""
    color = model_color(batch.column, table.columns)
    split = bottom - max(0.25 * (bottom - top), 4)
    width = BATCH_RIGHT - BATCH_LEFT
    canvas.box(
        (BATCH_LEFT, split, BATCH_LEFT + width * batch.done_s / batch.total_s, bottom), color
    )
    canvas.box((BATCH_LEFT, top, BATCH_LEFT + 6, bottom), color)
    words = (top + split) / 2
    canvas.text((BATCH_LEFT + 14, words), fit(f"{batch.model}, {batch.size}", 130, 13), 13)
    done = f"{1e3 * batch.done_s:.0f} of {1e3 * batch.total_s:.0f} ms"
    canvas.text((BATCH_RIGHT - 6, words), done, 13, SOFT_INK, "rm")


def _busy(canvas: Canvas, table: Table, row: Row, top: float, bottom: float) -> None:
    """One slot per GPU of the row, filled with the model that it runs."""
    width = (BATCH_RIGHT - 68 - BATCH_LEFT) / row.gpus
    ordered = sorted(row.batches, key=lambda batch: batch.column)
    for i, batch in enumerate(ordered):
        left = BATCH_LEFT + i * width
        gap = 1 if width >= 4 else 0
        color = model_color(batch.column, table.columns)
        canvas.box((left, top, left + width - gap, bottom), color)
    # Those that are down are grey, at the right end.
    if row.down > 0:
        left = BATCH_LEFT + (row.gpus - row.down) * width
        canvas.box((left, top, BATCH_LEFT + row.gpus * width, bottom), RULE)
    text = f"{len(ordered)} of {row.gpus}"
    canvas.box((BATCH_RIGHT - 68, top, BATCH_RIGHT, bottom), PAPER)
    canvas.text((BATCH_RIGHT, (top + bottom) / 2), text, 13, SOFT_INK, "rm")


def _queue(
    canvas: Canvas,
    queue: Queue,
    left: float,
    width: float,
    span: tuple[float, float],
    seen: int | None,
) -> None:
    top, bottom = span
    middle = (top + bottom) / 2
    if not queue.hosted:
        canvas.text((left, middle), "not hosted", 13, RULE)
        return
    narrow = width < 120
    right = left + width - (34 if narrow else 46)
    canvas.line([(left, bottom), (right, bottom)], RULE)
    cell = 4 if narrow else 7
    for i in range(min(int((right - left) // cell), len(queue.tasks))):
        x = left + i * cell
        canvas.box((x, top, x + cell - 1, middle), task_color(int(queue.tasks[i])))
        canvas.box((x, middle, x + cell - 1, bottom), slack_color(float(queue.slack[i])))
    if seen is not None:
        _seen(canvas, queue.waiting, seen, (left, right, cell), span)
    elif queue.waiting > 0:
        canvas.text((right + 4, middle), f"{queue.waiting:,}", 13)


def _seen(
    canvas: Canvas,
    waiting: int,
    seen: int,
    across: tuple[float, float, int],
    span: tuple[float, float],
) -> None:
    """How many wait and, in a frame as long as they were cells, how many are seen to."""
    (left, right, cell), (top, bottom) = across, span
    middle = (top + bottom) / 2
    if waiting > 0:
        canvas.text((right + 4, middle - 6), f"{waiting:,}", 12)
    if seen > 0 or waiting > 0:
        canvas.text((right + 4, middle + 6), f"{seen:,}", 12, SEEN)
        end = min(left + seen * cell, right)
        canvas.frame((left - 2, top - 2, end + 1, bottom + 2), SEEN)


def _arrivals(canvas: Canvas, scene: Scene) -> None:
    canvas.text((SIDE_LEFT, 112), "Arrival rate, requests/s", 15)
    now = [f"now {scene.recent_rate_per_s:,.0f}"] if scene.pending else []
    # A bar that begins before the episode does is too low.
    whole = scene.now_s * len(scene.rates_per_s) >= scene.rate_span_s
    peak = [f"peak {scene.rates_per_s.max():,.0f}"] if whole else []
    canvas.text((SIDE_RIGHT, 112), ", ".join(now + peak), 14, SOFT_INK, "rm")
    left, top, right, bottom = SIDE_LEFT + 100, 134, SIDE_RIGHT, 234
    most = 1.15 * max(float(scene.rates_per_s.max()), scene.load_1_per_s)
    width = (right - left) / len(scene.rates_per_s)
    for i, rate in enumerate(scene.rates_per_s):
        x = left + i * width
        canvas.box((x, bottom - (bottom - top) * rate / most, x + width, bottom), (150, 150, 150))
    canvas.line([(left, bottom), (right, bottom)], INK)
    y = bottom - (bottom - top) * scene.load_1_per_s / most
    canvas.line([(left, y), (right, y)], INK)
    canvas.text((left - 6, y), f"load 1: {scene.load_1_per_s:,.0f}", 13, INK, "rm")
    canvas.text((left, bottom + 12), f"{scene.rate_span_s:g} s ago", 13, SOFT_INK)
    canvas.text((right, bottom + 12), "now", 13, SOFT_INK, "rm")


def _bars(
    canvas: Canvas, top: float, title: str, rows: list[tuple[str, float, tuple[int, int, int]]]
) -> float:
    canvas.text((SIDE_LEFT, top), title, 15)
    left, right = SIDE_LEFT + 108, SIDE_RIGHT - 58
    step = min(24.0, 160 / len(rows))
    for i, (name, share, color) in enumerate(rows):
        y = top + 24 + i * step
        canvas.text((SIDE_LEFT, y), fit(name, 102, 13), 13)
        canvas.box((left, y - 6, right, y + 6), EMPTY)
        canvas.box((left, y - 6, left + (right - left) * share, y + 6), color)
        canvas.text((SIDE_RIGHT, y), f"{100 * share:.1f} %", 13, SOFT_INK, "rm")
    return top + 24 + len(rows) * step + 20


def _utility(canvas: Canvas, scene: Scene) -> None:
    top = HEIGHT - 78
    share = scene.utility / scene.peak_utility if scene.peak_utility > 0 else 0.0
    canvas.text((SIDE_LEFT, top), "Utility so far", 15)
    canvas.box((SIDE_LEFT, top + 16, SIDE_RIGHT, top + 32), EMPTY)
    canvas.box((SIDE_LEFT, top + 16, SIDE_LEFT + (SIDE_RIGHT - SIDE_LEFT) * share, top + 32), INK)
    words = f"{scene.utility:,.1f} of a peak of {scene.peak_utility:,.1f}"
    canvas.text((SIDE_LEFT, top + 48), words, 13, SOFT_INK)
    canvas.text((SIDE_RIGHT, top), f"{100 * share:.1f} % of peak", 15, INK, "rm")
