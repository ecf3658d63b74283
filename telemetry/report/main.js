// Brings the page to life: the theme switch, and the browser of conversations with its filters and its search.

const THEMES = ["auto", "light", "dark"];
const SEARCH_DELAY_MS = 180;
const SLICE_MS = 40;

const themes = document.getElementById("theme");
themes.addEventListener("change", () => {
  const theme = THEMES.includes(themes.value) ? themes.value : "auto";
  document.documentElement.dataset.theme = theme;
});

const browser = document.getElementById("browser");
if (browser) startBrowser().catch(() => {
  document.getElementById("count").textContent =
    "This browser cannot unpack the conversations; any one of 2023 or later can.";
});

async function startBrowser() {
  const trials = new Trials(JSON.parse(await unpack("trial-index")));
  const byId = (id) => document.getElementById(id);
  const [panel, count, search] = [byId("conversation"), byId("count"), byId("search")];
  let query = "";
  let found = null;
  let searchNumber = 0;
  let chosen = -1;

  const choose = (trial) => {
    if (trial === chosen) return;
    chosen = trial;
    showTrial(panel, trials, trial, query, () => chosen === trial);
    remember(trials.value("trial_key", trial));
  };
  const list = new TrialList(byId("trials"), trials, choose, () => panel.focus());
  panel.addEventListener("keydown", (event) => { if (event.key === "Escape") byId("trials").focus(); });

  const filters = [...browser.querySelectorAll("select")].filter((select) => fillFilter(trials, select));
  const refresh = (searching) => {
    const codes = {};
    for (const select of filters) if (select.value !== "") codes[select.name] = Number(select.value);
    let shown = trials.having(codes);
    if (found) shown = shown.filter((trial) => found.has(trial));
    list.show(shown);
    const told = `${shown.length.toLocaleString("en")} of ${trials.n.toLocaleString("en")} trials`;
    count.textContent = searching ? `${told}, still searching` : told;
    browser.setAttribute("aria-busy", String(Boolean(searching)));
  };

  async function look() {
    const number = (searchNumber += 1);
    query = search.value.trim().toLowerCase();
    found = query ? new Set() : null;
    let paused = performance.now();
    for (const trial of query ? trials.byChunk() : []) {
      if ((await trials.text(trial)).includes(query)) found.add(trial);
      if (performance.now() - paused > SLICE_MS) {
        await new Promise((go) => setTimeout(go));
        if (number !== searchNumber) return;
        refresh(true);
        paused = performance.now();
      }
    }
    if (number !== searchNumber) return;
    refresh(false);
    if (chosen >= 0) showTrial(panel, trials, chosen, query, () => number === searchNumber);
  }

  let waiting = 0;
  search.addEventListener("input", () => {
    clearTimeout(waiting);
    browser.setAttribute("aria-busy", "true");
    waiting = setTimeout(look, SEARCH_DELAY_MS);
  });
  for (const select of filters) select.addEventListener("change", () => refresh(browser.getAttribute("aria-busy") === "true"));
  byId("reset").addEventListener("click", () => {
    for (const select of filters) select.value = "";
    search.value = "";
    clearTimeout(waiting);
    look();
  });

  refresh(false);
  const asked = decodeURIComponent(location.hash).match(/^#trial=(.+)$/)?.[1];
  if (asked) {
    list.find(trials.columns.trial_key.findIndex((key) => String(key).startsWith(asked)));
    byId("conversations").scrollIntoView();
  }
  document.documentElement.dataset.ready = "yes";
}

// A filter with one level filters nothing and is taken away.
function fillFilter(trials, select) {
  const levels = trials.has(select.name) ? trials.levels(select.name) : [];
  if (levels.length < 2) {
    select.closest("label").remove();
    return false;
  }
  for (const [code, level, count] of levels) {
    const told = level === null || level === "" ? "none" : visible(String(level));
    select.append(element("option", { value: String(code) }, `${told} (${count.toLocaleString("en")})`));
  }
  return true;
}

function remember(key) {
  try {
    history.replaceState(null, "", `#trial=${encodeURIComponent(key)}`);
  } catch { /* some browsers do not allow it for files */ }
}
