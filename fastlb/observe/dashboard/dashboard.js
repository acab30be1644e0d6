"use strict";
// The dashboard: the status comes once a second by a stream, and is put into the page.
// Rates are differences of counters; what is kept of them is the last minute.
(() => {
  const KEPT = 60;
  const ROWS_MAX = 100;             // of a pool; the filter finds the others
  const $ = (id) => document.getElementById(id);
  const BAD = new Set(["down", "failing", "ejected", "unserved"]);
  const WARN = new Set(["draining", "maintenance", "warming", "panic", "removed"]);

  // --- values ---

  const history = new Map();        // key -> the last rates
  let before = null;
  let status = null;

  const routeKey = (r) => `route/${r.listener}/${r.route}/${r.pool}`;

  function counters(s) {
    const found = new Map();
    for (const l of s.listeners) {
      const key = `listener/${l.name}`;
      found.set(`${key}/accepted`, l.accepted);
      found.set(`${key}/requests`, l.requests ?? 0);
      for (const k of [4, 5]) found.set(`${key}/${k}xx`, l[`answers_${k}xx`] ?? 0);
    }
    for (const r of s.routes) found.set(routeKey(r), r.requests);
    for (const p of s.pools) {
      for (const v of p.servers) {
        const key = `server/${p.name}/${v.address}`;
        found.set(`${key}/requests`, v.requests || v.connections);
        found.set(`${key}/errors`, v.errors + v.connect_failures);
        found.set(`${key}/bytes`, v.bytes_to_client + v.bytes_to_server);
      }
    }
    return found;
  }

  function take(next) {
    const now = counters(next);
    if (before !== null && next.time > before.time) {
      const seconds = next.time - before.time;
      for (const [key, value] of now) {
        const past = before.counters.get(key);
        const rate = past === undefined || value < past ? 0 : (value - past) / seconds;
        const list = history.get(key) ?? [];
        list.push(rate);
        if (list.length > KEPT) list.shift();
        history.set(key, list);
      }
      for (const key of history.keys()) {
        if (!now.has(key) && !key.startsWith("total/")) history.delete(key);
      }
    }
    before = {time: next.time, counters: now};
    status = next;
    const sum = (pattern) => [...now.keys()].filter((key) => pattern.test(key))
      .reduce((total, key) => total + rate(key), 0);
    note("total/requests", sum(/^listener\/.*\/requests$/));
    note("total/accepted", sum(/^listener\/.*\/accepted$/));
    note("total/5xx", sum(/^listener\/.*\/5xx$/));
    note("total/bytes", sum(/^server\/.*\/bytes$/));
    note("total/in_flight", next.in_flight);
    note("total/p99", (busiest()?.latency.p99 ?? 0) * 1000);
  }

  function note(key, value) {
    const list = history.get(key) ?? [];
    list.push(value);
    if (list.length > KEPT) list.shift();
    history.set(key, list);
  }

  const rate = (key) => history.get(key)?.at(-1) ?? 0;

  // --- words ---

  function number(x) {
    if (x === null || x === undefined || Number.isNaN(x)) return "–";
    if (x >= 1e6) return `${(x / 1e6).toFixed(x < 1e7 ? 2 : 1)}M`;
    if (x >= 1e4) return `${(x / 1e3).toFixed(x < 1e5 ? 1 : 0)}k`;
    if (x >= 100 || Number.isInteger(x)) return Math.round(x).toLocaleString("en");
    return x < 0.05 ? "0" : x.toFixed(1);
  }
  function bytes(x) {
    for (const unit of ["B", "KiB", "MiB", "GiB"]) {
      if (x < 1000 || unit === "GiB") return `${x < 10 && unit !== "B" ? x.toFixed(1) : Math.round(x)} ${unit}`;
      x /= 1024;
    }
    return "";
  }
  function seconds(x) {
    if (x === null || x === undefined) return "–";
    if (x < 0.001) return `${Math.round(x * 1e6)} µs`;
    if (x < 1) return `${(x * 1e3).toFixed(x < 0.01 ? 2 : x < 0.1 ? 1 : 0)} ms`;
    return `${x.toFixed(x < 10 ? 2 : 1)} s`;
  }
  function age(x) {
    const [d, h, m] = [Math.floor(x / 86400), Math.floor(x / 3600) % 24, Math.floor(x / 60) % 60];
    if (d) return `${d} d ${h} h`;
    if (h) return `${h} h ${m} min`;
    return m ? `${m} min ${Math.floor(x % 60)} s` : `${Math.floor(x)} s`;
  }
  const tone = (state) => BAD.has(state) ? "bad" : WARN.has(state) ? "warn" : state === "unchecked" ? "" : "good";

  // --- parts of the page ---

  function make(tag, keys = {}, ...inside) {
    const made = document.createElement(tag);
    for (const [key, value] of Object.entries(keys)) {
      if (key === "class") made.className = value;
      else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else made.setAttribute(key, value);
    }
    made.append(...inside);
    return made;
  }
  function put(node, text) {        // only where it differs: what is selected or focused stays
    if (node.textContent !== text) node.textContent = text;
  }
  function spark(key, what) {
    const space = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(space, "svg");
    svg.setAttribute("class", "spark");
    svg.setAttribute("viewBox", "0 0 100 24");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("role", "img");
    const area = document.createElementNS(space, "path");
    area.setAttribute("class", "area");
    const line = document.createElementNS(space, "path");
    line.setAttribute("class", "line");
    svg.append(area, line);
    svg.draw = () => {
      const list = history.get(key) ?? [];
      const top = Math.max(...list, 1e-9);
      const x = (i) => (100 * (KEPT - list.length + i) / (KEPT - 1)).toFixed(1);
      const points = list.map((v, i) => `${x(i)} ${(23 - 22 * v / top).toFixed(1)}`);
      const path = points.length > 1 ? `M${points.join("L")}` : "";
      line.setAttribute("d", path);
      area.setAttribute("d", path && `${path}L100 24L${x(0)} 24Z`);
      svg.setAttribute("aria-label", `${what}, last minute: up to ${number(Math.max(...list, 0))}`);
    };
    return svg;
  }

  // Children of `parent`, one for each item: made once, then only changed.
  function each(parent, items, key, build) {
    const known = parent.known ?? (parent.known = new Map());
    const wanted = new Set();
    let at = parent.firstChild;
    for (const item of items) {
      const id = key(item);
      wanted.add(id);
      let node = known.get(id);
      if (node === undefined) known.set(id, node = build(item));
      node.change(item);
      if (node === at) at = at.nextSibling;
      else parent.insertBefore(node, at);
    }
    for (const [id, node] of known) {
      if (!wanted.has(id)) { node.remove(); known.delete(id); }
    }
  }

  function cells(row, ...labels) {     // on a phone, each number stands beside its label
    return labels.map((label) => row.appendChild(make("td", {class: "n", "data-label": label})));
  }

  function tile({key, title, wanted, what}) {
    const value = make("output"), small = make("small"), line = spark(key, what);
    const node = make("article", {class: "card tile"}, make("h3", {}, title), value, small, line);
    node.change = () => {
      const [text, more] = wanted();
      put(value, text);
      put(small, more);
      line.draw();
    };
    return node;
  }

  const busiest = () => status.routes.filter((r) => r.latency?.p99 != null)
    .sort((a, b) => rate(routeKey(b)) - rate(routeKey(a)) || b.requests - a.requests)[0];
  const named = (r) => r.route || r.pool || r.listener;
  const TILES = [
    {key: "total/requests", title: "Requests per second", what: "requests per second",
      wanted: () => [number(rate("total/requests")), `${number(rate("total/accepted"))} new connections/s`]},
    {key: "total/in_flight", title: "Connections now", what: "connections",
      wanted: () => [number(status.in_flight), status.max_connections ? `of ${number(status.max_connections)}` : "no limit"]},
    {key: "total/5xx", title: "Failed per second", what: "5xx answers per second",
      wanted: () => [number(rate("total/5xx")), "answers with a 5xx status"]},
    {key: "total/p99", title: "p99 latency", what: "p99 in milliseconds",
      wanted: () => {
        const r = busiest();
        return r ? [seconds(r.latency.p99), `of ${named(r)}; p50 ${seconds(r.latency.p50)}`] : ["–", "nothing measured yet"];
      }},
    {key: "total/bytes", title: "Throughput", what: "bytes per second",
      wanted: () => [`${bytes(rate("total/bytes"))}/s`, "both ways, of all servers"]},
  ];

  function listenerRow(l) {
    const key = `listener/${l.name}`;
    const tag = make("span", {class: "tag"}), where = make("td");
    const row = make("tr", {}, make("th", {scope: "row"}, `${l.name} `, tag), where);
    const [flight, accepted, requests, bad, failed] = cells(row, "connections", "new/s", "req/s", "4xx/s", "5xx/s");
    const line = spark(`${key}/${l.mode === "http" ? "requests" : "accepted"}`, `traffic of ${l.name}`);
    row.append(make("td", {class: "wide"}, line));
    row.change = (now) => {
      const http = now.mode === "http";
      put(tag, now.mode || "closed");
      put(where, now.addresses.map((a) => a.replace(/^\w+:\/\//, "")).join(", "));
      put(flight, number(now.in_flight));
      put(accepted, number(rate(`${key}/accepted`)));
      put(requests, http ? number(rate(`${key}/requests`)) : "–");
      put(bad, http ? number(rate(`${key}/4xx`)) : "–");
      put(failed, http ? number(rate(`${key}/5xx`)) : "–");
      failed.classList.toggle("alarm", rate(`${key}/5xx`) > 0);
      line.draw();
    };
    return row;
  }

  function routeRow(r) {
    const key = routeKey(r);
    const pool = make("td"), line = spark(key, `requests of ${r.route}`);
    const row = make("tr", {}, make("th", {scope: "row"}, r.route || "no route"), make("td", {}, r.listener), pool);
    const [requests, p50, p99] = cells(row, "req/s", "p50", "p99");
    row.append(make("td", {class: "wide"}, line));
    row.change = (now) => {
      put(pool, now.pool || "–");
      put(requests, number(rate(key)));
      put(p50, seconds(now.latency?.p50));
      put(p99, seconds(now.latency?.p99));
      line.draw();
    };
    return row;
  }

  const refusedKeys = (s) => s.rate_limits.flatMap(
    (l) => l.refused_most.map((one) => ({limit: l.name, ...one}))).sort((a, b) => b.refused - a.refused);

  function refusedRow(k) {
    const row = make("tr", {}, make("th", {scope: "row"}, k.key), make("td", {}, k.limit));
    const [refused] = cells(row, "refused");
    row.change = (now) => put(refused, number(now.refused));
    return row;
  }

  function serverRow(pool, v) {
    const key = `server/${pool}/${v.address}`;
    const chip = make("span", {class: "chip"}), why = make("span", {class: "why"});
    const row = make("tr", {"data-server": `${pool}/${v.address}`},
      make("th", {scope: "row"}, v.address), make("td", {class: "state"}, chip, why));
    const [flight, requests, errors, p50, p99, weight] = cells(row, "in flight", "req/s", "errors/s", "p50", "p99", "weight");
    const line = spark(`${key}/requests`, `requests of ${v.address}`);
    const actions = make("td", {class: "actions"});
    row.append(make("td", {class: "wide"}, line), actions);
    const button = (text, state, about) => make("button", {
      type: "button", "aria-label": `${text} ${pool}/${v.address}`,
      onclick: () => ask(pool, v.address, text, state, about),
    }, text);
    const ways = {
      out: [button("Enable", "up", "It gets new connections again.")],
      in: [
        button("Drain", "draining", "It keeps its connections and bound clients, and gets no new ones."),
        button("Maintenance", "maintenance", "It gets nobody new, not even bound clients, and no health checks. What is under way goes on."),
      ],
      gone: [],
    };
    let shown = "";
    row.change = (now) => {
      put(chip, now.state);
      chip.className = `chip ${tone(now.state)}`;
      const error = now.state === "up" || now.state === "unchecked" ? "" : now.error ?? "";
      put(why, error);
      why.hidden = !error;
      why.title = error;
      put(flight, number(now.in_flight));
      put(requests, number(rate(`${key}/requests`)));
      put(errors, number(rate(`${key}/errors`)));
      errors.classList.toggle("alarm", rate(`${key}/errors`) > 0);
      put(p50, seconds(now.latency?.p50));
      put(p99, seconds(now.latency?.p99));
      put(weight, now.weight === null ? "left" : number(now.weight));
      line.draw();
      const way = now.weight === null ? "gone" : now.state === "draining" || now.state === "maintenance" ? "out" : "in";
      if (way !== shown) { actions.replaceChildren(...ways[way]); shown = way; }
    };
    return row;
  }

  function poolCard(p) {
    const chip = make("span", {class: "chip"}), facts = make("div", {class: "facts"});
    const body = make("tbody"), more = make("p", {class: "more quiet", hidden: ""});
    const heads = [["Server"], ["State"], ["In flight", "n"], ["Requests/s", "n"], ["Errors/s", "n"],
      ["p50", "n"], ["p99", "n"], ["Weight", "n"], ["Last minute"], ["Actions", "n"]];
    const id = `pool-${p.name}`;
    const node = make("article", {class: "card pool", "aria-labelledby": id},
      make("div", {class: "bar"}, make("h3", {id}, p.name, " "), facts, chip),
      make("div", {class: "scroll", tabindex: "0", role: "region", "aria-labelledby": id},
        make("table", {}, make("thead", {}, make("tr", {}, ...heads.map(([text, kind]) =>
          make("th", {scope: "col", class: kind ?? ""}, text)))), body)), more);
    node.change = (now) => {
      const up = now.servers.filter((v) => tone(v.state) === "good").length;
      const state = now.down ? "unserved" : now.panic ? "panic" : "serving";
      put(chip, `${state}, ${up} of ${now.servers.length} up`);
      chip.className = `chip ${now.down ? "bad" : now.panic || now.servers.some((v) => BAD.has(v.state) || WARN.has(v.state)) ? "warn" : "good"}`;
      const told = [["in flight", now.in_flight], ["waiting", now.pending], ["retrying", now.retrying]];
      facts.replaceChildren(make("span", {}, now.balance), ...told.filter(([, n], i) => !i || n)
        .map(([word, n]) => make("span", {}, make("b", {}, number(n)), ` ${word}`)));
      const found = now.servers.filter((v) => fits(now, v));
      each(body, found.slice(0, ROWS_MAX), (v) => v.address, (v) => serverRow(p.name, v));
      more.hidden = found.length <= ROWS_MAX && found.length > 0;
      put(more, found.length ? `${found.length - ROWS_MAX} more: use the filter` : "No server.");
    };
    return node;
  }

  function fits(pool, server) {
    const wanted = $("filter").value.trim().toLowerCase();
    return !wanted || `${pool.name} ${server.address} ${server.state}`.toLowerCase().includes(wanted);
  }

  function eventLine(e) {
    const at = new Date(e.time * 1000);
    const node = make("li", {}, make("time", {datetime: at.toISOString()}, at.toLocaleTimeString()),
      make("span", {class: `chip ${tone(e.state)}`}, e.state),
      make("span", {}, make("b", {}, e.server ? `${e.pool} / ${e.server}` : e.pool), ` ${e.text}`));
    node.change = () => {};
    return node;
  }

  // --- what is shown ---

  let events = [];

  function show() {
    const s = status;
    const state = $("state");
    put(state, s.state);
    state.className = `chip ${s.state === "serving" ? "good" : "warn"}`;
    put($("about"), `${s.version} · up ${age(s.uptime)} · process ${s.pid} · ${s.engines.length} engine${s.engines.length === 1 ? "" : "s"}`);
    each($("tiles"), TILES, (t) => t.key, tile);
    for (const [id, items, key, build] of [
      ["listeners", s.listeners, (l) => l.name, listenerRow],
      ["routes", s.routes, (r) => `${r.listener}/${r.route}/${r.pool}`, routeRow],
      ["refused", refusedKeys(s), (k) => `${k.limit}/${k.key}`, refusedRow],
      ["pools", s.pools.filter((p) => !$("filter").value.trim() || p.servers.some((v) => fits(p, v))), (p) => p.name, poolCard],
    ]) {
      each($(id), items, key, build);
      $(`${id}-section`).hidden = items.length === 0 && (id !== "pools" || s.pools.length === 0);
    }
    $("empty").hidden = s.listeners.length + s.pools.length > 0;
    if (events.length) {
      if (!$("events").known) $("events").replaceChildren();
      each($("events"), events.slice(-100).reverse(), (e) => e.id, eventLine);
    }
  }

  function tell(text) {
    const toast = $("toast");
    toast.textContent = text;
    toast.hidden = false;
    clearTimeout(tell.timer);
    tell.timer = setTimeout(() => { toast.hidden = true; }, 6000);
  }

  // --- asking ---

  const token = () => sessionStorage.getItem("fastlb-token");
  const headers = () => token() ? {authorization: `Bearer ${token()}`} : {};

  // What was pressed. The event of a closing comes later, perhaps when it is open again for another question.
  function closed(dialog) {
    return new Promise((done) => {
      dialog.querySelector("form").onsubmit = (event) => done(event.submitter.value);
      dialog.onclose = () => { if (!dialog.open) done("no"); };
    });
  }

  async function askToken() {
    const dialog = $("ask-token");
    if (token()) put($("token-text"), "That was not the token.");
    $("token").value = "";
    dialog.showModal();
    await closed(dialog);
    sessionStorage.setItem("fastlb-token", $("token").value);
  }

  async function ask(pool, address, text, state, about) {
    const dialog = $("confirm");
    put($("confirm-title"), `${text} ${pool}/${address}?`);
    put($("confirm-text"), about);
    put($("confirm-yes"), text);
    dialog.showModal();
    if (await closed(dialog) !== "yes") return;
    const path = `pools/${encodeURIComponent(pool)}/servers/${encodeURIComponent(address)}`;
    try {
      const answer = await fetch(path, {
        method: "PATCH", headers: {...headers(), "content-type": "application/json"},
        body: JSON.stringify({state}),
      });
      const made = await answer.json();
      tell(answer.ok ? `${pool}/${address} is ${made.state}; ${made.in_flight} in flight` : `Not done: ${made.error}`);
    } catch (error) {
      tell(`Not done: ${error.message}`);
    }
  }

  let eventId = 0;

  function heard(kind, text) {
    if (kind !== "status") return;
    const made = JSON.parse(text);
    for (const event of made.events) events.push({...event, id: eventId += 1});
    events = events.slice(-100);
    take(made);
    show();
  }

  async function follow() {
    const answer = await fetch("stream", {headers: headers(), cache: "no-store"});
    if (answer.status === 401) { await askToken(); return; }
    if (!answer.ok) throw new Error(`${answer.status}`);
    events = [];                    // the stream begins with those that are kept
    $("events").known = undefined;
    document.body.classList.remove("stale");
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let waiting = "";
    for (;;) {
      const {done, value} = await reader.read();
      if (done) throw new Error("the stream has ended");
      waiting += value;
      const parts = waiting.split("\n\n");
      waiting = parts.pop();
      for (const part of parts) {
        const found = /^event: (\w+)\ndata: (.*)$/.exec(part);
        if (found) heard(found[1], found[2]);
      }
    }
  }

  async function run() {
    for (let pause = 500; ; pause = Math.min(pause * 2, 10000)) {
      const since = Date.now();
      try {
        await follow();
        pause = 250;
        continue;
      } catch (error) {
        if (Date.now() - since > 5000) pause = 500;
        document.body.classList.add("stale");
        put($("state"), "not connected");
        $("state").className = "chip bad";
        await new Promise((done) => setTimeout(done, pause));
      }
    }
  }

  $("filter").addEventListener("input", () => { if (status) show(); });
  $("ask-token").addEventListener("cancel", (event) => event.preventDefault());
  run();
})();
