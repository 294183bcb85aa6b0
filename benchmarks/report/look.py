"""How pages and figures of a report look, in light and in dark; both follow the reader's system."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1c1c1c; --faint: #555555;
  --rule: #e4e4e4; --head: #444444; --shade: #0004; --none: #fff0; --link: #0645ad; }
@media (prefers-color-scheme: dark) { :root { --paper: #15181c; --ink: #e4e7ea;
  --faint: #a8adb4; --rule: #2d3238; --head: #8d939b; --shade: #fff3; --none: #15181c00;
  --link: #8ab4f8; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 80rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: break-word; }
p { max-width: 60rem; } a { color: var(--link); }
h1 { font-size: 1.7rem; } h2 { font-size: 1.3rem; margin-top: 2.5rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
nav a { margin-right: 1rem; display: inline-block; }
figure { margin: 1rem 0; } figcaption { color: var(--faint); font-size: .9em; max-width: 60rem; }
svg { max-width: 100%; min-width: 44rem; height: auto; display: block; }
.scroll { overflow-x: auto; scrollbar-width: thin; background:
  linear-gradient(to right, var(--paper) 2rem, var(--none)) left / 4rem 100% no-repeat local,
  linear-gradient(to left, var(--paper) 2rem, var(--none)) right / 4rem 100% no-repeat local,
  linear-gradient(to right, var(--shade), #0000) left / .8rem 100% no-repeat,
  linear-gradient(to left, var(--shade), #0000) right / .8rem 100% no-repeat; }
.scroll:focus-visible, th button:focus-visible { outline: 2px solid var(--link); }
table { border-collapse: separate; border-spacing: 0; font-size: .8rem;
  font-variant-numeric: tabular-nums; }
th { text-align: right; border-bottom: 2px solid var(--head); font-weight: 600;
  vertical-align: bottom; }
td { text-align: right; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th, td { padding: 3px 12px 3px 0; line-height: 19px; }
td:last-child, th:last-child { padding-right: 3px; }
td:first-child, th:first-child { text-align: left; }
.wordy td, .wordy th { text-align: left; white-space: normal; }
th button { all: unset; cursor: pointer; } th button:hover { text-decoration: underline; }
th button::after { content: "\\2195"; color: var(--faint); margin-left: .2em; opacity: .6; }
th[aria-sort="ascending"] button::after { content: "\\2191"; color: inherit; opacity: 1; }
th[aria-sort="descending"] button::after { content: "\\2193"; color: inherit; opacity: 1; }
.note { color: var(--faint); font-size: .9em; }
@media (max-width: 40rem) {
  .wordy { min-width: 44rem; } th.long { min-width: 9rem; }
  td:first-child, th:first-child { position: sticky; left: 0; z-index: 1; background: var(--paper);
    white-space: normal; overflow-wrap: anywhere; min-width: 6.5rem; max-width: 9rem; } }
"""
"""Of a page. A table that is wider than its page scrolls, and its sides show that there is more.

Rows are whole pixels high: the column that stays in sight would cover parts of lines otherwise.
"""

DARK = {
    "#ffffff": "#15181c",
    "#000000": "#e4e7ea",
    "#222222": "#d0d4d8",
    "#555555": "#a8adb4",
    "#999999": "#7d838b",
    "#bbbbbb": "#565c64",
    "#cccccc": "#454b52",
    "#e8e8e8": "#343a41",
    "#eeeeee": "#2d3238",
    "#0072b2": "#2b8fd0",
    "#08306b": "#2f6db5",
    "#5b9bd1": "#6fb1e6",
    "#b2d4ed": "#d3e8f7",
}
"""What a figure's colours become where they would not be seen on a dark page."""

ON_LIGHT, ON_DARK = "#111111", "#fdfdfd"
"""Of text on a cell whose colour is a value: the same on every page."""


def figure_style() -> str:
    """Of a figure, by itself or on a page; where rules are not understood it stays light."""
    pairs = (
        # No `.figure` before it: inside of <use>, where marks and ticks are, it has no ancestors.
        f'[style*="{what}: {light}"] {{ {what}: {dark} !important }}'
        for light, dark in DARK.items()
        for what in ("fill", "stroke")
    )
    ink = f".figure text {{ fill: {DARK['#000000']} }}"
    dark = "\n".join([ink, *pairs])
    pointed = ".told rect { fill: none; pointer-events: all } .told rect:hover { fill: #8883 }"
    return f"<style>{pointed}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}</style>"
