/** What is asked of a member about repairs: of this node itself, or over the network. */
import { nameOf } from '../query-backend.ts';
import { callNode, type NodeApi } from '../query-rpc.ts';
import type { AdminPorts } from './admin.ts';

export type RepairCalls = Pick<NodeApi, 'startRepair' | 'controlRepair' | 'repairs' | 'repairHistory' | 'repairRecord'>;

/** The calls of a member, or null when it is none. */
export function apiOf(ports: AdminPorts, own: NodeApi, member: string): RepairCalls | null {
  const snapshot = ports.snapshot();
  if (member === snapshot.self) return own;
  const address = snapshot.members.find((each) => each.number === member)?.address;
  const clusterId = ports.clusterId();
  if (address === undefined || clusterId === null) return null;
  const target = { address, clusterId, from: nameOf(snapshot) };
  return {
    startRepair: (repair) => callNode(target, 'startRepair', repair),
    controlRepair: (id, action) => callNode(target, 'controlRepair', id, action),
    repairs: (id, withParts) => callNode(target, 'repairs', id, withParts),
    repairHistory: (query) => callNode(target, 'repairHistory', query),
    repairRecord: (id) => callNode(target, 'repairRecord', id),
  };
}

/** Undefined when the member does not answer. */
export async function orNothing<T>(work: Promise<T> | undefined): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if ((error as { code?: string }).code === 'node-call') return undefined;
    throw error;
  }
}
