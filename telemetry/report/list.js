// A list of trials of any length: only what is in sight is in the document. One stop for the Tab key, arrows within.

const ROW_PX = 58;
const SPARE_ROWS = 6;
const SIGNS = { full: ["●", "full"], partial: ["◐", "partial"], failure: ["○", "failure"] };

class TrialList {
  constructor(box, trials, choose, enter) {
    this.box = box;
    this.trials = trials;
    this.choose = choose;
    this.shown = [];
    this.active = -1;
    this.space = element("div", { className: "space", role: "presentation" });
    box.replaceChildren(this.space);
    box.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.draw()).observe(box);
    box.addEventListener("keydown", (event) => this.key(event, enter));
    box.addEventListener("focus", () => {
      if (this.active < 0 && this.shown.length) this.go(0);
    });
    this.space.addEventListener("click", (event) => {
      const row = event.target.closest("[data-place]");
      if (row) this.go(Number(row.dataset.place));
    });
  }

  // Show these trials; the one that was chosen stays so if it is among them.
  show(shown) {
    const chosen = this.active >= 0 ? this.shown[this.active] : -1;
    this.shown = shown;
    this.active = shown.indexOf(chosen);
    this.space.style.height = `${shown.length * ROW_PX}px`;
    if (this.active < 0) this.box.scrollTop = 0;
    else this.reveal();
    this.draw();
  }

  find(trial) {
    const place = this.shown.indexOf(trial);
    if (place >= 0) this.go(place);
  }

  go(place) {
    if (!this.shown.length) return;
    this.active = Math.max(0, Math.min(this.shown.length - 1, place));
    this.reveal();
    this.draw();
    this.choose(this.shown[this.active]);
  }

  reveal() {
    const top = this.active * ROW_PX;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    const most = top + ROW_PX - this.box.clientHeight;
    if (most > this.box.scrollTop) this.box.scrollTop = most;
  }

  key(event, enter) {
    const page = Math.max(1, Math.floor(this.box.clientHeight / ROW_PX) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key in steps) {
      const place = this.active + steps[event.key];
      this.go(place === Infinity ? this.shown.length - 1 : place === -Infinity ? 0 : place);
    } else if (event.key === "Enter" || event.key === " ") enter();
    else return;
    event.preventDefault();
  }

  draw() {
    const first = Math.max(0, Math.floor(this.box.scrollTop / ROW_PX) - SPARE_ROWS);
    const last = Math.min(this.shown.length, Math.ceil((this.box.scrollTop + this.box.clientHeight) / ROW_PX) + SPARE_ROWS);
    const rows = [];
    for (let place = first; place < last; place += 1) rows.push(this.row(place));
    this.space.replaceChildren(...rows);
    const active = this.active >= first && this.active < last;
    if (active) this.box.setAttribute("aria-activedescendant", `trial-row-${this.active}`);
    else this.box.removeAttribute("aria-activedescendant");
  }

  row(place) {
    const trial = this.shown[place];
    const value = (name) => this.trials.value(name, trial);
    const [sign, told] = SIGNS[value("outcome")] ?? ["!", value("status")];
    const about = [value("prompt_type"), value("tool_success_rate"), value("difficulty")].filter((one) => one !== null);
    const row = element("div", { id: `trial-row-${place}`, className: "row", role: "option" },
      element("span", { className: `sign ${told}`, role: "img", "aria-label": told }, sign),
      element("span", { className: "name" }, visible(String(value("task_id") ?? ""))),
      element("span", { className: "why" }, visible(String(value("error_category") || ""))),
      element("span", { className: "about" }, visible(`${value("model")} · ${about.join(" · ")}`)));
    row.dataset.place = place;
    row.style.top = `${place * ROW_PX}px`;
    row.setAttribute("aria-posinset", place + 1);
    row.setAttribute("aria-setsize", this.shown.length);
    row.setAttribute("aria-selected", String(place === this.active));
    return row;
  }
}
