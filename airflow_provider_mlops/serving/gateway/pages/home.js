const REFRESH_MS = 5000;
const MAX_FIELDS = 200;
let inputs = [];
let shown = "";

async function refresh() {
  try {
    const [health, server, index, statistics] = await Promise.all([
      ask("v2/health/ready"), ask("v2"), ask("v2/repository/index", { method: "POST" }), ask("v2/models/stats"),
    ]);
    showHealth(health);
    if (server.ok) byId("server").textContent = server.content.name + " " + server.content.version;
    if (index.ok && statistics.ok) showModels(index.content, statistics.content.model_stats);
    if ([server, index, statistics].every((answer) => answer.ok)) byId("key-panel").hidden = true;
  } catch {
    const badge = byId("health");
    badge.textContent = "unreachable";
    badge.className = "badge bad";
  }
}

function showHealth(answer) {
  const badge = byId("health");
  const content = answer.content || {};
  const status = content.status || "unknown";
  badge.textContent = status;
  badge.className = "badge " + ({ ready: "good", degraded: "warn", "not ready": "bad" }[status] || "quiet");
  const reasons = [...(content.reasons || []), ...(content.degraded || []), ...(content.failing || [])];
  byId("reasons").replaceChildren(...reasons.map((reason) => element("li", reason)));
  byId("reasons-panel").hidden = reasons.length === 0;
}

function showModels(index, statistics) {
  const counts = new Map(statistics.map((entry) => [JSON.stringify([entry.name, entry.version]), entry]));
  const rows = index.map((entry) => {
    const count = counts.get(JSON.stringify([entry.name, entry.version]));
    const row = element("tr");
    const name = element("th", entry.name, "name");
    name.scope = "row";
    const state = element("td", entry.state === "READY" ? "loaded" : "not loaded", entry.state === "READY" ? "good" : "bad");
    if (entry.reason) state.append(element("div", entry.reason, "small quiet"));
    const success = count && count.inference_stats.success;
    const cells = [
      count ? (100 * count.share).toFixed(count.share > 0 && count.share < 0.1 ? 1 : 0) + " %" : "",
      count ? success.count.toLocaleString("en") : "",
      count ? count.inference_stats.fail.count.toLocaleString("en") : "",
      success && success.count ? (success.ns / success.count / 1e6).toFixed(2) + " ms" : "",
    ];
    row.append(name, element("td", entry.version, "number"), state, ...cells.map((cell) => element("td", cell, "number")));
    return row;
  });
  byId("models").replaceChildren(...rows);
  byId("models-note").textContent = index.length
    ? "Requests since the gateway started, without its own checks. Updated every 5 seconds."
    : "No model is loaded. Give a registered model the alias champion, or deploy one.";
  const versions = new Map();
  for (const entry of index) {
    if (entry.state === "READY") versions.set(entry.name, [...(versions.get(entry.name) || []), entry.version]);
  }
  offer(versions);
}

function offer(versions) {
  const described = JSON.stringify([...versions]);
  if (described === shown) return;
  shown = described;
  const model = byId("model");
  const chosen = model.value;
  model.replaceChildren(...[...versions.keys()].map((name) => new Option(name, name)));
  if (versions.has(chosen)) model.value = chosen;
  model.onchange = () => offerVersions(versions.get(model.value) || []);
  if (model.value !== chosen || !inputs.length) model.onchange();
}

function offerVersions(versions) {
  const options = versions.map((version) => new Option("version " + version, version));
  byId("version").replaceChildren(new Option("as routed for users", ""), ...options);
  byId("version").onchange = describe;
  describe();
}

function path(ending) {
  const version = byId("version").value;
  return "v2/models/" + encodeURIComponent(byId("model").value) + (version ? "/versions/" + version : "") + ending;
}

async function describe() {
  const asked = path("");
  byId("answer").replaceChildren();
  byId("predict").disabled = true;
  const answer = byId("model").value ? await ask(asked) : null;
  if (asked !== path("")) return;
  inputs = [];
  byId("fields").replaceChildren();
  if (!answer) return;
  if (!answer.ok) { showProblem(answer); return; }
  const described = answer.content.inputs;
  const single = described.length === 1 && described[0].shape.length > 1;
  if (single) inputs = [tensorField(described[0])];
  else if (described.length > MAX_FIELDS) inputs = [columnsField(described)];
  else inputs = described.map(columnField);
  byId("fields").append(...inputs.map((input) => input.element));
  byId("predict").disabled = false;
}

function field(labelText, control, hint, number) {
  const made = element("div", undefined, "field");
  const label = element("label", labelText);
  control.id = "input-" + number;
  label.htmlFor = control.id;
  const note = element("span", hint, "quiet small");
  note.id = control.id + "-hint";
  control.setAttribute("aria-describedby", note.id);
  made.append(label, control, note);
  return made;
}

const EXAMPLES = { integer: "1", long: "1", float: "1.5", double: "1.5", string: "text", binary: "AAEC", datetime: "2026-01-31T12:00:00" };
const HINTS = {
  integer: "integer", long: "integer", float: "number", double: "number", boolean: "true or false", string: "text",
  binary: "bytes in Base64", datetime: "time in ISO 8601",
};

function columnField(input, number) {
  const { kind, optional, nullable } = input.parameters;
  const control = kind === "boolean" ? element("select") : element("input");
  if (kind === "boolean") control.append(new Option("true", "true"), new Option("false", "false"));
  else {
    control.value = EXAMPLES[kind];
    control.inputMode = { integer: "numeric", long: "numeric", float: "decimal", double: "decimal" }[kind] || "text";
    control.spellcheck = false;
  }
  const made = field(input.name, control, HINTS[kind] + (optional ? ", may be omitted" : ""), number);
  let missing = null;
  if (nullable || optional) {
    missing = element("input");
    missing.type = "checkbox";
    missing.onchange = () => { control.disabled = missing.checked; };
    const label = element("label", undefined, "null small");
    label.append(missing, "no value (null)");
    missing.setAttribute("aria-label", "No value for " + input.name);
    made.append(label);
  }
  const encode = () => {
    const value = missing && missing.checked ? "null" : encoded(input.name, kind, control);
    return tensorJson(input.name, input.datatype, [1], "[" + value + "]");
  };
  return { element: made, encode };
}

function encoded(name, kind, control) {
  const text = control.value;
  if (kind === "boolean") return text;
  if (kind === "string" || kind === "binary" || kind === "datetime") return JSON.stringify(text);
  const form = kind === "integer" || kind === "long" ? /^-?\d+$/ : /^-?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$/;
  if (!form.test(text.trim())) {
    control.focus();
    throw new Error(JSON.stringify(name) + " must be " + (form.source.includes("eE") ? "a number." : "an integer."));
  }
  // Not converted, because JavaScript would round integers beyond 53 bits.
  const [, sign, digits] = /^(-?)(.*)$/.exec(text.trim());
  const plain = digits.replace(/^0+(?=\d)/, "").replace(/^\./, "0.").replace(/\.(?=$|[eE])/, "");
  return sign + plain;
}

function tensorJson(name, datatype, shape, data) {
  return '{"name":' + JSON.stringify(name) + ',"datatype":' + JSON.stringify(datatype) + ',"shape":' + JSON.stringify(shape) +
    ',"data":' + data + "}";
}

function tensorField(input) {
  const shape = [1, ...input.shape.slice(1)];
  const zeros = shape.reduceRight((inner, size) => Array(size).fill(inner), 0);
  const control = element("textarea", JSON.stringify(zeros));
  control.rows = 8;
  const made = field(input.name, control, input.datatype + " of shape [" + input.shape.join(", ") + "] as JSON", 0);
  const encode = () => {
    const data = parsed(control);
    return tensorJson(input.name, input.datatype, [data.length, ...shape.slice(1)], control.value);
  };
  return { element: made, encode };
}

function columnsField(described) {
  const example = described.map(({ name, datatype, parameters: { kind } }) => ({
    name, datatype, shape: [1], data: [kind === "boolean" ? true : ["string", "binary", "datetime"].includes(kind) ? EXAMPLES[kind] : 1],
  }));
  const control = element("textarea", JSON.stringify(example, null, 1));
  control.rows = 16;
  const made = field("Tensors", control, described.length.toLocaleString("en") + " columns as JSON", 0);
  return { element: made, encode: () => { parsed(control); return control.value.trim().slice(1, -1); } };
}

function parsed(control) {
  try {
    const data = JSON.parse(control.value);
    if (Array.isArray(data)) return data;
  } catch { /* said below */ }
  control.focus();
  throw new Error("The value must be a JSON list.");
}

async function predict(event) {
  event.preventDefault();
  const button = byId("predict");
  button.disabled = true;
  try {
    const body = '{"inputs":[' + inputs.map((input) => input.encode()).join(",") + "]}";
    const answer = await ask(path("/infer"), { method: "POST", body, headers: { "Content-Type": "application/json" } });
    if (answer.ok) showAnswer(answer, body); else showProblem(answer);
  } catch (error) {
    showProblem({ content: { error: error.message } });
  } finally {
    button.disabled = false;
  }
  refresh();
}

function showProblem(answer) {
  const message = (answer.content && answer.content.error) || answer.text || "The gateway could not be reached.";
  byId("answer").replaceChildren(element("p", message, "bad"));
}

function showAnswer(answer, body) {
  const { model_version: version, outputs, parameters } = answer.content;
  const title = element("p");
  title.append("Version ", element("strong", version), " predicts ");
  const table = element("table");
  for (const output of outputs) {
    const classes = (output.parameters && output.parameters.classes) || [];
    if (output.name === "predict") title.append(element("strong", output.data.slice(0, 20).map(String).join(", ")));
    else {
      classes.slice(0, 50).forEach((name, place) => {
        const row = element("tr");
        const head = element("th", "probability of " + name, "name");
        head.scope = "row";
        row.append(head, element("td", Number(output.data[place]).toPrecision(4), "number"));
        table.append(row);
      });
    }
  }
  const id = element("p", "Prediction ID: ", "quiet small");
  id.append(element("code", parameters.prediction_id || "none"));
  const details = element("details");
  const request = element("pre", "POST /" + path("/infer") + "\n\n" + body);
  const response = element("pre", answer.text);
  for (const block of [request, response]) block.tabIndex = 0;
  details.append(element("summary", "Request and response"), request, response);
  byId("answer").replaceChildren(title, table, id, details);
}

byId("predict-form").addEventListener("submit", predict);
byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key = byId("key").value;
  byId("key").value = "";
  shown = "";
  refresh();
});
refresh();
// While a key is missing, every request would only be refused.
setInterval(() => { if (!document.hidden && byId("key-panel").hidden) refresh(); }, REFRESH_MS);
