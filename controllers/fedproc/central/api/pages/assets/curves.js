// Curves of declared measures, one chart for each, one line for each host, as points come; and the same as a table.
"use strict";
(() => {
  const place = document.getElementById("curves");
  if (!place) return;
  const declared = JSON.parse(place.dataset.metrics);
  const colours = ["#1f7fb0", "#c0384b", "#2a8a4f", "#a8760a", "#7a4fb5", "#35a0a8", "#8a5a3b", "#666e76"];
  const charts = new Map();
  let first = null;

  const abscissa = (task) => (declared[task] || []).some((metric) => metric.name === "round") ? "round" : "seconds";

  const chartOf = (name, unit, x) => {
    if (charts.has(name)) return charts.get(name);
    if (charts.size === 0) { place.textContent = ""; place.className = "curves"; }
    const figure = document.createElement("figure");
    const caption = document.createElement("figcaption");
    const table = document.createElement("details");
    const box = document.createElement("div");
    caption.textContent = `${unit ? `${name} (${unit})` : name} by ${x === "round" ? x : "seconds since the first"}`;
    box.setAttribute("aria-hidden", "true");
    table.innerHTML = "<summary></summary><table><thead><tr></tr></thead><tbody></tbody></table>";
    table.querySelector("summary").textContent = `Numbers of ${name}`;
    const note = document.createElement("p");
    note.className = "quiet";
    figure.append(caption, box, note, table);
    place.append(figure);
    const chart = { name, unit, x, figure, box, note, table, lines: new Map(), plot: null, stale: true };
    charts.set(name, chart);
    return chart;
  };

  const add = ([job, task, host, time, values]) => {
    if (first === null) first = time;
    const x = abscissa(task);
    const at = x === "round" ? values.round : time - first;
    if (at === undefined) return;
    for (const metric of declared[task] || []) {
      const value = values[metric.name];
      if (metric.name === "round" || typeof value !== "number") continue;
      const chart = chartOf(metric.name, metric.unit, x);
      const line = Object.keys(declared).length > 1 ? `${host} ${task}` : host;
      if (!chart.lines.has(line)) { chart.lines.set(line, new Map()); if (chart.plot) chart.plot.destroy(); chart.plot = null; }
      chart.lines.get(line).set(at, value);
      chart.stale = true;
    }
  };

  const columns = (chart) => {
    const xs = [...new Set([...chart.lines.values()].flatMap((line) => [...line.keys()]))].sort((a, b) => a - b);
    return [xs, ...[...chart.lines.values()].map((line) => xs.map((x) => line.get(x) ?? null))];
  };

  const draw = (chart) => {
    const data = columns(chart);
    const ink = getComputedStyle(document.body).color;
    if (chart.plot) chart.plot.setData(data);
    else {
      const series = [...chart.lines.keys()].map((label, i) => ({
        label, stroke: colours[i % colours.length], width: 2, points: { show: data[0].length < 40 }, spanGaps: true,
      }));
      const axis = { stroke: ink, grid: { stroke: "#88888840" }, ticks: { stroke: "#88888840" } };
      chart.plot = new uPlot({
        width: chart.box.clientWidth || 300, height: 220, scales: { x: { time: false } },
        // without a pointer over it the legend tells the last point
        hooks: { setCursor: [(plot) => { if (plot.cursor.idx == null) plot.setLegend({ idx: plot.data[0].length - 1 }); }] },
        series: [{ label: chart.x }, ...series], axes: [{ ...axis, ...(chart.x === "round" ? { incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] } : {}) }, { ...axis, size: 60 }],
      }, data, chart.box);
    }
    chart.plot.setLegend({ idx: data[0].length - 1 });
    fill(chart, data);
    chart.note.textContent = chart.x === "round" ? thinned(data[0]) : "";
    chart.stale = false;
  };

  // as in curves.py
  const thinned = (rounds) => {
    const all = Math.floor(rounds.at(-1) - rounds[0]) + 1;
    if (rounds.length >= all) return "";
    const nth = Math.round(all / rounds.length);
    const share = nth > 1 ? `, about one in ${nth}` : "";
    return `${rounds.length} of ${all} rounds are shown${share}: a tool may measure fewer, and a site lets only so many leave in a minute. The last is among them.`;
  };

  const fill = (chart, [xs, ...lines]) => {
    const cells = (row, tag, texts) => row.replaceChildren(...texts.map((text) => {
      const cell = document.createElement(tag);
      if (tag === "th") cell.scope = "col";
      cell.textContent = text;
      return cell;
    }));
    cells(chart.table.querySelector("thead tr"), "th", [chart.x, ...chart.lines.keys()]);
    chart.table.querySelector("tbody").replaceChildren(...xs.slice(-50).map((x, i) => {
      const row = document.createElement("tr");
      const at = Math.max(0, xs.length - 50) + i;
      cells(row, "td", [String(Math.round(x * 100) / 100), ...lines.map((line) => String(line[at] ?? "–"))]);
      return row;
    }));
  };

  const drawAll = () => { for (const chart of charts.values()) if (chart.stale) draw(chart); };
  document.addEventListener("metrics", (event) => {
    JSON.parse(event.detail.data).forEach(add);
    requestAnimationFrame(drawAll);
  });
  new ResizeObserver(() => {
    for (const chart of charts.values()) if (chart.plot) chart.plot.setSize({ width: chart.box.clientWidth, height: 220 });
  }).observe(place);
})();
