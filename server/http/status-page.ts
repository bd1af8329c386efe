/**
 * `GET /`: members, alerts, repairs, shards and watermarks on one page that brings everything with it and asks the admin API
 * again every two seconds; repair is paused and resumed from it. Text from outside goes through `textContent` only.
 */
import type { Express } from 'express';

const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Starling</title>
<style>
  :root { color-scheme: light dark; }
  body { font: 14px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 1400px; padding: 0 1rem; }
  h1 { font-size: 1.3rem; margin: 0 0 .2rem; } h2 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
  table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
  p { margin: 0 0 .4rem; }
  th, td { text-align: left; padding: .2rem .7rem .2rem 0; border-bottom: 1px solid #8883; white-space: nowrap; }
  td.why { white-space: normal; } button { font: inherit; font-size: .8rem; margin-left: .6rem; }
  .good { color: #1a7f37; } .bad { color: #cf222e; } .dim { opacity: .65; }
</style>
</head>
<body>
<h1>Starling <span id="name"></span></h1>
<div id="summary" class="dim">loading</div>
<h2>Members</h2>
<table><thead><tr><th>name<th>address<th>state<th>live<th>heard<th>clock<th>shards<th>link<tbody id="members"></table>
<h2>Alerts</h2>
<table><thead><tr><th>state<th>rule<th>value<th>labels<th>since<th>evaluated by<tbody id="alerts"></table>
<h2>Repairs <button id="pause" hidden></button></h2>
<p class="dim" id="repairing"></p>
<table id="underway" hidden><thead><tr><th>repair<th>of<th>state<th>done<th>left<th>moved<th>why<tbody id="orders"></table>
<table><thead><tr><th>ended<th>kind<th>database<th>shard<th>outcome<th>moved<th>why<tbody id="repairs"></table>
<h2>Shards</h2>
<p class="dim">All equal: up to then all owners are proven equal; live equal: the same for the owners that are up.</p>
<table><thead><tr><th>shard<th>policy<th>from (UTC)<th>no.<th>rows<th>series<th>bytes<th>replicas<th>all equal<th>live equal<th>held back by<tbody id="shards"></table>
<script>
const byId = (id) => document.getElementById(id);
const ago = (ms, now) => ms === null || ms === undefined ? '-' : ((now - ms) / 1000).toFixed(1) + ' s ago';
function fill(body, rows, empty) {
  if (rows.length === 0) rows = [[[empty, 'dim']]];
  body.replaceChildren(...rows.map((cells) => {
    const row = document.createElement('tr');
    for (const cell of cells) {
      const [text, style] = Array.isArray(cell) ? cell : [cell, ''];
      const box = document.createElement('td');
      box.textContent = text === null || text === undefined ? '-' : String(text);
      box.className = style;
      row.append(box);
    }
    return row;
  }));
}
const sized = (bytes) => bytes < 1e4 ? bytes + ' B' : bytes < 1e7 ? (bytes / 1e3).toFixed(0) + ' KB' : (bytes / 1e6).toFixed(0) + ' MB';
function moved(repair, names) {
  const steps = repair.steps.filter((step) => step.batches + step.rows > 0);
  return steps.map((step) => names[step.from] + ' → ' + names[step.to] + ': ' + step.rows + ' rows, ' + sized(step.bytes) + ', ' +
    step.ms.toFixed(0) + ' ms').join('; ');
}
function left(ms) {
  if (ms === null) return '-';
  const s = Math.ceil(ms / 1000);
  return s < 120 ? s + ' s' : s < 7200 ? Math.round(s / 60) + ' min' : Math.round(s / 3600) + ' h';
}
function showRepairs(page, now) {
  const orders = page.repairs.filter((r) => r.finishedMs === null);
  byId('underway').hidden = orders.length === 0;
  fill(byId('orders'), orders.map((r) => [r.mode, r.scope, r.state, r.percentage + ' %', left(r.etaMs),
    r.rowsMoved + ' rows, ' + sized(r.bytesMoved), [r.message, 'why']]), '');
  const paused = page.members.filter((m) => m.paused).map((m) => m.name);
  const { equal } = page;
  byId('repairing').textContent = (paused.length > 0 ? 'paused on ' + paused.join(', ') : 'running') + ' · ' + equal.passes +
    ' passes at this node found nothing to repair' + (page.unreachable.length > 0 ? ' · not heard: ' + page.unreachable.join(', ') : '');
  byId('repairing').className = paused.length > 0 ? 'bad' : 'dim';
  const button = byId('pause');
  button.hidden = false;
  button.textContent = paused.length > 0 ? 'resume' : 'pause';
  button.onclick = async () => {
    button.disabled = true;
    await fetch('/api/repairs/' + button.textContent, { method: 'POST' }).catch(() => {});
    button.disabled = false;
    refresh();
  };
  const bad = (r) => r.outcome === 'failed' || r.outcome === 'damage' || r.lost !== null;
  fill(byId('repairs'), page.records.map((r) => [ago(r.finishedMs, now), r.kind, r.database, r.shard,
    [r.outcome, bad(r) ? 'bad' : r.outcome === 'done' ? 'good' : ''], [moved(r, page.names), 'why'],
    [(r.reason ?? '').replace(/\\b[0-9a-f]{16}\\b/g, (number) => page.names[number] ?? number), 'why']]),
    'nothing has been repaired');
}
async function refresh() {
  try {
    const paths = ['/api/cluster', '/api/shards', '/api/alerts', '/api/repairs?limit=15'];
    const [cluster, { shards }, alerts, repairs] = await Promise.all(paths.map(async (path) => (await fetch(path)).json()));
    const now = cluster.nowMs;
    const members = cluster.members.filter((m) => m.state !== 'removed').sort((a, b) => a.name < b.name ? -1 : 1);
    byId('name').textContent = cluster.name ?? '';
    byId('summary').textContent = (cluster.ready ? 'ready' : cluster.notReady) + ' · version ' + cluster.version + ' · ' +
      members.length + ' members · ' + shards.length + ' shards · convergence bound ' + (cluster.bound.boundMs / 1000).toFixed(1) + ' s';
    fill(byId('members'), members.map((m) => [m.name, m.address, m.state, m.live ? ['yes', 'good'] : ['no', 'bad'],
      m.self ? 'self' : m.lastHeardMsAgo === null ? '-' : (m.lastHeardMsAgo / 1000).toFixed(1) + ' s ago',
      m.skewed ? ['skewed', 'bad'] : m.clockOffsetMs === null ? '-' : m.clockOffsetMs + ' ms', m.shardsToCome ? m.shards + ' (' + m.shardsToCome + ' to come)' : m.shards,
      m.self ? '-' : m.link === null ? '-' : m.link.connected ? 'open' : [m.link.problem, 'bad']]), 'none');
    fill(byId('alerts'), (Array.isArray(alerts) ? alerts : []).map((a) => [[a.state, a.state === 'firing' ? 'bad' : a.state === 'resolved' ? 'good' : ''], a.rule, a.value,
      Object.entries(a.labels).filter(([key]) => key !== 'alertname').map((pair) => pair.join('=')).join(', '), a.activeAt, a.evaluator]), 'no alerts');
    showRepairs(repairs, now);
    fill(byId('shards'), shards.map((s) => [s.id, s.database + '.' + s.retentionPolicy,
      new Date(Number(BigInt(s.startNs) / 1000000n)).toISOString().slice(0, 16), s.number, s.rows, s.series, s.fileBytes + s.memtableBytes,
      [s.replicas.map((r) => r.name + ':' + (r.live ? r.state : 'not live')).join(' '), s.replicas.every((r) => r.live && r.state === 'full') ? 'good' : 'bad'],
      s.converged ? ago(s.converged.throughMs, now) : '-', s.liveConverged ? ago(s.liveConverged.throughMs, now) : '-',
      [s.heldBackBy ?? '', 'why']]), 'no shards yet: nothing has been written');
  } catch (error) {
    byId('summary').textContent = 'no answer from the node: ' + error.message;
  }
}
refresh();
setInterval(refresh, 2000);
</script>
</body>
</html>
`;

export function addStatusPage(app: Express): void {
  app.get('/', (_request, response) => {
    response.set({ 'Content-Type': 'text/html; charset=utf-8', 'Cache-Control': 'no-store' }).send(PAGE);
  });
}
