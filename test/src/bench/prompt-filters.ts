import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type Random, randomOf } from '@landfall/metrics/random.ts';
import { CALLERS, DEPLOYMENTS, type Filled, promptName, VERSIONS_EACH } from './prompt-fill.ts';

/** Filters of the log by what they are, with values as they come. */
export function filtersOf({ prompts, fromMs, toMs }: Filled, seed: bigint): Record<string, () => object> {
  const random: Random = randomOf(seed, 'filters');
  const below = (n: number) => Math.floor(random() * n);
  const prompt = () => ({ name: promptName(below(prompts)) });
  const version = () => ({ version: `1.${below(VERSIONS_EACH)}.0` });
  const deployment = () => ({ deployment: `deployment-${below(DEPLOYMENTS)}` });
  const caller = () => ({ caller: `key:${below(CALLERS)}` });
  const hour = () => {
    const start = fromMs + below(toMs - fromMs - 3_600_000);
    return { startTime: timestampFromMs(start), endTime: timestampFromMs(start + 3_600_000) };
  };
  const score = (name: string, minimum: number, maximum: number) => ({ score: { name, minimum, maximum } });
  return {
    none: () => ({}),
    prompt,
    'prompt-version': () => ({ ...prompt(), ...version() }),
    deployment,
    caller,
    hour,
    failed: () => ({ error: '*' }),
    succeeded: () => ({ error: '-' }),
    error: () => ({ error: 'UNAVAILABLE' }),
    'rare-error': () => ({ error: 'DATA_LOSS' }),
    'score-narrow': () => score('quality', 1, 1),
    'score-wide': () => score('quality', 5, 10),
    'prompt-failed': () => ({ ...prompt(), error: '*' }),
    'prompt-caller': () => ({ ...prompt(), ...caller() }),
    'prompt-deployment': () => ({ ...prompt(), ...deployment() }),
    'prompt-score': () => ({ ...prompt(), ...score('quality', 9, 10) }),
    'deployment-caller': () => ({ ...deployment(), ...caller() }),
    'deployment-hour': () => ({ ...deployment(), ...hour() }),
    'deployment-rare-error': () => ({ ...deployment(), error: 'DATA_LOSS' }),
    'caller-failed': () => ({ ...caller(), error: '*' }),
    'caller-hour': () => ({ ...caller(), ...hour() }),
    'caller-score': () => ({ ...caller(), ...score('toxicity', 0.9, 1) }),
    'version-alone': version,
  };
}
