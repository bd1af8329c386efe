/** `starling alerts`: alert instances and rules. */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { CliError, call, callJson, errorText, withUrl } from './client.ts';
import { formatAgo, formatTable } from './table.ts';

interface AlertJson {
  rule: string;
  state: string;
  value: number;
  labels: Record<string, string>;
  activeAt: string;
  evaluator: string;
}

interface RuleJson {
  name: string;
  state: string;
  evaluator: string;
  evaluatedAt: string | null;
  error: string | null;
  rule: { database: string; condition: string; query: string };
}

export function addAlertsCommand(program: Command): void {
  const alerts = withUrl(program.command('alerts'))
    .description('alerts that are pending, firing or lately resolved')
    .action(async ({ url }: { url: string }) => {
      const list = await callJson<AlertJson[]>(url, 'GET', '/api/alerts');
      if (list.length === 0) return console.log('no alerts');
      const labels = (one: AlertJson) =>
        Object.entries(one.labels)
          .filter(([key]) => key !== 'alertname')
          .map(([key, value]) => `${key}=${value}`)
          .join(',');
      const rows = list.map((one) => [
        one.state,
        one.rule,
        one.value,
        labels(one),
        formatAgo(Date.parse(one.activeAt), Date.now()),
        one.evaluator,
      ]);
      console.log(formatTable(['state', 'rule', 'value', 'labels', 'since', 'evaluator'], rows));
    });
  withUrl(alerts.command('rules'))
    .description('all rules')
    .action(async ({ url }: { url: string }) => {
      const list = await callJson<RuleJson[]>(url, 'GET', '/api/rules');
      if (list.length === 0) return console.log('no rules; set one with: starling alerts set NAME FILE');
      const rows = list.map((one) => {
        const evaluated = one.evaluatedAt === null ? '-' : formatAgo(Date.parse(one.evaluatedAt), Date.now());
        return [one.name, one.state, one.rule.database, one.rule.condition, evaluated, one.evaluator, one.error];
      });
      console.log(formatTable(['rule', 'state', 'database', 'condition', 'evaluated', 'by', 'error'], rows));
    });
  withUrl(alerts.command('set <name> <file>'))
    .description('set a rule from a YAML or JSON file')
    .action(async (name: string, file: string, { url }: { url: string }) => {
      let body: string;
      try {
        body = readFileSync(file, 'utf8');
      } catch (error) {
        throw new CliError((error as Error).message);
      }
      const answer = await call(url, 'PUT', `/api/rules/${encodeURIComponent(name)}`, body);
      if (answer.status !== 200) throw new CliError(errorText(answer));
      console.log(`rule ${name} is set`);
    });
  withUrl(alerts.command('delete <name>'))
    .description('delete a rule')
    .action(async (name: string, { url }: { url: string }) => {
      const answer = await call(url, 'DELETE', `/api/rules/${encodeURIComponent(name)}`);
      if (answer.status !== 204) throw new CliError(errorText(answer));
      console.log(`rule ${name} is deleted`);
    });
}
