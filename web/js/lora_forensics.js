// Shows what a node found, below its widgets: a verdict card, or plain text.
// Words may come from an untrusted file: they are set with textContent and nothing else.
import { app } from "../../../scripts/app.js";

const PREFIX = "LoraForensics";
const CLASS = "lora-forensics";
const WIDTH = 340; // of a new node that shows results
const EMPTY = 44; // height of the panel before the first run
const TALLEST = 440; // above this the panel scrolls
// The same meaning as in the HTML report: no letter is green, none is red.
const TONES = { A: "#33608f", B: "#2f738f", C: "#876727", D: "#59626f", ERROR: "#83506a" };
const PLAIN = "#59626f";
const STYLE = `
.${CLASS} { box-sizing: border-box; width: 100%; height: 100%; max-height: ${TALLEST}px;
  overflow: auto; border-radius: 6px;
  background: var(--comfy-input-bg, #222); color: var(--input-text, #ddd); outline: none;
  border: 1px solid var(--border-color, #4e4e4e); user-select: text; cursor: auto;
  font: 12px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
.${CLASS}:focus-visible { border-color: var(--input-text, #ddd); }
.${CLASS}-body { padding: 8px 10px; overflow-wrap: anywhere; }
.${CLASS}-head { display: flex; gap: 10px; align-items: center; margin-bottom: 6px; }
.${CLASS}-letter { flex: none; min-width: 40px; height: 40px; padding: 0 8px; border-radius: 5px;
  box-sizing: border-box; color: #fff; font-size: 24px; font-weight: 700; line-height: 40px;
  text-align: center; }
.${CLASS}-letter.long { font-size: 13px; letter-spacing: .04em; }
.${CLASS}-headline { font-size: 14px; font-weight: 650; line-height: 1.3; }
.${CLASS}-title { margin: 8px 0 2px; font-weight: 650; }
.${CLASS} table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
.${CLASS} th, .${CLASS} td { padding: 3px 8px 3px 0; text-align: left; vertical-align: top;
  border-top: 1px solid var(--border-color, #4e4e4e); font-weight: 400; }
.${CLASS} th { width: 96px; color: var(--descrip-text, #999); }
.${CLASS} ul { margin: 0; padding: 0 0 0 16px; list-style: disc; }
.${CLASS} li { margin: 2px 0; }
.${CLASS}-text { white-space: pre-wrap; tab-size: 4; user-select: text; }
.${CLASS}-note { color: var(--descrip-text, #999); }
.${CLASS}-old > :not(.${CLASS}-note) { opacity: .7; }
.${CLASS}-body > * + * { margin-top: 6px; }
`;

const panels = new WeakMap(); // node -> its panel

function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

const many = (value) => (value == null ? [] : Array.isArray(value) ? value : [value]);
const word = (value) => (value == null ? "" : String(value));

function list(title, items) {
  const lines = many(items).map(word).filter(Boolean);
  if (!lines.length) return [];
  const made = element("ul");
  made.append(...lines.map((line) => element("li", "", line)));
  return [element("div", `${CLASS}-title`, title), made];
}

function table(rows) {
  const made = element("table");
  for (const row of many(rows)) {
    const [name, ...cells] = many(row).map(word);
    const line = element("tr");
    line.append(element("th", "", name), ...cells.map((cell) => element("td", "", cell)));
    made.append(line);
  }
  return made.childElementCount ? [made] : [];
}

function card(verdict) {
  const letter = word(verdict.letter) || "?";
  const head = element("div", `${CLASS}-head`);
  const square = element("div", `${CLASS}-letter`, letter);
  square.classList.toggle("long", letter.length > 2);
  square.style.background = TONES[letter] ?? PLAIN;
  head.append(square, element("div", `${CLASS}-headline`, word(verdict.headline)));
  const made = element("div", `${CLASS}-card`);
  made.append(
    head,
    ...table(verdict.rows),
    ...list("Why", verdict.reasons),
    ...list("Error rates", verdict.error_rates),
    ...list("Before acting", verdict.caveats),
  );
  return made;
}

/** Everything a node's output holds for us; empty when it holds nothing. */
function contents(output) {
  const cards = many(output?.lora_forensics_verdict).filter((v) => v && typeof v === "object");
  const text = many(output?.text).map(word).filter(Boolean).join("\n");
  const shown = cards.map(card);
  if (!text) return shown;
  const words = element("div", `${CLASS}-text`, text);
  return text.includes("\n") ? [...shown, words] : [words, ...shown]; // a path goes on top
}

/** The panel of a node, made when it is first wanted, as the last widget. */
function panelOf(node) {
  if (panels.has(node)) return panels.get(node);
  const root = element("div", CLASS);
  const note = element("div", `${CLASS}-note`, "The result appears here after a run.");
  const body = element("div", `${CLASS}-body`);
  body.append(note);
  root.append(body);
  root.tabIndex = 0; // a focused panel scrolls where the canvas would zoom
  root.dataset.captureWheel = "true";
  root.addEventListener("wheel", (event) => {
    if (root.scrollHeight > root.clientHeight && !event.ctrlKey) event.stopPropagation();
  }, { passive: true });
  const panel = { root, note, body, shown: false, height: EMPTY };
  const widget = node.addDOMWidget("result", "lora_forensics_result", root, {
    serialize: false,
    hideOnZoom: true,
    getMinHeight: () => panel.height,
    getMaxHeight: () => TALLEST + 20,
  });
  if (widget) widget.serialize = false; // neither in the workflow nor in the prompt
  new ResizeObserver(() => {
    const wanted = body.offsetHeight; // 0 while it is not on the page
    if (!wanted) return;
    panel.height = Math.min(TALLEST, Math.max(EMPTY, wanted + 2)) + 20;
    grow(node, 0);
  }).observe(body);
  panels.set(node, panel);
  return panel;
}

/** Makes room; a node never shrinks, its size is the user's. */
function grow(node, width) {
  const [, height] = node.computeSize?.() ?? node.size;
  const size = [Math.max(width, node.size[0]), Math.max(height, node.size[1])];
  if (size[0] > node.size[0] || size[1] > node.size[1]) node.setSize?.(size);
  node.setDirtyCanvas?.(true, true);
}

function show(node, output) {
  const found = contents(output);
  if (!found.length) return;
  const panel = panelOf(node);
  panel.body.replaceChildren(...found);
  panel.body.classList.remove(`${CLASS}-old`);
  panel.shown = true;
  panel.root.scrollTop = 0;
}

/** A result of before this run is not taken for this run's. */
function age(node) {
  const panel = panels.get(node);
  if (!panel?.shown) return;
  panel.note.textContent = "From an earlier run:";
  panel.body.prepend(panel.note);
  panel.body.classList.add(`${CLASS}-old`);
}

/** After a change of workflow tabs the page still holds the outputs of the outer graph. */
function restore() {
  for (const node of (app.rootGraph ?? app.graph)?.nodes ?? []) {
    if (panels.get(node)?.shown === false) show(node, app.nodeOutputs?.[String(node.id)]);
  }
}

/** Calls ours after whatever the node has there already. */
function after(node, name, ours) {
  const before = node[name];
  node[name] = function (...values) {
    const result = before?.apply(this, values);
    try {
      ours(...values);
    } catch (error) {
      console.warn("LoraForensics", error);
    }
    return result;
  };
}

app.registerExtension({
  name: "LoraForensics",
  setup() {
    document.head.append(element("style", "", STYLE));
  },
  afterConfigureGraph() {
    for (const wait of [100, 1000, 3000]) setTimeout(restore, wait); // outputs come back later
  },
  nodeCreated(node) {
    if (!word(node.comfyClass).startsWith(PREFIX)) return;
    after(node, "onExecuted", (output) => show(node, output));
    after(node, "onExecutionStart", () => age(node));
    if (!node.constructor.nodeData?.output_node) return;
    panelOf(node);
    grow(node, WIDTH);
  },
});
