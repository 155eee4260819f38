// Operate: what operators watch and do: the queue by lane, workers, accounts, the ledger. Everything is asked anew
// every few seconds, while somebody looks.

import { html, useEffect, useRef, useSignal } from "../lib/html.js";
import { calledOf, learnNames, noteNames } from "../lib/accounts.js";
import { call, callOnce } from "../lib/api.js";
import { clock, counted, dayName, fileSize, gpuTime, number } from "../lib/format.js";
import { href } from "../lib/router.js";
import { Dialog, confirm } from "../components/dialog.js";
import { Menu } from "../components/menu.js";
import { attempt, tell } from "../components/toasts.js";

const EVERY_MS = 2000;
const LANES = ["turbo", "fast", "draft", "relax"];
const TABS = [["now", "Now"], ["jobs", "Jobs"], ["accounts", "Accounts"], ["ledger", "Ledger"], ["blocked", "Blocked"]];
const HOUR_MS = 3_600_000;

/** @param {{params: string[]}} properties */
export default function Operate({ params }) {
  const tab = params[0] ?? "now";
  const View = { jobs: Jobs, accounts: Accounts, ledger: Ledger, blocked: Blocked }[tab] ?? Now;
  return html`<div class="operate">
    <h1 class="hidden">Operate</h1>
    <nav class="tabs" aria-label="Operate">${TABS.map(([id = "", label]) => html`<a key=${id} href=${href("operate", id)} aria-current=${tab === id ? "page" : null}>${label}</a>`)}</nav>
    <${View} key=${`${tab}/${params[1] ?? ""}`} account=${params[1] ?? ""} />
  </div>`;
}

/** Ask for something now and again and again, while the page is seen. @param {string} tag @param {object} fields */
function useLive(tag, fields, every = EVERY_MS) {
  const found = useSignal(/** @type {any} */ (null));
  const wrong = useSignal("");
  const page = JSON.stringify(fields);
  const shown = useRef(page);
  shown.current = page;
  const order = useRef({ asked: 0, taken: 0 });
  const load = async () => {
    order.current.asked += 1;
    const mine = order.current.asked;
    try {
      const answer = await call(tag, fields);
      if (shown.current !== page || mine < order.current.taken) return; // another page, or a newer answer, is looked at meanwhile
      order.current.taken = mine;
      found.value = answer;
      wrong.value = "";
    } catch (error) {
      if (shown.current === page) wrong.value = error instanceof Error ? error.message : String(error);
    }
  };
  useEffect(() => {
    void load();
    const timer = setInterval(() => !document.hidden && void load(), every);
    return () => clearInterval(timer);
  }, [page]);
  return { found, wrong, load };
}

function Now() {
  const { found, wrong, load } = useLive("ops.status", {});
  const status = found.value;
  if (!status) return html`<p class=${wrong.value ? "error" : "muted"} role="status">${wrong.value || "…"}</p>`;
  /** @param {string} tag @param {object} [fields] */
  const order = (tag, fields = {}) => attempt(() => call(tag, fields)).then(load);
  const drain = async () => {
    if (await confirm("Accept no further jobs?", "What is open is finished. Resume takes that back.", "Drain")) await order("ops.drain");
  };
  const figures = [
    ["Up", gpuTime(status.up_ms)], ["Accepted", number(status.accepted)], ["Steps", number(status.steps)], ["Jobs in a batch", status.batch_jobs.toFixed(1)],
    ["Connections", number(status.clients + status.http_clients)], ["Pages that listen", number(status.http_streams)], ["Stored", fileSize(status.stored_bytes)], ["Free", fileSize(status.free_bytes)],
    ...Object.entries(status.ended).map(([state, count]) => [`Ended: ${state}`, number(/** @type {number} */ (count))]),
  ];
  const most = Math.max(1, ...LANES.map((lane) => (status.queued[lane] ?? 0) + (status.running[lane] ?? 0)));
  return html`<div class="panels">
    ${wrong.value && html`<p class="error" role="alert">${wrong.value}</p>`}
    <section class="panel wide">
      <div class="row"><span class="light" data-state=${status.state}></span><h2>${status.state}</h2><span class="muted">${status.model}, ${status.backend}, Salon ${status.server}</span>
        <span class="spring"></span>
        ${status.state === "running"
          ? html`<button type="button" onClick=${() => order("ops.pause")}>Pause</button><button type="button" class="danger-text" onClick=${drain}>Drain</button>`
          : html`<button type="button" class="primary" onClick=${() => order("ops.resume")}>Resume</button>`}</div>
      <dl class="figures">${figures.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
    </section>
    <section class="panel"><h2>Lanes</h2>
      <table class="plain-table"><thead><tr><th scope="col">Lane</th><th scope="col"><span class="hidden">Share</span></th><th scope="col" class="num">Running</th><th scope="col" class="num">Waiting</th></tr></thead><tbody>
        ${LANES.map((lane) => { const running = status.running[lane] ?? 0; const queued = status.queued[lane] ?? 0; return html`<tr key=${lane}><th scope="row">${lane}</th>
          <td class="bars"><meter min="0" max=${most} value=${running + queued} aria-label=${`Jobs of ${lane}`}></meter></td><td class="num">${running}</td><td class="num">${queued}</td></tr>`; })}
      </tbody></table></section>
    <section class="panel"><h2>Workers</h2>
      <table class="plain-table"><thead><tr><th scope="col">Worker</th><th scope="col">State</th><th scope="col" class="num">Busy</th><th scope="col" class="num">A step</th><th scope="col" class="num">Cost off by</th><th scope="col" class="num">Restarts</th></tr></thead><tbody>
        ${status.workers.map((/** @type {any} */ worker) => html`<tr key=${worker.name}><th scope="row">${worker.name}</th><td>${worker.state}</td>
          <td class="num">${Math.round(worker.busy_share * 100)} %</td><td class="num">${worker.step_ms.toFixed(0)} ms</td><td class="num">${Math.round(worker.cost_error * 100)} %</td><td class="num">${worker.restarts}</td></tr>`)}
      </tbody></table></section>
  </div>`;
}

function Jobs() {
  const { found, wrong, load } = useLive("list", { account: "*", limit: 50 });
  const jobs = found.value?.jobs;
  useNames(jobs);
  if (!jobs) return html`<p class=${wrong.value ? "error" : "muted"} role="status">${wrong.value || "…"}</p>`;
  /** @param {any} job */
  const acts = (job) => [
    ...(["queued", "running", "paused"].includes(job.state) ? [{ id: "cancel", label: "Cancel", icon: "close", danger: true, run: () => void attempt(() => call("cancel", { job: job.job })).then(load) }] : []),
    ...(job.state === "failed" ? [{ id: "retry", label: "Run it again", icon: "again", run: () => void attempt(() => call("ops.retry", { job: job.job })).then(load) }] : []),
  ];
  return html`<div class="scroll"><table class="plain-table jobs-table"><thead><tr><th scope="col">Made</th><th scope="col">Account</th><th scope="col">Kind</th><th scope="col">Prompt</th><th scope="col">Lane</th><th scope="col">State</th><th scope="col" class="num">GPU time</th><th scope="col"><span class="hidden">Acts</span></th></tr></thead><tbody>
    ${jobs.map((/** @type {any} */ job) => html`<tr key=${job.job}><td>${clock(job.made_ms)}</td><td class="clip" title=${job.account}>${calledOf(job.account)}</td><td>${job.kind}</td>
      <td class="clip" title=${job.prompt}>${job.prompt || html`<span class="muted">${job.private ? "private" : "none"}</span>`}</td><td>${job.lane}</td>
      <td>${job.state}${job.state === "running" && job.steps ? ` ${job.step}/${job.steps}` : ""}${job.reason ? html` <span class="error" title=${job.reason}>${job.failure || "why"}</span>` : ""}</td>
      <td class="num">${job.charged_ms ? gpuTime(job.charged_ms) : ""}</td><td class="num">${acts(job).length > 0 && html`<${Menu} label=${`Job ${job.job}`} items=${() => acts(job)} />`}</td></tr>`)}
  </tbody></table></div>`;
}

function Accounts() {
  const pages = useSignal([""]);
  const { found, wrong, load } = useLive("ops.accounts", { after: pages.value.at(-1), limit: 50 }, 5000);
  const edited = useSignal(/** @type {any} */ (null));
  const list = found.value;
  useEffect(() => noteNames(list?.accounts ?? []), [list]);
  if (!list) return html`<p class=${wrong.value ? "error" : "muted"} role="status">${wrong.value || "…"}</p>`;
  return html`<div class="scroll">
    <table class="plain-table"><thead><tr><th scope="col">Account</th><th scope="col">Plan</th><th scope="col">Role</th><th scope="col" class="num">Fast time left</th><th scope="col" class="num">Running</th><th scope="col" class="num">Waiting</th><th scope="col" class="num">Stored</th><th scope="col"><span class="hidden">Acts</span></th></tr></thead><tbody>
      ${list.accounts.map((/** @type {any} */ each) => html`<tr key=${each.account}><th scope="row" title=${each.account}><span class="clip">${calledOf(each.account)}</span>${each.blocked ? html` <span class="error">blocked</span>` : each.timeout_ms > Date.now() ? html` <span class="error">waits until ${clock(each.timeout_ms)}</span>` : ""}</th>
        <td>${each.plan}</td><td>${each.role}</td><td class="num">${each.fast_ms ? gpuTime(total(each.fast_ms)) : "unlimited"}</td><td class="num">${each.num_running}</td><td class="num">${each.num_queued}</td><td class="num">${fileSize(each.stored_bytes)}</td>
        <td class="num"><${Menu} label=${`Account ${calledOf(each.account)}`} items=${() => [
          { id: "change", label: "Change", icon: "edit", run: () => { edited.value = each; } },
          { id: "ledger", label: "Ledger", icon: "recipe", run: () => { location.hash = href("operate", "ledger", each.account); } },
          { id: "blocked", label: "What was blocked", icon: "eye", run: () => { location.hash = href("operate", "blocked", each.account); } },
          ...(each.timeout_ms > Date.now() ? [{ id: "lift", label: "End its timeout", icon: "undo", run: () => void attempt(async () => { await call("ops.lift", { account: each.account }); await load(); }) }] : []),
          { id: "block", label: each.blocked ? "Let in again" : "Block", icon: "lock", danger: !each.blocked, run: () => void attempt(async () => { await call("ops.set_account", { account: each.account, blocked: !each.blocked }); await load(); }) },
        ]} /></td></tr>`)}
    </tbody></table>
    <div class="row end">
      ${pages.value.length > 1 && html`<button type="button" onClick=${() => { pages.value = pages.value.slice(0, -1); }}>Before</button>`}
      ${list.more && html`<button type="button" onClick=${() => { pages.value = [...pages.value, list.accounts.at(-1).account]; }}>Next</button>`}
      <button type="button" onClick=${() => { edited.value = {}; }}>Open an account</button>
    </div>
    ${edited.value && html`<${AccountForm} account=${edited.value} onClose=${() => { edited.value = null; void load(); }} />`}
  </div>`;
}

/** Fields begin with what the account has; what is typed stays while the list behind is asked for anew.
 * @param {{account: any, onClose: () => void}} properties */
function AccountForm({ account, onClose }) {
  const wrong = useSignal("");
  /** @param {SubmitEvent} event */
  const save = async (event) => {
    event.preventDefault();
    const form = new FormData(/** @type {HTMLFormElement} */ (event.target));
    /** @param {string} name */
    const text = (name) => String(form.get(name) ?? "").trim();
    const id = account.account ?? text("account");
    /** @type {Record<string, any>} */
    const fields = { account: id };
    for (const name of ["name", "plan", "role"]) if (text(name) && text(name) !== account[name]) fields[name] = text(name);
    try {
      if (Object.keys(fields).length > 1 || !account.account) await call("ops.set_account", fields);
      const hours = Number(text("grant"));
      if (hours) await callOnce("ops.grant", { account: id, amount_ms: Math.round(hours * HOUR_MS) });
      tell(`Account ${calledOf(id)} is changed.`);
      onClose();
    } catch (error) {
      wrong.value = error instanceof Error ? error.message : String(error);
    }
  };
  return html`<${Dialog} title=${account.account ? `Account ${calledOf(account.account)}` : "Open an account"} onClose=${onClose}>
    <form class="form" onSubmit=${save}>
      ${!account.account && html`<label class="stack">Public key, 64 hex digits<input type="text" name="account" required /></label>`}
      <label class="stack">Name<input type="text" name="name" defaultValue=${account.name ?? ""} /></label>
      <label class="stack">Plan<input type="text" name="plan" defaultValue=${account.plan ?? ""} /></label>
      <label class="stack">Role<select name="role">${["user", "operator"].map((role) => html`<option key=${role} selected=${role === (account.role ?? "user")}>${role}</option>`)}</select></label>
      <label class="stack">Grant hours of GPU time<input type="number" name="grant" step="any" placeholder="none" /></label>
      ${wrong.value && html`<p class="error" role="alert">${wrong.value}</p>`}
      <div class="row end"><button class="primary">Save</button></div>
    </form>
  <//>`;
}

/** @param {{account: string}} properties */
function Ledger({ account }) {
  const after = useSignal([0]);
  const { found, wrong } = useLive("ops.ledger", { account, after: after.value.at(-1), limit: 100, newest: true }, 5000);
  const page = found.value;
  useNames(page?.entries, account);
  if (!page) return html`<p class=${wrong.value ? "error" : "muted"} role="status">${wrong.value || "…"}</p>`;
  return html`<div class="scroll">
    <p class="row">${account ? html`Account <b title=${account}>${calledOf(account)}</b>, balance ${gpuTime(page.balance_ms)} <a href=${href("operate", "ledger")}>all accounts</a>` : `${counted(page.entries.length, "entry").replace("entrys", "entries")} of all accounts`}</p>
    <table class="plain-table"><thead><tr><th scope="col" class="num">Number</th><th scope="col">When</th><th scope="col">Account</th><th scope="col">What</th><th scope="col" class="num">GPU time</th><th scope="col">Job</th></tr></thead><tbody>
      ${page.entries.map((/** @type {any} */ entry) => html`<tr key=${entry.seq}><td class="num">${entry.seq}</td><td>${dayName(entry.at_ms)}, ${clock(entry.at_ms)}</td><td class="clip" title=${entry.account}>${calledOf(entry.account)}</td>
        <td>${entry.kind}${entry.source ? `, ${entry.source}` : ""}</td><td class="num">${entry.amount_ms < 0 ? "−" : ""}${gpuTime(Math.abs(entry.amount_ms))}</td><td>${entry.job}</td></tr>`)}
    </tbody></table>
    <div class="row end">
      ${after.value.length > 1 && html`<button type="button" onClick=${() => { after.value = after.value.slice(0, -1); }}>Newer</button>`}
      ${page.more && html`<button type="button" onClick=${() => { after.value = [...after.value, page.entries.at(-1).seq]; }}>Older</button>`}
    </div>
  </div>`;
}

/** What policies have not allowed, newest first. @param {{account: string}} properties */
function Blocked({ account }) {
  const before = useSignal([0]);
  const { found, wrong } = useLive("ops.blocks", { account, before: before.value.at(-1), limit: 50 }, 5000);
  const page = found.value;
  useNames(page?.blocks, account);
  if (!page) return html`<p class=${wrong.value ? "error" : "muted"} role="status">${wrong.value || "…"}</p>`;
  return html`<div class="scroll">
    ${account && html`<p class="row">Account <b title=${account}>${calledOf(account)}</b> <a href=${href("operate", "blocked")}>all accounts</a></p>`}
    ${page.blocks.length ? html`<table class="plain-table"><thead><tr><th scope="col">When</th><th scope="col">Account</th><th scope="col">Stage</th><th scope="col">Rule</th><th scope="col">What it was told</th><th scope="col">Job</th></tr></thead><tbody>
      ${page.blocks.map((/** @type {any} */ each) => html`<tr key=${each.number}><td>${dayName(each.at_ms)}, ${clock(each.at_ms)}</td><td class="clip" title=${each.account}>${calledOf(each.account)}</td><td>${each.stage}</td><td>${each.rule}</td><td class="words">${each.message}</td><td>${each.job}</td></tr>`)}
    </tbody></table>` : html`<p class="muted">No policy has blocked anything.</p>`}
    <div class="row end">
      ${before.value.length > 1 && html`<button type="button" onClick=${() => { before.value = before.value.slice(0, -1); }}>Newer</button>`}
      ${page.next > 0 && html`<button type="button" onClick=${() => { before.value = [...before.value, page.next]; }}>Older</button>`}
    </div>
  </div>`;
}

/** Learn what the accounts of some records are called. @param {{account: string}[] | undefined} records @param {string} [more] */
const useNames = (records, more = "") => useEffect(() => {
  void learnNames([...new Set([more, ...(records ?? []).map((each) => each.account)])]);
}, [records, more]);

/** @param {Record<string, number>} sources */
const total = (sources) => Object.values(sources).reduce((sum, each) => sum + each, 0);
