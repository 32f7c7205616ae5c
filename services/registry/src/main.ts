import { runService } from '@landfall/common/lifecycle/run-service.ts';
import { readConfig } from './config.ts';
import { RegistryService } from './service.ts';

await runService('registry', async () => RegistryService.create(readConfig(process.env)));
