"use strict";
// Texts from models and requests are only ever set as text, never as HTML.
const byId = (id) => document.getElementById(id);
let key = "";

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (key) headers.Authorization = "Bearer " + key;
  const answer = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit", redirect: "error" });
  const text = await answer.text();
  let content = null;
  try { content = JSON.parse(text); } catch { /* the text is shown instead */ }
  if (answer.status === 401 || answer.status === 403) askForKey(answer.status, content);
  return { ok: answer.ok, status: answer.status, text, content };
}

function askForKey(status, content) {
  byId("key-panel").hidden = false;
  // The message of the API tells programs how to send a key.
  const reason = status === 401 ? "This key is not valid. Check it, and enter it again." : content && content.error;
  byId("key-problem").textContent = key ? reason || "The key was rejected." : "";
}
