/** Which replicas are told to be made a moment ago, as others see them. */
import { expect, test } from 'vitest';
import { ID, NUMBERS, Trio } from './trio.ts';

const youngAt = (trio: Trio, at: number) =>
  trio.hosts[at]!.describeShard(ID)!
    .replicas.map(({ member, young }) => [NUMBERS.indexOf(member), young])
    .sort();

test('who crashes before the mark of its first proof was saved is not young to those who have it', () => {
  const trio = new Trio();
  trio.write(0, 'all');
  trio.hear();
  expect(youngAt(trio, 0)).toEqual([
    [0, true],
    [1, true],
    [2, true],
  ]);
  trio.pass(100);
  trio.hear();
  trio.repair(0, 'ring');
  trio.hear();
  expect(youngAt(trio, 0)).toEqual([
    [0, false],
    [1, false],
    [2, false],
  ]);
  const files = trio.files[2]!;
  files.crash();
  trio.boot(NUMBERS[2]!, trio.storages[2]!.disk, files);
  trio.hear();
  expect(trio.storages[2]!.ledgers.get(ID)!.converged).toBeNull();
  expect(trio.hosts[2]!.heldShards()).toMatchObject([{ id: ID, young: true }]);
  expect(youngAt(trio, 0)).toEqual([
    [0, false],
    [1, false],
    [2, false],
  ]);
  // Itself it does not know.
  expect(youngAt(trio, 2)).toEqual([
    [0, false],
    [1, false],
    [2, true],
  ]);
});

test('whose file was lost since is young', () => {
  const trio = new Trio();
  trio.write(0, 'all');
  trio.pass(100);
  trio.hear();
  trio.repair(0, 'ring');
  trio.hear();
  const replica = trio.hosts[2]!.heldShards()[0]!;
  const since = 'f'.repeat(16);
  trio.hosts[2]!.heldShards = () => [{ ...replica, young: true, since }];
  trio.hear();
  expect(youngAt(trio, 0)).toEqual([
    [0, false],
    [1, false],
    [2, true],
  ]);
});
