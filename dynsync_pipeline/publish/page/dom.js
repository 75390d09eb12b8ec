"use strict";
// Elements, tables and times, for both pages. Text is set as text, so that no value of a record can become markup.

const figures = JSON.parse(document.getElementById("figures").textContent);
const page = document.getElementById("page");
const now = new Date();

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) if (value !== null && value !== undefined) made.setAttribute(key, value);
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined).map((child) => (child instanceof Node ? child : String(child))));
  return made;
}

function section(title, ...children) {
  const id = title.toLowerCase().replace(/[^a-z]+/g, "-");
  const made = element("section", { "aria-labelledby": id }, element("h2", { id }, title), ...children);
  page.append(made);
  return made;
}

// Columns are [heading, row => value, kind]; kind is "number" or "wide" or nothing.
function table(caption, columns, rows, none) {
  if (!rows.length) return element("p", { class: "dim" }, none);
  // Roles are told, because a narrow screen shows rows as blocks, which would end being a table.
  const head = element("tr", { role: "row" }, columns.map(([name, , kind]) => element("th", { scope: "col", role: "columnheader", class: kind }, name)));
  const body = rows.map((row) => element("tr", { role: "row" }, columns.map(([name, value, kind]) => {
    const shown = value(row);
    const isEmpty = shown === "" || shown === null || shown === undefined;
    return element("td", { role: "cell", class: [kind, isEmpty ? "empty" : null].filter(Boolean).join(" ") || null, "data-label": name }, isEmpty ? "" : shown);
  })));
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    element("table", { role: "table" }, element("caption", {}, caption), element("thead", { role: "rowgroup" }, head), element("tbody", { role: "rowgroup" }, body)));
}

function time(text) { return text ? new Date(text.endsWith("Z") ? text : text + "Z") : null; }

function moment(text) {
  const at = time(text);
  return at ? at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }) : "";
}

function span(seconds) {
  const s = Math.max(seconds, 0);
  if (s < 120) return `${Math.round(s)} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  return s < 172800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} days`;
}

function ago(text) { return text ? `${span((now - time(text)) / 1000)} ago` : ""; }

function number(n) { return n === null || n === undefined ? "" : Number(n).toLocaleString("en"); }

function counted(n, noun) { return `${number(n)} ${noun}${n === 1 ? "" : "s"}`; }
