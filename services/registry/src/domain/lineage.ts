import type { EntityManager } from '@landfall/common/db/database.ts';
import type { Stage } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { AliasEntity, type Version, VersionDatasetEntity, VersionEntity } from '../db/entities.ts';
import { DeploymentUseEntity, VersionPromptEntity } from '../db/life-entities.ts';
import { findByRefs } from './origins.ts';
import { formatReference } from './reference.ts';
import { stageValue } from './stage-names.ts';

const MAX_NODES = 1000;
/** What a version that is only named must be, by its relation. */
const TYPES: Record<string, string> = { base: 'base', parent: 'adapter' };

export type LineageNode = {
  ref: string;
  type: string;
  digest: string;
  metrics: Record<string, number>;
  aliases: string[];
  stage?: Stage;
  /** Steps from the version that was asked for; negative are back. */
  depth: number;
};
export type LineageEdge = { from: string; to: string; relation: string };
export type LineageGraph = { nodes: LineageNode[]; edges: LineageEdge[]; truncated: boolean };
export type LineageQuery = { back: boolean; forward: boolean; maxDepth: number };

/**
 * What a version was made from, over any number of steps, and what was made from it and where that runs; at most
 * 1,000 nodes.
 */
export async function lineageGraph(
  em: EntityManager,
  start: Version,
  { back, forward, maxDepth }: LineageQuery,
): Promise<LineageGraph> {
  const graph = new GraphBuilder();
  graph.addVersion(start, 0, back);
  for (let level = [start], depth = 1; back && level.length > 0; depth++) {
    if (depth > maxDepth) break;
    level = await stepBack(em, graph, level, -depth);
  }
  for (let level = [start], depth = 1; forward && level.length > 0; depth++) {
    if (depth > maxDepth) break;
    level = await stepForward(em, graph, level, depth);
  }
  await graph.addAliases(em);
  return graph.result();
}

async function stepBack(
  em: EntityManager,
  graph: GraphBuilder,
  level: Version[],
  depth: number,
): Promise<Version[]> {
  const links: LineageEdge[] = [];
  for (const version of level) {
    if (version.base) links.push({ from: version.base, to: refOf(version), relation: 'base' });
    if (version.parent) links.push({ from: version.parent, to: refOf(version), relation: 'parent' });
    if (version.source) graph.addOrigin(version.source, 'source', refOf(version), 'imported', depth);
  }
  const ids = level.map(({ id }) => id);
  const order = { orderBy: { versionId: 'asc', position: 'asc' } } as const;
  const rows = await em.find(VersionDatasetEntity, { versionId: { $in: ids } }, order);
  const prompts = await em.find(VersionPromptEntity, { versionId: { $in: ids } }, order);
  const refs = new Map(level.map((version) => [version.id, refOf(version)]));
  for (const { versionId, ref, role } of rows) {
    links.push({ from: ref, to: refs.get(versionId)!, relation: role || 'train' });
  }
  for (const { versionId, ref, role } of prompts) {
    graph.addOrigin(ref, 'prompt', refs.get(versionId)!, role || 'prompt', depth);
  }
  const origins = await findByRefs(
    em,
    level[0]!.tenant,
    links.map(({ from }) => from),
  );
  const found = origins.filter((version) => graph.addVersion(version, depth, true));
  for (const { from, relation } of links) {
    // A draft may name what is not registered.
    graph.addNode({ ref: from, type: TYPES[relation] ?? 'dataset', depth });
  }
  for (const link of links) graph.addEdge(link);
  return found;
}

async function stepForward(
  em: EntityManager,
  graph: GraphBuilder,
  level: Version[],
  depth: number,
): Promise<Version[]> {
  const tenant = level[0]!.tenant;
  const refs = level.map(refOf);
  const live = { tenant, state: 'ready', deletedMs: null } as const;
  const order = { orderBy: { id: 'asc' }, limit: MAX_NODES } as const;
  const tuned = await em.find(VersionEntity, { ...live, base: { $in: refs } }, order);
  const continued = await em.find(VersionEntity, { ...live, parent: { $in: refs } }, order);
  const uses = await em.find(VersionDatasetEntity, { tenant, ref: { $in: refs } }, { limit: MAX_NODES });
  const users = await em.find(
    VersionEntity,
    { ...live, id: { $in: uses.map(({ versionId }) => versionId) } },
    order,
  );
  const results = new Map([...tuned, ...continued, ...users].map((version) => [version.id, version]));
  const found = [...results.values()].filter((version) => graph.addVersion(version, depth, true));
  for (const version of tuned) graph.addEdge({ from: version.base, to: refOf(version), relation: 'base' });
  for (const version of continued)
    graph.addEdge({ from: version.parent, to: refOf(version), relation: 'parent' });
  for (const { versionId, ref, role } of uses) {
    const user = results.get(versionId);
    if (user) graph.addEdge({ from: ref, to: refOf(user), relation: role || 'train' });
  }
  const deployments = await em.find(
    DeploymentUseEntity,
    { tenant, model: { $in: refs }, state: { $ne: 'stopped' } },
    { orderBy: { name: 'asc' }, limit: MAX_NODES },
  );
  for (const { name, model } of deployments) {
    const ref = `deployments:/${name}`;
    graph.addNode({ ref, type: 'deployment', depth });
    graph.addEdge({ from: model, to: ref, relation: 'deployed' });
  }
  return found;
}

function refOf(version: Version): string {
  return formatReference(version.name, version.version);
}

class GraphBuilder {
  #nodes = new Map<string, LineageNode>();
  #edges = new Map<string, LineageEdge>();
  #versions = new Map<string, string>();
  #truncated = false;

  /** Whether the node is new and there was room for it. */
  addNode(node: Pick<LineageNode, 'ref' | 'type' | 'depth'> & Partial<LineageNode>): boolean {
    if (this.#nodes.has(node.ref)) return false;
    if (this.#nodes.size >= MAX_NODES) {
      this.#truncated = true;
      return false;
    }
    this.#nodes.set(node.ref, { digest: '', metrics: {}, aliases: [], ...node });
    return true;
  }

  /**
   * Adds a version.
   * @param withJob and the job that produced it
   */
  addVersion(version: Version, depth: number, withJob: boolean): boolean {
    const { id, kind, digest, metrics, jobId, stage } = version;
    const ref = refOf(version);
    if (!this.addNode({ ref, type: kind, digest, metrics, stage: stageValue(stage), depth })) return false;
    this.#versions.set(id, ref);
    if (jobId && withJob) this.addOrigin(`jobs:/${jobId}`, 'job', ref, 'produced', depth - 1);
    return true;
  }

  /** Adds something beside the registry that a version came from. */
  addOrigin(ref: string, type: string, to: string, relation: string, depth: number): void {
    this.addNode({ ref, type, depth });
    this.addEdge({ from: ref, to, relation });
  }

  /** Adds an edge between nodes that are there. */
  addEdge(edge: LineageEdge): void {
    if (!this.#nodes.has(edge.from) || !this.#nodes.has(edge.to)) return;
    this.#edges.set(`${edge.from}\n${edge.to}\n${edge.relation}`, edge);
  }

  async addAliases(em: EntityManager): Promise<void> {
    const versionId = { $in: [...this.#versions.keys()] };
    for (const row of await em.find(AliasEntity, { versionId }, { orderBy: { alias: 'asc' } })) {
      this.#nodes.get(this.#versions.get(row.versionId)!)!.aliases.push(row.alias);
    }
  }

  result(): LineageGraph {
    return { nodes: [...this.#nodes.values()], edges: [...this.#edges.values()], truncated: this.#truncated };
  }
}
