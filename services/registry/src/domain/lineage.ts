import type { EntityManager } from '@landfall/common/db/database.ts';
import { type Version, VersionDatasetEntity, VersionEntity } from '../db/entities.ts';
import { lineageUnknown } from '../errors.ts';
import { resolveReference } from './find.ts';
import { formatReference, parseReference } from './reference.ts';

const MAX_NODES = 1000;
/** What a version that is only named must be, by its relation. */
const TYPES: Record<string, string> = { base: 'base', parent: 'adapter' };

export type LineageNode = { ref: string; type: string; digest: string; metrics: Record<string, number> };
export type LineageEdge = { from: string; to: string; relation: string };
export type LineageGraph = { nodes: LineageNode[]; edges: LineageEdge[] };

/**
 * Holds a draft's lineage against what is registered, and replaces aliases by the versions they point at now, since
 * an alias moves and history does not. Throws FAILED_PRECONDITION for what is not known, not READY, of the wrong
 * kind, or has another digest.
 */
export async function settleLineage(em: EntityManager, draft: Version): Promise<void> {
  if (draft.base !== '') {
    const base = await known(em, draft.tenant, draft.base, 'lineage.base');
    if (base.kind !== 'base') throw lineageUnknown(`the base '${draft.base}' is of kind ${base.kind}`);
    draft.base = formatReference(base.name, base.version);
  } else if (draft.kind === 'adapter') {
    throw lineageUnknown('an adapter needs its base; set lineage.base to models:/name/version');
  }
  if (draft.parent !== '') {
    const parent = await known(em, draft.tenant, draft.parent, 'lineage.parent');
    if (parent.kind === 'dataset') throw lineageUnknown(`the parent '${draft.parent}' is of kind dataset`);
    draft.parent = formatReference(parent.name, parent.version);
  }
  const datasets = await em.find(VersionDatasetEntity, { versionId: draft.id });
  for (const row of datasets) {
    const dataset = await known(em, draft.tenant, row.ref, `lineage.datasets[${row.position}].ref`);
    if (dataset.kind !== 'dataset')
      throw lineageUnknown(`the data set '${row.ref}' is of kind ${dataset.kind}`);
    if (row.digest !== '' && row.digest !== dataset.digest) {
      throw lineageUnknown(
        `the data set '${row.ref}' has the digest ${dataset.digest} and not ${row.digest}`,
      );
    }
    row.ref = formatReference(dataset.name, dataset.version);
    row.digest = dataset.digest;
  }
  await em.flush();
}

async function known(em: EntityManager, tenant: string, ref: string, field: string): Promise<Version> {
  const version = await resolveReference(em, tenant, parseReference(ref, field));
  if (!version) throw lineageUnknown(`there is no '${ref}'; register it first`);
  if (version.state !== 'ready') throw lineageUnknown(`'${ref}' is still a draft; commit it first`);
  return version;
}

/** What a version was made from, over any number of steps, and what was made from it; at most 1,000 nodes. */
export async function lineageGraph(em: EntityManager, start: Version): Promise<LineageGraph> {
  const graph = new GraphBuilder();
  graph.addVersion(start);
  for (let level = [start]; level.length > 0; ) level = await stepBack(em, graph, level);
  for (let level = [start]; level.length > 0; ) level = await stepForward(em, graph, level);
  return graph.result();
}

async function stepBack(em: EntityManager, graph: GraphBuilder, level: Version[]): Promise<Version[]> {
  const links: LineageEdge[] = [];
  for (const version of level) {
    if (version.base) links.push({ from: version.base, to: refOf(version), relation: 'base' });
    if (version.parent) links.push({ from: version.parent, to: refOf(version), relation: 'parent' });
  }
  const rows = await em.find(
    VersionDatasetEntity,
    { versionId: { $in: level.map(({ id }) => id) } },
    { orderBy: { versionId: 'asc', position: 'asc' } },
  );
  const refs = new Map(level.map((version) => [version.id, refOf(version)]));
  for (const { versionId, ref, role } of rows) {
    links.push({ from: ref, to: refs.get(versionId)!, relation: role || 'train' });
  }
  const origins = await findByRefs(
    em,
    level[0]!.tenant,
    links.map(({ from }) => from),
  );
  const found = origins.filter((version) => graph.addVersion(version));
  for (const { from, relation } of links) {
    // A draft may name what is not registered.
    graph.addNode({ ref: from, type: TYPES[relation] ?? 'dataset', digest: '', metrics: {} });
  }
  for (const link of links) graph.addEdge(link);
  return found;
}

async function stepForward(em: EntityManager, graph: GraphBuilder, level: Version[]): Promise<Version[]> {
  const tenant = level[0]!.tenant;
  const refs = level.map(refOf);
  const order = { orderBy: { id: 'asc' }, limit: MAX_NODES } as const;
  const tuned = await em.find(VersionEntity, { tenant, base: { $in: refs }, state: 'ready' }, order);
  const continued = await em.find(VersionEntity, { tenant, parent: { $in: refs }, state: 'ready' }, order);
  const uses = await em.find(VersionDatasetEntity, { tenant, ref: { $in: refs } }, { limit: MAX_NODES });
  const users = await em.find(
    VersionEntity,
    { id: { $in: uses.map(({ versionId }) => versionId) }, state: 'ready' },
    order,
  );
  const results = new Map([...tuned, ...continued, ...users].map((version) => [version.id, version]));
  const found = [...results.values()].filter((version) => graph.addVersion(version));
  for (const version of tuned) graph.addEdge({ from: version.base, to: refOf(version), relation: 'base' });
  for (const version of continued)
    graph.addEdge({ from: version.parent, to: refOf(version), relation: 'parent' });
  for (const { versionId, ref, role } of uses) {
    const user = results.get(versionId);
    if (user) graph.addEdge({ from: ref, to: refOf(user), relation: role || 'train' });
  }
  return found;
}

async function findByRefs(em: EntityManager, tenant: string, refs: readonly string[]): Promise<Version[]> {
  const pairs = refs.flatMap((ref) => {
    const { name, version } = parseReference(ref, 'ref');
    return version === undefined ? [] : [{ name, version }];
  });
  return pairs.length === 0 ? [] : em.find(VersionEntity, { tenant, $or: pairs });
}

function refOf(version: Version): string {
  return formatReference(version.name, version.version);
}

class GraphBuilder {
  #nodes = new Map<string, LineageNode>();
  #edges = new Map<string, LineageEdge>();

  /** Whether the node is new and there was room for it. */
  addNode(node: LineageNode): boolean {
    if (this.#nodes.has(node.ref) || this.#nodes.size >= MAX_NODES) return false;
    this.#nodes.set(node.ref, node);
    return true;
  }

  /** Adds a version and the job that produced it. */
  addVersion(version: Version): boolean {
    const { kind, digest, metrics, jobId } = version;
    const ref = refOf(version);
    if (!this.addNode({ ref, type: kind, digest, metrics })) return false;
    if (jobId) {
      const job = `jobs:/${jobId}`;
      this.addNode({ ref: job, type: 'job', digest: '', metrics: {} });
      this.addEdge({ from: job, to: ref, relation: 'produced' });
    }
    return true;
  }

  /** Adds an edge between nodes that are there. */
  addEdge(edge: LineageEdge): void {
    if (!this.#nodes.has(edge.from) || !this.#nodes.has(edge.to)) return;
    this.#edges.set(`${edge.from}\n${edge.to}\n${edge.relation}`, edge);
  }

  result(): LineageGraph {
    return { nodes: [...this.#nodes.values()], edges: [...this.#edges.values()] };
  }
}
