const GROUPS = [
  ["Predictions", (path, method) => method === "post" && /(infer|invocations)$/.test(path)],
  ["Labels and rewards", (path) => path === "/feedback"],
  ["Administration", (path) => path.startsWith("/admin") || path.startsWith("/v2/repository/models")],
  ["Models and health", () => true],
];

async function show() {
  const answer = await ask("openapi.json");
  if (!answer.ok) {
    byId("problem").textContent = (answer.content && answer.content.error) || "openapi.json could not be read.";
    return;
  }
  byId("key-panel").hidden = true;
  byId("problem").textContent = "";
  const description = answer.content;
  byId("server").textContent = description.info.title + " " + description.info.version;
  const groups = new Map(GROUPS.map(([title]) => [title, []]));
  for (const [path, operations] of Object.entries(description.paths)) {
    for (const method of ["get", "post"]) {
      if (!operations[method]) continue;
      const [title] = GROUPS.find(([, belongs]) => belongs(path, method));
      const parameters = [...(operations.parameters || []), ...(operations[method].parameters || [])];
      groups.get(title).push(operationElement(path, method, operations[method], parameters));
    }
  }
  byId("operations").replaceChildren(...[...groups].filter(([, made]) => made.length).map(([title, made]) => {
    const section = element("section");
    section.append(element("h2", title), ...made);
    return section;
  }));
  byId("schemas").replaceChildren(...Object.entries(description.components.schemas).map(([name, schema]) => {
    const made = element("details");
    made.id = "schema-" + name;
    made.append(element("summary", name), block(schema));
    return made;
  }));
  byId("schemas-panel").hidden = false;
}

function operationElement(path, method, operation, parameters) {
  const made = element("details");
  const summary = element("summary");
  summary.append(element("span", method.toUpperCase(), "method"), element("code", path), " ", element("span", operation.summary, "quiet"));
  made.append(summary);
  if ((operation.security || []).some((entry) => Object.keys(entry).length)) {
    const optional = operation.security.some((entry) => !Object.keys(entry).length);
    made.append(element("p", optional ? "A token is required for some requests." : "Requires a token (Authorization: Bearer TOKEN).", "small"));
  }
  if (parameters.length) {
    const rows = parameters.map((entry) => [entry.name, entry.in, (entry.required ? "required. " : "") + (entry.description || "")]);
    made.append(table(["Parameter", "In", "Meaning"], rows));
  }
  for (const [type, content] of Object.entries((operation.requestBody || {}).content || {})) {
    made.append(element("h3", "Body: " + type, "small"), reference(content.schema));
  }
  const rows = Object.entries(operation.responses).map(([status, response]) => {
    const content = Object.entries(response.content || {}).map(([type, { schema }]) => [type, schemaName(schema)].filter(Boolean).join(": "));
    return [status, response.description, content.join(", ")];
  });
  made.append(table(["Status", "Meaning", "Content"], rows));
  return made;
}

function schemaName(schema) {
  return schema && schema.$ref ? schema.$ref.split("/").pop() : "";
}

function reference(schema) {
  const name = schemaName(schema);
  if (!name) return schema ? block(schema) : element("p", "bytes", "quiet small");
  const made = element("p");
  const link = element("a", name);
  link.href = "#schema-" + name;
  link.addEventListener("click", () => { byId("schema-" + name).open = true; });
  made.append(link);
  return made;
}

function block(schema) {
  const made = element("pre", JSON.stringify(schema, null, 2));
  made.tabIndex = 0;
  return made;
}

function table(titles, rows) {
  const made = element("table");
  const head = element("tr");
  head.append(...titles.map((title) => Object.assign(element("th", title), { scope: "col" })));
  const body = element("tbody");
  body.append(...rows.map((cells) => {
    const row = element("tr");
    row.append(...cells.map((cell) => element("td", cell, "name")));
    return row;
  }));
  const top = element("thead");
  top.append(head);
  made.append(top, body);
  const scroll = element("div", undefined, "scroll");
  scroll.append(made);
  return scroll;
}

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key = byId("key").value;
  byId("key").value = "";
  show();
});
show();
