// What the page holds of trials: an index in columns, and conversations in chunks that are unpacked when asked for.
// Everything here is data; nothing of it is ever markup or code.

const KEPT_CHUNKS = 24;
const KEPT_CHARACTERS = 150e6;

async function unpack(id) {
  const text = document.getElementById(id).textContent.trim();
  const bytes = Uint8Array.fromBase64
    ? Uint8Array.fromBase64(text)
    : Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

class Trials {
  constructor(index) {
    this.n = index.n;
    this.columns = index.columns;
    this.at = index.at;
    this.chunks = new Map();
    this.texts = new Map();
    this.textCharacters = 0;
  }

  has(name) {
    return name in this.columns;
  }

  value(name, trial) {
    const column = this.columns[name];
    if (column === undefined) return null;
    return Array.isArray(column) ? column[trial] : column.levels[column.codes[trial]];
  }

  // Levels of a category with their numbers of trials, as [code, level, count], by name.
  levels(name) {
    const { levels, codes } = this.columns[name];
    const counts = new Array(levels.length).fill(0);
    for (const code of codes) counts[code] += 1;
    const found = levels.map((level, code) => [code, level, counts[code]]);
    return found.sort((a, b) => String(a[1] ?? "").localeCompare(String(b[1] ?? ""), "en", { numeric: true }));
  }

  // The trials that have all the codes asked for, in their order.
  having(codes) {
    const wanted = Object.entries(codes).map(([name, code]) => [this.columns[name].codes, code]);
    const found = [];
    for (let trial = 0; trial < this.n; trial += 1) {
      if (wanted.every(([column, code]) => column[trial] === code)) found.push(trial);
    }
    return found;
  }

  async lines(chunk) {
    const kept = this.chunks.get(chunk) ?? unpack(`chunk-${chunk}`).then((text) => text.split("\n"));
    this.chunks.delete(chunk);
    this.chunks.set(chunk, kept);
    if (this.chunks.size > KEPT_CHUNKS) this.chunks.delete(this.chunks.keys().next().value);
    return kept;
  }

  // What was said in a trial and how it was marked; null where nothing was kept.
  async said(trial) {
    const at = this.at[trial];
    if (at === null) return null;
    const [messages, detail] = JSON.parse((await this.lines(at[0]))[at[1]]);
    return { messages: Array.isArray(messages) ? messages : [], detail };
  }

  // Everything of a trial that a search looks through, in lower case.
  async text(trial) {
    const kept = this.texts.get(trial);
    if (kept !== undefined) return kept;
    const named = ["trial_key", "task_id", "error_message", "answer", "target"].map((name) => this.value(name, trial));
    let said = null;
    try {
      said = await this.said(trial);
    } catch { /* what cannot be read cannot be searched */ }
    const parts = said ? said.messages.map(messageText) : [];
    const text = [...named.filter((one) => one !== null), ...parts].join("\n").toLowerCase();
    if (this.textCharacters + text.length < KEPT_CHARACTERS) {
      this.texts.set(trial, text);
      this.textCharacters += text.length;
    }
    return text;
  }

  // Trials in the order of their chunks, so that a search unpacks each chunk once.
  *byChunk() {
    const order = [...this.at.keys()];
    const chunk = (trial) => (this.at[trial] === null ? -1 : this.at[trial][0]);
    yield* order.sort((a, b) => chunk(a) - chunk(b) || a - b);
  }
}

function messageText(message) {
  const parts = [plain(message?.reasoning_content), plain(message?.content)];
  if (message?.tool_calls?.length) parts.push(JSON.stringify(message.tool_calls, null, 1));
  return parts.filter(Boolean).join("\n");
}

function plain(value) {
  if (value === null || value === undefined) return "";
  return typeof value === "string" ? value : JSON.stringify(value, null, 1);
}

// Characters that would act instead of being seen, such as escapes and reordering marks, as signs that stand for them.
function visible(text) {
  return text
    .replace(/[\u0000-\u0008\u000b-\u001f]/g, (one) => (one === "\r" ? "" : String.fromCharCode(0x2400 + one.charCodeAt(0))))
    .replace(/\u007f/g, "\u2421")
    .replace(/[\ud800-\udfff]/gu, "\ufffd")
    .replace(/[\u0080-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
      (one) => `\u27e8U+${one.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}\u27e9`);
}

function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}
