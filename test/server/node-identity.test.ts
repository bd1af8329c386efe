import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  clockReservation,
  loadNodeFile,
  openNodeDirectory,
  StartError,
  saveNodeFile,
  startErrorOf,
} from '../../server/node-identity.ts';

describe('a node’s directory', () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'starling-identity-'));
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  test('can be held by one holder at a time', () => {
    const first = openNodeDirectory(join(root, 'a'));
    expect(() => openNodeDirectory(join(root, 'a'))).toThrow(/another process uses the data directory/);
    first.release();
    openNodeDirectory(join(root, 'a')).release();
  });

  test('a path that is a file is one clear line', () => {
    writeFileSync(join(root, 'file'), '');
    expect(() => openNodeDirectory(join(root, 'file'))).toThrow(StartError);
    expect(() => openNodeDirectory(join(root, 'file'))).toThrow(/cannot use the data directory/);
  });

  test('a fresh one draws a number, which stays', () => {
    const first = loadNodeFile(root, 'n1', 2);
    expect(first.number).toMatch(/^[0-9a-f]{16}$/);
    expect(loadNodeFile(root, 'n1', 2)).toEqual(first);
    const joined = { ...first, clusterId: 'c', seed: 's' };
    saveNodeFile(root, joined);
    expect(loadNodeFile(root, 'n1', 4)).toEqual(joined);
    expect(existsSync(join(root, 'node.json.new'))).toBe(false);
  });

  test('another name, damage, a later format and an earlier one are refused', () => {
    loadNodeFile(root, 'n1', 2);
    expect(() => loadNodeFile(root, 'n2', 2)).toThrow(/belongs to node "n1", not to "n2"/);
    writeFileSync(join(root, 'node.json'), '{');
    expect(() => loadNodeFile(root, 'n1', 2)).toThrow(/is damaged/);
    writeFileSync(join(root, 'node.json'), '{"format":9}');
    expect(() => loadNodeFile(root, 'n1', 2)).toThrow(/format 9/);
    for (const earlier of [1, 2]) {
      writeFileSync(join(root, 'node.json'), `{"format":${earlier}}`);
      expect(() => loadNodeFile(root, 'n1', 2)).toThrow(new RegExp(`format ${earlier}, .*empty`));
    }
  });

  test('a reservation saved beside other work is kept, and never undoes a later one', async () => {
    const clock = clockReservation(root);
    expect(await new Promise((ended) => clock.saveBeside('0000000000000005', ended))).toBe(true);
    expect(clockReservation(root).load()).toBe('0000000000000005');
    const overtaken = new Promise((ended) => clock.saveBeside('0000000000000006', ended));
    clock.save('0000000000000007');
    expect(await overtaken).toBe(false);
    expect(clockReservation(root).load()).toBe('0000000000000007');
    const late = new Promise((ended) => clock.saveBeside('0000000000000008', ended));
    clock.close();
    expect(await late).toBe(false);
    expect(clockReservation(root).load()).toBe('0000000000000007');
    const nowhere = clockReservation(join(root, 'gone'));
    expect(await new Promise((ended) => nowhere.saveBeside('0000000000000008', ended))).toBe(false);
  });

  test('the clock’s reservation is kept, and damage to it is refused instead of reusing time', () => {
    const clock = clockReservation(root);
    expect(clock.load()).toBe('0000000000000000');
    clock.save('0123456789abcdef');
    expect(clockReservation(root).load()).toBe('0123456789abcdef');
    writeFileSync(join(root, 'clock'), 'x');
    expect(() => clockReservation(root).load()).toThrow(/is damaged/);
  });

  test('faults of the surroundings become StartErrors, bugs stay what they are', () => {
    expect(startErrorOf(Object.assign(new Error('x'), { code: 'ENOSPC' }))).toBeInstanceOf(StartError);
    const bug = new TypeError('x');
    expect(startErrorOf(bug)).toBe(bug);
  });
});
