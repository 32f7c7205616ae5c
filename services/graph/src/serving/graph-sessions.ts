import type { InferenceSession } from 'onnxruntime-node';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { createSession } from '../onnx/session.ts';
import { decoderGraph, type GraphKind } from './decoder-graph.ts';
import type { LaneBatch } from './lanes.ts';
import { GROUP_KINDS, type GroupKind } from './linear-groups.ts';
import { type PackingOptions, packedWeights, type ServingPrecision } from './packed-weights.ts';
import { ofSteps } from './step-feeds.ts';

/** A graph that can be run. */
export interface GraphSession {
  kind: GraphKind;
  session: InferenceSession;
}

export interface GraphSessionsOptions extends PackingOptions {
  threads: number;
  cacheFolder: string;
  /** Of the pool. */
  blocks: number;
  blockSize: number;
  /** Whether there are adapters beside the base. */
  adapters: boolean;
  /** What weights may take that are packed once more. */
  copyBytes: number;
  images: boolean;
}

/** The graph that takes any batch, then those that are worth a copy of the weights, the worthiest first. */
function graphKinds(precision: ServingPrecision, adapters: boolean): GraphKind[] {
  const all = adapters ? GROUP_KINDS : [];
  // What peft changes where nobody says otherwise.
  const few: GroupKind[] = ['qkv'];
  const any: GraphKind = { takes: 'any', precision, adapted: all };
  const steps: GraphKind = { takes: 'steps', precision, adapted: [] };
  // Products of many rows with 4 bits take three times as long as with 8. One graph for all prompts: what a prompt comes
  // to must not depend on what else is asked.
  if (precision === 'int4') {
    const chunks: GraphKind = { takes: 'chunks', precision: 'int8', adapted: all };
    return [any, chunks, steps, ...(adapters ? [{ ...steps, adapted: few }] : [])];
  }
  if (!adapters) return [any, steps];
  return [any, steps, { ...any, adapted: [] }, { ...steps, adapted: few }, { ...any, adapted: few }];
}

/** The graphs of one decoder: one that takes any batch, and where there is room for them some that have less to do. */
export class GraphSessions {
  readonly #sessions: readonly GraphSession[];
  /** Bytes that a run of the graph that takes any batch reads of weights. */
  readonly weightBytes: number;

  private constructor(sessions: readonly GraphSession[], weightBytes: number) {
    this.#sessions = sessions;
    this.weightBytes = weightBytes;
  }

  static async create(checkpoint: Checkpoint, options: GraphSessionsOptions): Promise<GraphSessions> {
    const sessions: GraphSession[] = [];
    let weightBytes = 0;
    let left = options.copyBytes;
    for (const kind of graphKinds(options.precision, options.adapters)) {
      const packing = { ...options, precision: kind.precision };
      const packed = packedWeights(checkpoint, options.cacheFolder, packing);
      const bytes = [...packed.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
      if (sessions.length === 0) weightBytes = bytes;
      else if (bytes > left) break;
      else left -= bytes;
      const { model, files } = decoderGraph(checkpoint.config, packed, packing, {
        ...kind,
        images: options.images,
      });
      // Shapes differ from step to step, and a plan of memory for each of them would be kept.
      const settings = { threads: options.threads, memoryPattern: false, spinsBetweenRuns: false };
      sessions.push({ kind, session: await createSession(model, files, settings) });
    }
    return new GraphSessions(sessions, weightBytes);
  }

  /**
   * The one that does least for a batch.
   * @param held whether its contexts are
   * @param groups that its adapters change
   */
  for(batch: LaneBatch, held: boolean, groups: readonly GroupKind[]): GraphSession {
    const takes = {
      any: true,
      chunks: batch.length > 1,
      steps: held && ofSteps(batch),
    };
    const able = this.#sessions.filter(
      ({ kind }) => takes[kind.takes] && groups.every((group) => kind.adapted.includes(group)),
    );
    return able.reduce((least, each) => (work(each) < work(least) ? each : least));
  }

  /** Gives native memory back; not while one runs. */
  async release(): Promise<void> {
    for (const { session } of this.#sessions) await session.release();
  }
}

/** Operations, by order. */
function work({ kind: { takes, adapted } }: GraphSession): number {
  return (takes === 'any' ? GROUP_KINDS.length + 1 : 0) + adapted.length;
}
