import { fromJsonString } from '@bufbuild/protobuf';
import { ScalingPolicySchema } from '@landfall/proto/landfall/balancer/v1/scaling_pb.js';
import type { Load } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { Deployment } from '../db/entities.ts';
import { autoscale, type Recommendation, type ScalingLimits, type ScalingSample } from './autoscale.ts';

/** A change of a deployment's replicas, as kept in its row. */
export interface ScalingChange {
  ms: number;
  from: number;
  to: number;
  reason: string;
}

/** What is remembered of a deployment between two looks. */
interface Memory {
  recommendations: Recommendation[];
  askedMs: number;
  watchers: number;
  reason: string;
}

const KEPT_DECISIONS = 20;
const DEFAULT_DOWN_WINDOW_S = 300;
const DEFAULT_IDLE_S = 300;

/** Decides how many replicas deployments are to have, from their load and from who asks for them. */
export class Scaler {
  readonly #memories = new Map<string, Memory>();

  /** A caller asks for the deployment now. */
  asked(key: string): void {
    this.#memory(key).askedMs = Date.now();
  }

  /** Someone follows the deployment's endpoints, to call them: until it is released, it does not sleep. */
  watched(key: string): () => void {
    const memory = this.#memory(key);
    memory.askedMs = Date.now();
    memory.watchers++;
    return () => {
      memory.watchers--;
      memory.askedMs = Date.now();
    };
  }

  /** Why there are as many as there are, by the last look; empty before it. */
  reason(key: string): string {
    return this.#memories.get(key)?.reason ?? '';
  }

  forget(key: string): void {
    this.#memories.delete(key);
  }

  /**
   * Looks at a deployment.
   * @param loads of the replicas that answer
   * @returns the change that is due, if one is
   */
  look(key: string, row: Deployment, loads: readonly Load[], nowMs = Date.now()): ScalingChange | undefined {
    // A balancer that has just begun does not know who asked before: what runs stays a while, what sleeps sleeps on.
    const memory = this.#memory(key, row.replicas === 0 ? 0 : nowMs);
    const sample = sampleOf(row, loads);
    if (memory.watchers > 0 || sample.requests > 0) memory.askedMs = nowMs;
    const limits = limitsOf(row);
    const verdict = autoscale({ ...sample, askedMs: memory.askedMs }, limits, memory.recommendations, nowMs);
    memory.recommendations = verdict.recommendations;
    memory.reason = verdict.reason;
    const { desired: to, reason } = verdict;
    return to === row.replicas ? undefined : { ms: nowMs, from: row.replicas, to, reason };
  }

  #memory(key: string, askedMs = Date.now()): Memory {
    let memory = this.#memories.get(key);
    if (!memory) {
      memory = { recommendations: [], askedMs, watchers: 0, reason: '' };
      this.#memories.set(key, memory);
    }
    return memory;
  }
}

/** The changes that a row tells of, the newest first. */
export function changesOf({ decisions }: Pick<Deployment, 'decisions'>): ScalingChange[] {
  return decisions === '' ? [] : JSON.parse(decisions);
}

export function withChange(row: Deployment, change: ScalingChange): string {
  return JSON.stringify([change, ...changesOf(row)].slice(0, KEPT_DECISIONS));
}

function sampleOf({ replicas }: Deployment, loads: readonly Load[]): Omit<ScalingSample, 'askedMs'> {
  const sum = (figure: (load: Load) => number) => loads.reduce((total, load) => total + figure(load), 0);
  const stepping = loads.filter(({ stepMs }) => stepMs > 0);
  return {
    current: replicas,
    ready: loads.length,
    requests: sum(({ running, queued }) => running + queued),
    tokens: sum(({ runningTokens, queuedTokens }) => Number(runningTokens + queuedTokens)),
    stepMs: stepping.length > 0 ? sum(({ stepMs }) => Math.max(0, stepMs)) / stepping.length : 0,
    batch: Math.max(0, ...loads.map(({ maxBatch }) => maxBatch)),
  };
}

function limitsOf({ scaling, minReplicas, maxReplicas }: Deployment): ScalingLimits {
  const policy = fromJsonString(ScalingPolicySchema, scaling || '{}');
  return {
    min: minReplicas,
    max: maxReplicas,
    targetRequests: policy.targetRequests,
    targetTokens: Number(policy.targetTokens),
    targetStepMs: policy.targetStepMs,
    upWindowMs: policy.upWindowS * 1000,
    downWindowMs: (policy.downWindowS ?? DEFAULT_DOWN_WINDOW_S) * 1000,
    idleMs: (policy.idleS || DEFAULT_IDLE_S) * 1000,
  };
}
