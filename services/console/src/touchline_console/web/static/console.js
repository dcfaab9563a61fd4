/* The console's own script: charts from the options a page carries, times in the reader's zone, the live list, the
   theme. Pages work without it, charts apart, which have a table beside them. */
"use strict";
(() => {
  const root = document.documentElement;

  /* ---- Colours: a chart's options name tokens ("$accent", "$accent/0.15"); a canvas needs their present values. ---- */
  const probe = document.createElement("span");
  const colour = (token) => {
    const [name, alpha] = token.slice(1).split("/");
    probe.style.color = `var(--${name})`;
    const value = getComputedStyle(probe).color;
    if (!alpha) return value;
    const parts = value.match(/[\d.]+/g) || ["0", "0", "0"];
    return `rgba(${parts[0]},${parts[1]},${parts[2]},${alpha})`;
  };

  /* ---- Formats: functions that options name ("@percent"), since JSON holds none. ---- */
  const whole = new Intl.NumberFormat("en");
  const percent = (share) => (share == null ? "—" : `${share > 0 && share < 0.0995 ? (share * 100).toFixed(1) : Math.round(share * 100)} %`);
  const dayText = (value) => new Date(value).toLocaleDateString("en-GB", { day: "numeric", month: "short" });
  const formats = {
    number: (value) => (typeof value === "number" ? whole.format(value) : value),
    percent,
    days: (value) => `${whole.format(value)} d`,
    day: dayText,
    ownLabel: (point) => point.data.label_text || "",
    ownTip: (point) => (point.data && point.data.tip) || (point.value && point.value.tip) || point.name || "",
    axisTip: (points) => {
      const list = Array.isArray(points) ? points : [points];
      const head = list[0] && typeof list[0].axisValue === "number" && list[0].axisValue > 1e11 ? dayText(list[0].axisValue) : list[0] && list[0].axisValueLabel;
      return [head, ...list.map((p) => `${p.seriesName}: ${whole.format(Array.isArray(p.value) ? p.value[1] : p.value)}`)].join("\n");
    },
    shareTip: (points) => {
      const list = (Array.isArray(points) ? points : [points]).filter((p) => !p.seriesName.startsWith("_"));
      if (!list.length) return "";
      return [`day ${Math.round(list[0].axisValue)}`, ...list.map((p) => `${p.seriesName}: ${percent(p.value[1])}`)].join("\n");
    },
  };
  const resolve = (value) => {
    if (typeof value === "string") {
      if (value[0] === "$" && value.length > 1) return colour(value);
      if (value[0] === "@" && formats[value.slice(1)]) return formats[value.slice(1)];
      return value.startsWith("\\") ? value.slice(1) : value;
    }
    if (Array.isArray(value)) return value.map(resolve);
    if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, k === "data" && Array.isArray(v) && typeof v[0] === "number" ? v : resolve(v)]));
    return value;
  };

  /* ---- A diagram's stages get their places in pixels: in rows where there is room, else one below the other. Two unseen
     nodes in the corners keep ECharts from scaling. ---- */
  const place = (series, box) => {
    const width = box.clientWidth;
    const stages = series.data.filter((one) => one.order !== undefined);
    const across = Math.min(stages.length, 6);
    const upright = width / across < 128;
    const rows = upright ? stages.length : Math.ceil(stages.length / across);
    const high = upright ? stages.length * 64 + 24 : rows * 250 + 20;
    box.style.height = `${high}px`;
    const wide = upright ? Math.min(140, width * 0.4) : Math.min(132, width / across - 46);
    for (const one of stages) {
      one.x = upright ? width / 2 : ((one.order % across) + 0.5) * (width / across);
      one.y = (high * ((upright ? one.order : Math.floor(one.order / across)) + 0.5)) / rows;
    }
    series.symbolSize = [wide, 38];
    series.label.width = wide - 10;
    // A long arrow passes beside the stages between its ends, and does not leave the chart.
    const order = new Map(stages.map((one) => [one.name, one]));
    for (const link of series.links) {
      const [from, to] = [order.get(link.source), order.get(link.target)];
      const far = Math.hypot(from.x - to.x, from.y - to.y);
      const lapse = link.lineStyle.type === "dashed" ? 14 : 0;
      const steps = Math.abs(from.order - to.order);
      const bend = upright ? (steps > 1 ? wide / 2 + steps * 9 + lapse : 16 + lapse) : Math.min(86 + lapse, (far * link.lineStyle.curveness) / 2);
      if (far) link.lineStyle.curveness = (2 * bend) / far;
    }
    const unseen = { symbolSize: 0, label: { show: false }, tip: "", silent: true };
    series.data.push({ name: "first corner", x: 0, y: 0, ...unseen }, { name: "last corner", x: width, y: high, ...unseen });
  };

  const charts = new Map();
  const draw = (box) => {
    const data = document.getElementById(box.dataset.options);
    if (!data || !window.echarts) return;
    let chart = charts.get(box);
    if (!chart) {
      chart = echarts.init(box, null, { renderer: "canvas" });
      charts.set(box, chart);
      sizes.observe(box);
      chart.on("click", (point) => { const to = point.data && point.data.href; if (to) location.assign(to); });
    }
    const options = resolve(JSON.parse(data.textContent));
    for (const one of options.series || []) if (one.type === "graph") place(one, box);
    const fontFamily = getComputedStyle(document.body).fontFamily;
    // ECharts makes room for an axis' labels by the font that the axis itself names, not by that of the chart.
    for (const name of ["xAxis", "yAxis"]) for (const axis of [options[name] || []].flat()) axis.axisLabel = { fontFamily, ...axis.axisLabel };
    chart.setOption({ animation: false, textStyle: { fontFamily }, ...options }, true);
  };
  const sizes = new ResizeObserver((entries) => entries.forEach(({ target }) => {
    const chart = charts.get(target);
    if (!chart) return;
    chart.resize();
    if ((chart.getOption().series || []).some((one) => one.type === "graph")) draw(target);
  }));
  const seen = new IntersectionObserver((entries) => entries.forEach((entry) => { if (entry.isIntersecting) { seen.unobserve(entry.target); draw(entry.target); } }), { rootMargin: "300px" });
  const redraw = () => charts.forEach((_, box) => { if (box.isConnected) draw(box); else { charts.get(box).dispose(); charts.delete(box); } });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

  /* ---- Times: the server writes UTC; the reader sees their own zone. ---- */
  const kinds = {
    time: { hour: "2-digit", minute: "2-digit", second: "2-digit" },
    day: { day: "numeric", month: "short" },
    minute: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" },
  };
  const localise = (within) => within.querySelectorAll("time[data-kind]").forEach((node) => {
    const at = new Date(node.dateTime);
    const kind = kinds[node.dataset.kind];
    if (!kind || Number.isNaN(at.getTime())) return;
    const year = at.getFullYear() === new Date().getFullYear() || node.dataset.kind === "time" ? {} : { year: "numeric" };
    node.textContent = at.toLocaleString("en-GB", { ...kind, ...year });
    node.title = at.toString();
    node.removeAttribute("data-kind");
  });

  /* ---- What happens now: server-sent events with rendered rows; stops while the pointer or the focus is on it. ---- */
  const follow = (list) => {
    if (list.dataset.following) return;
    list.dataset.following = "1";
    const state = document.getElementById(list.dataset.state);
    const template = document.createElement("template");
    const waiting = [];
    let held = false;
    const say = (text) => { if (state) state.textContent = text; };
    const show = (html) => {
      template.innerHTML = html;
      const row = template.content.firstElementChild;
      if (!row) return;
      const empty = list.querySelector("[data-empty]");
      if (empty) empty.remove();
      list.prepend(row);
      localise(list);
      while (list.children.length > 30) list.lastElementChild.remove();
    };
    const hold = (on) => {
      held = on;
      if (!held) waiting.splice(0).forEach(show);
      say(held ? "paused" : "live");
    };
    for (const name of ["mouseenter", "focusin"]) list.addEventListener(name, () => hold(true));
    for (const name of ["mouseleave", "focusout"]) list.addEventListener(name, () => hold(false));
    const source = new EventSource(list.dataset.live);
    source.addEventListener("fact", (event) => {
      const html = JSON.parse(event.data);
      if (held) { waiting.push(html); waiting.splice(0, waiting.length - 30); say(`paused, ${waiting.length} new`); } else show(html);
    });
    source.addEventListener("away", (event) => { say(JSON.parse(event.data)); });
    source.addEventListener("open", () => say("live"));
    source.addEventListener("error", () => say("connection lost, trying again"));
    addEventListener("pagehide", () => source.close());
  };

  const dress = (within) => {
    localise(within);
    within.querySelectorAll(".chart[data-options]").forEach((box) => seen.observe(box));
    within.querySelectorAll("[data-live]").forEach(follow);
    within.querySelectorAll(".tabs [aria-current]").forEach((tab) => { tab.parentElement.scrollLeft = tab.offsetLeft - 16; });
  };

  /* ---- Theme ---- */
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-theme-switch]");
    if (!button) {
      document.querySelectorAll("details.info[open]").forEach((one) => { if (!one.contains(event.target)) one.open = false; });
      return;
    }
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    document.cookie = `touchline_theme=${root.dataset.theme}; path=/; max-age=31536000; samesite=lax`;
    redraw();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") document.querySelectorAll("details.info[open]").forEach((one) => { one.open = false; });
    if (event.key !== "/" || event.ctrlKey || event.metaKey || /^(input|select|textarea)$/i.test(event.target.tagName)) return;
    const search = document.querySelector("input[type=search]");
    if (search) { event.preventDefault(); search.focus(); }
  });
  /* A filter that changes applies at once. */
  document.addEventListener("change", (event) => {
    const form = event.target.closest("form[data-auto]");
    if (form && event.target.matches("select, input[type=date], input[type=checkbox]")) form.requestSubmit();
  });
  /* A form leaves out what was left empty, so that addresses stay readable. */
  document.addEventListener("submit", (event) => {
    if (event.target.method === "get") event.target.querySelectorAll("input, select").forEach((one) => { if (!one.value) one.disabled = true; });
    const question = event.target.dataset.confirm;
    if (question && !confirm(question)) event.preventDefault();
  });
  document.addEventListener("htmx:afterSettle", (event) => dress(event.target.parentElement || document));
  addEventListener("pageshow", () => document.querySelectorAll("form[method=get] :disabled").forEach((one) => { one.disabled = false; }));
  const start = () => { probe.hidden = true; document.body.append(probe); if (matchMedia("(max-width: 860px)").matches) document.querySelectorAll(".menu").forEach((menu) => { menu.open = false; }); dress(document); };
  if (document.readyState === "loading") addEventListener("DOMContentLoaded", start); else start();
})();
