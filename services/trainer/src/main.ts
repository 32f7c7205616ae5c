import { runService } from '@landfall/common/lifecycle/run-service.ts';
import { readConfig } from './config.ts';
import { TrainerService } from './service.ts';

await runService('trainer', async () => TrainerService.create(readConfig(process.env)));
