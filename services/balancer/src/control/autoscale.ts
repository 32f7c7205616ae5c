/** What replicas of a deployment do now. */
export interface ScalingSample {
  /** Replicas that are kept. */
  current: number;
  /** Those that answer, which is what the figures below are of. */
  ready: number;
  /** Requests, running and waiting, of all together. */
  requests: number;
  /** Tokens of those requests. */
  tokens: number;
  /** Mean time of a step; 0 for not known. */
  stepMs: number;
  /** Requests that one replica runs at once; 0 for not known. */
  batch: number;
  /** When a caller last asked, in milliseconds since 1970. */
  askedMs: number;
}

export interface ScalingLimits {
  min: number;
  max: number;
  /** For each replica; 0 means its batch. */
  targetRequests: number;
  /** 0 leaves it out. */
  targetTokens: number;
  targetStepMs: number;
  upWindowMs: number;
  downWindowMs: number;
  idleMs: number;
}

/** How many replicas a look found to be right. */
export interface Recommendation {
  ms: number;
  replicas: number;
}

export interface ScalingVerdict {
  desired: number;
  /** For people. */
  reason: string;
  /** Those that still count at the next look. */
  recommendations: Recommendation[];
}

/** How far a figure may be from its target and nothing changes; as the horizontal pod autoscaler of Kubernetes. */
const TOLERANCE = 0.1;
const DEFAULT_BATCH = 16;

/**
 * How many replicas there should be, after the algorithm of Kubernetes' horizontal pod autoscaler: each figure asks for
 * replicas in proportion to its target, the largest counts; more are started when every look within the up window asked
 * for them, some are ended when none within the down window did. None are kept when nobody has asked for the idle time
 * and none are the least.
 * @param past recommendations of the last verdict
 */
export function autoscale(
  sample: ScalingSample,
  limits: ScalingLimits,
  past: readonly Recommendation[],
  nowMs: number,
): ScalingVerdict {
  const { current } = sample;
  const { min, max } = limits;
  const keep = (reason: string) => ({ desired: current, reason, recommendations: [...past] });
  const change = (desired: number, reason: string) => ({ desired, reason, recommendations: [] });
  if (current > max) return change(max, `at most ${max} are allowed`);
  if (current < min) return change(min, `at least ${min} are wanted`);
  const idleMs = nowMs - sample.askedMs;
  if (current === 0) return idleMs < limits.idleMs ? change(1, 'a caller asked') : keep('nobody asks');
  if (min === 0 && sample.requests === 0 && idleMs >= limits.idleMs) {
    return change(0, `nobody has asked for ${limits.idleMs / 1000} s`);
  }
  if (min === max) return keep(`${max} are wanted, neither less nor more`);
  if (sample.ready === 0) return keep('none answers yet');

  const proposal = propose(sample, limits);
  const proposed = Math.min(max, Math.max(1, min, proposal.replicas));
  const before = past.length > 0 ? past : [{ ms: nowMs, replicas: current }];
  const all = [...before, { ms: nowMs, replicas: proposed }];
  const within = (windowMs: number) =>
    all.filter(({ ms }) => nowMs - ms <= windowMs).map(({ replicas }) => replicas);
  const longestMs = Math.max(limits.upWindowMs, limits.downWindowMs);
  const recommendations = all.filter(({ ms }) => nowMs - ms <= longestMs);
  const verdict = (desired: number, reason: string) => ({ desired, reason, recommendations });
  if (proposed > current) {
    // With no window, only this look counts; its own seed would hold it back otherwise.
    const least = limits.upWindowMs === 0 ? proposed : Math.min(...within(limits.upWindowMs));
    if (least > current) return verdict(Math.min(least, proposed), proposal.reason);
    return verdict(current, `${proposal.reason}; not for ${limits.upWindowMs / 1000} s yet`);
  }
  if (proposed < current) {
    const most = limits.downWindowMs === 0 ? proposed : Math.max(...within(limits.downWindowMs));
    if (most < current) return verdict(most, proposal.reason);
    return verdict(current, `${proposal.reason}; not for ${limits.downWindowMs / 1000} s yet`);
  }
  return verdict(current, proposal.reason);
}

function propose(sample: ScalingSample, limits: ScalingLimits): { replicas: number; reason: string } {
  const { current, ready, requests, tokens, stepMs, batch } = sample;
  const perReplica = limits.targetRequests || batch || DEFAULT_BATCH;
  const figures = [
    {
      ratio: requests / (perReplica * current),
      text: `${requests} requests, ${perReplica} for each replica`,
    },
  ];
  if (limits.targetTokens > 0) {
    figures.push({
      ratio: tokens / (limits.targetTokens * current),
      text: `${tokens} tokens, ${limits.targetTokens} for each replica`,
    });
  }
  if (limits.targetStepMs > 0 && stepMs > 0) {
    const ratio = stepMs / limits.targetStepMs;
    // Steps stay as slow as they are until replicas that were started answer: asked again, they would grow without end.
    const settled = ready >= current ? ratio : Math.min(1, ratio);
    figures.push({
      ratio: settled,
      text: `steps of ${stepMs.toFixed(0)} ms, ${limits.targetStepMs} ms wanted`,
    });
  }
  const [largest] = figures.sort((a, b) => b.ratio - a.ratio);
  const { ratio, text } = largest!;
  if (Math.abs(ratio - 1) <= TOLERANCE) return { replicas: current, reason: `${text}: as it should be` };
  // The product of a quotient may be off by a rounding error, which is no replica's worth.
  const replicas = Math.ceil(ratio * current - 1e-9);
  return { replicas, reason: text };
}
