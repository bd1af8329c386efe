/**
 * SHOW statements drawn from the grammar, over what a world has.
 */
import type { ShowTree } from './query-tree.ts';
import type { Dice, World } from './world.ts';

export function drawShow(dice: Dice, world: World): ShowTree {
  const kind = dice.of(['measurements', 'tag keys', 'tag values', 'field keys', 'series', 'policies']);
  const clauses: string[] = [];
  const on = dice.chance(0.4) ? `ON ${world.database}` : null;
  if (on !== null) clauses.push(on);
  const names = [...world.measurements.map(({ name }) => name), 'absent', '/m/', '/^m0$/'];
  if (kind === 'policies') return { kind: 'show', head: 'SHOW RETENTION POLICIES', clauses };
  if (kind === 'measurements') {
    if (dice.chance(0.3)) clauses.push(`WITH MEASUREMENT ${dice.of(['= m0', '= absent', '=~ /m/', '=~ /1/'])}`);
  } else if (dice.chance(0.5)) clauses.push(`FROM ${dice.some(names, 0.2).join(', ')}`);
  if (kind === 'tag values')
    clauses.push(
      `WITH KEY ${dice.of(['= host', '= absent', '!= host', '=~ /.*/', '=~ /o/', '!~ /dc/', 'IN (host, region)'])}`,
    );
  if (kind !== 'field keys' && dice.chance(0.4)) {
    const tests = Array.from({ length: 1 + dice.below(2) }, () => {
      const tag = dice.of(['host', 'region', 'dc', 'absent']);
      return dice.chance(0.4)
        ? `${tag} ${dice.of(['=~', '!~'])} ${dice.of(['/a/', '/^$/', '/b|c/', '/.*/'])}`
        : `${tag} ${dice.of(['=', '!='])} '${dice.of([...world.tagValues, ''])}'`;
    });
    clauses.push(`WHERE ${tests.join(dice.of([' AND ', ' OR ']))}`);
  }
  if (dice.chance(0.15)) {
    clauses.push(`LIMIT ${1 + dice.below(3)}`);
    if (dice.chance(0.5)) clauses.push(`OFFSET ${1 + dice.below(3)}`);
  }
  return { kind: 'show', head: `SHOW ${kind.toUpperCase()}`, clauses };
}
