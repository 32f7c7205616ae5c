import { runService } from '@landfall/common/lifecycle/run-service.ts';
import { readTextConfig } from './config.ts';
import { TextInferenceService } from './service.ts';

await runService('text-inference', () => TextInferenceService.create(readTextConfig(process.env)));
