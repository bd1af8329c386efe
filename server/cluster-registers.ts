/** Registers of the cluster's metadata and its live members, as work that one live member does for all of them needs them. */
import type { NodeCore } from '../repair/node-core.ts';
import { rendezvousOrder } from '../repair/owners.ts';

export interface LiveMembers {
  readonly selfName: string;
  liveMemberNames(): readonly string[];
}

export interface ClusterRegisters extends LiveMembers {
  register(key: string): unknown;
  registers(prefix: string): readonly { readonly key: string; readonly value: unknown }[];
  putRegister(key: string, value: unknown): void;
  deleteRegister(key: string): void;
}

export function clusterRegisters(core: NodeCore, selfName: string): ClusterRegisters {
  return {
    selfName,
    liveMemberNames: () => {
      const { members, live } = core.snapshot();
      return members.filter(({ number, state }) => state === 'up' && live.includes(number)).map(({ name }) => name);
    },
    register: (key) => core.registers.get(key),
    registers: (prefix) => core.registers.withPrefix(prefix),
    putRegister: (key, value) => core.registers.put(key, value, Date.now()),
    deleteRegister: (key) => core.registers.remove(key, Date.now()),
  };
}

/** The member that does what the key names: the first live one by rendezvous hashing, so that the next one takes over. */
export function memberFor(members: LiveMembers, key: string): string {
  return rendezvousOrder(members.liveMemberNames(), key)[0] ?? members.selfName;
}
