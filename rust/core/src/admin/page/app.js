/* The dashboard. Fills index.html from /history once and from /stream from then on; asks for nothing else.
 *
 * All that comes from the server goes in as text (`textContent`), never as HTML: names of listeners and reasons of
 * servers are whatever somebody wrote. The DOM is touched only where something has changed, so that a thousand shards a
 * second cost little, and not at all while the page is hidden. docs/dashboard.md says what is shown.
 *
 * Over 500 lines, and one file: there is no build step, and each file is a route of the admin server. */
"use strict";

(() => {
  const SILENCE = 5; // seconds without a snapshot, which comes each second, after which the server counts as lost
  const WINDOW = 5; // seconds over which rates of what is happening now are taken
  const KEPT = 900; // seconds that the charts show
  const FEW = 20; // rows of a table before "Show all"
  const ROOMY = 200; // shards up to which a cell has room for its id
  const PUBLISH_LAG = 5; // seconds that an event may wait for NATS before that is marked
  const BLOCKED = 1; // seconds without a turn of the event loop that are worth a banner

  // Letter and shape (`kind`) of a status: colour is not all that tells them apart.
  const STATUSES = {
    READY: ["R", "ready", "ready"],
    RESUMING: ["S", "busy", "resuming"],
    WAITING_FOR_READY: ["W", "busy", "waiting for READY"],
    IDENTIFYING: ["I", "busy", "identifying"],
    WAITING_FOR_HELLO: ["H", "busy", "waiting for HELLO"],
    CONNECTING: ["C", "busy", "connecting"],
    DISCONNECTED: ["D", "down", "disconnected"],
    UNCONNECTED: ["U", "off", "never opened"],
  };
  const DROPPED = ["unheard", "filtered", "overflowed"];
  const SUMMED = ["received", "delivered", ...DROPPED, "queued", "queue_bytes", "guilds", "reconnects", "listener_errors"];

  const element = (id) => document.getElementById(id);

  // ---------------------------------------------------------------- numbers and times as text

  const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
  const tenth = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
  const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const minute = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
  const day = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

  const NONE = "–";
  const count = (value) => (value == null ? NONE : whole.format(value));
  const rate = (value) => (value == null ? NONE : value > 0 && value < 99.95 ? tenth.format(value) : whole.format(value));
  const milliseconds = (value) => (value == null ? NONE : `${whole.format(value * 1000)} ms`);
  const timeOf = (value) => (value == null ? NONE : clock.format(value * 1000));

  function seconds(value) {
    if (value == null) return NONE;
    return value < 1 ? `${whole.format(value * 1000)} ms` : `${tenth.format(value)} s`;
  }

  function bytes(value) {
    if (value == null) return NONE;
    const units = ["B", "kB", "MB", "GB", "TB"];
    let unit = 0;
    for (; value >= 1000 && unit < units.length - 1; unit += 1) value /= 1000;
    return `${unit ? tenth.format(value) : whole.format(value)} ${units[unit]}`;
  }

  function duration(value) {
    const total = Math.max(0, Math.floor(value));
    const [hours, minutes] = [Math.floor(total / 3600), Math.floor(total / 60) % 60];
    if (hours >= 24) return `${Math.floor(hours / 24)} d ${hours % 24} h`;
    return hours ? `${hours} h ${minutes} min` : minutes ? `${minutes} min ${total % 60} s` : `${total} s`;
  }

  const ago = (value, now) => (value == null ? NONE : `${duration(now - value)} ago`);

  // ---------------------------------------------------------------- the DOM, touched where something changed

  // "2" before "10".
  const inOrder = (a, b) => a.localeCompare(b, "en", { numeric: true });

  function put(node, text) {
    if (node.textContent !== text) node.textContent = text;
  }

  /** A name in which lines break behind a dot or an underscore, rather than anywhere. */
  function putName(node, text) {
    if (node.textContent === text) return;
    const parts = text.split(/(?<=[._])/);
    node.replaceChildren(...parts.flatMap((part, at) => (at ? [document.createElement("wbr"), part] : [part])));
  }

  function mark(node, name, value) {
    if (value == null) node.removeAttribute(name);
    else if (node.getAttribute(name) !== value) node.setAttribute(name, value);
  }

  function make(tag, className, text) {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text != null) node.textContent = text;
    return node;
  }

  // What a screen reader is told, once: states, never figures.
  const announce = (text) => put(element("announce"), text);

  /** A `dl` whose entries are `[term, text, isBad]`; nodes are kept by their place. */
  function fillList(list, entries) {
    while (list.children.length > entries.length) list.lastElementChild.remove();
    entries.forEach(([term, text, isBad], at) => {
      if (!list.children[at]) {
        const pair = make("div");
        pair.append(make("dt"), make("dd"));
        list.append(pair);
      }
      const [name, value] = list.children[at].children;
      put(name, term);
      put(value, text);
      value.classList.toggle("bad", Boolean(isBad));
    });
  }

  /** A table whose headings sort, with its first rows and, on request, the rest. Rows are kept by their place. */
  class Table {
    constructor(name, columns, { sort, rest } = {}) {
      this.columns = columns;
      this.sort = sort;
      this.rest = rest;
      this.rows = [];
      this.all = false;
      this.more = element(`all-${name}`);
      this.body = document.createElement("tbody");
      const head = make("tr");
      this.heads = columns.map((column) => {
        const cell = make("th", this.classOf(column));
        cell.scope = "col";
        if (sort) {
          const button = make("button", "", column.title);
          button.type = "button";
          button.addEventListener("click", () => this.sortBy(column));
          cell.append(button);
        } else {
          cell.textContent = column.title;
        }
        head.append(cell);
        return cell;
      });
      const top = document.createElement("thead");
      top.append(head);
      element(name).append(top, this.body);
      this.more.addEventListener("click", () => {
        this.all = !this.all;
        this.draw();
      });
      this.draw();
    }

    classOf(column) {
      return ["number", "tight", "wide"].filter((name) => column[name]).join(" ");
    }

    sortBy(column) {
      const again = this.sort.key === column.key;
      this.sort = { key: column.key, down: again ? !this.sort.down : Boolean(column.number) };
      this.draw();
    }

    fill(rows) {
      this.rows = rows;
      this.draw();
    }

    sorted() {
      if (!this.sort) return this.rows;
      const { key, down } = this.sort;
      const sign = down ? -1 : 1;
      return [...this.rows].sort((a, b) => {
        const order = typeof a[key] === "string" ? inOrder(a[key], b[key]) : a[key] - b[key];
        return sign * order || inOrder(a.name, b.name);
      });
    }

    draw() {
      this.heads.forEach((cell, at) => {
        const isSorted = this.sort?.key === this.columns[at].key;
        mark(cell, "aria-sort", isSorted ? (this.sort.down ? "descending" : "ascending") : null);
      });
      const rows = this.sorted();
      const shown = this.all ? rows : rows.slice(0, FEW);
      const left = rows.slice(shown.length);
      const last = left.length && this.rest ? [this.rest(left)] : [];
      this.more.hidden = rows.length <= FEW;
      put(this.more, this.all ? `Show the first ${FEW}` : `Show all ${whole.format(rows.length)}`);
      mark(this.more, "aria-expanded", String(this.all));
      const wanted = [...shown, ...last];
      while (this.body.rows.length > Math.max(1, wanted.length)) this.body.deleteRow(-1);
      if (!wanted.length) {
        this.body.replaceChildren(make("tr"));
        const cell = make("td", "", "Nothing yet");
        cell.colSpan = this.columns.length;
        this.body.rows[0].append(cell);
        return;
      }
      if (this.body.rows[0]?.cells.length !== this.columns.length) this.body.replaceChildren();
      wanted.forEach((row, at) => {
        let line = this.body.rows[at];
        if (!line) {
          line = make("tr");
          this.columns.forEach((column, place) => {
            const cell = make(place ? "td" : "th", this.classOf(column));
            if (!place) cell.scope = "row";
            line.append(cell);
          });
          this.body.append(line);
        }
        line.classList.toggle("rest", Boolean(row.rest));
        this.columns.forEach((column, place) => {
          const value = row[column.key];
          (place ? put : putName)(line.cells[place], column.text ? column.text(value) : String(value));
        });
      });
    }
  }

  // ---------------------------------------------------------------- the fleet map: one tab stop, arrows move

  class FleetMap {
    constructor(onChoice) {
      this.map = element("map");
      this.cells = [];
      this.ids = [];
      this.chosen = 0;
      this.onChoice = onChoice;
      this.legend = new Map();
      for (const [status, [letter, kind, name]] of Object.entries(STATUSES)) {
        const line = make("li");
        const sign = make("span", `cell ${kind}`, letter);
        sign.setAttribute("aria-hidden", "true");
        const text = make("span");
        line.append(sign, text);
        line.hidden = true;
        element("legend").append(line);
        this.legend.set(status, { line, text, name });
      }
      this.map.addEventListener("click", (event) => {
        const cell = event.target.closest(".cell");
        if (cell) this.choose(this.cells.indexOf(cell), true);
      });
      this.map.addEventListener("keydown", (event) => this.key(event));
    }

    update(shards) {
      this.map.classList.toggle("roomy", shards.length <= ROOMY);
      while (this.cells.length > shards.length) this.cells.pop().remove();
      const fragment = document.createDocumentFragment();
      while (this.cells.length < shards.length) {
        const cell = make("div", "cell");
        cell.setAttribute("role", "option");
        cell.tabIndex = -1;
        cell.setAttribute("aria-selected", "false");
        cell.append(make("span", "letter"), make("span", "id"));
        this.cells.push(cell);
        fragment.append(cell);
      }
      if (fragment.childNodes.length) this.map.append(fragment);
      const counts = new Map();
      shards.forEach((shard, at) => {
        counts.set(shard.status, (counts.get(shard.status) ?? 0) + 1);
        const state = `${shard.id} ${shard.count} ${shard.status}`;
        if (this.ids[at] === state) return;
        this.ids[at] = state;
        const [letter, kind, name] = STATUSES[shard.status] ?? ["?", "off", shard.status];
        const cell = this.cells[at];
        cell.className = `cell ${kind}`;
        cell.setAttribute("aria-label", `Shard ${shard.id} of ${shard.count}: ${name}`);
        cell.title = `Shard ${shard.id}: ${name}`;
        put(cell.children[0], letter);
        put(cell.children[1], String(shard.id));
      });
      this.ids.length = shards.length;
      for (const [status, { line, text, name }] of this.legend) {
        const found = counts.get(status) ?? 0;
        line.hidden = !found;
        put(text, `${name} ${whole.format(found)}`);
      }
      if (shards.length) this.choose(Math.min(this.chosen, shards.length - 1), false);
    }

    choose(at, focus) {
      if (!this.cells[at]) return;
      const before = this.cells[this.chosen];
      if (before && before !== this.cells[at]) {
        before.tabIndex = -1;
        mark(before, "aria-selected", "false");
      }
      const isNew = at !== this.chosen;
      this.chosen = at;
      if (this.cells[at].tabIndex !== 0) this.cells[at].tabIndex = 0;
      mark(this.cells[at], "aria-selected", "true");
      if (focus) this.cells[at].focus();
      if (isNew) this.onChoice();
    }

    columns() {
      const top = this.cells[0].offsetTop;
      const next = this.cells.findIndex((cell) => cell.offsetTop !== top);
      return next < 0 ? this.cells.length : next;
    }

    key(event) {
      if (event.altKey || event.ctrlKey || event.metaKey || !this.cells.length) return;
      const last = this.cells.length - 1;
      const at = this.chosen;
      const to = {
        ArrowLeft: () => at - 1,
        ArrowRight: () => at + 1,
        ArrowUp: () => (at - this.columns() < 0 ? at : at - this.columns()),
        ArrowDown: () => (at + this.columns() > last ? at : at + this.columns()),
        Home: () => 0,
        End: () => last,
      }[event.key];
      if (!to) return;
      event.preventDefault();
      this.choose(Math.max(0, Math.min(last, to())), true);
    }
  }

  // ---------------------------------------------------------------- charts: /history, then what the stream brings

  class Charts {
    constructor() {
      this.interval = 5;
      this.data = { time: [], received: [], delivered: [], dropped: [], latency_seconds: [], queued: [] };
      this.kinds = [
        { name: "events", title: "Events a second", keys: ["received", "delivered", "dropped"], unit: "/s", text: rate },
        { name: "latency", title: "Highest heartbeat latency", keys: ["latency_seconds"], unit: " ms", scale: 1000, text: rate },
        { name: "queue", title: "Events in the queues", keys: ["queued"], unit: " events", text: count },
      ];
      // uPlot draws on a canvas: it has to be told of another size or other colours.
      const sizes = new ResizeObserver(() => {
        for (const { plot, box } of this.kinds) plot?.setSize({ width: box.clientWidth, height: box.clientHeight });
      });
      for (const kind of this.kinds) {
        kind.box = element(`chart-${kind.name}`);
        kind.at = element(`at-${kind.name}`);
        sizes.observe(kind.box);
      }
      window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.rebuild());
    }

    restart(history) {
      this.interval = history.interval;
      // What has come meanwhile goes on behind it.
      const last = history.time[history.time.length - 1] ?? -Infinity;
      const newer = this.data.time.findIndex((time) => time > last);
      for (const [key, kept] of Object.entries(this.data)) {
        this.data[key] = [...history[key], ...(newer < 0 ? [] : kept.slice(newer))];
      }
      this.rebuild();
    }

    /** A point of the latest figures, where `interval` has passed since the last one. */
    add(point) {
      const { time } = this.data;
      // The first snapshot has no rates yet.
      if (point.received == null) return;
      if (time.length && point.time - time[time.length - 1] < this.interval - 0.5) return;
      for (const key of Object.keys(this.data)) this.data[key].push(point[key]);
      while (time.length && time[0] < point.time - KEPT) for (const kept of Object.values(this.data)) kept.shift();
      this.stale = true;
    }

    columnsOf({ keys, scale = 1 }) {
      return [this.data.time, ...keys.map((key) => this.data[key].map((value) => (value == null ? null : value * scale)))];
    }

    draw() {
      if (!this.stale) return;
      this.stale = false;
      for (const kind of this.kinds) {
        kind.plot?.setData(this.columnsOf(kind));
        this.describe(kind);
      }
    }

    describe(kind) {
      const [, ...lines] = this.columnsOf(kind);
      const text = lines.map((line, at) => {
        const known = line.filter((value) => value != null);
        if (!known.length) return "no figures yet";
        const label = kind.keys.length > 1 ? `${kind.keys[at]} ` : "";
        return `${label}now ${kind.text(known[known.length - 1])}${kind.unit}, most ${kind.text(Math.max(...known))}${kind.unit}`;
      });
      mark(kind.box, "aria-label", `${kind.title} over the last 15 minutes: ${text.join("; ")}`);
    }

    rebuild() {
      const style = getComputedStyle(document.documentElement);
      const colour = (name) => style.getPropertyValue(`--${name}`).trim();
      const axis = {
        stroke: colour("faint"),
        font: "12px system-ui, sans-serif",
        grid: { stroke: colour("grid"), width: 1 },
        ticks: { stroke: colour("grid"), width: 1 },
      };
      for (const kind of this.kinds) {
        kind.plot?.destroy();
        const options = {
          width: kind.box.clientWidth,
          height: kind.box.clientHeight,
          legend: { show: false },
          cursor: { drag: { x: false, y: false }, y: false },
          scales: { y: { range: (plot, least, most) => [0, Math.max(1, (most ?? 0) * 1.1)] } },
          axes: [
            { ...axis, space: 60, size: 30, values: (plot, splits) => splits.map((time) => minute.format(time * 1000)) },
            { ...axis, size: 58, values: (plot, splits) => splits.map((value) => rate(value)) },
          ],
          series: [
            {},
            ...kind.keys.map((key, at) => ({
              stroke: colour(`series-${at + 1}`),
              width: 2,
              dash: [[], [8, 4], [2, 4]][at],
              points: { show: false },
            })),
          ],
          hooks: { setCursor: [(plot) => this.read(kind, plot.cursor.idx)] },
        };
        kind.plot = new uPlot(options, this.columnsOf(kind), kind.box);
        this.describe(kind);
      }
    }

    /** The values under the pointer, as text. */
    read(kind, at) {
      const [time, ...lines] = this.columnsOf(kind);
      const values = lines.map((line, place) =>
        `${kind.keys.length > 1 ? `${kind.keys[place]} ` : ""}${kind.text(line[at])}${kind.unit}`);
      put(kind.at, at == null || time[at] == null ? "\u00a0" : `${timeOf(time[at])}: ${values.join(", ")}`);
    }
  }

  // ---------------------------------------------------------------- what the figures are

  const sumsOf = (snapshot) => {
    const sums = Object.fromEntries(SUMMED.map((key) => [key, 0]));
    for (const shard of snapshot.shards) for (const key of SUMMED) sums[key] += shard[key];
    // A worker has no shards: the events of its partitions are what it hears.
    const intake = snapshot.cluster?.intake;
    if (intake) for (const key of SUMMED) sums[key] += intake.heard[key] ?? intake[key] ?? 0;
    sums.dropped = DROPPED.reduce((sum, key) => sum + sums[key], 0);
    return sums;
  };

  const most = (values) => values.reduce((high, value) => (value != null && (high == null || value > high) ? value : high), null);
  const blockedOf = (snapshot) => most([snapshot.live.blocked_seconds, ...snapshot.loops.map((loop) => loop.blocked_seconds)]) ?? 0;

  /** Events a second between two snapshots. A counter that fell belongs to other shards than before: no rate. */
  const perSecond = (now, before, passed) => (before == null || !(passed > 0) ? null : Math.max(0, now - before) / passed);

  /** The counters of the last seconds, from which rates are taken. */
  class Recent {
    constructor() {
      this.kept = [];
    }

    add(snapshot) {
      const { time, events, process } = snapshot;
      const last = this.kept[this.kept.length - 1];
      if (last && (last.process !== process.started_at || last.time > time)) this.kept = [];
      this.kept.push({ time, events, process: process.started_at, sums: sumsOf(snapshot) });
      while (this.kept.length > 2 && time - this.kept[0].time > WINDOW + 0.5) this.kept.shift();
      return this.kept[this.kept.length - 1].sums;
    }

    rate(key) {
      const [first, last] = [this.kept[0], this.kept[this.kept.length - 1]];
      return perSecond(last.sums[key], first.sums[key], last.time - first.time);
    }

    rateOf(event, key) {
      const [first, last] = [this.kept[0], this.kept[this.kept.length - 1]];
      return perSecond(last.events[event][key], first.events[event]?.[key] ?? 0, last.time - first.time) ?? 0;
    }
  }

  // ---------------------------------------------------------------- the page

  const RATED = ["received", "delivered", ...DROPPED, "overlapped"];
  const number = (key, title, text = rate, wide = false) => ({ key, title, text, number: true, wide });

  const events = new Table(
    "events",
    [
      { key: "name", title: "Event" },
      number("received", "Received"),
      number("delivered", "Delivered"),
      number("dropped", "Dropped"),
      number("unheard", "Unheard", rate, true),
      number("filtered", "Filtered", rate, true),
      number("overflowed", "Overflowed", rate, true),
      number("overlapped", "On both", rate, true),
      number("total", "Received since the start", count, true),
    ],
    {
      sort: { key: "received", down: true },
      rest: (rows) => {
        const sum = { name: `${rows.length} more`, rest: true };
        for (const key of [...RATED, "dropped", "total"]) sum[key] = rows.reduce((all, row) => all + row[key], 0);
        return sum;
      },
    },
  );
  const listeners = new Table(
    "listeners",
    [
      { key: "name", title: "Listener" },
      number("seconds", "Time", seconds),
      number("longest", "Longest", seconds),
      number("mean", "Mean", (value) => `${tenth.format(value * 1e6)} µs`, true),
      number("slow", "Slow", count),
      number("calls", "Calls", count, true),
      number("errors", "Errors", count),
    ],
    { sort: { key: "seconds", down: true } },
  );
  const reconnects = new Table("reconnects", [
    { key: "at", title: "Time", text: timeOf, tight: true },
    number("shard", "Shard", count),
    { key: "reason", title: "Reason" },
    { key: "how", title: "Session", tight: true },
  ]);

  const NOBODY = "nobody";
  const upFor = (value) => duration(latest.time - value);
  const hosts = new Table(
    "hosts",
    [
      { key: "name", title: "Host" },
      number("shards", "Shards", count),
      number("capacity", "Takes", count),
      { key: "state", title: "State" },
      number("started_at", "Up", upFor, true),
      { key: "address", title: "Admin server", wide: true },
      { key: "version", title: "Version", wide: true },
    ],
    { sort: { key: "name", down: false } },
  );
  const workers = new Table(
    "workers",
    [
      { key: "name", title: "Worker" },
      number("partitions", "Partitions", count),
      number("lag", "Lag", count),
      { key: "state", title: "State" },
      number("started_at", "Up", upFor, true),
      { key: "address", title: "Admin server", wide: true },
      { key: "version", title: "Version", wide: true },
    ],
    { sort: { key: "name", down: false } },
  );
  const leases = new Table(
    "leases",
    [
      { key: "name", title: "Shard", tight: true },
      { key: "host", title: "Host" },
      { key: "status", title: "Status" },
      number("epoch", "Epoch", count),
      number("since", "Held for", (value) => (value == null ? NONE : upFor(value)), true),
    ],
    { sort: { key: "host", down: false } },
  );
  const partitions = new Table(
    "partitions",
    [
      { key: "name", title: "Partition", tight: true },
      { key: "worker", title: "Worker" },
      number("lag", "Lag", count),
    ],
    { sort: { key: "worker", down: false } },
  );

  const charts = new Charts();
  const recent = new Recent();
  let latest = null; // the last snapshot
  let drawn = true; // whether it is on the page
  let sums = null;
  const fleet = new FleetMap(() => latest && drawShard());

  function drawHeader() {
    const { process, time } = latest;
    put(
      element("process"),
      `${process.propylon}, Python ${process.python}, process ${process.pid}, up ${duration(time - process.started_at)}`,
    );
  }

  function drawFigures() {
    const { ready, process, loops, budget } = latest;
    const blocked = blockedOf(latest);
    fillList(element("figures"), [
      ready.partitions == null
        ? ["Shards ready", `${count(ready.ready)}/${count(ready.shards)}`, !ready.ok]
        : ["Partitions read", `${count(ready.taken)}/${count(ready.partitions)}`, !ready.ok],
      ["Received/s", rate(recent.rate("received"))],
      ["Delivered/s", rate(recent.rate("delivered"))],
      ["Dropped/s", rate(recent.rate("dropped"))],
      ["Latency, highest", milliseconds(most(latest.shards.map((shard) => shard.latency_seconds)))],
      ["Queue", count(sums.queued)],
      ["Queue size", bytes(sums.queue_bytes)],
      ["Loop blocked", seconds(blocked), blocked >= BLOCKED],
      ["Loop lag", seconds(most(loops.map((loop) => loop.lag_seconds)))],
      ["Guilds", count(sums.guilds)],
      ["Listener errors", count(sums.listener_errors)],
      ["Reconnects", count(sums.reconnects)],
      ["Memory", bytes(process.rss_bytes)],
      ["Session starts left", budget ? count(budget.remaining) : NONE],
    ]);
  }

  /** Also while the page is hidden: the title is what is seen of it then. */
  function drawTitle() {
    const { ready, live } = latest;
    const bad = !live.ok || blockedOf(latest) >= BLOCKED;
    const has = ready.partitions == null ? `${ready.ready}/${ready.shards} ready` : `${ready.taken}/${ready.partitions} read`;
    const title = `${bad ? "BLOCKED, " : ""}${has} – Propylon`;
    if (document.title !== title) document.title = title;
  }

  function drawShard() {
    const shard = latest.shards[fleet.chosen];
    if (!shard) return;
    const now = latest.time;
    const name = (STATUSES[shard.status] ?? ["", "", shard.status])[2];
    const reasons = Object.entries(shard.reconnects_by_reason).map(([reason, times]) => `${reason}: ${count(times)}`);
    put(element("shard-title"), `Shard ${shard.id} of ${shard.count}`);
    fillList(element("shard"), [
      ["Status", name, shard.status === "DISCONNECTED"],
      ["Latency", milliseconds(shard.latency_seconds)],
      ["Guilds", count(shard.guilds)],
      ["Queue", `${count(shard.queued)}, ${bytes(shard.queue_bytes)}`],
      ["Received", count(shard.received)],
      ["Delivered", count(shard.delivered)],
      ["Unheard", count(shard.unheard)],
      ["Filtered", count(shard.filtered)],
      ["Overflowed", count(shard.overflowed)],
      ["On both fleets", count(shard.overlapped)],
      ["Mended, undecodable", `${count(shard.mended)}, ${count(shard.undecodable)}`],
      ["Duplicates", count(shard.duplicates)],
      ["Ignored, malformed", `${count(shard.ignored)}, ${count(shard.malformed)}`],
      ["Listener errors", count(shard.listener_errors)],
      ["On the wire", bytes(shard.wire_bytes)],
      ["Inflated", bytes(shard.inflated_bytes)],
      ["Pauses", `${count(shard.pauses)}, ${seconds(shard.paused_seconds)}`],
      ["Wake-ups", count(shard.wakeups)],
      ["Last frame", ago(shard.last_frame_at, now)],
      ["Last event", ago(shard.last_event_at, now)],
      ["Last ACK", ago(shard.last_ack_at, now)],
      ["Heartbeats", count(shard.heartbeats)],
      ["Sequence", count(shard.sequence)],
      ["Reconnects", reasons.length ? `${count(shard.reconnects)} (${reasons.join(", ")})` : count(shard.reconnects)],
      ["Resumes, identifies", `${count(shard.resumes)}, ${count(shard.identifies)}`],
      ["Commands sent", count(shard.commands_sent)],
      ["Send window left", count(shard.send_window_left)],
      ["Identify blocked until", timeOf(shard.identify_blocked_until)],
    ]);
  }

  const isFree = (one) => (one.host ?? one.worker) == null;
  /** A sum of which nothing is known is not known. */
  const sumOf = (values) => values.reduce((sum, value) => (value == null ? sum : (sum ?? 0) + value), null);

  /** The whole cluster, as the process whose page this is sees it. */
  function drawCluster() {
    const { cluster } = latest;
    element("cluster").hidden = !cluster;
    element("fleet").hidden = Boolean(cluster) && !latest.shards.length;
    const skipped = element("fleet").hidden ? ["#cluster", "To the cluster"] : ["#fleet", "To the fleet map"];
    mark(element("skip"), "href", skipped[0]);
    put(element("skip"), skipped[1]);
    if (!cluster) return;
    const { publisher, intake } = cluster;
    const coming = cluster.next == null ? "" : `; ${count(cluster.next)} shards are being opened`;
    put(element("cluster-self"), `${cluster.app}, as ${cluster.role} ${cluster.id} sees it${coming}`);
    const held = (all) => {
      const free = all.filter(isFree).length;
      return [`${count(all.length - free)}/${count(all.length)}`, free > 0];
    };
    fillList(element("cluster-figures"), [
      ["Hosts", count(cluster.hosts.length), !cluster.hosts.length],
      ["Workers", count(cluster.workers.length), !cluster.workers.length],
      ["Shards held", ...held(cluster.shards)],
      ["Partitions held", ...held(cluster.partitions)],
      ["Lag", count(sumOf(cluster.partitions.map((partition) => partition.lag)))],
      ["NATS here", cluster.connected == null ? NONE : cluster.connected ? "connected" : "away", cluster.connected === false],
      ...(publisher
        ? [
            ["Published here", count(publisher.events)],
            ["Publish lag here", seconds(publisher.lag_seconds), publisher.lag_seconds >= PUBLISH_LAG],
            ["Fenced here", count(publisher.fenced)],
          ]
        : []),
      ...(intake
        ? [
            ["Unfinished here", count(intake.unfinished)],
            ["Redelivered here", count(intake.redelivered)],
            ["Dead letters here", count(intake.dead), intake.dead > 0],
            ["Expired here", count(intake.expired), intake.expired > 0],
          ]
        : []),
    ]);
    const common = (one) => ({ ...one, name: one.id, address: one.admin ?? NONE });
    const draining = (one) => (one.draining ? "draining" : "serving");
    hosts.fill(
      cluster.hosts.map((host) => ({ ...common(host), state: draining(host) + (host.coordinator ? ", coordinator" : "") })),
    );
    const lags = new Map();
    for (const { worker, lag } of cluster.partitions) lags.set(worker, sumOf([lags.get(worker), lag]));
    workers.fill(
      cluster.workers.map((worker) => ({ ...common(worker), state: draining(worker), lag: lags.get(worker.id) ?? null })),
    );
    leases.fill(
      cluster.shards.map((shard) => ({
        name: `${shard.id} of ${shard.total}`,
        host: shard.host ?? NOBODY,
        status: (STATUSES[shard.status] ?? ["", "", shard.status])[2],
        epoch: shard.epoch,
        since: shard.since,
      })),
    );
    partitions.fill(
      cluster.partitions.map(({ id, worker, lag }) => ({ name: String(id), worker: worker ?? NOBODY, lag })),
    );
  }

  function drawTables() {
    events.fill(
      Object.entries(latest.events).map(([name, counters]) => {
        const row = { name, total: counters.received };
        for (const key of RATED) row[key] = recent.rateOf(name, key);
        row.dropped = DROPPED.reduce((sum, key) => sum + row[key], 0);
        return row;
      }),
    );
    listeners.fill(
      latest.listeners.map((listener) => ({
        ...listener,
        longest: listener.longest_seconds,
        mean: listener.calls ? listener.seconds / listener.calls : 0,
      })),
    );
    reconnects.fill(
      [...latest.reconnects].reverse().map(({ at, shard, code, reason, resumed }) => ({
        at,
        shard,
        reason: [code, reason].filter((part) => part != null && part !== "").join(" ") || NONE,
        // Not known while the new connection is made.
        how: resumed == null ? "under way" : resumed ? "resumed" : "new",
      })),
    );
  }

  function drawBudget() {
    const { budget } = latest;
    element("budget-meter").hidden = !budget;
    if (!budget) {
      put(element("budget"), "Discord has not told yet how many sessions may be started.");
      return;
    }
    const until = budget.resets_at == null ? "" : `, until ${day.format(budget.resets_at * 1000)}`;
    put(element("budget"), `${count(budget.remaining)} of ${count(budget.total)} left${until}`);
    const meter = element("budget-meter");
    if (meter.max !== budget.total) [meter.max, meter.low] = [budget.total, budget.total / 10];
    meter.value = budget.remaining;
  }

  /** A bot whose loop stands still looks well otherwise: its shards are READY and its queue is short. */
  function drawBlocked() {
    const { live, loops, time } = latest;
    const blocked = blockedOf(latest);
    const bad = !live.ok || blocked >= BLOCKED;
    element("blocked").hidden = !bad;
    if (!bad) return;
    element("blocked").classList.toggle("critical", !live.ok);
    const since = live.since ?? time - blocked;
    const listener = live.listener ?? loops.find((loop) => loop.blocked_seconds >= BLOCKED)?.running;
    put(element("blocked-title"), `The event loop has been blocked for ${seconds(blocked)}.`);
    put(
      element("blocked-text"),
      `Since ${timeOf(since)}, ${listener ? `in ${listener}` : "nobody knows by what"}. ` +
        "No listener is called meanwhile; the shards look READY, for the engine goes on beating.",
    );
  }

  function draw() {
    if (drawn || document.hidden) return;
    drawn = true;
    drawHeader();
    drawFigures();
    drawBlocked();
    drawCluster();
    fleet.update(latest.shards);
    drawShard();
    drawTables();
    drawBudget();
    charts.draw();
  }

  let said = {}; // the states that were announced

  /** Spoken when a state changes, not when a figure does. */
  function tellChanges() {
    const states = { blocked: !latest.live.ok || blockedOf(latest) >= BLOCKED, ready: latest.ready.ok };
    const { cluster } = latest;
    if (cluster) {
      states.nats = cluster.connected === false;
      states.free = [...cluster.shards, ...cluster.partitions].some(isFree);
    }
    const changed = Object.keys(states).filter((key) => states[key] !== said[key]);
    const news = [];
    if (changed.includes("blocked") && (states.blocked || "blocked" in said)) {
      const by = latest.live.listener;
      news.push(states.blocked ? `The event loop is blocked${by ? ` in ${by}` : ""}.` : "The event loop runs again.");
    }
    if (changed.includes("nats") && (states.nats || "nats" in said)) {
      news.push(states.nats ? "The connection to NATS is lost." : "Connected to NATS again.");
    }
    if (changed.includes("free") && (states.free || "free" in said)) {
      news.push(states.free ? "Nobody has some of the partitions or shards." : "All shards and partitions are held.");
    }
    if (changed.includes("ready") && latest.ready.partitions != null) {
      const { taken, partitions: wanted } = latest.ready;
      news.push(states.ready ? `All ${wanted} partitions are read.` : `${taken} of ${wanted} partitions are read.`);
    } else if (changed.includes("ready")) {
      const { ready, shards } = latest.ready;
      news.push(states.ready ? `All ${shards} shards are ready.` : `${ready} of ${shards} shards are ready.`);
    }
    said = states;
    if (news.length) announce(news.join(" "));
  }

  function take(snapshot) {
    latest = snapshot;
    sums = recent.add(snapshot);
    drawn = false;
    charts.add({
      time: snapshot.time,
      received: recent.rate("received"),
      delivered: recent.rate("delivered"),
      dropped: recent.rate("dropped"),
      latency_seconds: most(snapshot.shards.map((shard) => shard.latency_seconds)),
      queued: sums.queued,
    });
    tellChanges();
    drawTitle();
    draw();
  }

  document.addEventListener("visibilitychange", draw);

  // ---------------------------------------------------------------- the connection

  let link = "waiting";
  let heard = 0; // when the last snapshot came, by the clock of this page

  function show(state) {
    if (link === state) return;
    const before = link;
    link = state;
    element("link").className = `pill ${state}`;
    put(element("link-text"), { live: "live", lost: "lost", waiting: "connecting" }[state]);
    document.body.classList.toggle("stale", state === "lost");
    element("lost").hidden = state !== "lost";
    if (state === "lost") {
      document.title = "LOST – Propylon";
      put(
        element("lost-text"),
        latest
          ? `The bot's admin server does not answer. All figures are from ${timeOf(latest.time)}; trying again.`
          : "The bot's admin server does not answer. Trying again.",
      );
      announce("Connection to the bot's admin server lost.");
    } else if (before === "lost") {
      announce("Connected to the bot's admin server again.");
    }
  }

  let source = null;
  let wait = 1;
  let timer = 0;

  // Made anew by hand: an EventSource gives up for good after an answer that is no stream (a 503 of a proxy, say).
  function lose() {
    source?.close();
    source = null;
    show("lost");
    clearTimeout(timer);
    timer = setTimeout(connect, wait * 1000);
    wait = Math.min(wait * 2, 10);
  }

  function connect() {
    heard = performance.now();
    source = new EventSource("stream");
    source.addEventListener("error", lose);
    source.addEventListener("snapshot", (event) => {
      heard = performance.now();
      let snapshot;
      try {
        snapshot = JSON.parse(event.data);
      } catch {
        lose();
        return;
      }
      if (link !== "live") catchUp();
      wait = 1;
      show("live");
      take(snapshot);
    });
  }

  // A connection that is open and silent: the machine is gone, or asleep.
  setInterval(() => {
    if (source && performance.now() - heard > SILENCE * 1000) lose();
  }, 1000);

  /** The points of the charts that were missed. */
  async function catchUp() {
    try {
      const answer = await fetch("history", { cache: "no-store" });
      if (answer.ok) charts.restart(await answer.json());
    } catch {
      // The stream tells of a lost server, and the next snapshot brings this here again.
    }
  }

  charts.rebuild();
  connect();
})();
