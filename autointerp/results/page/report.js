"use strict";
(async () => {
  const packed = Uint8Array.from(atob(document.getElementById("data").textContent.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const { interval_name, ranking, scorers, units } = JSON.parse(await new Response(stream).text());
  const byId = (id) => document.getElementById(id);

  // Every text is set through textContent: what a corpus or a model wrote cannot become markup.
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "text") element.textContent = value;
      else element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== null));
    return element;
  };
  const fixed = (value, digits = 3) => (value === null || value === undefined ? "–" : value.toFixed(digits));
  const shown = (token) =>
    token.replace(/\n/g, "⏎").replace(/\t/g, "⇥").replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2066-\u2069]/g,
      (c) => "\\u{" + c.codePointAt(0).toString(16) + "}");
  const words = (name) => name.replace(/^control_/, "").replace(/_/g, " ");

  const strataNames = (stratum) => {
    const slice = stratum.match(/^slice_(\d+)$/);
    if (slice) return `interval ${Number(slice[1]) + 1} of 13`;
    return { top: "top contexts", random: "random contexts", out_of_context: "top tokens in other contexts" }[stratum] || words(stratum);
  };
  const order = (stratum) => {
    const slice = stratum.match(/^slice_(\d+)$/);
    return stratum === "top" ? 0 : slice ? 20 - Number(slice[1]) : stratum === "out_of_context" ? 30 : 40;
  };

  function tokens(record, values, scale, colour, what) {
    const row = make("div", { class: "row", "data-what": what });
    record.tokens.forEach((token, place) => {
      const value = values[place];
      const strength = scale > 0 ? Math.min(1, Math.max(0, value / scale)) : 0;
      const span = make("span", { class: "token" + (place === record.focus ? " focus" : ""), text: shown(token), title: `${what} ${value}` });
      if (strength > 0.01) span.style.background = `rgba(var(--${colour}), ${(0.08 + 0.62 * strength).toFixed(3)})`;
      row.append(span);
    });
    return row;
  }

  function histogram(statistics) {
    const counts = statistics.histogram, width = 200, height = 90, base = 74;
    const used = Math.max(1, Math.ceil((counts.length * statistics.maximum) / (statistics.histogram_scale || 1)));
    const kept = counts.slice(0, used), most = Math.max(...kept.map((count) => Math.log10(count + 1)), 1);
    const ns = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(ns, "svg");
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("width", width);
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", "histogram of activations above zero, logarithmic counts");
    kept.forEach((count, bin) => {
      const bar = document.createElementNS(ns, "rect");
      const tall = (base * Math.log10(count + 1)) / most;
      for (const [name, value] of Object.entries({ x: (bin * width) / kept.length, y: base - tall, width: Math.max(0.5, width / kept.length - 0.6), height: tall, fill: "#0072b2" }))
        bar.setAttribute(name, value);
      svg.append(bar);
    });
    [["0", 0, "start"], [`activation, up to ${statistics.maximum.toPrecision(3)}`, width, "end"]].forEach(([text, x, anchor]) => {
      const label = document.createElementNS(ns, "text");
      for (const [name, value] of Object.entries({ x, y: height - 3, "font-size": 10, "text-anchor": anchor, fill: "#6a6f76" })) label.setAttribute(name, value);
      label.textContent = text;
      svg.append(label);
    });
    return svg;
  }

  const logits = (title, pairs) =>
    make("div", {}, make("h3", { text: title }), pairs.length
      ? make("table", {}, make("tbody", {}, ...pairs.map(([token, value]) =>
          make("tr", {}, make("td", { text: shown(token) }), make("td", { class: "n", text: fixed(value, 2) })))))
      : make("p", { class: "none", text: "no direct path to the logits" }));

  const interval = (one, digits) => (one.ci_low === null || one.ci_low === undefined ? "–" : `${fixed(one.ci_low, digits)} to ${fixed(one.ci_high, digits)}`);

  function scoreTable(scores) {
    const head = ["scorer", "metric", "role", "value", interval_name];
    const rows = scores.map((one) =>
      make("tr", {}, make("td", { text: one.scorer }), make("td", { text: one.metric }), make("td", { text: words(one.role) }),
        one.status === "scored"
          ? make("td", { class: "n", text: fixed(one.value) })
          : make("td", { class: "none", text: "unscored: " + words(one.reason), title: one.detail || "" }),
        make("td", { class: "n", text: interval(one) })));
    return make("table", {}, make("thead", {}, make("tr", {}, ...head.map((text) => make("th", { text })))), make("tbody", {}, ...rows));
  }

  // By the metric the protocol ranks by: the unit's own score, its controls, then the baselines; all the rest on request.
  function scores(unit) {
    const weight = (one) => (one.scorer !== scorers[unit.preset] ? 2 : one.role === unit.role ? 0 : 1);
    const main = unit.scores.filter((one) => one.primary).sort((a, b) => weight(a) - weight(b));
    const rest = unit.scores.filter((one) => !one.primary);
    return [scoreTable(main), make("details", {}, make("summary", { text: `${rest.length} scores by other metrics` }), scoreTable(rest))];
  }

  function contexts(unit, split) {
    const box = make("div");
    const records = unit.records.filter((record) => record.split === split).sort((a, b) => order(a.stratum) - order(b.stratum));
    const most = Math.max(...unit.records.flatMap((record) => record.truth));
    const highest = unit.scale === "raw" ? most : unit.scale === "0-10" ? 10 : 9;
    let current = null;
    for (const record of records) {
      if (record.stratum !== current) box.append(make("h3", { text: strataNames(record.stratum) }));
      current = record.stratum;
      const context = make("div", { class: "context" }, tokens(record, record.truth, most, "true", "true"));
      if (record.expected) context.append(tokens(record, record.expected, highest, "simulated", "simulated"));
      else if (split === "score") context.append(make("div", { class: "none", text: "not simulated" }));
      context.append(make("div", { class: "where", text: `${record.domain} · document ${record.document}` }));
      box.append(context);
    }
    return box;
  }

  function show(unit) {
    const article = byId("unit");
    const statistics = unit.statistics;
    if (!unit.records) {
      article.replaceChildren(make("h2", { text: `${unit.kind} ${unit.index}` }), make("p", { class: "key", text: unit.unit }),
        make("p", { class: "said", text: unit.explanation.text || "" }), scoreTable(unit.scores),
        make("p", { class: "none", text: "This unit's contexts and further scores are not in this page: units.jsonl.gz and scores.parquet hold them." }));
      return;
    }
    const told = unit.explanation.text
      ? make("p", { class: "said", text: unit.explanation.text })
      : make("p", { class: "said none", text: "no explanation: " + words(unit.explanation.reason) + (unit.explanation.detail ? ", " + unit.explanation.detail : "") });
    article.replaceChildren(
      make("h2", { text: `${unit.kind} ${unit.index}` }),
      make("p", { class: "key", text: unit.unit }),
      ...(unit.single_token ? [make("p", { class: "flag", text: "single-token unit: its maximum is on the same token in all 20 top contexts" })] : []),
      told,
      ...(unit.other && unit.other.text ? [make("p", { class: "key", text: "control: the explanation of another unit, “" + unit.other.text + "”" })] : []),
      ...scores(unit),
      make("div", { class: "columns" },
        make("div", {}, make("h3", { text: "Activations above zero (log counts)" }), histogram(statistics),
          make("p", { class: "key", text: `fires on ${statistics.fired.toLocaleString("en")} of ${statistics.n_tokens.toLocaleString("en")} tokens (density ${statistics.density.toExponential(2)})` })),
        logits("Made more likely next", statistics.top_logits), logits("Made less likely next", statistics.bottom_logits)),
      make("h2", { text: "Scored contexts (never shown to the explainer)" }),
      make("p", { class: "key" }, "true ", swatch("true"), "  simulated ", swatch("simulated"), "  darker is stronger; the outlined token is the one the context was chosen for"),
      contexts(unit, "score"),
      make("h2", { text: "Contexts shown to the explainer" }),
      contexts(unit, "explain"));
  }
  const swatch = (name) => {
    const box = make("i");
    box.style.background = `linear-gradient(90deg, rgba(var(--${name}), 0.05), rgba(var(--${name}), 0.7))`;
    return box;
  };

  // Of a run with more units than a page can hold, most places come without their unit's contexts.
  const known = new Set(units.map((unit) => unit.preset + " " + unit.unit));
  for (const [preset, scorer] of Object.entries(scorers))
    for (const one of ranking)
      if (one.scorer === scorer && known.size && !known.has(preset + " " + one.unit))
        units.push({
          unit: one.unit, kind: one.kind, index: Number(one.unit.split("/").pop()), preset, role: "explanation", explanation: { text: one.explanation },
          scores: [{ scorer, metric: "", primary: true, role: "explanation", status: "scored", value: one.score, ci_low: one.ci_low, ci_high: one.ci_high }],
        });
  const places = new Map(ranking.map((one) => [one.scorer + " " + one.unit, one]));
  for (const unit of units) unit.place = places.get(scorers[unit.preset] + " " + unit.unit) || null;
  const label = (unit) => (unit.role === "control_shuffled_weights" ? "shuffled " : "") + unit.kind + " " + unit.index;
  const fill = (id, values) => byId(id).append(...values.map(([value, text]) => make("option", { value, text })));
  fill("preset", [...new Set(units.map((unit) => unit.preset))].map((name) => [name, name]));
  fill("kind", [["", "features and neurons"], ["feature", "features"], ["neuron", "neurons"], ["shuffled", "units of the shuffled subject"]]);

  function wanted(unit) {
    const kind = byId("kind").value, find = byId("find").value.toLowerCase();
    const control = unit.role === "control_shuffled_weights";
    if (unit.preset !== byId("preset").value || control !== (kind === "shuffled")) return false;
    if (kind && kind !== "shuffled" && unit.kind !== kind) return false;
    return !find || (unit.explanation.text || "").toLowerCase().includes(find);
  }

  function list() {
    const own = (unit) => unit.scores.find((one) => one.primary && one.scorer === scorers[unit.preset] && one.role === unit.role) || {};
    const bound = (unit) => (own(unit).ci_low === null || own(unit).ci_low === undefined ? -Infinity : own(unit).ci_low);
    const chosen = units.filter(wanted).sort((a, b) => bound(b) - bound(a) || (own(b).value ?? -9) - (own(a).value ?? -9));
    byId("count").textContent = `${chosen.length} units`;
    byId("rows").replaceChildren(...chosen.map((unit) => {
      const score = own(unit), button = make("button", { type: "button", text: label(unit) });
      const row = make("tr", { class: unit.kind },
        make("td", { class: "n", text: unit.place ? unit.place.rank : "–" }), make("td", {}, button),
        make("td", { class: "n", text: score.status === "scored" ? fixed(score.value, 2) : "–", title: score.reason || "" },
          make("div", { class: "key", text: interval(score, 2) })),
        make("td", { class: "n", text: unit.place && unit.place.control_gap !== null ? fixed(unit.place.control_gap, 2) : "–" }),
        make("td", { text: unit.explanation.text || "(" + words(unit.explanation.reason) + ")" }));
      row.addEventListener("click", () => {
        byId("rows").querySelectorAll(".chosen").forEach((other) => other.classList.remove("chosen"));
        row.classList.add("chosen");
        show(unit);
      });
      return row;
    }));
    const first = byId("rows").querySelector("tr");
    if (first) first.click();
    else byId("unit").replaceChildren();
  }
  byId("filters").addEventListener("input", list);
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  list();
})();
