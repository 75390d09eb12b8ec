"use strict";
// The page of one person: what stands on both sides, and what happened, as `dynsync explain` found it.

const fieldColumns = [
  ["Field", (row) => row.field],
  ["Dynamics", (row) => shown(row.dynamics), "text"],
  ["Marketo", (row) => side(row, "marketo"), "text"],
  ["State", (row) => state(row), "text"],
];

function shown(value) { return value === null || value === undefined ? "–" : value; }

function side(row, name) {
  const isSame = row[name] !== null && row[name] !== undefined && row[name] === row.dynamics;
  return isSame ? element("span", { class: "dim" }, "the same") : shown(row[name]);
}

function state(row) {
  const told = [row.state, row.reason, row.next_look].filter(Boolean).join("; ");
  return row.state === "agree" || row.state === "not linked" ? told : element("strong", { class: "held" }, told);
}

function values(row) {
  if (row.what === "error") return "";
  const [old, fresh] = [shown(row.old_value), shown(row.new_value)];
  return row.what === "collision" ? `Dynamics: ${old}\nMarketo: ${fresh}\nwinner: ${row.winner}` : `${old} → ${fresh}`;
}

page.append(element("h1", {}, figures.name || "No name"), ...figures.lines.map((line) => element("p", {}, line)));
const links = [["Open in Dynamics", figures.dynamics_link], ["Open in Marketo", figures.marketo_link]].filter(([, link]) => link);
if (links.length) page.append(element("p", {}, links.map(([name, link]) => [element("a", { href: link, rel: "noreferrer" }, name), " "])));

section("Fields", table("Both sides and what they last agreed on; a dash is an empty value", [
  ...fieldColumns.slice(0, 1), ["Base", (row) => side(row, "base"), "text"], ...fieldColumns.slice(1), ["Last write", (row) => row.last_rule],
], figures.fields, "Nothing stands in any field."));
if (figures.account_fields.length) section("Fields of the account", table("Its company in Marketo beside it (R51, R52)", fieldColumns, figures.account_fields, ""));
section("What happened", table("Newest first", [
  ["When", (row) => moment(row.happened_at)], ["Cycle", (row) => row.cycle_id, "number"],
  ["What", (row) => `${row.what === "change" ? "" : `${row.what} `}${row.field || ""} ${row.direction ? row.direction.replace("_", " ") : ""}`.trim()],
  ["Values", values, "text"], ["Why", (row) => row.reason, "text"],
], figures.history, "Nothing is known of this person's past."));
page.append(element("p", { class: "dim" }, `As the snapshot told it at ${moment(figures.told_at)}. Times in tables are those of this browser. Rules such as R35: docs/sync-rules.md.`));
