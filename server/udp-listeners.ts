/** The UDP listeners of a node, and their metrics. */
import { Counter, type Registry } from 'prom-client';
import { UdpListener, type UdpPorts } from './udp-listener.ts';
import type { UdpSettings } from './udp-settings.ts';

export class UdpListeners {
  readonly #all: UdpListener[] = [];

  get all(): readonly UdpListener[] {
    return this.#all;
  }

  /** Throws StartError when an address cannot be had. */
  async start(settings: readonly UdpSettings[], ports: UdpPorts): Promise<void> {
    for (const each of settings) this.#all.push(await UdpListener.start(each, ports));
  }

  close(): void {
    for (const listener of this.#all) listener.close();
  }

  addTo(registry: Registry): void {
    const { all } = this;
    const counter = (name: string, help: string, count: (listener: UdpListener) => number) =>
      new Counter({
        name,
        help,
        labelNames: ['bind'],
        registers: [registry],
        collect() {
          this.reset();
          for (const listener of all) this.inc({ bind: listener.bind }, count(listener));
        },
      });
    counter('starling_udp_datagrams_total', 'datagrams that came', ({ counts }) => counts.datagrams);
    counter('starling_udp_bytes_total', 'bytes of line protocol that came over UDP', ({ counts }) => counts.bytes);
    counter('starling_udp_lines_total', 'lines that came over UDP', ({ counts }) => counts.lines);
    counter(
      'starling_udp_dropped_lines_total',
      'lines that were lost because too much waited or they could not be written',
      ({ counts }) => counts.linesDropped,
    );
    counter(
      'starling_udp_refused_datagrams_total',
      'datagrams with lines that were refused for what they say; their other lines are stored',
      ({ counts }) => counts.datagramsRefused,
    );
  }
}
