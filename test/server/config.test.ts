import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { ConfigError, defaultWorkers, loadConfig, SERVE_OPTIONS } from '../../server/config.ts';
import { parseBytes } from '../../server/config-values.ts';

const directory = mkdtempSync(join(tmpdir(), 'starling-config-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function file(text: string): string {
  const path = join(directory, `${Math.floor(performance.now() * 1000)}.yml`);
  writeFileSync(path, text);
  return path;
}

describe('loadConfig', () => {
  test('with nothing given every option has its default', () => {
    const config = loadConfig({});
    expect(config.listen).toEqual({ host: '127.0.0.1', port: 8086 });
    expect(config.passIntervalMs).toBe(30_000);
    expect(config.bodyBytesMax).toBe(25_000_000);
    expect(config.join).toEqual([]);
  });

  test('a flag wins over the environment, the environment over the file, the file over the default', () => {
    const path = file('pass-interval: 4s\nnode: from-file\nlog_level: warn\njoin: [127.0.0.1:1, http://127.0.0.1:2]\n');
    const config = loadConfig({
      flags: { config: path, 'pass-interval': '2s' },
      environment: { STARLING_PASS_INTERVAL: '3s', STARLING_NODE: 'from-environment' },
    });
    expect(config.passIntervalMs).toBe(2_000);
    expect(config.nodeName).toBe('from-environment');
    expect(config.logLevel).toBe('warn');
    expect(config.join).toEqual(['http://127.0.0.1:1', 'http://127.0.0.1:2']);
  });

  test.each([
    [1, 1],
    [2, 1],
    [3, 2],
    [4, 2],
    [5, 4],
    [64, 4],
  ])('with %i processors there are %i workers beside the main thread', (processors, workers) => {
    expect(defaultWorkers(processors)).toBe(workers);
  });

  test.each([
    [{ flags: { 'pass-interval': 'soon' } }, /--pass-interval: "soon" is not a duration/],
    [{ flags: { listen: '8086' } }, /--listen: "8086" is not HOST:PORT/],
    [{ flags: { listen: 'a:99999' } }, /--listen: .* is not HOST:PORT/],
    [{ flags: { workers: '0' } }, /--workers: "0" is not a whole number from 1 to 4/],
    [{ flags: { node: 'a b' } }, /--node: must be 1 to 64/],
    [{ flags: { join: 'ftp://x' } }, /--join: "ftp:\/\/x" is not http/],
    [{ flags: { nonsense: '1' } }, /unknown option --nonsense/],
    [{ environment: { STARLING_BODY_BYTES_MAX: '1TB' } }, /STARLING_BODY_BYTES_MAX: "1TB" is not a size/],
    [{ flags: { 'mail-timeout': '20s' } }, /mail-timeout must not exceed write-timeout/],
    [
      { flags: { 'memtable-bytes-max': '3GiB', 'log-bytes-max': '4GiB', workers: '2' } },
      /memtable-bytes-max must not exceed 1 GiB for each worker/,
    ],
    [
      { flags: { 'body-bytes-max': '64MiB', 'write-in-flight-bytes-max': '32MiB' } },
      /body-bytes-max must not exceed write-in-flight-bytes-max/,
    ],
    [{ flags: { udp: 'database=x' } }, /--udp: bind-address: is required: HOST:PORT$/],
    [{ flags: { udp: 'bind-address=:8089,precision=d' } }, /--udp: precision: "d" is not a precision/],
    [{ flags: { udp: 'bind-address=:8089,batch-size=0' } }, /--udp: batch-size: "0" is not a whole number/],
    [{ flags: { udp: 'bind-address=:8089,port=1' } }, /--udp: Unrecognized key: "port"/],
    [{ flags: { udp: '[1]' } }, /--udp: expected a list of mappings/],
    [{ flags: { config: '/nonexistent.yml' } }, /cannot read the configuration file/],
  ])('%j is refused with one line that names the option', (sources, message) => {
    expect(() => loadConfig(sources)).toThrow(ConfigError);
    expect(() => loadConfig(sources)).toThrow(message);
  });

  test('memory before a flush is not more than the log unless somebody says so', () => {
    expect(loadConfig({ flags: { 'log-bytes-max': '100MiB' } }).memtableBytesMax).toBe(100 * 2 ** 20);
    expect(loadConfig({ flags: {} }).memtableBytesMax).toBe(128 * 2 ** 20);
    expect(() => loadConfig({ flags: { 'log-bytes-max': '100MiB', 'memtable-bytes-max': '128MiB' } })).toThrow(
      /memtable-bytes-max must not exceed log-bytes-max/,
    );
  });

  test('an unknown key, a list of maps and broken YAML in the file are refused', () => {
    expect(() => loadConfig({ flags: { config: file('passInterval: 2s') } })).toThrow(/unknown option "passInterval"/);
    expect(() => loadConfig({ flags: { config: file('node: {a: 1}') } })).toThrow(/"node" must be a single value/);
    expect(() => loadConfig({ flags: { config: file('a: [') } })).toThrow(/is not valid YAML/);
    expect(() => loadConfig({ flags: { config: file('- a') } })).toThrow(/expected a mapping/);
  });

  test('every option has a text, an environment name and a default that is valid', () => {
    for (const option of SERVE_OPTIONS) {
      expect(option.about.length).toBeGreaterThan(10);
      expect(option.environment).toBe(`STARLING_${option.name.toUpperCase().replaceAll('-', '_')}`);
    }
  });

  test('the times of scrubs are a cron expression, or off', () => {
    expect(loadConfig({}).scrub).toBe('0 3 * * *');
    expect(loadConfig({ flags: { scrub: '*/5 * * * *' } }).scrub).toBe('*/5 * * * *');
    expect(loadConfig({ flags: { scrub: 'off' } }).scrub).toBeNull();
    expect(() => loadConfig({ flags: { scrub: 'nightly' } })).toThrow(ConfigError);
  });

  test('sizes take binary and decimal units', () => {
    expect([parseBytes('64MiB'), parseBytes('1.5 kb'), parseBytes('7'), parseBytes('7x'), parseBytes('')]).toEqual([
      67_108_864,
      1_500,
      7,
      null,
      null,
    ]);
  });

  test('UDP listeners: none, some in a flag, and with InfluxDB’s settings in the file', () => {
    const collectd = {
      bindAddress: { host: '0.0.0.0', port: 8089 },
      database: 'collectd',
      retentionPolicy: '',
      precision: 'ms',
      readBufferBytes: 0,
      batchSize: 5_000,
      batchPending: 10,
      batchTimeoutMs: 1_000,
    };
    expect(loadConfig({}).udp).toEqual([]);
    const flag = 'bind-address=:8089,database=collectd,precision=ms; bind-address=[::1]:0';
    expect(loadConfig({ flags: { udp: flag } }).udp).toEqual([
      collectd,
      { ...collectd, bindAddress: { host: '::1', port: 0 }, database: 'udp', precision: 'n' },
    ]);
    const path = file(`udp:
  - bind-address: ':8089'
    database: collectd
    retention_policy: short, or not
    precision: ms
    read-buffer: 8MiB
    batch-size: 100
    batch-pending: 5
    batch-timeout: 2s
  - bind-address: ':8090'
    enabled: false
`);
    expect(loadConfig({ flags: { config: path } }).udp).toEqual([
      {
        ...collectd,
        retentionPolicy: 'short, or not',
        readBufferBytes: 8 * 1024 * 1024,
        batchSize: 100,
        batchPending: 5,
        batchTimeoutMs: 2_000,
      },
    ]);
  });
});
