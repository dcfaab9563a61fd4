/* The editor of a definition: line numbers, errors at their lines, and thresholds as fields. Without it the text can
   still be edited and published. */
"use strict";
(() => {
  const box = document.querySelector("[data-editor]");
  if (!box) return;
  const text = box.querySelector("textarea");
  const gutter = box.querySelector(".lines");
  const fields = document.querySelector("[data-thresholds]");
  const checks = document.getElementById("checks");
  let wrong = new Set();

  /* ---- Line numbers ---- */
  const number = () => {
    const lines = text.value.split("\n").length;
    gutter.replaceChildren(...Array.from({ length: lines }, (_, index) => {
      const line = document.createElement("span");
      line.textContent = `${index + 1}\n`;
      if (wrong.has(index + 1)) line.className = "wrong";
      return line;
    }));
    gutter.scrollTop = text.scrollTop;
  };
  const readErrors = () => {
    wrong = new Set([...checks.querySelectorAll("[data-line]")].map((one) => Number(one.dataset.line)));
    text.setAttribute("aria-invalid", wrong.size ? "true" : "false");
    number();
  };
  const goTo = (line) => {
    const lines = text.value.split("\n");
    const start = lines.slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0);
    text.focus();
    text.setSelectionRange(start, start + (lines[line - 1] || "").length);
    text.scrollTop = Math.max(0, (line - 5) * text.scrollHeight / lines.length);
  };

  /* ---- Thresholds and durations as fields: each changes its value in the text ---- */
  const VALUE = new RegExp(`\\b(${fields.dataset.thresholds})(\\s*:\\s*)(["']?)(-?[0-9][0-9A-Za-z.%]*)\\3`, "g");
  const WORDS = {
    within: "within the last", "stall after": "stalls after", "lapse after": "lapses after",
    delay: "waits for", max_age: "not later than", cool_down: "once in", hold_out: "held out to compare",
  };
  const found = () => {
    const values = [];
    // A lifecycle's values are named by their stage, a play's by the limit or condition that their line begins with.
    let place = /^\s*stages\s*:/m.test(text.value) ? "any stage" : "";
    const staged = place !== "";
    text.value.split("\n").forEach((line, index) => {
      const name = line.match(staged ? /^\s*-\s*name\s*:\s*([\w.-]+)/ : /^\s*(?:-\s*)?(\w+)\s*:/);
      if (name) place = name[1];
      const body = line.split(/\s#/)[0];
      for (const match of body.matchAll(VALUE)) {
        const kind = /\blapse\b/.test(body) && match[1] === "after" ? "lapse after" : /\bstall\b/.test(body) && match[1] === "after" ? "stall after" : match[1];
        const words = kind === "count" ? (staged ? "how often, at least" : /^per_/.test(place) ? "at most" : "how often") : WORDS[kind] || kind;
        const titled = place.charAt(0).toUpperCase() + place.slice(1).replace(/[-_]/g, " ");
        values.push({ line: index, at: match.index + match[1].length + match[2].length + match[3].length, value: match[4], label: place && place !== kind ? `${titled}: ${words}` : words });
      }
    });
    return values;
  };
  const offer = () => {
    if (fields.contains(document.activeElement)) return;
    const values = found();
    fields.hidden = !values.length || text.readOnly;
    fields.replaceChildren(...values.map((one, index) => {
      const label = document.createElement("label");
      label.className = "field";
      const title = document.createElement("span");
      title.textContent = `${one.label} (line ${one.line + 1})`;
      const input = document.createElement("input");
      input.className = "input threshold";
      input.value = one.value;
      input.dataset.index = String(index);
      label.append(title, input);
      return label;
    }));
  };
  fields.addEventListener("input", (event) => {
    const value = event.target.value.trim();
    const one = found()[Number(event.target.dataset.index)];
    if (!one || !/^-?[0-9][0-9A-Za-z.%]*$/.test(value)) return;
    const lines = text.value.split("\n");
    const line = lines[one.line];
    lines[one.line] = line.slice(0, one.at) + value + line.slice(one.at + one.value.length);
    text.value = lines.join("\n");
    text.dispatchEvent(new Event("input", { bubbles: true }));
  });

  text.addEventListener("input", () => { number(); offer(); });
  text.addEventListener("scroll", () => { gutter.scrollTop = text.scrollTop; });
  document.addEventListener("click", (event) => {
    const line = event.target.closest("[data-line], [data-go]");
    if (line) goTo(Number(line.dataset.line || line.dataset.go));
  });
  document.addEventListener("htmx:afterSettle", readErrors);
  let saved = text.value;
  addEventListener("beforeunload", (event) => { if (text.value !== saved) event.preventDefault(); });
  document.getElementById("draft").addEventListener("submit", () => { saved = text.value; });
  readErrors();
  offer();
})();
