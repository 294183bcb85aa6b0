"""The one script of a report: heads of tables become buttons that sort. Pages are whole without."""

from __future__ import annotations

import base64
import hashlib

SCRIPT = r"""
"use strict";
const NONE = new Set(["", "-", "\u2013", "\u2014"]);
const FIGURE = "[+\\-\u2212]?\\d[\\d,]*(?:\\.\\d+)?(?:e[+-]?\\d+)?";
const NUMBER = new RegExp(`^(?:[<>]=?|[\u2264\u2265])?\\s*(${FIGURE})(?=$|[\\s%,;[(/])`, "i");
const collator = new Intl.Collator("en", { numeric: true });
function key(cell) {
  const parts = cell.textContent.trim().split(" / ").filter((part) => !NONE.has(part));
  const text = parts.length ? cell.textContent.trim() : "";
  const found = NUMBER.exec(text);
  if (found) return [0, Number(found[1].replaceAll(",", "").replace("\u2212", "-"))];
  return [text ? 1 : 2, text];
}
function compare(a, b, way) {
  if (a[0] !== b[0]) return a[0] - b[0];
  return a[0] === 0 ? way * (a[1] - b[1]) : a[0] === 1 ? way * collator.compare(a[1], b[1]) : 0;
}
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0], rows = [...body.rows], heads = [...table.tHead.rows[0].cells];
  if (rows.length < 2) continue;
  heads.forEach((head, i) => {
    if (!head.textContent.trim()) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const keys = new Map(rows.map((row) => [row, key(row.cells[i])]));
      const kinds = [...keys.values()].map((found) => found[0]);
      const first = kinds.includes(0) ? "descending" : "ascending";
      const second = first === "descending" ? "ascending" : "descending";
      const next = new Map([[null, first], [first, second]]);
      const now = next.get(head.getAttribute("aria-sort"));
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      if (now) head.setAttribute("aria-sort", now);
      const way = now === "ascending" ? 1 : -1;
      const order = (a, b) => compare(keys.get(a), keys.get(b), way);
      body.append(...(now ? [...rows].sort(order) : rows));
    });
  });
}
"""
"""A click sorts, numbers from the largest; another turns that round; a third is as it was.

A cell is the number that it begins with, or a text. In either direction texts follow numbers, and
what is empty follows both.
"""


def policy() -> str:
    """A page's content security policy: this script alone runs, and nothing is loaded."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
