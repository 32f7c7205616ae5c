import { runService } from '@landfall/common/lifecycle/run-service.ts';
import { readConfig } from './config.ts';
import { GatewayService } from './service.ts';

await runService('gateway', async () => GatewayService.create(readConfig(process.env)));
