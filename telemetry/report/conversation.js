// Shows one trial: its condition and scores, then every message as text.

const SHORT_CHARACTERS = 5000;
const MOST_MARKS = 500;

const TIMES = { queue_ms: "queue", rate_wait_ms: "limiter", retry_wait_ms: "retry pauses", provider_ms: "provider", duration_ms: "duration" };
const SCORE_NAMES = ["score", "coverage", "order", "execution", "recovery", "efficiency"];
const CONDITION = ["model", "prompt_type", "severity", "tool_success_rate", "difficulty", "task_type", "epoch", "deployment"];
const WHOLE = ["turns", "tool_calls", "tool_failures", "requests", "attempts", "cache_hits", "prompt_tokens", "completion_tokens"];

function spellTime(ms) {
  return ms < 999.5 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(ms < 99950 ? 1 : 0)} s`;
}

function spaced(name) {
  return name.replaceAll("_", " ");
}

function facts(trials, trial) {
  const value = (name) => trials.value(name, trial);
  const there = (name) => value(name) !== null && value(name) !== "";
  const found = CONDITION.filter(there).map((name) => [spaced(name), String(value(name))]);
  for (const name of SCORE_NAMES.filter(there)) found.push([name, value(name).toFixed(3)]);
  for (const name of ["followed_flaw", "recovered"].filter(there)) found.push([spaced(name), value(name) ? "yes" : "no"]);
  for (const name of ["answer", "target", "deviations"].filter(there)) found.push([name, String(value(name))]);
  for (const name of WHOLE.filter(there)) found.push([spaced(name), value(name).toLocaleString("en")]);
  if (there("cost_usd")) found.push(["cost", `$${value("cost_usd").toFixed(5)}`]);
  for (const name of Object.keys(TIMES).filter(there)) found.push([TIMES[name], spellTime(value(name))]);
  if (there("started_at")) found.push(["started", new Date(1000 * value("started_at")).toLocaleString("sv-SE")]);
  found.push(["key", String(value("trial_key"))]);
  return found;
}

function heading(trials, trial) {
  const value = (name) => trials.value(name, trial);
  const outcome = value("outcome") ?? value("status");
  const why = value("error_category");
  const head = element("div", { className: "heading" },
    element("h3", {}, visible(String(value("task_id") ?? ""))),
    element("p", { className: `verdict ${outcome}` }, visible(why ? `${spaced(outcome)}: ${why}` : spaced(outcome))));
  if (value("error_message")) head.append(element("p", { className: "error" }, visible(value("error_message"))));
  const list = element("dl", { className: "facts" });
  for (const [name, told] of facts(trials, trial)) {
    list.append(element("div", {}, element("dt", {}, name), element("dd", { dir: "auto" }, visible(told))));
  }
  head.append(list);
  if (value("plan_diff")) head.append(folded("How its plan differs from the optimal one", () => visible(value("plan_diff"))));
  return head;
}

// A fold whose text is made when it is first opened.
function folded(title, text) {
  const body = element("pre", { dir: "auto" });
  const fold = element("details", {}, element("summary", {}, title), body);
  fold.addEventListener("toggle", () => { if (!body.firstChild) body.append(text()); }, { once: true });
  return fold;
}

function message(one, number, query) {
  const role = visible(String(one?.role ?? "unknown"));
  const text = visible(messageText(one));
  const body = element("div", { className: "text", dir: "auto" });
  const short = text.length > SHORT_CHARACTERS * 1.2;
  fill(body, short ? text.slice(0, SHORT_CHARACTERS) + "…" : text, query);
  const article = element("article", { className: "message", "aria-label": `Message ${number}, ${role}` },
    element("h4", {}, role), body);
  article.dataset.role = role;
  if (short) {
    const more = element("button", { type: "button" }, `Show all ${text.length.toLocaleString("en")} characters`);
    more.addEventListener("click", () => {
      body.replaceChildren(...pieces(text).map((piece) => {
        const block = element("div", { className: "piece", dir: "auto" });
        fill(block, piece, query);
        return block;
      }));
      more.remove();
    });
    article.append(more);
  }
  return article;
}

// Cut a long text, at ends of lines or words where there are any: a browser lays out many short blocks, of which it
// needs to draw only those in sight, in no time, and one of a megabyte in ten seconds.
function pieces(text) {
  const found = [];
  for (let from = 0; from < text.length;) {
    let to = from + SHORT_CHARACTERS;
    if (to < text.length) {
      const line = text.lastIndexOf("\n", to);
      const word = line > from ? line : text.lastIndexOf(" ", to);
      to = word > from ? word + 1 : to + (/[\udc00-\udfff]/.test(text[to]) ? 1 : 0);
    }
    found.push(text.slice(from, to));
    from = to;
  }
  return found;
}

// Write a text, what was searched for marked in it.
function fill(body, text, query) {
  body.replaceChildren();
  const lower = query ? text.toLowerCase() : "";
  let from = 0;
  // Lower case may be longer than what it is of; places then do not match, and nothing is marked.
  for (let marks = 0; query && lower.length === text.length && marks < MOST_MARKS; marks += 1) {
    const at = lower.indexOf(query, from);
    if (at < 0) break;
    body.append(text.slice(from, at), element("mark", {}, text.slice(at, at + query.length)));
    from = at + query.length;
  }
  body.append(text.slice(from));
}

async function showTrial(panel, trials, trial, query, current) {
  let said = null;
  let trouble = "";
  try {
    said = await trials.said(trial);
  } catch {
    trouble = "This conversation is damaged and cannot be shown.";
  }
  if (!current()) return;
  const parts = [heading(trials, trial)];
  if (said?.messages.length) said.messages.forEach((one, place) => parts.push(message(one, place + 1, query)));
  else parts.push(element("p", { className: "soft" }, trouble || "No conversation is stored for this trial."));
  if (said?.detail && Object.keys(said.detail).length) {
    parts.push(folded("How it was marked", () => visible(JSON.stringify(said.detail, null, 2))));
  }
  panel.replaceChildren(...parts);
  panel.scrollTop = 0;
}
