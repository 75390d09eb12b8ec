"use strict";
// The page of the whole sync, drawn of the figures that the last cycle left.

const LONGEST_LAG_S = 3600;
const COLOURS = ["var(--one)", "var(--two)", "var(--three)", "var(--four)"];
const cycles = figures.recent_cycles; // newest first
const last = cycles.find((cycle) => cycle.ended_at);
const success = figures.last_success_at; // however many have failed since
const to = { to_marketo: "to Marketo", to_dynamics: "to Dynamics" };

// What is not on both sides yet, in words; nothing where all is.
function owes() {
  const sum = (rows, name) => rows.reduce((n, row) => n + row[name], 0);
  const nRefused = sum(figures.refused, "n"), nWaiting = sum(figures.lag, "n_waiting"), nToApprove = figures.waiting_for_people.n_approvals;
  return [
    nRefused ? counted(nRefused, "refused write") : null,
    nWaiting ? `${counted(nWaiting, "record")} that ${nWaiting === 1 ? "is" : "are"} yet to be written` : null,
    nToApprove ? `${counted(nToApprove, "value")} that ${nToApprove === 1 ? "waits" : "wait"} to be approved` : null,
  ].filter(Boolean).join(" and ");
}

function verdict() {
  if (figures.paused) return ["held", "Paused", figures.paused];
  if (!last) return ["held", "Beginning", "No cycle has ended yet."];
  if (last.status === "stopped_by_guard") return ["bad", "Stopped by a guard", "Nothing was written. What to do is told below."];
  if (last.status === "failed") return ["bad", "The last cycle failed", "The next one tries again by itself."];
  const age = success ? (now - time(success)) / 1000 : Infinity;
  if (age > LONGEST_LAG_S) return ["bad", "Behind", success ? `No cycle has succeeded for ${span(age)}. Is the sync running?` : "No cycle has succeeded yet."];
  if (figures.mode === "shadow") return ["good", "Shadow", "Both systems are read, and neither is written to."];
  const owed = owes();
  return ["good", "In step", owed ? `All but ${owed}, which are told below.` : "Everything is written on both sides."];
}

function head() {
  const [kind, title, sentence] = verdict();
  page.append(
    element("h1", { class: kind }, title),
    element("p", {}, sentence),
    element("p", { class: "dim" }, `${figures.installation}. `,
      last ? `Cycle ${last.cycle_id} ended ${ago(last.ended_at)} (${moment(last.ended_at)}). ` : "",
      success ? `Last success ${ago(success)}.` : ""),
  );
  if (last && last.message) {
    const isGuard = last.status === "stopped_by_guard";
    section(isGuard ? "What the guard saw" : "What went wrong", element("p", {}, last.message),
      isGuard ? element("p", { class: "dim" }, "docs/operate.md, “When a guard stops a cycle”, tells what to look at and how to go on on purpose.") : null);
  }
}

// A chart with a name for those who do not see it, and its figures as a table.
function chart(holder, name, draw, asTable) {
  const figure = element("figure", {});
  const redraw = () => {
    const width = Math.max(figure.clientWidth, 280);
    const drawn = draw({ width, style: { background: "transparent", fontSize: "12px" }, ariaLabel: name });
    const svg = drawn.matches("svg") ? drawn : drawn.querySelector("svg:last-of-type");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", name);
    drawn.querySelectorAll("svg").forEach((each) => { if (each !== svg) each.setAttribute("aria-hidden", "true"); });
    figure.replaceChildren(drawn);
  };
  holder.append(figure, element("details", {}, element("summary", {}, "As a table"), asTable));
  redraw();
  let width = figure.clientWidth;
  new ResizeObserver(() => { if (figure.clientWidth !== width) { width = figure.clientWidth; redraw(); } }).observe(figure);
}

function inStep() {
  section("What each direction owes", table("As of the last cycle", [
    ["Object", (row) => row.object],
    ["Direction", (row) => to[row.direction]],
    ["Last read", (row) => ago(row.read_at)],
    ["To be written", (row) => number(row.n_waiting), "number"],
    ["Refused", (row) => number(row.n_refused), "number"],
    ["Oldest", (row) => ago(row.oldest_at)],
  ], figures.lag, "Nothing was read yet."));
}

function lastCycles() {
  const shown = cycles.filter((cycle) => cycle.ended_at).map((cycle) => ({
    ...cycle, at: time(cycle.started_at), seconds: (time(cycle.ended_at) - time(cycle.started_at)) / 1000,
    ended: { succeeded: "succeeded", failed: "failed", stopped_by_guard: "stopped by a guard" }[cycle.status],
  }));
  const holder = section("Last cycles");
  if (!shown.length) { holder.append(element("p", { class: "dim" }, "No cycle has ended yet.")); return; }
  chart(holder, `Seconds that each of the last ${shown.length} cycles took`, (options) => Plot.plot({
    ...options, height: 200, x: { type: "time", label: null }, y: { grid: true, label: "seconds", zero: true },
    color: { legend: true, domain: ["succeeded", "failed", "stopped by a guard"], range: ["var(--three)", "var(--bad)", "var(--two)"] },
    marks: [Plot.ruleX(shown, { x: "at", y: "seconds", stroke: "ended", strokeWidth: 3 }), Plot.dot(shown, { x: "at", y: "seconds", fill: "ended", r: 3 }), Plot.ruleY([0])],
  }), table("The last cycles, newest first", [
    ["Cycle", (row) => row.cycle_id, "number"],
    ["Ended", (row) => moment(row.ended_at)],
    ["Took", (row) => span(row.seconds), "number"],
    ["How", (row) => row.ended],
    ["Written to Marketo", (row) => number(row.n_people_created + row.n_people_updated + row.n_companies_written), "number"],
    ["Written to Dynamics", (row) => number(row.n_records_updated), "number"],
    ["Collisions", (row) => number(row.n_collisions), "number"],
    ["Refused", (row) => number(row.n_refused), "number"],
  ], shown.slice(0, 20), ""));
}

function backlog() {
  const rows = figures.backlog_by_hour.map((row) => ({ ...row, at: time(row.hour_at) }));
  const holder = section("Not settled, by hour");
  if (!rows.some((row) => row.n_most)) { holder.append(element("p", { class: "dim" }, "Nothing waited in the last five days.")); return; }
  chart(holder, "Records that were not settled, at most in each hour of the last five days, by object", (options) => Plot.plot({
    ...options, height: 200, marginLeft: 60, x: { type: "time", label: null, domain: [new Date(now - 5 * 86400000), now] }, y: { grid: true, label: "records", zero: true },
    color: { legend: true, domain: ["account", "contact", "lead"], range: COLOURS },
    marks: [Plot.lineY(rows, { x: "at", y: "n_most", z: "object", stroke: "object", marker: rows.length < 60 ? "dot" : null, curve: "step-after" }), Plot.ruleY([0])],
  }), table("Records not settled, newest first", [
    ["Hour", (row) => moment(row.hour_at)], ["Object", (row) => row.object],
    ["Least", (row) => number(row.n_least), "number"], ["Most", (row) => number(row.n_most), "number"],
  ], rows.slice().reverse().filter((row) => row.n_most), ""));
}

function collisions() {
  const rows = figures.collided;
  const holder = section("Collisions of the last seven days");
  if (!rows.length) { holder.append(element("p", { class: "dim" }, "Nobody edited the same field on both sides.")); return; }
  const most = [...new Set(rows.map((row) => row.field))].slice(0, 20);
  const shown = rows.filter((row) => most.includes(row.field)).map((row) => ({ ...row, winner: row.winner === "marketo" ? "Marketo" : "Dynamics" }));
  // As many characters of a field's name as leave room for the bars.
  const longest = (width) => Math.min(Math.max(...most.map((field) => field.length)), Math.floor(width * 0.4 / 7));
  chart(holder, "Collisions by field and winner", (options) => Plot.plot({
    ...options, height: 50 + 26 * most.length, marginLeft: 10 + 7 * longest(options.width),
    x: { grid: true, label: "collisions", tickFormat: (n) => (Number.isInteger(n) ? number(n) : "") }, y: { label: null, domain: most, tickFormat: (field) => (field.length > longest(options.width) ? `${field.slice(0, longest(options.width) - 1)}…` : field) },
    color: { legend: true, domain: ["Dynamics", "Marketo"], range: COLOURS },
    marks: [Plot.barX(shown, Plot.groupY({ x: "sum" }, { y: "field", x: "n", fill: "winner" })), Plot.ruleX([0])],
  }), table("Collisions by field and winner", [
    ["Object", (row) => row.record_type], ["Field", (row) => row.field], ["Winner", (row) => row.winner],
    ["Collisions", (row) => number(row.n), "number"],
  ], rows, ""));
}

function refusals() {
  section("Refused", table("What systems refuse, by cause", [
    ["Writes", (row) => number(row.n), "number"],
    ["What", (row) => `${row.operation} ${row.object} ${to[row.direction].replace("to", "in")}${row.field ? `, field ${row.field}` : ""}`],
    ["Code", (row) => row.code],
    ["What was said, and what to do", (row) => row.message, "wide"],
    ["Since", (row) => moment(row.since)],
  ], figures.refused, "Nothing is refused."),
  figures.refused.length ? element("p", { class: "dim" }, "Records, names and values: ", element("code", {}, "dynsync errors")) : null);
}

function budgets() {
  section("Calls", element("div", { class: "pair" }, figures.budgets.map((row) => {
    const name = row.system === "marketo" ? "Marketo" : "Dynamics";
    const isShort = row.day && row.day.n_forecast > row.n_allowed;
    return element("div", {},
      element("p", {}, `${name}: ${number(row.n_used)} of ${number(row.n_allowed)} in 24 hours`),
      element("meter", { min: 0, max: row.n_allowed, value: row.n_used, low: row.n_allowed * 0.8, high: row.n_allowed * 0.95, optimum: 0, "aria-label": `Calls to ${name}, of those allowed in 24 hours` }),
      row.day ? element("p", { class: isShort ? "bad" : "dim" }, `Its day ends ${moment(row.day.ends_at)}, with about ${number(row.day.n_forecast)} calls${isShort ? ": more than it may have." : "."}`) : null);
  })));
}

function people() {
  const { n_reviews, n_approvals, n_merges } = figures.waiting_for_people;
  if (!n_reviews && !n_approvals && !n_merges) return;
  section("Waiting for somebody's word",
    n_reviews ? element("p", {}, `${counted(n_reviews, "collision")}: `, element("code", {}, "dynsync review")) : null,
    n_approvals ? element("p", {}, `${counted(n_approvals, "value")} to be approved: `, element("code", {}, "dynsync approve")) : null,
    n_merges ? element("p", {}, `${counted(n_merges, "merge")}: `, element("code", {}, "dynsync merge")) : null);
}

function schema() {
  section("Changes of fields in the last 30 days", table("What changed about synced fields, newest first", [
    ["Seen", (row) => moment(row.seen_at)], ["System", (row) => (row.system === "marketo" ? "Marketo" : "Dynamics")],
    ["Field", (row) => `${row.record_type || "person"}.${row.column_name}`],
    ["Before", (row) => row.old_value], ["Now", (row) => row.new_value], ["What it means", (row) => row.meaning, "wide"],
  ], figures.schema, "No field changed."),
  figures.parked.length ? table("Fields that are not synced now", [
    ["Field", (row) => `${row.record_type}.${row.field}`], ["Why", (row) => row.reason, "wide"],
  ], figures.parked, "") : null);
}

function fanOuts() {
  section("Accounts that reached their people in the last seven days", table("Changes of accounts, newest first", [
    ["When", (row) => moment(row.changed_at)], ["Account", (row) => row.name || row.account_id], ["Fields", (row) => row.fields],
    ["People", (row) => number(row.n_contacts), "number"], ["Logged", (row) => (row.activities_suppressed ? "no: more than 5,000 people (R54)" : "for each person (R53)")],
  ], figures.fanned_out, "No account changed."));
}

head();
[people, inStep, lastCycles, backlog, collisions, refusals, budgets, fanOuts, schema].forEach((draw) => draw());
page.append(element("p", { class: "dim" }, `As the cycle left it at ${moment(figures.told_at)}, by DynSync ${figures.version}. Times are those of this browser. Rules such as R54: docs/sync-rules.md.`));
setTimeout(() => location.reload(), 300000);
