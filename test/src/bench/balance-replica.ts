/** A replica of text-inference as it is, admission and scheduler included, over simulated steps. */

import { runService } from '@landfall/common/lifecycle/run-service.ts';
import { readTextConfig } from '../../../services/text-inference/src/config.ts';
import { TextInferenceService } from '../../../services/text-inference/src/service.ts';

const runnerModule = new URL('./balance-runner.ts', import.meta.url).href;

await runService('text-inference', () =>
  TextInferenceService.create({ ...readTextConfig(process.env), runnerModule }),
);
