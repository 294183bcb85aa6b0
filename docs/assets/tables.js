// A click on a head sorts a table by that column: numbers by value, words by letter, a second click backwards.
"use strict";

const number = (text) => parseFloat(text.replace(/[, ](?=\d{3})/g, "").replace("\u2212", "-"));

function compare(a, b) {
  const [x, y] = [number(a), number(b)];
  if (Number.isNaN(x) || Number.isNaN(y)) {
    return Number.isNaN(x) - Number.isNaN(y) || a.localeCompare(b);
  }
  return x - y;
}

function sort(table, column, head) {
  const backwards = head.getAttribute("aria-sort") === "ascending";
  for (const other of head.parentNode.children) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", backwards ? "descending" : "ascending");
  const rows = [...table.tBodies[0].rows];
  const text = (row) => row.cells[column].textContent.trim();
  rows.sort((a, b) => (backwards ? -1 : 1) * compare(text(a), text(b)));
  table.tBodies[0].append(...rows);
}

function makeSortable(table) {
  if (!table.tHead || !table.tBodies.length) return;
  table.tHead.hidden = !table.tHead.textContent.trim();
  if (table.tBodies[0].rows.length < 3) return;
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    if (!head.textContent.trim()) return;
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => sort(table, column, head));
  });
}

document.querySelectorAll("article table:not([class])").forEach(makeSortable);
