/** What statements change of the cluster's metadata, done by this node. */
import type { NodeCore } from '../repair/node-core.ts';
import { clusterRegisters } from './cluster-registers.ts';
import { ContinuousQueries } from './continuous/registry.ts';
import type { QueryMetadata } from './query/backend.ts';
import { Subscriptions } from './subscriptions/registry.ts';
import { userMetadata } from './user-metadata.ts';

export function queryMetadata(core: NodeCore, nodeName: string): QueryMetadata & { subscriptions: Subscriptions } {
  const registers = clusterRegisters(core, nodeName);
  const snapshot = () => core.snapshot();
  return {
    continuousQueries: new ContinuousQueries(registers, snapshot),
    subscriptions: new Subscriptions(registers, snapshot),
    createDatabase: (name, policy, conflict) => core.definitions.createDatabase(name, policy, Date.now(), conflict),
    dropDatabase: (name) => core.definitions.dropDatabase(name, Date.now()),
    createRetentionPolicy: (database, name, options) =>
      core.definitions.createRetentionPolicy(database, name, options, Date.now()),
    alterRetentionPolicy: (database, name, options) =>
      core.definitions.alterRetentionPolicy(database, name, options, Date.now()),
    dropRetentionPolicy: (database, name) => core.definitions.dropRetentionPolicy(database, name, Date.now()),
    users: userMetadata(core.definitions.users),
  };
}
