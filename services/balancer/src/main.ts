import { runService } from '@landfall/common/lifecycle/run-service.ts';
import { readConfig } from './config.ts';
import { BalancerService } from './service.ts';

await runService('balancer', async () => BalancerService.create(readConfig(process.env)));
