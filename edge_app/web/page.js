// Asks the box once a second how it is, and shows that; text only ever goes in as text.
"use strict";

const el = (id) => document.getElementById(id);
const age = (s) => s === null ? "never" : s < 120 ? `${Math.round(s)} s ago` : `${Math.round(s / 60)} min ago`;

function table(id, rows) {
  el(id).replaceChildren(...rows.map(([left, right, state]) => {
    const row = document.createElement("tr");
    for (const text of [left, right]) row.appendChild(document.createElement("td")).textContent = text;
    if (state) row.lastChild.className = state;
    return row;
  }));
}

function cameras(list) {
  const there = new Map([...el("cameras").children].map((one) => [one.dataset.name, one]));
  el("cameras").replaceChildren(...list.map((camera) => {
    let figure = there.get(camera.name);
    if (!figure) {
      figure = document.createElement("figure");
      figure.dataset.name = camera.name;
      figure.append(document.createElement("img"), document.createElement("figcaption"));
      figure.firstChild.alt = `last picture of ${camera.name}`;
    }
    if (camera.picture_age_s !== null) figure.firstChild.src = `camera/${encodeURIComponent(camera.name)}.jpg?${Date.now()}`;
    const trouble = camera.reason ? `: ${camera.reason.replaceAll("_", " ")}` : "";
    figure.lastChild.textContent = `${camera.name} (${camera.zone}), ${camera.sees ? "sees" : "BLIND"}${trouble}; ${camera.picture_age_s === null ? "no picture yet" : `picture ${age(camera.picture_age_s)}`}`;
    figure.className = camera.sees ? "" : "blind";
    figure.lastChild.className = camera.sees ? (camera.reason ? "bad" : "good") : "bad";
    return figure;
  }));
}

function show(now) {
  const { site, node, ...rest } = now.about;
  el("box").textContent = document.title = `${site} / ${node}`;
  el("about").textContent = Object.entries(rest).map(([key, value]) => `${key.replaceAll("_", " ")} ${value}`).join(" · ");
  cameras(now.cameras);
  const count = now.headcount;
  el("count").textContent = count ? count.best : "–";
  el("bounds").textContent = count && count.low !== count.high ? `between ${count.low} and ${count.high}` : "";
  table("people", [...now.people, ...now.unknown].map((one) =>
    [`${one.person_ref ?? "unknown person"}, ${one.zone}${one.perhaps_left ? ", perhaps left" : ""}`, age(one.seen_s_ago), one.person_ref ? "" : "dim"]));
  table("stages", now.stages.map((one) =>
    [one.name, `${one.alive ? "alive" : "SILENT"}, ${one.silent_s} of ${one.limit_s} s`, one.alive ? "good" : "bad"]));
  const out = now.outbox;
  const waiting = Object.entries(out.waiting).map(([name, n]) => [`${name} waiting`, n.toLocaleString("en")]);
  table("outbox", [
    ["broker", out.broker ?? "no connection", out.broker ? "good" : "bad"], ...waiting,
    ["oldest", out.oldest_s === null ? "none" : age(out.oldest_s)],
    ["in memory only", out.uncommitted, out.uncommitted > 100 ? "bad" : ""],
    ["set aside", out.parked, out.parked ? "bad" : ""], ["lost", out.lost, out.lost ? "bad" : ""],
    ...(out.last_error ? [["last trouble", out.last_error, "bad"]] : []),
  ]);
}

async function look() {
  try {
    const answer = await fetch("status.json", { signal: AbortSignal.timeout(5000) });
    show(await answer.json());
    el("stale").textContent = "";
  } catch {
    el("stale").textContent = "the box does not answer: what stands here is old";
  }
  setTimeout(look, 1000);
}
look();
