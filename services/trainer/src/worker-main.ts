import { runService } from '@landfall/common/lifecycle/run-service.ts';
import { readWorkerConfig } from './config.ts';
import { TrainerWorker } from './worker/worker.ts';

await runService('trainer-worker', async () => TrainerWorker.create(readWorkerConfig(process.env)));
