/** What `npm start` says, and the rule that it sets. */

export function demoRule(database: string, receiverPort: number): object {
  return {
    database,
    query: "SELECT mean(usage_idle) FROM cpu WHERE cpu = 'cpu-total' AND time > now() - 10s GROUP BY host",
    condition: '< 20',
    for: '5s',
    interval: '2s',
    labels: { severity: 'warning' },
    annotations: { summary: 'This machine has been more than 80 % busy' },
    notify: [{ webhook: `http://127.0.0.1:${receiverPort}/` }],
  };
}

/** One line per alert of a webhook body. */
export function describeAlert(body: string): string[] {
  const { alerts } = JSON.parse(body) as {
    alerts: { status: string; labels: Record<string, string>; annotations: Record<string, string>; startsAt: string }[];
  };
  return alerts.map(
    ({ status, labels, annotations, startsAt }) =>
      `ALERT ${status}: ${labels.alertname} on ${labels.host ?? '?'} since ${startsAt} (${annotations.summary}; idle ${annotations.value} %)`,
  );
}

export function WELCOME(
  urls: readonly string[],
  pids: readonly number[],
  database: string,
  isTerminal: boolean | undefined,
): string {
  const nodes = urls.map((url, index) => `  n${index + 1}  ${url}  process ${pids[index]}`).join('\n');
  const interactive = isTerminal
    ? `\nHere in this terminal:  kill 2   start 2   wipe 3   status   quit\n`
    : `\nKill one with kill -9 PID; the line that then appears says how to start it again.\n`;
  return `
Starling runs: three nodes, every point on each of them.

${nodes}

The page:            ${urls[0]}/
An agent writes this machine's metrics into the database "${database}" every second.
The rule "cpu-busy" fires when the machine is more than 80 % busy; alerts are printed here.

Try, in another terminal:
  npx starling query --db ${database} 'SELECT mean(usage_user) FROM cpu WHERE time > now() - 1m GROUP BY time(10s)'
  npx starling write --db ${database} 'door,room=kitchen open=true'
  npx starling cluster                      members, the bound, up to when replicas are proven equal
  npx starling shards                       every shard and its replicas
  npx starling repair --all --mode preview  what differs, changing nothing
  npx starling repair --all                 a pass of the ring over every shard, now
${interactive}
Whatever you break, all three are equal again within the bound that "npx starling cluster" prints.
Ctrl-C stops everything; the next npm start goes on with the same data.`;
}
