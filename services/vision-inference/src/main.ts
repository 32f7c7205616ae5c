import { runService } from '@landfall/common/lifecycle/run-service.ts';
import { readConfig } from './config.ts';
import { VisionService } from './service.ts';

await runService('vision-inference', async () => VisionService.create(readConfig(process.env)));
