import { runService } from '@landfall/common/lifecycle/run-service.ts';
import { readConfig } from './config.ts';
import { PromptService } from './service.ts';

await runService('prompt', async () => PromptService.create(readConfig(process.env)));
